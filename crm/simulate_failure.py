"""What somebody asks to fail: words of the command line become nodes, instances of resources, and options of crm_simulate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hafailover.crm.errors import UsageError
from hafailover.crm.resolved import Op, Resolved
from hafailover.crm.schema import unknown
from hafailover.crm.status_xml import Running

QUORUM_DEVICE = "quorum-device"
NODE, RESOURCE = "node", "resource"
_PROMOTED = ("Promoted", "Master")
_CALLED = {"Promoted": "primary", "Master": "primary", "Unpromoted": "replica", "Slave": "replica"}
_NOT_RUNNING = 7
_TIMEOUT = 20.0  # s, Pacemaker's own
IGNORE, BLOCK = "ignore", "block"


@dataclass(frozen=True)
class Monitor:
    """The recurring check that would find a failure: ``interval`` and ``timeout`` in s, None where no limit is known.

    ``on_fail`` is "" when not said.
    """

    interval: float
    timeout: float | None
    on_fail: str = ""


@dataclass(frozen=True)
class Failure:
    """One thing that fails: a node is lost, the quorum device is, or ``resource`` (a primitive) fails its check on ``node``."""

    kind: str
    node: str = ""
    resource: str = ""
    role: str = ""

    def __str__(self) -> str:
        if self.kind == NODE:
            return f"{self.node} is lost (power, network or kernel)"
        if self.kind == QUORUM_DEVICE:
            return "the quorum device is lost"
        role = " as primary" if self.role in _PROMOTED else ""
        return f"{self.resource} fails{role} on {self.node}"

    def as_dict(self) -> dict[str, str]:
        """For JSON. The role is told as people call it, ``primary`` or ``replica``, and left out where there is only one."""
        return {key: value for key, value in {**asdict(self), "role": _CALLED.get(self.role, "")}.items() if value}


def parse(
    words: Iterable[str], configuration: Any, nodes: Sequence[str], running: Mapping[str, Sequence[Running]]
) -> list[Failure]:
    """The failures named by ``words`` in the element configuration with these nodes and instances; UsageError for one that is not there."""
    found: list[Failure] = []
    for word in words:
        for failure in _one(word, configuration, nodes, running):
            if failure not in found:
                found.append(failure)
    lost = {failure.node for failure in found if failure.kind == NODE}
    return [failure for failure in found if failure.kind != RESOURCE or failure.node not in lost]


def _one(
    word: str, configuration: Any, nodes: Sequence[str], running: Mapping[str, Sequence[Running]]
) -> list[Failure]:
    resources = _members(configuration)
    kind, colon, rest = word.partition(":")
    if colon and kind in (NODE, RESOURCE):
        word = rest
    else:
        kind = ""
    name, at, node = word.partition("@")
    if word == QUORUM_DEVICE and word not in nodes and word not in resources:
        return [Failure(QUORUM_DEVICE)]
    if word in nodes and kind != RESOURCE:
        if word in resources and not kind:
            raise UsageError(f"{word} is a node and a resource: write node:{word}, or {word}@NODE for the resource")
        return [Failure(NODE, word)]
    if kind == NODE or name not in resources:
        what, allowed = ("node", list(nodes)) if kind == NODE else ("resource", list(resources))
        if not kind and not at:
            what, allowed = "node or resource", [*nodes, *resources, QUORUM_DEVICE]
        raise UsageError(f"--fail {word}: {unknown(what, name, allowed)}")
    if at and node not in nodes:
        raise UsageError(f"--fail {word}: {unknown('node', node, nodes)}")
    return [_instance(word, primitive, node, running.get(primitive, ())) for primitive in resources[name]]


def _members(configuration: Any) -> dict[str, list[str]]:
    """Every resource's id → the primitives in it."""
    return {
        element.get("id"): [one.get("id") for one in element.iter("primitive")]
        for element in configuration.iterfind("resources//*")
        if element.tag in ("primitive", "group", "clone", "master", "bundle") and element.get("id")
    }


def _instance(word: str, primitive: str, node: str, instances: Sequence[Running]) -> Failure:
    active = [one for one in instances if one.node and one.active]
    chosen = [one for one in active if one.node == node] if node else active
    promoted = [one for one in chosen if one.role in _PROMOTED]
    if not node and promoted:
        chosen = promoted
    if not chosen:
        where = f" on {node}, but on {', '.join(one.node for one in active)}" if node and active else ""
        raise UsageError(f"--fail {word}: {primitive} does not run{where or ' anywhere'}, so it cannot fail there")
    if len({one.node for one in chosen}) > 1:
        places = " or ".join(dict.fromkeys(f"{word}@{one.node}" for one in chosen))
        raise UsageError(
            f"--fail {word}: {primitive} runs on {len(dict.fromkeys(one.node for one in chosen))} nodes, say on which it fails: {places}"
        )
    return Failure(RESOURCE, chosen[0].node, primitive, chosen[0].role)


def monitor(resolved: Resolved, primitive: str, role: str) -> Monitor | None:
    """The check of ``primitive`` in ``role``: the shortest enabled recurring monitor that is for it, or None when there is none.

    One whose failure is ignored is only taken when there is no other.
    """
    element = resolved.resources.get(primitive)
    found = [
        Monitor(op.interval / 1000, _op_timeout(op), (op.on_fail or "").lower())
        for op in (element.monitors() if element is not None else ())
        if _for(op.role, role)
    ]
    return min(found, key=lambda one: (one.on_fail == IGNORE, one.interval), default=None)


def _for(written: str, role: str) -> bool:
    words = {"Master": "Promoted", "Slave": "Unpromoted", "Started": "Unpromoted", "": "Unpromoted"}
    mine, asked = words.get(role, role), words.get(written, written)
    return mine == asked or (mine == "Promoted" and not written)


def _op_timeout(op: Op) -> float | None:
    if op.values.get("timeout") is None:
        return _TIMEOUT
    return None if op.timeout is None else op.timeout / 1000


def option(root: Any, failure: Failure, found: Monitor) -> list[str]:
    """crm_simulate's words for a resource that fails its check in the element cib ``root``."""
    interval = round(found.interval * 1000)
    return ["--op-inject", f"{_instance_id(root, failure)}_monitor_{interval}@{failure.node}={_NOT_RUNNING}"]


def _instance_id(root: Any, failure: Failure) -> str:
    """As the node's history calls it: an instance of a globally unique clone has a number, and without it nothing would fail."""
    for state in root.iterfind("status/node_state"):
        if state.get("uname") == failure.node:
            for one in state.iterfind("lrm/lrm_resources/lrm_resource"):
                if (one.get("id") or "").partition(":")[0] == failure.resource:
                    return str(one.get("id"))
    return failure.resource
