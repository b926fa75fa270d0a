"""What Pacemaker would do when a stack is brought to a node, step by step as the command does it: asked of crm_simulate before."""

from __future__ import annotations

import copy
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hafailover.agents.mariadb import decide
from hafailover.crm import simulate_run, values
from hafailover.crm.errors import HafailoverError
from hafailover.crm.simulate_places import Place, places
from hafailover.crm.simulate_run import FENCE, Step
from hafailover.crm.simulate_state import attribute, set_attribute
from hafailover.crm.stack import Mover, Stack
from hafailover.crm.stack_preferences import with_preferences, without_preferences

_LONG = 3600.0  # seconds; in the simulation a preference never ends by itself
_WORDS = {
    "stop": "stops",
    "demote": "is demoted",
    "migrate_to": "moves away",
    "start": "starts",
    "promote": "is promoted",
    "migrate_from": "arrives",
}
_TAKES_AWAY = ("stop", "demote", "migrate_to")


@dataclass(frozen=True)
class Forecast:
    """What would happen, in the order of the command.

    due: what Pacemaker would do anyway. steps: the actions of the move. moved: mover → where it would be. disturbed: what else the move
    would stop. fenced: nodes. databases: database → who would be its primary, and led: mover → where it would be then. with_databases:
    what else their switchovers would stop. drifts: what would not stay when the preferences are gone. error: why there is no forecast.
    """

    due: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    moved: Mapping[str, str] = field(default_factory=dict)
    disturbed: tuple[str, ...] = ()
    fenced: tuple[str, ...] = ()
    databases: Mapping[str, str] = field(default_factory=dict)
    led: Mapping[str, str] = field(default_factory=dict)
    with_databases: tuple[str, ...] = ()
    drifts: tuple[str, ...] = ()
    error: str = ""


def forecast(cib: Any, stack: Stack, moves: Sequence[Mover], primaries: Mapping[str, str], node: str) -> Forecast:
    """Let crm_simulate play it on the element cib of the live cluster.

    ``moves``: the roots that are brought to ``node``; ``primaries``: clone → present primary of each database whose role is to move.
    """
    try:
        return _forecast(cib, stack, moves, primaries, node)
    except HafailoverError as error:
        return Forecast(error=str(error))


def _forecast(cib: Any, stack: Stack, moves: Sequence[Mover], primaries: Mapping[str, str], node: str) -> Forecast:
    before = simulate_run.react(cib, ())
    due = tuple(_sentences(before.steps, (*_WORDS, FENCE)))
    moving = [one for root in moves for one in (root, *stack.with_root(root.id))]
    root, found = cib, before
    steps: tuple[Step, ...] = ()
    drifts: list[str] = []
    if moves:
        wanted = with_preferences(cib, dict.fromkeys(moves, node), time.time() + _LONG)
        found = simulate_run.react(wanted, ())
        steps = found.steps
        root = _with_roles_scored(without_preferences(found.cib), moves, places(before.before, ()), node)
        drifts += _sentences(simulate_run.react(root, ()).steps, _TAKES_AWAY)
    after = places(found.after, ())
    moved = {mover.id: where(after, mover) for mover in moving}
    others: list[str] = []
    databases: dict[str, str] = {}
    led: dict[str, str] = {}
    fenced = [step.node for step in steps if step.action == FENCE]
    for clone, old in primaries.items():
        name = stack.databases[clone]
        root = copy.deepcopy(root)
        set_attribute(root, node, f"master-{name}", str(decide.SCORE_REQUESTED))
        found = simulate_run.react(root, ())
        after = places(found.after, ())
        ours = {name, *stack.primitives(stack.with_root(clone))}
        others += _sentences([one for one in found.steps if one.resource not in ours], (*_TAKES_AWAY, FENCE))
        promoted = after.get(name, Place((), ())).promoted
        databases[name] = promoted[0] if len(promoted) == 1 else ""
        led.update((mover.id, where(after, mover)) for mover in stack.with_root(clone))
        root = found.cib
        set_attribute(root, node, f"master-{name}", str(decide.SCORE_PRIMARY))
        set_attribute(root, old, f"master-{name}", str(decide.SCORE_IN_SYNC))
    if primaries:
        drifts += _sentences(simulate_run.react(root, ()).steps, _TAKES_AWAY)
    return Forecast(
        due=due,
        steps=steps,
        moved=moved,
        disturbed=tuple(_disturbed(steps, stack.primitives(moving))),
        fenced=tuple(dict.fromkeys(fenced)),
        databases=databases,
        led=led,
        with_databases=tuple(others),
        drifts=tuple(dict.fromkeys(drifts)),
    )


def where(found: Mapping[str, Place], mover: Mover) -> str:
    """The one node on which all of ``mover`` that runs is, or ""."""
    nodes: set[str] = set()
    for name in mover.primitives:
        place = found.get(name, Place((), ()))
        nodes.update(place.promoted if mover.role else (*place.promoted, *place.running))
    return nodes.pop() if len(nodes) == 1 else ""


def _disturbed(steps: Sequence[Step], ours: Collection[str]) -> Iterator[str]:
    return _sentences([step for step in steps if step.resource not in ours], _TAKES_AWAY)


def _sentences(steps: Sequence[Step], actions: Collection[str]) -> Iterator[str]:
    for step in steps:
        if step.action in actions:
            if step.action == FENCE:
                yield f"{step.node} is fenced"
            else:
                yield f"{step.resource} {_WORDS[step.action]} on {step.node}"


def _with_roles_scored(root: Any, moves: Sequence[Mover], before: Mapping[str, Place], node: str) -> Any:
    """Agents give a primary the higher score once it is promoted: taken to be so here, or the role would go back at once."""
    for mover in moves:
        old = where(before, mover)
        if mover.role != values.PROMOTED or not old:
            continue
        for name in mover.primitives:
            one, other = (attribute(root, here, f"master-{name}") for here in (old, node))
            if one is not None and other is not None and values.score(one) > values.score(other):
                set_attribute(root, node, f"master-{name}", one)
                set_attribute(root, old, f"master-{name}", other)
    return root
