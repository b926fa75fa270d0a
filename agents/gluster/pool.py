"""What the nodes of a pool keep in Pacemaker: who each one's glusterd is, who forms pool and volumes, and which volumes were made
(permanent).

Written with quorum before and after, in writes of which only one can win, and which win over older copies of the CIB. One pool in a
cluster.
"""

from __future__ import annotations

from hafailover.agents.gluster.store import Identity
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Context, Result
from hafailover.crm.pacemaker import Pacemaker, PacemakerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EXISTS = (108, 17)  # CRM_EX_EXISTS, and errno EEXIST as older tools report it
_ABSENT = (105, 6)
_GROUP = "hafailover-gluster"
_CLAIM = "hafailover-gluster-maker-"


class Refused(Exception):
    """The cluster does not let this be recorded now; the message is the reason."""


class Pool:
    """The pool as one node sees it. Any method may raise PacemakerError."""

    def __init__(self, ctx: Context) -> None:
        self.addresses = addresses(ctx.params["nodes"])
        self._ctx = ctx
        self.pacemaker = Pacemaker(self._run)

    def _run(self, argv: Sequence[str], timeout: float | None = None, input: str | None = None) -> Result:
        # With this variable in its environment attrd_updater --query --all answers for this node alone (2.1.5).
        return self._ctx.run(argv, timeout=timeout, input=input, env={"OCF_RESKEY_CRM_meta_on_node": None})

    # -- who is who --------------------------------------------------------------------------------------------------------

    def identity(self, node: str) -> Identity:
        """Who the glusterd of ``node`` is, as it was when it came into the pool; empty for one that never did."""
        uuid, _, version = (self.pacemaker.property(_GROUP, f"uuid-{node}") or "").partition(" ")
        return Identity(uuid, version)

    def remember(self, node: str, who: Identity) -> None:
        """Record it, unless it is what is recorded. Refused without quorum."""
        if self.identity(node) != who:
            self._write(f"uuid-{node}", f"{who.uuid} {who.version}")

    def members(self) -> dict[str, str]:
        """The UUID of each node of the list that was ever in the pool."""
        found = {name: self.identity(name).uuid for name in self.addresses}
        return {name: uuid for name, uuid in found.items() if uuid}

    # -- who acts ----------------------------------------------------------------------------------------------------------

    def maker(self) -> str:
        """The node that forms pool and volumes, or nothing."""
        return self._claims()[1]

    def claim(self, former: str) -> bool:
        """Become it, in the place of ``former`` ("" for nobody); False when another node was faster. Refused without quorum.

        Claims are numbered, and the highest counts. cibadmin creates a set of an id for exactly one of those that try: all writes go
        through one node's CIB.
        """
        self._require_quorum()
        number, holder = self._claims()
        if holder != former:
            return holder == self._ctx.node
        answer = self._cibadmin("--create", _claim(number + 1, self._ctx.node))
        if answer.rc not in (0, *_EXISTS):
            raise PacemakerError(f"cibadmin --create failed with {answer.rc}: {answer.err.strip()}")
        self._require_quorum()
        if self.maker() != self._ctx.node:
            return False
        if number:
            self._cibadmin("--delete", f'<cluster_property_set id="{_CLAIM}{number}"/>')
        return True

    def _claims(self) -> tuple[int, str]:
        """The highest claim: its number and its node, or 0 and nothing."""
        xpath = f"//cluster_property_set[starts-with(@id,'{_CLAIM}')]/nvpair"
        answer = self._run(["cibadmin", "-Q", "-A", xpath], timeout=15)
        if answer.rc in _ABSENT:
            return 0, ""
        if answer.rc != 0:
            raise PacemakerError(f"cibadmin -Q failed with {answer.rc}: {answer.err.strip()}")
        found = [(0, "")]
        for element in answer.out.split("<nvpair ")[1:]:
            number = element.partition(f'id="{_CLAIM}')[2].partition("-")[0]
            node = element.partition('value="')[2].partition('"')[0]
            if number.isdecimal():
                found.append((int(number), node))
        return max(found)

    def _cibadmin(self, what: str, xml: str) -> Result:
        return self._run(["cibadmin", what, "-o", "crm_config", "--xml-pipe"], timeout=15, input=xml)

    # -- what was made -----------------------------------------------------------------------------------------------------

    def record(self, name: str) -> str:
        """What is recorded under ``name``, or nothing."""
        return self.pacemaker.property(_GROUP, name) or ""

    def write(self, name: str, value: str) -> None:
        """Record it, unless it is what is recorded. Refused without quorum."""
        if self.record(name) != value:
            self._write(name, value)

    def _write(self, name: str, value: str) -> None:
        self._require_quorum()
        self.pacemaker.write_property(_GROUP, name, value)
        self._require_quorum()

    def _require_quorum(self) -> None:
        if not self.pacemaker.membership().quorate:
            raise Refused("this partition has no quorum, so nothing about the pool is recorded")

    # -- what nodes tell one another ----------------------------------------------------------------------------------------

    def tell(self, name: str, text: str) -> None:
        """Tell the other nodes, until this one leaves."""
        self.pacemaker.publish(name, text)

    def told(self, name: str) -> Mapping[str, str]:
        """What the other nodes of the list that are in the cluster tell."""
        return {
            node: text
            for node, text in self.pacemaker.published(name).items()
            if node in self.addresses and node != self._ctx.node
        }


def _claim(number: int, node: str) -> str:
    name = f"{_CLAIM}{number}"
    return f'<cluster_property_set id="{name}"><nvpair id="{name}-node" name="node" value="{node}"/></cluster_property_set>'
