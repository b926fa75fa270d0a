"""What Pacemaker would do, and what it is doing: crm_simulate and crm_mon, read from their XML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hafailover.crm import local
from hafailover.crm.errors import HafailoverError
from hafailover.crm.model import Clone, Configuration, Primitive
from lxml import etree

_TIMEOUT = 30.0
_DISCONNECTED = (102, 107)
_DISRUPTIVE = frozenset({"stop", "demote", "move", "migrate", "restart", "recover", "reboot", "off", "fence"})


@dataclass(frozen=True)
class Effect:
    """One thing Pacemaker would do: ``action`` (start, stop, promote, …) on ``resource`` at ``node``."""

    action: str
    resource: str
    node: str

    @property
    def disruptive(self) -> bool:
        """Whether something that runs stops running there, if only for a moment."""
        return any(word in self.action for word in _DISRUPTIVE)

    def __str__(self) -> str:
        return f"{self.action} {self.resource} on {self.node}" if self.resource else f"{self.action} {self.node}"

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def effects(before: Path, after: Path) -> tuple[Effect, ...]:
    """What Pacemaker would do with the CIB in ``after`` and would not do anyway with the one in ``before``."""
    anyway = set(_effects(before))
    return tuple(effect for effect in _effects(after) if effect not in anyway)


def _effects(path: Path) -> Iterator[Effect]:
    result = local.run(["crm_simulate", "--xml-file", str(path), "--simulate", "--output-as=xml"], _TIMEOUT)
    root = _xml(result, "crm_simulate")
    for action in root.iterfind("actions/*"):
        node = action.get("node") or action.get("dest") or action.get("source") or ""
        resource = (action.get("resource") or "").partition(":")[0]
        if action.tag == "rsc_action":
            yield Effect(action.get("action", "").lower(), resource, node)
        else:
            yield Effect(action.get("action") or action.get("task") or "fence", "", node)


def resting() -> bool:
    """Whether Pacemaker has nothing to do: no action is under way or due."""
    result = local.run(["crm_simulate", "--live-check", "--simulate", "--output-as=xml"], _TIMEOUT)
    transition = _xml(result, "crm_simulate").find("transition")
    return transition is not None and all(action.tag == "pseudo_action" for action in transition)


@dataclass(frozen=True)
class Node:
    """A full node as Pacemaker sees it. ``online``: its Pacemaker has joined. ``unclean``: lost, and not known to be off."""

    name: str
    online: bool
    unclean: bool


def nodes() -> list[Node]:
    """Every node of the cluster but remote ones."""
    return [
        Node(
            node.get("name"),
            node.get("online") == "true" and node.get("pending") != "true",
            node.get("unclean") == "true",
        )
        for node in _monitor().iterfind("nodes/node")
        if node.get("type", "member") == "member"
    ]


def cannot_change() -> str | None:
    """Why a permanent change to the CIB is not safe now, or None."""
    root = _monitor()
    coordinator = root.find("summary/current_dc")
    if coordinator is None or coordinator.get("present") != "true":
        return "the cluster has not chosen a coordinator yet"
    if coordinator.get("with_quorum") != "true":
        return "this part of the cluster has no quorum"
    return None


def not_running(wanted: Configuration) -> list[str]:
    """Which resources of ``wanted`` are not in the state they are for, in sentences; nothing that is out of management."""
    root = _monitor()
    found: dict[str, list[Any]] = {}
    for resource in root.iterfind("resources//resource"):
        found.setdefault((resource.get("id") or "").partition(":")[0], []).append(resource)
    able = [
        node
        for node in root.iterfind("nodes/node")
        if node.get("online") == "true" and "true" not in (node.get("standby"), node.get("maintenance"))
    ]
    failures = {
        (failure.get("op_key") or "").rpartition("_")[0].rpartition("_")[0].partition(":")[0]: failure
        for failure in root.iterfind("failures/failure")
    }
    sentences = []
    for resource in wanted.resources:
        if isinstance(resource, Primitive):
            problem = _primitive_problem(resource, found.get(resource.id, []))
        elif isinstance(resource, Clone) and isinstance(resource.member, Primitive):
            maximum = int(resource.meta("clone-max") or len(able))
            problem = _clone_problem(resource, found.get(resource.member.id, []), min(maximum, len(able)))
        else:
            continue
        if problem:
            member = resource.member if isinstance(resource, Clone) else resource
            failure = failures.get(member.id) if member else None
            reason = (
                f" ({failure.get('task')} on {failure.get('node')}: {_reason(failure)})" if failure is not None else ""
            )
            sentences.append(problem + reason)
    return sentences


def _reason(failure: Any) -> str:
    return failure.get("exitreason") or failure.get("exitstatus") or "failed"


def _runs(instance: Any) -> bool:
    """Whether it is up, not on its way: Pacemaker counts a resource that starts as active."""
    return instance.get("active") == "true" and instance.get("failed") != "true" and not instance.get("pending")


def _managed(instances: list[Any]) -> list[Any]:
    return [instance for instance in instances if instance.get("managed") == "true"]


def _primitive_problem(resource: Primitive, instances: list[Any]) -> str | None:
    if instances and not _managed(instances):
        return None
    if any(_runs(instance) for instance in instances):
        return None
    return f"{resource.id} is not running"


def _clone_problem(resource: Clone, instances: list[Any], wanted: int) -> str | None:
    if instances and not _managed(instances):
        return None
    active = [instance for instance in instances if _runs(instance)]
    # The role is Master in the output of Pacemaker before 2.1.
    if resource.promotable and wanted and not any(one.get("role") in ("Promoted", "Master") for one in active):
        return f"{resource.id} has no promoted instance"
    if len(active) < wanted:
        return f"{resource.id} runs on {len(active)} of {wanted} nodes"
    return None


def _monitor() -> Any:
    return _xml(local.run(["crm_mon", "--one-shot", "--output-as=xml", "--inactive"], _TIMEOUT), "crm_mon")


def _xml(result: local.Result, tool: str) -> Any:
    if result.rc in _DISCONNECTED:
        raise HafailoverError(
            "the cluster is not running on this node; start it (systemctl start pacemaker) or go to a member"
        )
    try:
        root = etree.fromstring(result.out.encode())
    except etree.XMLSyntaxError:
        said = (result.err or result.out).strip().splitlines()
        raise HafailoverError(f"{tool} failed: {said[-1] if said else f'exit code {result.rc}'}") from None
    status = root.find("status")
    if status is not None and status.get("code") in {str(code) for code in _DISCONNECTED}:
        raise HafailoverError(
            "the cluster is not running on this node; start it (systemctl start pacemaker) or go to a member"
        )
    return root
