"""May the stack be brought to this node now? Pure: facts in, a list of checks with their reasons out, as for a database alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from hafailover.crm.stack import Mover, Stack
from hafailover.crm.stack_forecast import Forecast
from hafailover.crm.stack_preferences import Existing
from hafailover.crm.status import Ban, Failure, Service, Status
from hafailover.crm.status_words import clock, consequence, describe
from hafailover.crm.switchover import NEVER, Check, cluster_checks


@dataclass(frozen=True)
class Plan:
    """What is to be done. ``places``: mover → where it is now, "" when that is not one node. ``moves``: the roots that are brought to
    ``node``. ``services``: clone → the database, of those whose role is to move. ``there``: names of what is on the node already."""

    node: str
    stack: Stack
    places: Mapping[str, str]
    moves: tuple[Mover, ...]
    services: Mapping[str, Service]
    there: tuple[str, ...]

    @property
    def nothing(self) -> bool:
        """Whether everything is there already."""
        return not self.moves and not self.services

    def along(self, root: str) -> tuple[str, ...]:
        """The names of what goes with ``root``."""
        return tuple(mover.id for mover in self.stack.with_root(root))

    @property
    def moving(self) -> tuple[Mover, ...]:
        """The roots that are moved, and what goes with them."""
        return tuple(one for root in self.moves for one in (root, *self.stack.with_root(root.id)))


def plan(status: Status, stack: Stack, node: str, places: Mapping[str, str]) -> Plan:
    """What of ``stack`` has still to be brought to ``node``."""
    services = {one.clone: one for one in status.services if one.clone in stack.databases}
    away = {
        clone: one
        for clone, one in services.items()
        if one.primary != node or one.journal.primary != node or _elsewhere(stack, clone, node, places)
    }
    moves = tuple(
        root for root in stack.roots if places.get(root.id) != node or _elsewhere(stack, root.id, node, places)
    )
    there = [root.words for root in stack.roots if root not in moves]
    there += [f"the primary of {one.name}" for clone, one in services.items() if clone not in away]
    return Plan(node, stack, places, moves, away, tuple(there))


def _elsewhere(stack: Stack, root: str, node: str, places: Mapping[str, str]) -> bool:
    return any(places.get(mover.id) != node for mover in stack.with_root(root))


def checks(
    status: Status,
    wanted: Plan,
    forecast: Forecast,
    left: Sequence[Existing],
    databases: Mapping[str, Sequence[Check]],
    accepted: frozenset[str] = frozenset(),
    pins: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Check, ...]:
    """Every check for what is planned. ``left``: preferences that are in the CIB; ``databases``: name → the checks of its switchover;
    ``pins``: what crm/stack_pins.py says."""
    shared = cluster_checks(status, wanted.node)
    known = {check.name for check in shared}
    found = [
        *shared,
        _managed(status, wanted),
        *_places(status, wanted),
        _failures(status, wanted),
        _bans(status, wanted, left),
        *_roles(wanted),
        *_forecast(wanted, forecast, pins),
    ]
    found = [
        replace(check, accepted=True) if check.ok is False and check.acceptable and check.name in accepted else check
        for check in found
    ]
    found += [check for one in databases.values() for check in one if check.name not in known]
    return tuple(found)


def _going(status: Status, wanted: Plan) -> Iterator[Mover]:
    """What is to move: by a preference, or with a database's role. The addresses of a database are in its own checks."""
    yield from wanted.moving
    for clone in wanted.services:
        service = status.service(clone)
        addresses = {one.id for one in status.addresses_of(service)} if service else set()
        yield from (mover for mover in wanted.stack.with_root(clone) if not addresses.issuperset(mover.primitives))


def _managed(status: Status, wanted: Plan) -> Check:
    ours = wanted.stack.primitives(_going(status, wanted))
    loose = sorted(
        {one.id for one in status.resources if one.id in ours and not one.managed}
        | {one.id for one in status.addresses if one.id in ours and not one.managed}
    )
    if not status.managing:
        return Check("managed", False, "the cluster is in maintenance mode and would do nothing")
    if loose:
        return Check("managed", False, f"Pacemaker does not manage {', '.join(loose)}")
    return Check("managed", True, "Pacemaker manages everything that is to move")


def _places(status: Status, wanted: Plan) -> Iterator[Check]:
    for mover in wanted.moving:
        if not wanted.places.get(mover.id):
            says = f"{mover.words} does not run on one node ({_shown(status, mover)}): hafailover status"
            yield Check("running", False, f"{says}{_leave(wanted, [mover])}")
    for clone in wanted.stack.databases:
        service = status.service(clone)
        if service is None or not service.primary:
            continue  # the checks of the database say so
        for mover in wanted.stack.with_root(clone):
            if wanted.places.get(mover.id) != service.primary:
                yield Check(
                    "running",
                    False,
                    f"{mover.words} is not with the primary of {service.name} on {service.primary}: hafailover status",
                )
    ours = wanted.stack.primitives(wanted.moving)
    broken = sorted({one.id for one in status.resources if one.id in ours and (one.failed or one.blocked)})
    broken += sorted({one.id for one in status.addresses if one.id in ours and one.failed})
    for name in broken:
        yield Check("running", False, f"{name} has failed: crm_resource --cleanup -r {name}")


def _leave(wanted: Plan, movers: Sequence[Mover]) -> str:
    """How to go without them: what they go with stays, too."""
    names = [name for name in dict.fromkeys(mover.root for mover in movers) if name not in wanted.stack.databases]
    return f"; without it: {' '.join(f'--leave {shlex.quote(name)}' for name in names)}" if names else ""


def _shown(status: Status, mover: Mover) -> str:
    said = []
    for name in mover.primitives:
        nodes = [node for one in status.resources if one.id == name for node in one.nodes]
        nodes += [node for one in status.addresses if one.id == name for node in one.nodes]
        said.append(f"{name} on {' and '.join(nodes)}" if nodes else f"{name} nowhere")
    return ", ".join(said)


def _roles(wanted: Plan) -> Iterator[Check]:
    """Of a database that is not ours, a lagging replica may be promoted, and what it had not received is lost."""
    for mover in wanted.moves:
        if mover.role:
            yield Check(
                "roles",
                False,
                f"{mover.words} is its own agent's affair: whether {wanted.node} has all its data is not known here",
                acceptable=True,
            )


def _failures(status: Status, wanted: Plan) -> Check:
    ours = wanted.stack.primitives(_going(status, wanted))
    found = [one for one in status.failures if one.node == wanted.node and one.resource in ours]
    standing = [one for one in found if _stands(one)]
    if standing:
        says = "; ".join(f"{describe(one)} ({consequence(one)})" for one in standing)
        clean = "; ".join(
            f"crm_resource --cleanup -r {name} -N {wanted.node}" for name in sorted({one.resource for one in standing})
        )
        return Check("failures", False, f"{says}. When the cause is mended: {clean}", acceptable=True)
    return Check("failures", True, f"nothing that is to move has failed on {wanted.node}")


def _stands(failure: Failure) -> bool:
    """What it was that failed is tried again: a start that failed once is as likely to fail once more."""
    return failure.lasting or failure.given_up or failure.task == "start"


def _bans(status: Status, wanted: Plan, left: Sequence[Existing]) -> Check:
    names = {name for mover in _going(status, wanted) for name in (mover.id, *mover.primitives)}
    found = [
        _ban(ban) for ban in status.bans if ban.node == wanted.node and ban.resource in names and ban.score <= NEVER
    ]
    roots = {mover.id for mover in wanted.moves}
    for one in left:
        if one.resource in roots and not one.ours and (one.until is None or one.until > status.at):
            until = "" if one.until is None else f", until {clock(one.until, status.at)}"
            found.append(
                f"{one.resource} has been moved by hand (constraint {one.id}{until}): "
                f"crm_resource --clear -r {one.resource}"
            )
    if found:
        return Check("bans", False, "; ".join(found))
    return Check("bans", True, f"no constraint keeps what is to move off {wanted.node}")


def _ban(ban: Ban) -> str:
    return f"{ban.resource} may not {'be promoted' if ban.promoted_only else 'run'} on {ban.node} (constraint {ban.id})"


def _forecast(wanted: Plan, forecast: Forecast, pins: Mapping[str, str]) -> Iterator[Check]:
    if forecast.error:
        # Unlike for a database, where the agent decides again, nothing else would stop a move that breaks something.
        yield Check("forecast", False, f"Pacemaker's simulation could not be run: {forecast.error}")
        return
    node = wanted.node
    if forecast.due:
        yield Check("rest", False, f"the cluster has still something to do: {_some(forecast.due)}")
    else:
        yield Check("rest", True, "the cluster has nothing else to do")
    lost = [mover for mover in wanted.moving if forecast.moved.get(mover.id) != node]
    astray = [
        f"{mover.words} would be {f'on {where}' if (where := forecast.moved.get(mover.id, '')) else 'nowhere'}"
        f"{f' ({pins[mover.id]})' if mover.id in pins else ''}"
        for mover in lost
    ]
    astray += [f"{name} would have {who or 'no'} primary" for name, who in forecast.databases.items() if who != node]
    astray += [
        f"{name} would be {f'on {where}' if where else 'nowhere'}"
        for name, where in forecast.led.items()
        if where != node
    ]
    astray += [f"{one} would be fenced" for one in forecast.fenced]
    if astray:
        says = f"asked for {node}, Pacemaker would do something else: {_some(astray)}"
        yield Check("forecast", False, f"{says}{_leave(wanted, lost)}")
    else:
        yield Check("forecast", True, f"Pacemaker's simulation brings everything to {node}, and fences nobody")
    disturbed = (*forecast.disturbed, *forecast.with_databases)
    if disturbed:
        yield Check("elsewhere", False, f"something else would be interrupted: {_some(disturbed)}", acceptable=True)
    else:
        yield Check("elsewhere", True, "nothing else is stopped by it, on any node")
    if forecast.drifts and not astray:
        yield Check(
            "stays",
            False,
            f"it would not stay on {node}: as soon as nothing holds it there, {_some(forecast.drifts)} (a location constraint weighs "
            "more than resource-stickiness: hafailover lint)",
        )
    elif not astray:
        yield Check("stays", True, f"it stays on {node} afterwards (resource-stickiness), without any constraint")


def _some(said: Sequence[str], limit: int = 4) -> str:
    more = f" and {len(said) - limit} more" if len(said) > limit else ""
    return "; ".join(said[:limit]) + more


def steps(wanted: Plan, forecast: Forecast, databases: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """What will happen, in order, for a person who is asked to agree. ``databases``: name → the steps of its switchover."""
    found = []
    for mover in _in_order(wanted, forecast):
        along = wanted.along(mover.id)
        parts = [name for name in mover.primitives if name != mover.id]
        inside = f" ({', '.join(parts)})" if parts and not mover.role else ""
        goes = f", and with it {', '.join(along)}" if along else ""
        found.append(
            f"{mover.words}{inside} goes from {wanted.places.get(mover.id) or 'nowhere'} to {wanted.node}{goes}"
        )
    for name, lines in databases.items():
        found += [f"{name}: {line}" for line in lines]
    found += [f"also: {one}" for one in (*forecast.disturbed, *forecast.with_databases)]
    return tuple(found)


def _in_order(wanted: Plan, forecast: Forecast) -> list[Mover]:
    """The roots in the order in which the simulation starts them: what others need comes first."""
    begins = {
        step.resource: number
        for number, step in reversed(list(enumerate(forecast.steps)))
        if step.action in ("start", "promote")
    }
    last = len(forecast.steps)
    return sorted(
        wanted.moves, key=lambda mover: min((begins.get(name, last) for name in mover.primitives), default=last)
    )
