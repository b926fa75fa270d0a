"""``hafailover promote``."""

from __future__ import annotations

import difflib
import json
import os
import sys
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import click
from hafailover.crm import local, switchover_facts, switchover_text
from hafailover.crm.commands.status import paint
from hafailover.crm.errors import DONE, REFUSED, HafailoverError, UsageError
from hafailover.crm.probe import Probe
from hafailover.crm.status import Service, Status
from hafailover.crm.status_facts import ClusterDown, Facts, gather
from hafailover.crm.status_read import read
from hafailover.crm.switchover import Check, nothing_to_do, preflight, refused, steps
from hafailover.crm.switchover_probes import Probes
from hafailover.crm.switchover_run import Step, Switchover

_IDLE_WAIT = 10.0  # seconds for a cluster that is just finishing something
_ACCEPTABLE = ("idle", "lag", "failures", "address", "fencing")

_EPILOG = """\b
Examples:
  hafailover promote db2 --dry-run
  hafailover promote db2
  hafailover promote db2 --yes -o json
  hafailover promote db2 --accept-data-loss
\b
Exit code: 0 done (or nothing to do, or --dry-run and it would go);
1 failed, the old primary serves again; 2 wrong usage;
3 refused, nothing was changed; 4 begun but not finished, what is left is listed.
"""


@click.command(epilog=_EPILOG)
@click.argument("node")
@click.option("--service", "service_name", metavar="NAME", help="Which database service, if there are several.")
@click.option("--dry-run", is_flag=True, help="Show the checklist and what would happen; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=5.0),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait before it is called off.",
)
@click.option(
    "--accept", multiple=True, type=click.Choice(_ACCEPTABLE), help="Go ahead although this check refuses (repeatable)."
)
@click.option(
    "--accept-data-loss",
    is_flag=True,
    help="Nobody may be promoted and what is missing will not come back: make NODE the primary with what it has.",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
def command(
    node: str,
    service_name: str | None,
    dry_run: bool,
    yes: bool,
    timeout: float,
    accept: tuple[str, ...],
    accept_data_loss: bool,
    output: str,
) -> None:
    """Switch the primary role of a database to NODE, safely.

    Checks first whether NODE holds every acknowledged write and whether anything stands in the way, and refuses with all reasons if so.
    Then it moves the role, shows each step, measures for how long nobody could write, and leaves nothing behind.
    """
    if os.geteuid() != 0:
        raise HafailoverError(
            "promote must be run as root: it reads the replication account and tells Pacemaker what to do"
        )
    if not (yes or dry_run) and not _terminal():
        raise UsageError(
            "there is no terminal to ask on: add --yes to switch over without being asked, or --dry-run to look"
        )
    talk = _Talk(output)
    if accept_data_loss:
        from hafailover.crm.commands import promote_lossy

        def choose(status: Status) -> Service:
            return choose_service(status, node, service_name)

        sys.exit(promote_lossy.run(node, choose, dry_run, yes, timeout, talk.say, output == "json"))
    try:
        case = _examine(_when_idle(gather(local.run), talk), node, service_name, frozenset(accept))
        if case.done:
            talk.say(f"Nothing to do: {node} is the primary of {case.service.name} already.")
            talk.result(case.service, node, "nothing to do", DONE, (), ())
            return
        talk.say(f"Switchover of {case.service.name} from {case.service.primary or 'nobody'} to {node}\n")
        talk.lines(switchover_text.checklist(case.checks, talk.paint))
        talk.refuse_if(case, node)
        talk.say(f"\nWhat {'would' if dry_run else 'will'} happen")
        talk.lines(switchover_text.plan(case.planned))
        if dry_run:
            talk.say("\nNothing was changed (--dry-run).")
            talk.result(case.service, node, "planned", DONE, case.checks, case.planned)
            return
        if not yes:
            case = _confirmed(case, node, frozenset(accept), talk)
    except ClusterDown as error:
        raise HafailoverError(f"{error}: run it on another node of the cluster") from None
    talk.say("")
    probes = _probes(case.status, case.service, node)
    outcome = Switchover(local.run, case.status, case.service, node, probes, talk.step, talk.wait).perform(timeout)
    talk.say("")
    talk.lines(switchover_text.conclusion(outcome, talk.paint))
    talk.result(case.service, node, outcome.result, outcome.exit_code, case.checks, case.planned, outcome)
    sys.exit(outcome.exit_code)


class _Case(NamedTuple):
    """A switchover looked at, at one moment. ``done``: there is nothing to do."""

    status: Status
    service: Service
    checks: tuple[Check, ...]
    planned: tuple[str, ...]
    done: bool


def _examine(facts: Facts, node: str, service_name: str | None, accept: frozenset[str]) -> _Case:
    status = read(facts)
    service = choose_service(status, node, service_name)
    if nothing_to_do(service, node):
        return _Case(status, service, (), (), done=True)
    answers = switchover_facts.ask(service, node)
    forecast = switchover_facts.forecast(local.run, facts.cib, status, service, node)
    checks = preflight(status, service, node, answers, forecast, accept)
    return _Case(status, service, checks, steps(service, node, status.addresses_of(service), forecast), done=False)


def _confirmed(case: _Case, node: str, accept: frozenset[str], talk: _Talk) -> _Case:
    """Ask; then look again, for the answer may have taken its time. Does not return when it is no, or no longer right."""
    agreed = click.confirm("\nSwitch over now?", err=True)
    if not agreed:
        talk.result(case.service, node, "refused", REFUSED, case.checks, case.planned)
        talk.say("Nothing was changed.")
        sys.exit(REFUSED)
    again = _examine(gather(local.run), node, case.service.name, accept)
    if again.done or again.service.primary != case.service.primary:
        talk.say(
            f"Meanwhile {again.service.primary or 'nobody'} is the primary of {case.service.name}; nothing was changed."
        )
        talk.result(again.service, node, "refused", REFUSED, again.checks, again.planned)
        sys.exit(REFUSED)
    if refused(again.checks):
        talk.say("Things have changed since they were shown:\n")
        talk.lines(switchover_text.checklist(refused(again.checks), talk.paint))
    talk.refuse_if(again, node)
    return again


class _Talk:
    """Where words go: text on standard output; with JSON there, progress on standard error. A lost terminal stops nothing."""

    def __init__(self, output: str) -> None:
        self._json = output == "json"
        self.paint = paint()

    def say(self, text: str) -> None:
        try:
            click.echo(text, err=self._json)
        except OSError:
            # The terminal is gone. What is under way must still be brought to its end.
            return

    def lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.say(line)

    def step(self, step: Step) -> None:
        self.say(switchover_text.step_line(step))

    def wait(self, text: str) -> None:
        self.say(f"                          {text}")

    def result(self, *parts: Any) -> None:
        if self._json:
            click.echo(json.dumps(switchover_text.as_json(*parts), indent=2))

    def refuse_if(self, case: _Case, node: str) -> None:
        """End with REFUSED when a check stands in the way."""
        against = refused(case.checks)
        if against:
            self.result(case.service, node, "refused", REFUSED, case.checks, case.planned)
            why = against[0].says if len(against) == 1 else f"{len(against)} checks stand in the way"
            click.echo(f"hafailover: refused, nothing was changed: {why}", err=True)
            sys.exit(REFUSED)


def _terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def choose_service(status: Status, node: str, name: str | None) -> Service:
    """The service that is meant; UsageError says which there are."""
    names = [service.name for service in status.services]
    if not names:
        raise UsageError("this cluster has no database service (ocf:hafailover:mariadb)")
    if name is None:
        if len(names) > 1:
            raise UsageError(f"there are several database services ({', '.join(names)}): say which with --service NAME")
        name = names[0]
    service = status.service(name)
    if service is None:
        raise UsageError(f"there is no database service {name}{_meant(name, names)}")
    nodes = [one.node for one in service.instances]
    if node not in nodes:
        known = status.node(node) is not None
        what = (
            f"{node} is a node of the cluster, but not a data node of {name}" if known else f"there is no node {node}"
        )
        raise UsageError(f"{what}{_meant(node, nodes)}")
    return service


def _meant(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else f"; known: {', '.join(known)}"


def _when_idle(facts: Facts, talk: _Talk) -> Facts:
    """Give a cluster that is acting some seconds to settle."""
    end = time.monotonic() + _IDLE_WAIT
    said = False
    while facts.coordinator_state not in ("", "S_IDLE") and time.monotonic() < end:
        if not said:
            said = True
            talk.say("The cluster is acting right now; waiting for it to settle.")
        time.sleep(0.5)
        facts = gather(local.run)
    return facts


def _probes(status: Status, service: Service, node: str) -> Probes:
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
