"""What Pacemaker would do, and what it is doing: crm_simulate and crm_mon, read from their XML."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hafailover.crm import local, values
from hafailover.crm.errors import HafailoverError
from hafailover.crm.model import Clone, Configuration, Group, Primitive
from lxml import etree

_TIMEOUT = 30.0
_DISCONNECTED = (102, 107)
_PROMOTED = ("Promoted", "Master")  # the role is Master before Pacemaker 2.1
_DISRUPTIVE = frozenset({"stop", "demote", "move", "migrate", "restart", "recover", "reboot", "off", "fence"})


@dataclass(frozen=True)
class Effect:
    """One thing Pacemaker would do: ``action`` (start, stop, promote, …) on ``resource`` at ``node``.

    ``role`` is what the instance is before it, ``source`` where it comes from when it moves, ``when``
    what it waits for; "" when not said.
    """

    action: str
    resource: str
    node: str
    role: str = ""
    source: str = ""
    when: str = ""

    @property
    def disruptive(self) -> bool:
        """Whether something that runs stops running there, if only for a moment."""
        return any(word in self.action for word in _DISRUPTIVE)

    @property
    def takes_primary(self) -> bool:
        """Whether a promoted instance is stopped, demoted or restarted, if only for a moment."""
        return self.disruptive and self.role in _PROMOTED

    def __str__(self) -> str:
        when = f" {self.when}" if self.when else ""
        if not self.resource:
            return f"{self.action} {self.node}{when}"
        if self.source and self.source != self.node:
            return f"{self.action} {self.resource} from {self.source} to {self.node}{when}"
        return f"{self.action} {self.resource} on {self.node}{when}"

    def as_dict(self) -> dict[str, str]:
        """For JSON; without what is not said."""
        return {key: value for key, value in asdict(self).items() if value or key in ("action", "resource", "node")}


def effects(before: Path, after: Path) -> tuple[Effect, ...]:
    """What Pacemaker would do with the CIB in ``after`` and would not do anyway with the one in ``before``."""
    anyway = set(_effects(before))
    return tuple(effect for effect in _effects(after) if effect not in anyway)


def later_effects(before: Any, after: Any, scratch: Path) -> tuple[Effect, ...]:
    """What Pacemaker would do with the element cib ``after`` only when what is in maintenance or not managed is managed again.

    It does nothing about a new parameter there, and restarts the service when somebody ends the maintenance. ``scratch`` is a directory.
    """
    if not _out_of_management(before) and not _out_of_management(after):
        return ()
    paths = []
    for name, root in (("before", before), ("after", after)):
        managed = copy.deepcopy(root)
        for pair in _out_of_management(managed):
            pair.getparent().remove(pair)
        paths.append(scratch / f"managed-{name}.xml")
        paths[-1].write_bytes(etree.tostring(managed))
    return tuple(replace(effect, when="when maintenance ends") for effect in effects(paths[0], paths[1]))


def _out_of_management(root: Any) -> list[Any]:
    """The pairs that keep Pacemaker's hands off the cluster, a node or a resource."""
    return [
        pair
        for pair in root.iter("nvpair")
        if (pair.get("name") in ("maintenance-mode", "maintenance") and values.boolean(pair.get("value")))
        or (pair.get("name") == "is-managed" and values.boolean(pair.get("value")) is False)
    ]


def _effects(path: Path) -> Iterator[Effect]:
    result = local.run(["crm_simulate", "--xml-file", str(path), "--simulate", "--output-as=xml"], _TIMEOUT)
    root = _xml(result, "crm_simulate")
    for action in root.iterfind("actions/*"):
        node = action.get("node") or action.get("dest") or action.get("source") or ""
        resource = (action.get("resource") or "").partition(":")[0]
        if action.tag == "rsc_action":
            source = (action.get("source") or "") if action.get("dest") else ""
            yield Effect(action.get("action", "").lower(), resource, node, action.get("role") or "", source)
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
    for member, problem in _problems(wanted.resources, found, len(able)):
        failure = failures.get(member.id)
        reason = f" ({failure.get('task')} on {failure.get('node')}: {_reason(failure)})" if failure is not None else ""
        sentences.append(problem + reason)
    return sentences


def _problems(
    resources: Sequence[object], found: Mapping[str, list[Any]], able: int
) -> Iterator[tuple[Primitive, str]]:
    """Each primitive of ``resources``, also in groups and clones of groups, that is not up where it should be on ``able`` nodes."""
    for resource in resources:
        if isinstance(resource, Primitive) and (problem := _primitive_problem(resource, found.get(resource.id, []))):
            yield resource, problem
        elif isinstance(resource, Group):
            yield from _problems(resource.members, found, able)
        elif isinstance(resource, Clone) and resource.member is not None:
            wanted = min(int(resource.meta("clone-max") or able), able)
            inner = resource.member
            for member in inner.members if isinstance(inner, Group) else (inner,):
                # Of a cloned group the member is named: the clone's id alone would not say which one is missing.
                name = f"{member.id} of {resource.id}" if isinstance(inner, Group) else resource.id
                if problem := _clone_problem(resource, name, found.get(member.id, []), wanted):
                    yield member, problem


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


def _clone_problem(resource: Clone, name: str, instances: list[Any], wanted: int) -> str | None:
    if instances and not _managed(instances):
        return None
    active = [instance for instance in instances if _runs(instance)]
    if resource.promotable and wanted and not any(one.get("role") in _PROMOTED for one in active):
        return f"{name} has no promoted instance"
    if len(active) < wanted:
        return f"{name} runs on {len(active)} of {wanted} nodes"
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
