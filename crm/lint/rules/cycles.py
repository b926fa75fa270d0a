"""Rules about orders that wait for each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Callable, NamedTuple

from hafailover.crm import values
from hafailover.crm.knots import knots
from hafailover.crm.lint import ERROR, Facts, Found, rule
from hafailover.crm.lint.paste import command
from hafailover.crm.resolved import Resolved, Resource

_INVERSE = {"start": "stop", "stop": "start", "promote": "demote", "demote": "promote"}


class _Step(NamedTuple):
    """The beginning or the end of an action of a resource."""

    resource: str
    action: str
    end: bool


_Edges = dict[_Step, list[tuple[_Step, str]]]
"""What comes after each step, and by which constraint ("": by what a group or clone is)."""
_Add = Callable[[_Step, _Step, str], None]


@rule(
    "order-cycle",
    ERROR,
    code="L12",
    needs=("resolved",),
    remedy="take one of the constraints out",
    why="crm_verify has nothing against the circle, and then no transition can be carried out (an invalid transition was produced): "
    "after the next reboot none of these resources is ever started, also when the orders are Optional",
)
def order_cycle(facts: Facts) -> Iterator[Found]:
    """Resources wait for each other in a circle."""
    here = facts.cluster
    edges = _edges(here)
    told: set[frozenset[str]] = set()
    for circle in _circles(edges):
        ids = list(dict.fromkeys(id for _, id in circle if id))
        resources = list(dict.fromkeys(step.resource for step, _ in circle))
        if not ids or frozenset(ids) in told:
            continue  # the same circle of the opposite actions
        told.add(frozenset(ids))
        by = ", ".join(ids)
        if len(resources) == 1:
            text = f"{resources[0]} waits for itself ({by})"
        else:
            text = f"{' waits for '.join([*resources, resources[0]])} ({by})"
        yield Found(ids[0], text, command("crm", "configure", "delete", ids[-1]))


def _edges(here: Resolved) -> _Edges:
    """Every order but those of which any is enough. Optional and Serialize bind, too, when all happens at once, as at a boot."""
    edges: _Edges = {}

    def add(before: _Step, after: _Step, id: str) -> None:
        edges.setdefault(before, []).append((after, id))

    actions = {(one.first, one.first_action) for one in here.orders} | {
        (one.then, one.then_action) for one in here.orders
    }
    for one in here.resources.values():
        for action in ("start", "promote", "demote", "stop"):
            _inside(here, one, action, add)
        add(_Step(one.id, "start", True), _Step(one.id, "promote", False), "")
        add(_Step(one.id, "demote", True), _Step(one.id, "stop", False), "")
    for id, action in actions:
        if action not in _INVERSE:
            add(_Step(id, action, False), _Step(id, action, True), "")
    for order in here.orders:
        if not order.require_all:
            continue
        add(_Step(order.first, order.first_action, True), _Step(order.then, order.then_action, False), order.id)
        first, then = _INVERSE.get(order.first_action), _INVERSE.get(order.then_action)
        if order.symmetrical and first and then:
            add(_Step(order.then, then, True), _Step(order.first, first, False), order.id)
    return edges


def _inside(here: Resolved, one: Resource, action: str, add: _Add) -> None:
    """An action of a group or clone is that of its members, of a group one after the other."""
    begin, end = _Step(one.id, action, False), _Step(one.id, action, True)
    if not one.children:
        add(begin, end, "")
        return
    for child in one.children:
        add(begin, _Step(child, action, False), "")
        add(_Step(child, action, True), end, "")
    if one.kind == "group" and values.boolean(one.meta.get("ordered")) is not False:
        members = one.children if action in ("start", "promote") else one.children[::-1]
        for before, after in zip(members, members[1:]):
            add(_Step(before, action, True), _Step(after, action, False), "")


def _circles(edges: _Edges) -> Iterator[list[tuple[_Step, str]]]:
    """One circle of each knot: its steps, each with the constraint that leads to the next one."""
    found = knots(edges, lambda step: [after for after, _ in edges.get(step, ())])
    members: dict[int, list[_Step]] = {}
    for step, knot in found.items():
        members.setdefault(knot, []).append(step)
    for knot, steps in sorted(members.items()):
        if len(steps) > 1 or any(after == steps[0] for after, _ in edges.get(steps[0], ())):
            yield _shortest(edges, found, knot, min(steps))


def _shortest(edges: _Edges, found: Mapping[_Step, int], knot: int, begin: _Step) -> list[tuple[_Step, str]]:
    came: dict[_Step, tuple[_Step, str]] = {}
    waiting = [begin]
    for step in waiting:
        for after, id in edges.get(step, ()):
            if after == begin:
                path = [(step, id)]
                while path[-1][0] != begin:
                    path.append(came[path[-1][0]])
                return path[::-1]
            if found[after] == knot and after not in came:
                came[after] = step, id
                waiting.append(after)
    return []
