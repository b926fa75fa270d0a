"""A stack looked at, at one moment: what would go to the node, with what checks, and in what order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from hafailover.crm import stack_checks, stack_forecast, stack_pins, stack_preferences, switchover_facts
from hafailover.crm.formats import cib
from hafailover.crm.promotion_run import PlannedHooks
from hafailover.crm.resolved import Resolved
from hafailover.crm.stack import Stack, stack
from hafailover.crm.stack_checks import Plan
from hafailover.crm.stack_watch import seen
from hafailover.crm.status import Status
from hafailover.crm.status_facts import Facts
from hafailover.crm.status_read import read
from hafailover.crm.status_xml import parse
from hafailover.crm.switchover import Check, nothing_to_do, preflight
from hafailover.crm.switchover import steps as database_steps

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run


class StackCase(NamedTuple):
    """``old``: ids of constraints that have ended, or whose command is dead, and whose names ours need. ``old_words``: of the schema."""

    status: Status
    plan: Plan
    checks: tuple[Check, ...]
    planned: tuple[str, ...]
    old: tuple[str, ...]
    old_words: bool


def examine(
    run: Run, facts: Facts, node: str, leave: Callable[[Stack], frozenset[str]], accept: frozenset[str]
) -> StackCase:
    """Look at bringing everything to ``node`` but what ``leave`` says of the whole; items in ``accept`` are let pass if they may be."""
    status = read(facts)
    root = cib.parse(facts.cib, "the cluster's configuration")
    resolved = Resolved(cib.read(root))
    found = stack(resolved, leave(stack(resolved)))
    now = seen(parse(facts.mon))
    places = {mover.id: now.place(mover) for mover in found.movers}
    plan = stack_checks.plan(status, found, node, places)
    left = tuple(stack_preferences.existing(root))
    roots = {mover.id for mover in plan.moves}
    # Ours are a dead command's, whatever they are of: he would hold the lock.
    # What a quote in an id would do to the expression that finds it must not be tried.
    old = tuple(
        one.id
        for one in left
        if (one.ours or (one.resource in roots and (one.until or status.at + 1) <= status.at)) and "'" not in one.id
    )
    words = stack_preferences.old_words(root)
    if plan.nothing:
        return StackCase(status, plan, (), (), old, words)
    databases, switchovers = {}, {}
    for service in plan.services.values():
        if not nothing_to_do(service, node):
            answers = switchover_facts.ask(service, node)
            forecast = switchover_facts.forecast(run, facts.cib, status, service, node)
            databases[service.name] = preflight(status, service, node, answers, forecast, accept)
            hooks = PlannedHooks(run, status, service, node, None, lambda said: None)
            switchovers[service.name] = (
                *database_steps(service, node, status.addresses_of(service), forecast),
                *(f"and {line}" for line in hooks.described()),
            )
    primaries = {clone: one.primary for clone, one in plan.services.items() if one.primary and one.primary != node}
    ahead = stack_forecast.forecast(stack_preferences.without_preferences(root), found, plan.moves, primaries, node)
    pins = stack_pins.pins(resolved, plan.moving, node)
    checks = stack_checks.checks(status, plan, ahead, left, databases, accept, pins)
    return StackCase(status, plan, checks, stack_checks.steps(plan, ahead, switchovers), old, words)
