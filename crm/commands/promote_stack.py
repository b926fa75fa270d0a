"""``hafailover promote NODE --stack``."""

from __future__ import annotations

import difflib
import sys
from contextlib import AbstractContextManager
from typing import NoReturn

import click
from hafailover.crm import apply_lock, local, stack_case, stack_text, switchover_text
from hafailover.crm.commands.json_answer import give
from hafailover.crm.commands.promote_talk import Talk
from hafailover.crm.errors import DONE, REFUSED, HafailoverError, UsageError
from hafailover.crm.history.record import conclude
from hafailover.crm.stack import Stack
from hafailover.crm.stack_case import StackCase
from hafailover.crm.stack_outcome import StackOutcome
from hafailover.crm.stack_run import StackRun
from hafailover.crm.status_facts import ClusterDown, gather, gather_idle
from hafailover.crm.switchover import refused

TIMEOUT = 300.0
"""Seconds for what is moved beside the databases, when nothing else is said."""


class StackSwitch:
    """One run of the command. ``timeout``: seconds for each part, None for the defaults."""

    def __init__(
        self, node: str, leave: frozenset[str], accept: frozenset[str], timeout: float | None, talk: Talk
    ) -> None:
        self._node, self._leave, self._accept, self._timeout, self._talk = node, leave, accept, timeout, talk

    def run(self, dry_run: bool, yes: bool, database_timeout: float) -> NoReturn:
        """Look, ask, do it; ends the program with the exit code."""
        try:
            if yes and not dry_run:
                gather(local.run)  # where Pacemaker is down the lock would wait for it
                with self._locked():
                    self._carry_out(self._look(dry_run), database_timeout)
            case = self._look(dry_run)
            if dry_run:
                self._talk.say("\nNothing was changed (--dry-run).")
                self._end(case, "planned", DONE)
            if not click.confirm("\nMove the stack now?", err=True):
                self._talk.say("Nothing was changed.")
                self._end(case, "refused", REFUSED)
            with self._locked():
                self._carry_out(self._again(case), database_timeout)
        except ClusterDown as error:
            raise HafailoverError(f"{error}: run it on another node of the cluster") from None

    def _locked(self) -> AbstractContextManager[None]:
        return apply_lock.held(f"promote {self._node} --stack")

    def _examine(self) -> StackCase:
        facts = gather_idle(local.run, self._talk.say)
        return stack_case.examine(local.run, facts, self._node, self._left, self._accept)

    def _left(self, whole: Stack) -> frozenset[str]:
        known = [*(mover.id for mover in whole.movers), *whole.databases, *whole.databases.values(), *whole.stays]
        for name in sorted(self._leave):
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known) or 'nothing'}"
                raise UsageError(f"--leave {name}: there is nothing of that name that could be moved; {hint}")
            tied = next((one.root for one in whole.movers if one.id == name and not one.is_root), None)
            if tied is not None:
                raise UsageError(f"--leave {name}: it goes where {tied} goes; leave that one, too")
        return self._leave

    def _look(self, dry_run: bool) -> StackCase:
        """Show the checklist and the plan. Does not return when there is nothing to do, or a check is against it."""
        case, talk, node = self._examine(), self._talk, self._node
        self._know_node(case)
        if case.plan.nothing:
            talk.say(f"Nothing to do: the whole stack is on {node} already.")
            talk.lines(stack_text.left_alone(case.plan))
            self._end(case, "nothing to do", DONE)
        talk.say(f"The whole stack to {node}\n")
        talk.lines(switchover_text.checklist(case.checks, talk.paint))
        self._refuse_if(case)
        talk.say(f"\nWhat {'would' if dry_run else 'will'} happen, in this order")
        talk.lines(switchover_text.plan(case.planned))
        talk.lines(stack_text.how(case.plan))
        talk.lines(stack_text.left_alone(case.plan))
        return case

    def _know_node(self, case: StackCase) -> None:
        names = [node.name for node in case.status.nodes]
        if self._node not in names:
            near = difflib.get_close_matches(self._node, names, n=1, cutoff=0.5)
            raise UsageError(
                f"there is no node {self._node}; {f'did you mean {near[0]}?' if near else 'known: ' + ', '.join(names)}"
            )

    def _again(self, agreed: StackCase) -> StackCase:
        """Look once more, for the answer may have taken its time; does not return when it is no longer right."""
        case = self._examine()
        now, then = case.plan, agreed.plan
        primaries = {name: one.primary for name, one in now.services.items()}
        agreed_primaries = {name: one.primary for name, one in then.services.items()}
        if (now.moves, now.places, primaries) != (then.moves, then.places, agreed_primaries):
            self._talk.say("Meanwhile things have moved; nothing was changed. Run it again to see what is left to do.")
            self._end(case, "refused", REFUSED)
        if refused(case.checks):
            self._talk.say("Things have changed since they were shown:\n")
            self._talk.lines(switchover_text.checklist(refused(case.checks), self._talk.paint))
        self._refuse_if(case)
        if case.planned != agreed.planned:
            self._talk.say("Meanwhile something else would happen than was shown; nothing was changed. Run it again.")
            self._end(case, "refused", REFUSED)
        return case

    def _refuse_if(self, case: StackCase) -> None:
        against = refused(case.checks)
        if against:
            self._talk.refused(against)
            conclude("; ".join(check.says for check in against))
            self._end(case, "refused", REFUSED)

    def _carry_out(self, case: StackCase, database_timeout: float) -> NoReturn:
        talk = self._talk
        talk.say("")
        run = StackRun(
            local.run,
            case.status,
            case.plan,
            self._accept,
            case.old_words,
            case.old,
            talk.step,
            talk.wait,
            talk.say,
        )
        outcome = run.perform(self._timeout or TIMEOUT, self._timeout or database_timeout)
        talk.say("")
        talk.lines(stack_text.conclusion(outcome, talk.paint))
        conclude(outcome.says)
        self._end(case, outcome.result, outcome.exit_code, outcome)

    def _end(self, case: StackCase, result: str, code: int, outcome: StackOutcome | None = None) -> NoReturn:
        if self._talk.json:
            give(stack_text.as_json(case, result, code, outcome))
        sys.exit(code)
