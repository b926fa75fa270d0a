"""What agents and commands ask Pacemaker, and the few things they tell it.

Only the standard library, because agents import it; the caller supplies how a program is run (an agent bounds it by the action's
deadline, a command by its own). Behaviour relied on was seen with Pacemaker 2.1.5.
"""

from __future__ import annotations

from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Callable, Protocol

    class Result(Protocol):
        """A finished program: exit code, standard output and error as text."""

        rc: int
        out: str
        err: str

    class Run(Protocol):
        """Runs a program with no shell; never takes longer than ``timeout`` seconds."""

        def __call__(self, argv: Sequence[str], timeout: float | None = None, input: str | None = None) -> Result:
            """Run ``argv``; ``input`` is its standard input."""
            ...


_NOT_FOUND = (105, 6)  # CRM_EX_NOSUCH, and errno ENXIO as older tools report it
_CONFIG = 78  # attrd_updater's exit code for an attribute that nobody has set, among other things
_XML_ESCAPES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("\n", "&#10;"))


class View(NamedTuple):
    """One reading of the CIB: a property's ``value`` (None if unset), the nodes that have ``joined``, those that are known to be off, and
    the Corosync id of each node.
    """

    value: str | None
    joined: frozenset[str]
    clean_down: frozenset[str]
    ids: Mapping[str, str] = {}


class Membership(NamedTuple):
    """What Corosync says now: whether this node has quorum, and the ids of the nodes that it is together with, itself among them."""

    quorate: bool
    ids: frozenset[str]


class PacemakerError(Exception):
    """A Pacemaker tool failed; the message says which, with what it printed."""


class Pacemaker:
    """Pacemaker's command line tools, each call bounded by ``timeout`` seconds.

    ``members``: a quicker way to ask Corosync, which returns None where it has no answer.
    """

    def __init__(
        self, run: Run, timeout: float = 15.0, members: Callable[[], Membership | None] = lambda: None
    ) -> None:
        self._run = run
        self._timeout = timeout
        self._members = members

    def _tool(self, argv: Sequence[str], absent: str | None = None, input: str | None = None) -> str:
        result = self._run(argv, timeout=self._timeout, input=input)
        if result.rc == 0:
            return result.out.strip()
        unset = result.rc == _CONFIG and "does not exist" in result.err
        if absent is not None and (unset or result.rc in _NOT_FOUND):
            return absent
        said = (result.err or result.out).strip().splitlines()
        raise PacemakerError(f"{' '.join(argv[:1])} failed with {result.rc}: {said[-1] if said else 'no message'}")

    def node(self) -> str:
        """This node's name in the cluster."""
        return self._tool(["crm_node", "-n"])

    def alert_parameter(self, alert: str, name: str) -> str | None:
        """The parameter ``name`` of an alert in the configuration, or None."""
        xpath = f"//alert[@id='{alert}']/instance_attributes/nvpair[@name='{name}']"
        return _value(self._tool(["cibadmin", "-Q", "-n", "-A", xpath], absent=""))

    def quorate(self) -> bool:
        """Tell whether this partition has quorum now."""
        return self._tool(["crm_node", "-q"]) == "1"

    def membership(self) -> Membership:
        """Quorum and membership from Corosync itself: Pacemaker's controller answers nobody for a second after a change of the CIB."""
        return self._members() or _membership(self._run(["corosync-quorumtool", "-s", "-i"], timeout=self._timeout).out)

    def joined(self) -> frozenset[str]:
        """Names of the nodes whose Pacemaker has joined, and whose copy of the CIB is therefore one with this node's.

        ``crm_node -p`` names a node as soon as its Corosync runs: what such a node knows has not been heard yet.
        """
        return self.view("", "").joined

    def clean_down(self) -> frozenset[str]:
        """Names of the nodes that are known to be off: fenced, or shut down in order."""
        return self.view("", "").clean_down

    def view(self, group: str, name: str) -> View:
        """The members and the property ``name`` of the set ``group``, from one reading of this node's copy of the CIB."""
        xpath = f"//node_state | //nvpair[@id='{group}-{name}']"
        text = self._tool(["cibadmin", "-Q", "-n", "-A", xpath], absent="")
        states = {}
        for element in text.split("<node_state ")[1:]:
            state = dict(pair.split("=", 1) for pair in _quoted_pairs(element.partition(">")[0]))
            states[state.get("uname", "")] = state
        return View(
            value=_value(text.partition("<nvpair ")[2]),
            joined=frozenset(
                node for node, state in states.items() if _online(state) and state.get("join") == "member"
            ),
            clean_down=frozenset(
                node for node, state in states.items() if not _online(state) and state.get("expected") == "down"
            ),
            ids={node: state.get("id", "") for node, state in states.items()},
        )

    def last_actions(self, resource: str) -> dict[str, tuple[str, str]]:
        """The last action of ``resource`` on each node that was not fenced since, with its exit code: ("stop", "0"), ("monitor", "7")."""
        xpath = f"//node_state//lrm_resource[@id='{resource}']/lrm_rsc_op[@id='{resource}_last_0']"
        text = self._tool(["cibadmin", "-Q", "-A", xpath], absent="")
        actions = (
            dict(pair.split("=", 1) for pair in _quoted_pairs(element.partition(">")[0]))
            for element in text.split("<lrm_rsc_op ")[1:]
        )
        return {one["on_node"]: (one["operation"], one["rc-code"]) for one in actions}

    def two_node(self) -> bool:
        """Tell whether Corosync gives both halves of a split quorum (``two_node: 1``)."""
        text = self._tool(["corosync-cmapctl", "-g", "runtime.votequorum.two_node"], absent="")
        return text.rpartition("=")[2].strip() == "1"

    def score(self, resource: str, node: str) -> int | None:
        """The promotion score of ``resource`` on ``node``; None when it has none, or one that is no number."""
        argv = ["crm_attribute", f"--promotion={resource}", "-N", node, "-l", "reboot", "-G", "-q"]
        return _score(self._tool(argv, absent=""))

    def property_and_score(self, group: str, name: str, resource: str, node: str) -> tuple[str | None, int | None]:
        """:meth:`property` and :meth:`score` from one reading of this node's copy of the CIB: one program where they would take two."""
        state = f"//node_state[@uname='{node}']/transient_attributes/instance_attributes"
        xpath = f"//nvpair[@id='{group}-{name}'] | {state}/nvpair[@name='master-{resource}']"
        text = self._tool(["cibadmin", "-Q", "-n", "-A", xpath], absent="")
        found: dict[bool, str | None] = {}
        for element in text.split("<nvpair ")[1:]:
            found[f' name="master-{resource}"' in element] = _value(element)
        return found.get(False), _score(found.get(True) or "")

    def being_promoted(self, resource: str) -> bool:
        """Tell whether the cluster is promoting an instance of ``resource`` just now (it records an operation while it runs)."""
        xpath = f"//lrm_resource[@id='{resource}']/lrm_rsc_op[@operation='promote'][@op-status='-1']"
        return "<lrm_rsc_op " in self._tool(["cibadmin", "-Q", "-A", xpath], absent="")

    def set_score(self, resource: str, node: str, score: int) -> None:
        """Set the promotion score; it dies with the node. crm_attribute --promotion does the same and takes twice as long."""
        self._tool(["attrd_updater", "-N", node, "-n", f"master-{resource}", f"--update={score}"])

    def refresh_attributes(self) -> None:
        """Have the attribute daemon write all that it holds into the CIB again."""
        self._tool(["attrd_updater", "--refresh"])

    def published(self, name: str) -> Mapping[str, str]:
        """A transient attribute as every node has published it: node → value."""
        found = {}
        for line in self._tool(["attrd_updater", "-Q", "-A", "-n", name], absent="").splitlines():
            fields = dict(part.split("=", 1) for part in _quoted_pairs(line))
            if fields.get("name") == name and fields.get("value"):
                found[fields["host"]] = fields["value"]
        return found

    def publish(self, name: str, value: str) -> None:
        """Publish a private transient attribute of this node: seen by all, kept out of the CIB, so no transition is aborted."""
        self._tool(["attrd_updater", "-p", "-n", name, "-U", value])

    def withdraw(self, name: str) -> None:
        """Take a published attribute of this node back. Pacemaker answers as well when there was none."""
        self._tool(["attrd_updater", "-p", "-n", name, "-D"])

    def publish_for(self, node: str, name: str, value: str) -> None:
        """The same for another member, as whose it then counts: it ends when that node leaves the cluster."""
        self._tool(["attrd_updater", "-p", "-N", node, "-n", name, "-U", value])

    def mark(self, name: str, value: str) -> None:
        """Set a public transient attribute of this node: rules of the configuration may ask for it, and it ends with the node."""
        self._tool(["attrd_updater", "-n", name, "-U", value])

    def unmark(self, name: str) -> None:
        """Take a public transient attribute of this node away, whoever has set it."""
        self._tool(["attrd_updater", "-D", "-n", name])

    def clean_up(self, resource: str, node: str) -> None:
        """Have Pacemaker forget the failures of ``resource`` on ``node``, and try again there."""
        self._tool(["crm_resource", "--cleanup", "-r", resource, "-N", node])

    def property(self, group: str, name: str) -> str | None:
        """A cluster property of the set ``group``, or None. Reads this node's copy of the CIB."""
        text = self._tool(["crm_attribute", "-t", "crm_config", "-s", group, "-n", name, "-G", "-q"], absent="")
        return text or None

    def property_on(self, node: str, group: str, name: str, timeout: float) -> str | None:
        """The same property in the copy of the CIB that ``node`` holds; PacemakerError when it does not answer."""
        xpath = f"//nvpair[@id='{group}-{name}']"
        answer = self._run(["cibadmin", "-Q", "-N", node, "-A", xpath], timeout=timeout)
        if answer.rc in _NOT_FOUND:
            return None
        value = _value(answer.out) if answer.rc == 0 else None
        if value is None:
            raise PacemakerError(f"{node} does not show its copy of the CIB (cibadmin: {answer.rc})")
        return value

    def write_property(self, group: str, name: str, value: str, weight: int = 1) -> None:
        """Write a permanent cluster property, and make the copy that holds it win over every older one.

        After a partition heals, the CIB with the higher version wins whichever side had quorum; raising ``admin_epoch`` by ``weight`` in
        the very same write decides which. Quorum is the caller's to check, before and after.
        """
        for plain, escaped in _XML_ESCAPES:
            value = value.replace(plain, escaped)
        change = (
            f'<cib admin_epoch="admin_epoch+={weight}"><configuration><crm_config>'
            f'<cluster_property_set id="{group}"><nvpair id="{group}-{name}" name="{name}" value="{value}"/>'
            "</cluster_property_set></crm_config></configuration></cib>"
        )
        self._tool(["cibadmin", "--modify", "--allow-create", "--xml-pipe"], input=change)

    def set_property(self, group: str, name: str, value: str) -> None:
        """Write a permanent cluster property that may be lost to an older copy of the CIB: a convenience, not a record."""
        self._tool(["crm_attribute", "-t", "crm_config", "-s", group, "-n", name, "-v", value])

    def report_failure(self, resource: str, node: str) -> None:
        """Tell Pacemaker that ``resource`` has failed on ``node`` instead of waiting for the next monitor."""
        self._tool(["crm_resource", "--fail", "-r", resource, "-N", node])


def _membership(said: str) -> Membership:
    """Read what ``corosync-quorumtool -s -i`` printed; PacemakerError when it could not ask. It exits with 2 without quorum."""
    quorate, ids, listed = None, set(), False
    for line in said.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "Quorate":
            quorate = value.strip() == "Yes"
        words = line.split()
        if listed and words and words[0].isdigit():
            ids.add(words[0])
        listed = listed or words[:1] == ["Nodeid"]
    if quorate is None or not ids:
        raise PacemakerError("corosync-quorumtool does not say who is a member")
    return Membership(quorate, frozenset(ids))


def _score(text: str) -> int | None:
    """Read a promotion score. Pacemaker takes for 0 what is no number: that is as good as none, and whoever finds none sets it."""
    if text.lstrip("+-").upper() == "INFINITY":
        return -1000000 if text.startswith("-") else 1000000
    try:
        return int(text)
    except ValueError:
        return None


def _value(element: str) -> str | None:
    """The value that an nvpair's text says, or None."""
    _, marker, after = element.partition(' value="')
    if not marker:
        return None
    value = after.split('"', 1)[0]
    for plain, escaped in reversed(_XML_ESCAPES):
        value = value.replace(escaped, plain)
    return value


def _online(state: Mapping[str, str]) -> bool:
    """Whether a node_state says that the node's controller runs; from 2.1.7 on it says since when, 0 when it does not."""
    return state.get("crmd", "") == "online" or state.get("crmd", "0").strip("0").isdigit()


def _quoted_pairs(line: str) -> list[str]:
    """Split ``name="a b" host="c"`` into ``name=a b`` and ``host=c``."""
    pieces = line.split('"')
    return [f"{key.strip()}{value}" for key, value in zip(pieces[::2], pieces[1::2])]
