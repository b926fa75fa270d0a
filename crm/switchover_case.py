"""A switchover looked at, at one moment: which database, with what checks, and what would happen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from hafailover.crm import switchover_facts
from hafailover.crm.probe import Probe
from hafailover.crm.status import Service, Status
from hafailover.crm.status_facts import Facts
from hafailover.crm.status_read import read
from hafailover.crm.switchover import Check, nothing_to_do, preflight, refused, steps
from hafailover.crm.switchover_probes import Probes

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run

_PASSING = frozenset({"idle", "in-sync", "lag", "replication", "score"})  # checks that a moment of load fails
_PASSES_WITHIN = 30.0  # seconds


class Case(NamedTuple):
    """``checks`` and the steps ``planned``; ``done``: there is nothing to do."""

    status: Status
    service: Service
    checks: tuple[Check, ...]
    planned: tuple[str, ...]
    done: bool


def examine(run: Run, facts: Facts, node: str, choose: Callable[[Status], Service], accept: frozenset[str]) -> Case:
    """Look at moving the role of the database that ``choose`` finds to ``node``; items in ``accept`` are let pass if they may be."""
    status = read(facts)
    service = choose(status)
    if nothing_to_do(service, node):
        return Case(status, service, (), (), done=True)
    answers = switchover_facts.ask(service, node)
    forecast = switchover_facts.forecast(run, facts.cib, status, service, node)
    checks = preflight(status, service, node, answers, forecast, accept)
    return Case(status, service, checks, steps(service, node, status.addresses_of(service), forecast), done=False)


def when_ready(
    look: Callable[[], Case], wait: Callable[[str], None], hurry: Callable[[], bool], patience: float
) -> Case:
    """The case as soon as nothing is against it, or something that does not pass. Load may pass for ``patience`` seconds, 30 at most.

    For who has moved something already: all of it would have to go back, for a second of lag. ``hurry``: not to be waited for any longer.
    """
    end = time.monotonic() + min(patience, _PASSES_WITHIN)
    while True:
        case = look()
        against = refused(case.checks)
        if case.done or any(check.name not in _PASSING for check in against):
            return case
        if not against or hurry() or time.monotonic() > end:
            return case
        wait(f"waiting with {case.service.name}: {against[0].says}")
        time.sleep(0.5)


def probes(status: Status, service: Service, node: str) -> Probes:
    """What watches the switchover from outside; none where the credentials cannot be read."""
    login, unasked = switchover_facts.credentials(service)
    if login is None:
        return Probes(None, None, (), unasked)
    old = service.nodes.get(service.primary or "")
    new = service.nodes.get(node)
    return Probes(
        Probe(old, service.port, login) if old else None,
        Probe(new, service.port, login) if new else None,
        [Probe(address.ip, service.port, login) for address in status.addresses_of(service) if address.ip],
    )
