"""When did what happen after a fault: read from Pacemaker's own log lines, the agents' events and the power switch.

Pacemaker's lines come first because every agent, ours or not, leaves them. All nodes, the power switch and the
writers share one kernel's clock, so their times compare directly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hafailover.crm.history.words import Step


class LogLine(NamedTuple):
    """One journal record of a node. ``time`` in Unix seconds; ``event`` is HAFAILOVER_EVENT, or empty."""

    time: float
    node: str
    source: str
    message: str
    event: str = ""


class Power(NamedTuple):
    """One action of the power switch (fencing): Unix seconds, node, "off", "on" or "reboot"."""

    time: float
    node: str
    action: str


class Phases(NamedTuple):
    """Seconds from the fault; None where a phase does not apply or left no trace.

    ``demoted``: the old primary had given up the role in good order. ``drained``: the new primary had applied everything it had
    received. ``services_up``: the last of the other resources that were started where the new primary is.
    """

    detected: float | None = None
    fenced: float | None = None
    promoted: float | None = None
    address_up: float | None = None
    drained: float | None = None
    services_up: float | None = None
    demoted: float | None = None


ORDER = ("detected", "demoted", "fenced", "drained", "promoted", "address_up", "services_up")
"""The phases as they usually come."""


_RESULT = re.compile(
    r"Result of (?P<action>\w+) operation for (?P<resource>[\w.-]+?)(?::\d+)? on (?P<node>\S+): (?P<result>.+?)\s*(?:\||$)"
)
_LOST = re.compile(r"Node (?P<node>\S+) state is now lost")
_SCORE_GONE = re.compile(
    r"Setting (?:master|promotion)-(?P<resource>[\w.-]+)\[(?P<node>[^\]]+)\].*-> (?:-INFINITY|-1000000)"
)
# What ocf:hafailover:mariadb says when it knows that its server has to give up the role.
_DEATH_EVENTS = frozenset(("died", "hand-over"))
_POWER_OFF = frozenset(("off", "reboot"))
_FENCES = ("fence", "stonith", "watchdog")  # how generated devices are called: that they are watched is no service
_LATEST = frozenset(("services_up",))  # of which the last trace counts, not the first


def phases(
    lines: Iterable[LogLine],
    power: Iterable[Power],
    fault: float,
    old: str,
    new: str,
    resources: Mapping[str, str],
    history: Iterable[Step] = (),
) -> Phases:
    """Find the first trace of each phase at or after ``fault`` (Unix seconds).

    ``old`` and ``new`` are the primary's nodes before and after; ``resources`` names the cluster's resources:
    {"database": "db", "address": "vip"}. Detection is the cluster's first notice that the old primary or its server
    is gone: a lost membership, a failed monitor, an agent that says its server died, or its promotion score dropping
    out. Fencing counts only for the old primary. ``history`` is what the cluster itself has written down.
    """
    found: dict[str, float] = {}
    for line in lines:
        if line.time >= fault:
            phase = _phase_of(line, old, new, resources)
            if phase is not None:
                _enter(found, phase, line.time)
    for step in history:
        phase = _phase_in_history(step, old, new, resources) if step.at >= fault else None
        if phase is not None:
            _enter(found, phase, step.at)
    for action in power:
        if action.time >= fault and action.node == old and action.action in _POWER_OFF:
            found["fenced"] = min(found.get("fenced", action.time), action.time)
    return Phases(**{phase: round(when - fault, 3) for phase, when in found.items()})


def _enter(found: dict[str, float], phase: str, when: float) -> None:
    choose = max if phase in _LATEST else min
    found[phase] = choose(found.get(phase, when), when)


def _phase_in_history(step: Step, old: str, new: str, resources: Mapping[str, str]) -> str | None:
    if step.node == old and step.name == "fence":
        return None if step.bad else "fenced"
    if step.node == old and step.name in ("detect", "lost"):
        return "detected" if step.resource in ("", resources["database"]) else None
    if step.node == old and step.name == "demote" and step.record.kind == "resource":
        return "demoted" if step.resource == resources["database"] and not step.bad else None
    if step.node != new or step.bad:
        return None
    if step.name == "promote" and step.resource == resources["database"]:
        return "promoted"
    if step.name == "drain" and step.resource == resources["database"]:
        return "drained"
    if step.name in ("address", "services") and step.resource == resources["address"]:
        return "address_up"
    started = step.name == "services" and step.record.kind == "resource" and step.resource != resources["database"]
    return "services_up" if started else None


def _phase_of(line: LogLine, old: str, new: str, resources: Mapping[str, str]) -> str | None:
    if line.event in _DEATH_EVENTS and line.node == old:
        return "detected"
    if line.event == "drained":
        return "drained" if line.node == new else None
    lost = _LOST.search(line.message)
    if lost:
        return "detected" if lost["node"] == old else None
    score = _SCORE_GONE.search(line.message)
    if score:
        return "detected" if score["node"] == old and score["resource"] == resources["database"] else None
    result = _RESULT.search(line.message)
    if result is None:
        return None
    succeeded = result["result"].lower().startswith("ok")
    if result["node"] == new and succeeded:
        known = {("promote", resources["database"]): "promoted", ("start", resources["address"]): "address_up"}
        phase = known.get((result["action"], result["resource"]))
        other = result["action"] == "start" and result["resource"] not in resources.values()
        return "services_up" if phase is None and other and not result["resource"].startswith(_FENCES) else phase
    if (result["action"], result["resource"], result["node"]) == ("demote", resources["database"], old) and succeeded:
        return "demoted"
    ours = (result["action"], result["resource"], result["node"]) == ("monitor", resources["database"], old)
    return "detected" if ours and not succeeded and not result["result"].lower().startswith("promoted") else None


def address_gap(lines: Iterable[LogLine], fault: float, old: str, new: str, address: str) -> float | None:
    """Return the seconds from the address's stop on ``old`` (or the fault, if it was not stopped) to its start on ``new``."""
    stopped, started = fault, None
    for line in sorted(lines):
        result = _RESULT.search(line.message)
        if line.time < fault or result is None or result["resource"] != address:
            continue
        if (result["action"], result["node"]) == ("stop", old):
            stopped = line.time
        if (result["action"], result["node"]) == ("start", new):
            started = line.time
            break
    return None if started is None else started - stopped


def fenced_nodes(power: Iterable[Power], since: float) -> frozenset[str]:
    """Return the nodes that the power switch turned off at or after ``since`` (Unix seconds)."""
    return frozenset(action.node for action in power if action.time >= since and action.action in _POWER_OFF)
