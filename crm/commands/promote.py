"""``hafailover promote``."""

from __future__ import annotations

import difflib
import sys
from contextlib import AbstractContextManager
from typing import Any

import click
from hafailover.crm import apply_lock, completion, consent, local, switchover_case, switchover_facts, switchover_text
from hafailover.crm.commands.json_answer import JsonCommand, give, output
from hafailover.crm.commands.promote_talk import Talk
from hafailover.crm.errors import DONE, REFUSED, HafailoverError, RefusedError, UsageError
from hafailover.crm.history.record import conclude
from hafailover.crm.promotion_run import PlannedHooks
from hafailover.crm.status import Service, Status
from hafailover.crm.status_facts import ClusterDown, Facts, gather, gather_idle
from hafailover.crm.switchover import refused
from hafailover.crm.switchover_case import Case
from hafailover.crm.switchover_run import Outcome, Switchover

_TIMEOUT = 120.0  # seconds
_LONGEST = 86400.0
_ACCEPTABLE = ("idle", "lag", "failures", "address", "fencing", "elsewhere", "roles")

_EPILOG = """\b
Examples:
  hafailover promote db2 --dry-run
  hafailover promote db2
  hafailover promote db2 --yes -o json
  hafailover promote db2 --stack --dry-run
  hafailover promote db2 --stack --leave web-vip
  hafailover promote db2 --accept-data-loss

\b
Exit code: 0 done (or nothing to do, or --dry-run and it would go);
1 failed, all is as before; 2 wrong usage;
3 refused, nothing was changed;
4 begun but not finished, what is left is listed.
"""


def _bounded(_context: click.Context, _option: click.Parameter, value: float | None) -> float | None:
    """No number at all is in every range, and a preference cannot end in infinity."""
    if value is not None and not value <= _LONGEST:
        raise click.BadParameter(f"{value:g} is not in the range 5<=x<={_LONGEST:g}.")
    return value


@click.command(cls=JsonCommand, epilog=_EPILOG)
@click.argument("node", shell_complete=completion.nodes)
@completion.service
@click.option(
    "--stack",
    is_flag=True,
    help="Everything: databases, addresses, content and applications, as far as they are on one node.",
)
@click.option(
    "--leave",
    multiple=True,
    metavar="NAME",
    help="With --stack: this one stays where it is (repeatable).",
    shell_complete=completion.resources,
)
@consent.options()
@click.option(
    "--timeout",
    type=click.FloatRange(min=5.0),
    callback=_bounded,
    metavar="SECONDS",
    help="How long to wait before it is called off.  [default: 120; with --stack 300 for what is no database]",
)
@click.option(
    "--accept", multiple=True, type=click.Choice(_ACCEPTABLE), help="Go ahead although this check refuses (repeatable)."
)
@click.option(
    "--accept-data-loss",
    is_flag=True,
    help="Nobody may be promoted and what is missing will not come back: make NODE the primary with what it has.",
)
@output
def command(
    node: str,
    service_name: str | None,
    stack: bool,
    leave: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    timeout: float | None,
    accept: tuple[str, ...],
    accept_data_loss: bool,
    output: str,
) -> None:
    """Switch the primary role of a database to NODE, safely.

    Checks first whether NODE holds every acknowledged write and whether anything stands in the way, and refuses with all reasons if so.
    Then it moves the role, shows each step, measures for how long nobody could write, and leaves nothing behind.

    With --stack everything else that is on one node at a time goes to NODE, too, before the role does: if any of it does not get there,
    all of it goes back, and no writer has noticed.
    """
    local.need_root("promote", "it reads the replication account and tells Pacemaker what to do")
    consent.need_somebody(yes, dry_run)
    _refuse_mixture(stack, service_name, leave, accept_data_loss)
    talk = Talk(output)
    if stack:
        from hafailover.crm.commands.promote_stack import StackSwitch

        StackSwitch(node, frozenset(leave), frozenset(accept), timeout, talk).run(dry_run, yes, _TIMEOUT)
    timeout = timeout or _TIMEOUT
    if accept_data_loss:
        from hafailover.crm.commands import promote_lossy

        def choose(status: Status) -> Service:
            return choose_service(status, node, service_name)

        sys.exit(promote_lossy.run(node, choose, dry_run, yes, timeout, talk.say, output == "json"))
    try:
        sys.exit(_Switch(node, service_name, frozenset(accept), talk).run(dry_run, yes, timeout))
    except ClusterDown as error:
        raise HafailoverError(f"{error}: run it on another node of the cluster") from None


def _refuse_mixture(stack: bool, service_name: str | None, leave: tuple[str, ...], accept_data_loss: bool) -> None:
    if stack and service_name is not None:
        raise UsageError(
            "--stack is about every database, --service about one: give either, or --leave what is to stay"
        )
    if stack and accept_data_loss:
        raise UsageError("--accept-data-loss is about one database that has no primary: do that first, without --stack")
    if leave and not stack:
        raise UsageError("--leave says what stays where it is when --stack moves everything else")


class _Switch:
    """One run for one database."""

    def __init__(self, node: str, service_name: str | None, accept: frozenset[str], talk: Talk) -> None:
        self._node, self._service_name, self._accept, self._talk = node, service_name, accept, talk

    def run(self, dry_run: bool, yes: bool, timeout: float) -> int:
        """Look, ask, do it; the exit code. Nobody is kept away by what is only looked at, nor while somebody is asked."""
        if yes and not dry_run:
            gather(local.run)  # where Pacemaker is down the lock would wait for it
            with self._locked():
                case = self._look(dry_run)
                return DONE if case.done else self._carry_out(case, timeout)
        case = self._look(dry_run)
        if case.done:
            return DONE
        if dry_run:
            self._talk.say("\nNothing was changed (--dry-run).")
            self._end(case, "planned", DONE)
            return DONE
        if not click.confirm("\nSwitch over now?", err=True):
            self._end(case, "refused", REFUSED)
            self._talk.say("Nothing was changed.")
            return REFUSED
        with self._locked():
            return self._carry_out(self._again(case), timeout)

    def _locked(self) -> AbstractContextManager[None]:
        return apply_lock.held_beside_drill(f"promote {self._node}")

    def _look(self, dry_run: bool) -> Case:
        """Show the checklist and what will happen; does not return when a check is against it."""
        talk, node = self._talk, self._node
        facts = gather_idle(local.run, talk.say)
        case = self._examine(facts, self._service_name)
        if case.done:
            talk.say(f"Nothing to do: {node} is the primary of {case.service.name} already.")
            _result(talk, case.service, node, "nothing to do", DONE, (), ())
            return case
        talk.say(f"Switchover of {case.service.name} from {case.service.primary or 'nobody'} to {node}\n")
        talk.lines(switchover_text.checklist(case.checks, talk.paint))
        self._refuse_if(case)
        talk.say(f"\nWhat {'would' if dry_run else 'will'} happen")
        talk.lines(switchover_text.plan(case.planned))
        talk.lines(f"  and {line}" for line in self._hooks(case).described())
        return case

    def _examine(self, facts: Facts, name: str | None) -> Case:
        return switchover_case.examine(
            local.run, facts, self._node, lambda status: choose_service(status, self._node, name), self._accept
        )

    def _again(self, agreed: Case) -> Case:
        """Look again, for the answer may have taken its time; does not return when it is no longer what was agreed to."""
        talk, name = self._talk, agreed.service.name
        case = self._examine(gather(local.run), name)
        if case.done or case.service.primary != agreed.service.primary:
            talk.say(f"Meanwhile {case.service.primary or 'nobody'} is the primary of {name}; nothing was changed.")
            self._end(case, "refused", REFUSED)
            sys.exit(REFUSED)
        if refused(case.checks):
            talk.say("Things have changed since they were shown:\n")
            talk.lines(switchover_text.checklist(refused(case.checks), talk.paint))
        self._refuse_if(case)
        if case.planned != agreed.planned:
            talk.say("Meanwhile something else would happen than was shown; nothing was changed. Run it again.")
            self._end(case, "refused", REFUSED)
            sys.exit(REFUSED)
        return case

    def _refuse_if(self, case: Case) -> None:
        """End with REFUSED when a check stands in the way."""
        against = refused(case.checks)
        if against:
            self._end(case, "refused", REFUSED)
            self._talk.refused(against)
            conclude("; ".join(check.says for check in against))
            sys.exit(REFUSED)

    def _hooks(self, case: Case) -> PlannedHooks:
        login, _ = switchover_facts.credentials(case.service)
        return PlannedHooks(local.run, case.status, case.service, self._node, login, self._talk.say)

    def _carry_out(self, case: Case, timeout: float) -> int:
        talk = self._talk
        talk.say("")
        with local.Interrupts() as interrupts:
            hooks = self._hooks(case)
            against = hooks.before()
            if against:
                self._end(case, "refused", REFUSED)
                raise RefusedError(f"refused, nothing was changed: {'; '.join(against)}")
            probes = switchover_case.probes(case.status, case.service, self._node)
            course = Switchover(local.run, case.status, case.service, self._node, probes, talk.step, talk.wait)
            outcome = hooks.after(course.perform(timeout))
            interrupts.hold()
            talk.say("")
            talk.lines(switchover_text.conclusion(outcome, talk.paint))
            self._end(case, outcome.result, outcome.exit_code, outcome)
            conclude(outcome.says)
        return outcome.exit_code

    def _end(self, case: Case, result: str, code: int, outcome: Outcome | None = None) -> None:
        parts = () if outcome is None else (outcome,)
        _result(self._talk, case.service, self._node, result, code, case.checks, case.planned, *parts)


def _result(talk: Talk, *parts: Any) -> None:
    if talk.json:
        give(switchover_text.as_json(*parts))


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
