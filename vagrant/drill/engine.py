"""One run of a drill: make the lab ready, start the writers, carry out the steps, have the result judged."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from hafailover.crm.errors import HafailoverError
from hafailover.vagrant import host
from hafailover.vagrant.drill import database, settled
from hafailover.vagrant.drill.conditions import Conditions, Unwritten, Written
from hafailover.vagrant.drill.crew import INTERVAL, Crew
from hafailover.vagrant.drill.judge import Before, Judge
from hafailover.vagrant.drill.ledger import CLIENT, Ledger
from hafailover.vagrant.drill.report import Run
from hafailover.vagrant.drill.scenario import Scenario
from hafailover.vagrant.drill.stacks import Stack
from hafailover.vagrant.drill.stage import Stage
from hafailover.vagrant.drill.steps import Steps
from hafailover.vagrant.drill.target import Target
from hafailover.vagrant.lab import Lab

READY_WITHIN = 180.0
_FIRST_WRITES = 50
_FIRST_WRITES_WITHIN = 30.0
_POLL = 0.5
_SETTLED_WITHIN = 120.0

Say = Callable[[str], None]


class Drill:
    """Runs scenarios on one lab with one set of agents; ``evidence`` is the directory that keeps the ledgers.

    ``number`` is that of the latest run, from 1. ``interval`` is the seconds between two of the client's writes.

    Call :meth:`begin` first and :meth:`end` last, also after an error.
    """

    def __init__(
        self, lab: Lab, target: Target, stack: Stack, evidence: Path, say: Say, interval: float = INTERVAL
    ) -> None:
        self._lab = lab
        self._target = target
        self._stack = stack
        self._judge = Judge(lab, target, stack)
        self._evidence = evidence
        self._say = say
        self._interval = interval
        self.number = 0
        self._broken = False

    def begin(self) -> None:
        """Put the agents in place."""
        self._say(f"agents: {self._stack.name}")
        self._target = self._stack.install(self._lab, self._target)
        self._judge = Judge(self._lab, self._target, self._stack)

    def end(self) -> None:
        """Mend the lab, remove the drill's schema and accounts, give it its own agents back; tells what could not be done."""
        self._mend()
        try:
            if self._stack.writable and self.number:
                promoted = database.cluster(self._lab, self._target).promoted
                if len(promoted) != 1:
                    raise HafailoverError("there is no one primary")
                database.clean_up(self._lab, promoted[0])
        except HafailoverError as error:
            self._say(f"the schema {database.SCHEMA} and its accounts are still there: {error}")
        self._stack.remove(self._lab)

    def run(self, scenario: Scenario) -> Run:
        """Carry out a scenario once. Never raises HafailoverError: what went wrong is in the result's problems."""
        self.number += 1
        done = self._run(scenario)
        self._broken = not done.ok
        return done

    def _run(self, scenario: Scenario) -> Run:
        try:
            if self._broken:
                self._stack.renew(self._lab)
            before = self._ready()
        except HafailoverError as error:
            return Run(scenario.name, self._stack.name, None, None, problems=[f"not begun: {error}"])
        try:
            if not self._stack.writable:
                return self._without_writers(scenario, before)
            with (self._evidence / f"{self.number:03}-{_file_name(scenario.name)}.jsonl").open("w") as copy:
                return self._with_writers(scenario, before, Ledger(copy))
        except HafailoverError as error:
            return Run(scenario.name, self._stack.name, before.primary, None, problems=[str(error)])

    def _ready(self) -> Before:
        """Mend what an earlier run broke and wait until every server is in its place and in sync."""
        self._mend()
        self._say("wait until all servers are in sync")
        conditions: Conditions = Unwritten(self._lab, self._target)
        if self._stack.writable:
            conditions = Written(self._lab, self._target, self._stack, Ledger(), {})
        found = self._settle(conditions, READY_WITHIN)
        roles = {"primary": found}
        replicas = [node for node in self._target.nodes if node != found]
        roles |= {f"replica{number if number > 1 else ''}": node for number, node in enumerate(replicas, 1)}
        if self._lab.quorum_node:
            roles["quorum"] = self._lab.quorum_node
        nodes = self._target.nodes if self._stack.writable else ()
        server_ids = {node: database.health(self._lab, node).server_id for node in nodes}
        datadirs = database.datadirs(self._lab, self._target) if self._stack.writable else {}
        return Before(found, roles, server_ids, database.cib_text(self._lab), datadirs)

    def _settle(self, conditions: Conditions, within: float) -> str:
        """Wait until every server is in its place and in sync; return the primary's node."""
        seen = settled.Look(None, ["no answer"])

        def primary() -> str | None:
            nonlocal seen
            seen = settled.look(self._lab, self._target, conditions)
            return seen.primary

        try:
            return host.wait("ready", within, primary, _POLL)
        except HafailoverError:
            raise HafailoverError(f"not all servers are in sync after {within:g} s: {'; '.join(seen.why)}") from None

    def _mend(self) -> None:
        for node, state in self._lab.states().items():
            if state.cut:
                self._lab.heal(node)
            if state.power == "off":
                self._lab.power_on(node)

    def _without_writers(self, scenario: Scenario, before: Before) -> Run:
        conditions = Unwritten(self._lab, self._target)
        stage = Stage(self._lab, self._target, self._stack, conditions, before.roles)
        return self._judge.unwritten(scenario, before, stage, self._perform(scenario, stage))

    def _with_writers(self, scenario: Scenario, before: Before, ledger: Ledger) -> Run:
        password = secrets.token_urlsafe(24)
        database.prepare(self._lab, before.primary, password)
        self._judge.await_same_position()
        login = {"user": database.USER, "password": password, "database": database.SCHEMA, "table": database.TABLE}
        client = {"host": self._target.ip, "port": self._target.port, "interval": self._interval}
        probes = {node: {"unix_socket": self._target.socket} for node in self._target.nodes}
        conditions = Written(self._lab, self._target, self._stack, ledger, before.server_ids)
        with Crew(self._lab, ledger, login, client, probes) as crew:
            stage = Stage(self._lab, self._target, self._stack, conditions, before.roles, crew)
            self._await_first_writes(ledger)
            problems = self._perform(scenario, stage)
        problems += crew.problems
        self._say("compare what was acknowledged with what the servers hold")
        return self._judge.written(scenario, before, ledger.attempts(), stage, problems)

    def _perform(self, scenario: Scenario, stage: Stage) -> list[str]:
        steps, problems = Steps(stage), []
        try:
            for step in scenario.steps:
                self._say(steps.describe(step))
                steps.perform(step)
        except HafailoverError as error:
            problems.append(str(error))
        finally:
            # Also when a person interrupts the drill: a paused daemon or a full disk must not outlive it.
            problems += self._take_back(steps)
        if problems:
            # A step that failed has left the cluster in the middle of something: judge what becomes of it.
            with contextlib.suppress(HafailoverError):
                self._settle(stage.conditions, _SETTLED_WITHIN)
        return problems

    def _take_back(self, steps: Steps) -> list[str]:
        try:
            steps.undo()
        except HafailoverError as error:
            return [f"not taken back: {error}"]
        return []

    def _await_first_writes(self, ledger: Ledger) -> None:
        def enough() -> bool | None:
            last = ledger.last_acknowledged(CLIENT)
            return True if last is not None and last.seq >= _FIRST_WRITES else None

        host.wait("the client's first writes", _FIRST_WRITES_WITHIN, enough)


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", name)
