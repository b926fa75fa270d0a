"""One cheap look at where everything is, and what has failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple
from xml.etree.ElementTree import Element

from hafailover.crm.errors import HafailoverError
from hafailover.crm.stack import Mover
from hafailover.crm.status_database import PROMOTED_ROLES
from hafailover.crm.status_facts import DEGRADED_CODES
from hafailover.crm.status_xml import Running, flag, instances, parse

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run


_BARS = {
    "standby": "is in standby",
    "standby_onfail": "is in standby after a failure",
    "maintenance": "is in maintenance",
    "shutdown": "is being shut down",
}


class Failed(NamedTuple):
    """A failed action: what, where, which, why, and its number by which a new one is known."""

    resource: str
    node: str
    task: str
    reason: str
    call: str

    @property
    def words(self) -> str:
        """The sentence for a person."""
        return f"{self.task} of {self.resource} failed on {self.node}{f': {self.reason}' if self.reason else ''}"


class Seen(NamedTuple):
    """Primitive → instances, the nodes that are lost, what has failed, and node → why nothing is started there for now."""

    running: Mapping[str, Sequence[Running]]
    lost: frozenset[str]
    failures: frozenset[Failed]
    barred: Mapping[str, str]

    def place(self, mover: Mover) -> str:
        """The one node on which all of ``mover`` that runs is, well and with nothing under way; else ""."""
        nodes: set[str] = set()
        for name in mover.primitives:
            ours = (
                [one for one in self.running.get(name, ()) if one.role in PROMOTED_ROLES]
                if mover.role
                else self.running.get(name, ())
            )
            for one in ours:
                if one.node and one.active and not (one.pending or one.failed):
                    nodes.add(one.node)
                elif not mover.role:
                    return ""
            if not ours:
                return ""
        return nodes.pop() if len(nodes) == 1 else ""

    def doing(self, movers: Sequence[Mover]) -> str:
        """What is under way with them, for a person who waits."""
        names = {name for mover in movers for name in mover.primitives}
        found = [
            f"{one.id} is {one.pending}{f' on {one.node}' if one.node else ''}"
            for name, there in self.running.items()
            for one in there
            if name in names and one.pending
        ]
        return ", ".join(found)


def look(run: Run) -> Seen | None:
    """Look once; None when this node's cluster does not answer."""
    try:
        result = run(["crm_mon", "-1", "--output-as=xml"], timeout=5)
        return None if result.rc else seen(parse(result.out))
    except HafailoverError:
        return None


def seen(mon: Element) -> Seen:
    """What crm_mon's XML says."""
    lost = frozenset(
        node.get("name", "") for node in mon.iterfind("nodes/node") if flag(node, "unclean") or not flag(node, "online")
    )
    barred = {
        node.get("name", ""): says
        for node in mon.iterfind("nodes/node")
        for name, says in _BARS.items()
        if flag(node, name)
    }
    return Seen(instances(mon), lost, frozenset(_failures(mon)), barred)


def _failures(mon: Element) -> Iterator[Failed]:
    for failure in mon.iterfind("failures/failure"):
        if failure.get("exitcode") in DEGRADED_CODES:
            continue  # it works, and its agent says that something near it does not
        named, _, _interval = failure.get("op_key", failure.get("id", "")).rpartition("_")
        resource, _, task = named.rpartition("_")
        reason = failure.get("exitreason", "").strip() or failure.get("exitstatus", "")
        yield Failed(resource.split(":")[0], failure.get("node", ""), task, reason, failure.get("call", ""))
