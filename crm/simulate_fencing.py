"""Who could fence a node: crm_simulate lets every fencing succeed, whether a device can do it or not."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hafailover.crm import fence_hosts, values
from hafailover.crm.formats import cib
from hafailover.crm.resolved import Resolved, Resource

_BETWEEN = re.compile(r"[,;\s]+")


@dataclass(frozen=True)
class Fencing:
    """Whether a node can be fenced: ``refused`` is why not (""), ``believed`` the devices of which only they themselves know it."""

    refused: str = ""
    believed: tuple[str, ...] = ()


def of(root: Any, target: str, left: Collection[str]) -> Fencing:
    """Whether ``target`` can be fenced in the element cib ``root`` by a device that one of the nodes ``left`` may use.

    As Pacemaker's fencer sees it: a device need not be started to be used, but must not be disabled (target-role) or banned from the node.
    """
    resolved = Resolved(cib.read(root))
    if _watchdog(resolved):
        return Fencing()
    devices = {one.id: one for one in resolved.resources.values() if one.agent.startswith("stonith:")}
    verdicts = {name: _device(resolved, device, target, left) for name, device in devices.items()}
    levels = list(_levels(root, target))
    if None in levels:  # a pattern or a node attribute decides: not judged here
        return Fencing()
    if levels:
        for names in levels:
            assert names is not None
            found = [verdicts.get(name, Fencing(f"{name} is not there")) for name in names]
            if not any(one.refused for one in found):
                return Fencing(believed=tuple(name for one in found for name in one.believed))
        reasons = [
            verdicts[name].refused if name in verdicts else f"{name} is not there"
            for names in levels
            for name in names or ()
        ]
        said = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
        return Fencing(f"no level of its fencing topology can be carried out ({said})")
    able = [one for one in verdicts.values() if not one.refused]
    if able:
        sure = any(not one.believed for one in able)
        return Fencing(believed=() if sure else tuple(name for one in able for name in one.believed))
    covering = [one.refused for name, one in verdicts.items() if _covers(devices[name], target) is not False]
    return Fencing("; ".join(covering) or ("no fence device is for it" if devices else "there is no fence device"))


def _watchdog(resolved: Resolved) -> bool:
    """Whether sbd's watchdog ends a node that nobody can reach."""
    timeout = (resolved.property("stonith-watchdog-timeout") or "0").strip()
    there = values.boolean(resolved.property("have-watchdog"))
    return bool(there) and (timeout.startswith("-") or (values.milliseconds(timeout) or 0) > 0)


def _device(resolved: Resolved, device: Resource, target: str, left: Collection[str]) -> Fencing:
    covers = _covers(device, target)
    if covers is False:
        return Fencing(f"{device.id} is not for it")
    if values.role(device.meta.get("target-role")) == values.STOPPED:
        return Fencing(f"{device.id} is disabled (target-role)")
    if not any(_allowed(resolved, device, node) for node in left):
        where = f"no node that is left ({', '.join(left)})" if left else "no node, none is left"
        return Fencing(f"{device.id} may be used on {where}")
    return Fencing(believed=(device.id,) if covers is None else ())


def _covers(device: Resource, target: str) -> bool | None:
    """Whether the device is for ``target``; None when it is asked itself, or a rule decides."""
    return None if fence_hosts.PARAMETERS & device.uncertain else fence_hosts.read(device.params).covers(target)


def _allowed(resolved: Resolved, device: Resource, node: str) -> bool:
    """Whether its locations let the device be used on ``node``; what a rule decides is not counted."""
    about = {device.id, device.top}
    scores = [one.score for one in resolved.locations if one.rsc in about and one.node == node and not one.conditional]
    if -values.INFINITY in scores:
        return False
    if not scores and values.boolean(resolved.property("symmetric-cluster")) is False:
        return False
    return sum(scores) >= 0


def _levels(root: Any, target: str) -> Iterator[tuple[str, ...] | None]:
    """The devices of each level for ``target``, in order; None for a level that may be for it."""
    found: Mapping[int, list[str]] = {}
    for level in root.iterfind("configuration/fencing-topology/fencing-level"):
        if level.get("target") is None:
            yield None
        elif level.get("target").lower() == target.lower():
            index = int(level.get("index")) if (level.get("index") or "").isdigit() else 0
            found = {**found, index: [one for one in _BETWEEN.split(level.get("devices") or "") if one]}
    yield from (tuple(found[index]) for index in sorted(found))
