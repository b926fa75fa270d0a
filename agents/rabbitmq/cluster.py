"""What the nodes keep in Pacemaker: the record of the broker cluster (permanent), and what each tells of itself (dies with the node).

The record is written with quorum before and after, by writes of which only one can win, and wins over older copies of the CIB.
"""

from __future__ import annotations

from hafailover.agents.memo import Memo
from hafailover.agents.ocf import Context, Result
from hafailover.agents.rabbitmq.decide import Peer, Record
from hafailover.agents.rabbitmq.nodes import addresses, hear, told
from hafailover.crm.pacemaker import Pacemaker, PacemakerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_EXISTS = (108, 17)  # CRM_EX_EXISTS, and errno EEXIST as older tools report it


class Refused(Exception):
    """The cluster does not let this be recorded now; the message is the reason."""


class Cluster:
    """The cluster as the broker of one node sees it. Any method may raise PacemakerError."""

    def __init__(self, ctx: Context) -> None:
        self.node = ctx.node
        self.addresses = addresses(ctx.params["nodes"])
        self.allow = f"{ctx.instance}-allow"
        self._ctx = ctx
        self._group = f"hafailover-{ctx.instance}"
        self._founding = f"hafailover-{ctx.instance}-founding"
        self._state = f"{ctx.instance}-broker"
        self._memo = Memo(ctx.instance)
        self._pacemaker = Pacemaker(self._run)

    def _run(self, argv: Sequence[str], timeout: float | None = None, input: str | None = None) -> Result:
        # With this variable in its environment attrd_updater --query --all answers for this node alone (2.1.5).
        return self._ctx.run(argv, timeout=timeout, input=input, env={"OCF_RESKEY_CRM_meta_on_node": None})

    # -- the record --------------------------------------------------------------------------------------------------

    def record(self) -> Record:
        """The record in this node's copy of the CIB."""
        founder = self._pacemaker.property(self._founding, "founder") or ""
        members = [name for name in self.addresses if self._pacemaker.property(self._group, f"member-{name}")]
        return Record(founder, frozenset(members))

    def claim(self) -> bool:
        """Become the founder; False when another node was faster. Refused without quorum.

        cibadmin --create makes a set of this id for exactly one of those that try: all writes go through one node's CIB.
        """
        self._require_quorum()
        text = (
            f'<cluster_property_set id="{self._founding}"><nvpair id="{self._founding}-founder" name="founder" '
            f'value="{self.node}"/></cluster_property_set>'
        )
        answer = self._run(["cibadmin", "--create", "-o", "crm_config", "--xml-pipe"], timeout=15, input=text)
        if answer.rc not in (0, *_EXISTS):
            raise PacemakerError(f"cibadmin --create failed with {answer.rc}: {answer.err.strip()}")
        self._require_quorum()
        return self.record().founder == self.node

    def add_member(self) -> None:
        """Record that this node is a member, so that it cannot be lost to an older copy of the CIB. Refused without quorum."""
        if self._pacemaker.property(self._group, f"member-{self.node}"):
            return
        self._require_quorum()
        self._pacemaker.write_property(self._group, f"member-{self.node}", "yes")
        self._require_quorum()

    def begin_anew(self) -> None:
        """Forget the record, for a person who has said that the data it speaks of are lost."""
        self._require_quorum()
        for name in (self._group, self._founding):
            answer = self._run(["cibadmin", "--delete", "--xml-pipe"], 15, f'<cluster_property_set id="{name}"/>')
            if answer.rc != 0:
                raise PacemakerError(f"cibadmin --delete failed with {answer.rc}: {answer.err.strip()}")

    def _require_quorum(self) -> None:
        if not self._pacemaker.membership().quorate:
            raise Refused("this partition has no quorum, so nothing about the brokers' cluster is recorded")

    # -- what nodes tell one another ----------------------------------------------------------------------------------

    def tell(self, what: Peer) -> None:
        """Tell the other nodes what this one is and does."""
        text = told(what)
        self._pacemaker.publish(self._state, text)
        self._memo.write("told", text)

    def tell_change(self, what: Peer) -> None:
        """The same, unless it was the last that was told."""
        if self._memo.read("told") != told(what):
            self.tell(what)

    def peers(self) -> dict[str, Peer]:
        """What the other nodes of the service that are in the cluster tell of themselves."""
        found = {}
        for name, text in self._pacemaker.published(self._state).items():
            peer = hear(text)
            if peer is not None and name != self.node and name in self.addresses:
                found[name] = peer
        return found

    def unheard(self) -> list[str]:
        """The nodes of the service that are in the cluster and have told nothing: they have not been probed yet."""
        joined = self._pacemaker.joined()
        heard = self.peers()
        return [name for name in self.addresses if name in joined and name not in heard and name != self.node]

    # -- what a person has said ----------------------------------------------------------------------------------------

    def allowed(self) -> str:
        """What a person has allowed on this node, or an empty text."""
        return self._pacemaker.published(self.allow).get(self.node, "")

    def done(self) -> None:
        """Forget what was allowed: it was done, and holds for one time. A warning when it cannot be forgotten: it would hold again."""
        try:
            self._pacemaker.unmark(self.allow)
        except PacemakerError as error:
            by_hand = f"crm_attribute -N {self.node} -l reboot -n {self.allow} -D"
            text = f"what was allowed is done, but {self.allow} cannot be taken back, and would hold again"
            self._ctx.log("warning", f"{text}: {error}. Take it back with {by_hand}")

    def say(self, word: str) -> str:
        """The command with which a person allows ``word`` on this node."""
        return f"crm_attribute -N {self.node} -l reboot -n {self.allow} -v {word}"
