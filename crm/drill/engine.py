"""One run of a drill: see that all is ready, start the writers, carry out the steps, have the result judged."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hafailover.crm import waiting
from hafailover.crm.drill import database, settled
from hafailover.crm.drill.conditions import Conditions, Unwritten, Written
from hafailover.crm.drill.crew import INTERVAL, Crew
from hafailover.crm.drill.judge import Before, Judge
from hafailover.crm.drill.ledger import CLIENT, Ledger
from hafailover.crm.drill.place import Place
from hafailover.crm.drill.report import Run
from hafailover.crm.drill.scenario import Scenario
from hafailover.crm.drill.stacks import Stack
from hafailover.crm.drill.stage import Stage
from hafailover.crm.drill.steps import Steps
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import HafailoverError

READY_WITHIN = 180.0
_FIRST_WRITES = 50
_FIRST_WRITES_WITHIN = 30.0
_POLL = 0.5
_SETTLED_WITHIN = 120.0
_PRIMARY_WITHIN = 60.0

Say = Callable[[str], None]


class _Done(NamedTuple):
    """A step that was done: when it began (Unix seconds), how long it took, what it was, and what went wrong."""

    began: float
    took: float
    says: str
    wrong: str


class Drill:
    """Runs scenarios on one cluster with one set of agents; ``evidence`` is the directory that keeps the ledgers.

    ``number`` is that of the latest run, from 1. ``note`` is what the database keeps for whoever has to finish it.
    ``password`` is that of the writers' account. ``interval`` is the seconds between two
    of the client's writes.

    Call :meth:`begin` first and :meth:`end` last, also after an error.
    """

    def __init__(
        self, place: Place, target: Target, stack: Stack, evidence: Path, say: Say, interval: float = INTERVAL
    ) -> None:
        self._place = place
        self._target = target
        self._stack = stack
        self._judge = Judge(place, target, stack)
        self._evidence = evidence
        self._say = say
        self.interval = interval
        self.number = 0
        self.note = ""
        self.password = secrets.token_urlsafe(24)
        self._prepared = False
        self._done: list[_Done] = []
        self._broken = False

    def begin(self) -> None:
        """Put the agents in place."""
        self._say(f"agents: {self._stack.name}")
        self._target = self._stack.install(self._place, self._target)
        self._judge = Judge(self._place, self._target, self._stack)

    def end(self) -> list[str]:
        """Mend the cluster, remove the drill's schema and accounts, give it its own agents back; return what could not be done."""
        left = []
        try:
            self._mend()
        except HafailoverError as error:
            left.append(str(error))
        try:
            if self._prepared:
                promoted = waiting.wait("a primary", _PRIMARY_WITHIN, self._one_primary, _POLL)
                database.clean_up(self._place, promoted)
        except HafailoverError as error:
            left.append(f"the schema {database.SCHEMA} and its accounts are still there: {error}")
        self._stack.remove(self._place)
        for what in left:
            self._say(what)
        return left

    def _one_primary(self) -> str | None:
        try:
            promoted = database.cluster(self._place, self._target).promoted
        except HafailoverError:
            return None
        return promoted[0] if len(promoted) == 1 else None

    def run(self, scenario: Scenario, agreed: Mapping[str, str] | None = None) -> Run:
        """Carry out a scenario once. Never raises HafailoverError: what went wrong is in the result's problems.

        ``agreed``: the roles of which somebody was told what will be broken; with others nothing is begun.
        """
        self.number += 1
        done = self._run(scenario, agreed)
        self._broken = not done.ok
        return done

    def _run(self, scenario: Scenario, agreed: Mapping[str, str] | None) -> Run:
        try:
            if self._broken:
                self._stack.renew(self._place)
            before = self._ready()
            if agreed is not None and before.roles != agreed:
                raise HafailoverError(f"{before.primary} is the primary now, which is not what was agreed to")
        except HafailoverError as error:
            return Run(scenario.name, self._stack.name, None, None, problems=[f"not begun: {error}"])
        try:
            if not self._stack.writable:
                return self._without_writers(scenario, before)
            ledger = Ledger((self._evidence / f"{self.number:03}-{_file_name(scenario.name)}.jsonl").open("w"))
            try:
                return self._with_writers(scenario, before, ledger)
            finally:
                ledger.close()
        except HafailoverError as error:
            return Run(scenario.name, self._stack.name, before.primary, None, problems=[str(error)])

    def _ready(self) -> Before:
        """Mend what an earlier run broke and wait until every server is in its place and in sync."""
        self._mend()
        self._say("wait until all servers are in sync")
        conditions: Conditions = Unwritten(self._place, self._target)
        if self._stack.writable:
            conditions = Written(self._place, self._target, self._stack, Ledger(), {})
        found = self._settle(conditions, READY_WITHIN)
        roles = {"primary": found}
        replicas = [node for node in self._target.nodes if node != found]
        roles |= {f"replica{number if number > 1 else ''}": node for number, node in enumerate(replicas, 1)}
        if self._place.quorum_node:
            roles["quorum"] = self._place.quorum_node
        nodes = self._target.nodes if self._stack.writable else ()
        server_ids = {node: database.health(self._place, node).server_id for node in nodes}
        datadirs = database.datadirs(self._place, self._target) if self._stack.writable and self._place.tables() else {}
        return Before(found, roles, server_ids, database.cib_text(self._place), datadirs)

    def _settle(self, conditions: Conditions, within: float) -> str:
        """Wait until every server is in its place and in sync; return the primary's node."""
        seen = settled.Look(None, ["no answer"])

        def primary() -> str | None:
            nonlocal seen
            seen = settled.look(self._place, self._target, conditions)
            return seen.primary

        try:
            return waiting.wait("ready", within, primary, _POLL)
        except HafailoverError:
            raise HafailoverError(f"not all servers are in sync after {within:g} s: {'; '.join(seen.why)}") from None

    def _mend(self) -> None:
        for node, state in self._place.states().items():
            if state.cut:
                self._place.heal(node)
            if state.power == "off":
                self._place.power_on(node)

    def _without_writers(self, scenario: Scenario, before: Before) -> Run:
        conditions = Unwritten(self._place, self._target)
        stage = Stage(self._place, self._target, self._stack, conditions, before.roles)
        return self._judge.unwritten(scenario, before, stage, self._perform(scenario, stage))

    def _with_writers(self, scenario: Scenario, before: Before, ledger: Ledger) -> Run:
        self._prepared = True
        database.prepare(self._place, before.primary, self.password, self.note)
        self._place.know(database.USER, self.password)
        self._judge.await_same_position()
        login = {"user": database.USER, "password": self.password, "database": database.SCHEMA, "table": database.TABLE}
        client = {"host": self._target.ip, "port": self._target.port, "interval": self.interval}
        probes = {
            node: self._place.probe_address(node, self._target.socket, self._target.port) for node in self._target.nodes
        }
        conditions = Written(self._place, self._target, self._stack, ledger, before.server_ids)
        with Crew(self._place, ledger, login, client, probes) as crew:
            stage = Stage(self._place, self._target, self._stack, conditions, before.roles, crew)
            self._await_first_writes(ledger)
            problems = self._perform(scenario, stage)
        problems += crew.problems
        if incomplete := ledger.close():
            stage.notes.append(f"the copy of the ledger on the disk is not complete: {incomplete}")
        self._say("compare what was acknowledged with what the servers hold")
        return self._with_steps(self._judge.written(scenario, before, ledger.attempts(), stage, problems), stage)

    def _with_steps(self, run: Run, stage: Stage) -> Run:
        """Times are counted from the fault, or from the first step where none was reached."""
        zero = stage.fault or (self._done[0].began if self._done else 0.0)
        steps = [
            {
                "at": round(one.began - zero, 3),
                "took": round(one.took, 3),
                "says": one.says,
                "ok": not one.wrong,
                "why": one.wrong,
            }
            for one in self._done
        ]
        return replace(run, steps=steps)

    def _perform(self, scenario: Scenario, stage: Stage) -> list[str]:
        steps, problems = Steps(stage), []
        self._done.clear()
        try:
            for step in scenario.steps:
                self._say(steps.describe(step))
                with self._noted(steps.describe(step)):
                    steps.perform(step)
        except HafailoverError as error:
            problems.append(str(error))
        finally:
            # Also when a person interrupts the drill: a paused daemon or a full disk must not outlive it.
            problems += self._take_back(steps)
        if problems and self._stack.repairs:
            # A step that failed has left the cluster in the middle of something: judge what becomes of it.
            with contextlib.suppress(HafailoverError):
                self._settle(stage.conditions, _SETTLED_WITHIN)
        return problems

    @contextlib.contextmanager
    def _noted(self, says: str) -> Iterator[None]:
        began = time.time()
        wrong = "interrupted"
        try:
            yield
            wrong = ""
        except HafailoverError as error:
            wrong = str(error)
            raise
        finally:
            self._done.append(_Done(began, time.time() - began, says, wrong))

    def _take_back(self, steps: Steps) -> list[str]:
        if not steps.outstanding:
            return []
        self._say("take back what is still broken")
        try:
            with self._noted("take back what is still broken"):
                steps.undo()
        except HafailoverError as error:
            return [f"not taken back: {error}"]
        return []

    def _await_first_writes(self, ledger: Ledger) -> None:
        def enough() -> bool | None:
            last = ledger.last_acknowledged(CLIENT)
            return True if last is not None and last.seq >= _FIRST_WRITES else None

        within = _FIRST_WRITES_WITHIN + _FIRST_WRITES * self.interval
        try:
            waiting.wait("the client's first writes", within, enough)
        except HafailoverError as error:
            told = [one.error for one in ledger.attempts() if one.writer == CLIENT and one.error]
            raise HafailoverError(f"{error} The client was told: {told[-1]}" if told else str(error)) from None


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", name)
