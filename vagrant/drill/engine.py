"""One run of a drill: make the lab ready, start the writers, carry out the steps, gather the facts, judge."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hafailover.crm.errors import HafailoverError
from hafailover.vagrant import host
from hafailover.vagrant.drill import changes, concurrency, database, oracle, timeline
from hafailover.vagrant.drill.crew import Crew
from hafailover.vagrant.drill.ledger import CLIENT, REFUSED, UNKNOWN, Ledger, acknowledgements, gaps
from hafailover.vagrant.drill.oracle import Outcome, Server
from hafailover.vagrant.drill.report import Run
from hafailover.vagrant.drill.scenario import Scenario
from hafailover.vagrant.drill.stacks import Stack
from hafailover.vagrant.drill.steps import Steps
from hafailover.vagrant.drill.target import Target
from hafailover.vagrant.drill.timeline import LogLine, Phases, Power
from hafailover.vagrant.lab import Lab

READY_WITHIN = 180.0
_SAME_POSITION_WITHIN = 60.0
_FIRST_WRITES = 50
_FIRST_WRITES_WITHIN = 30.0
_POLL = 0.5
_IDENTIFIERS = ("pacemaker-controld", "pacemaker-attrd", "pacemaker-fenced", "pacemakerd", "hafailover-mariadb")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Before:
    """How things stood before the first step."""

    primary: str
    roles: dict[str, str]
    server_ids: dict[str, int]
    cib: str


class Drill:
    """Runs scenarios on one lab with one set of agents; ``evidence`` is the directory that keeps the ledgers."""

    def __init__(self, lab: Lab, target: Target, stack: Stack, evidence: Path, say: Say) -> None:
        self._lab = lab
        self._target = target
        self._stack = stack
        self._evidence = evidence
        self._say = say
        self._number = 0

    def run(self, scenario: Scenario) -> Run:
        """Carry out a scenario once. Never raises HafailoverError: what went wrong is in the result's problems."""
        self._number += 1
        try:
            before = self._ready()
        except HafailoverError as error:
            return Run(scenario.name, self._stack.name, None, None, problems=[f"not begun: {error}"])
        path = self._evidence / f"{self._number:03}-{scenario.name}.jsonl"
        with path.open("w") as copy:
            ledger = Ledger(copy)
            try:
                return self._with_writers(scenario, before, ledger)
            except HafailoverError as error:
                return Run(scenario.name, self._stack.name, before.primary, None, problems=[str(error)])

    def begin(self) -> None:
        """Put the agents in place; call once, before the first run."""
        self._say(f"agents: {self._stack.name}")
        self._stack.install(self._lab, self._target)

    def end(self) -> None:
        """Remove the drill's schema and accounts, and give the lab its own agents back; tells what could not be done."""
        try:
            if self._stack.writable:
                promoted = database.cluster(self._lab, self._target.database).promoted
                if len(promoted) != 1:
                    raise HafailoverError("there is no one primary")
                database.clean_up(self._lab, promoted[0])
        except HafailoverError as error:
            self._say(f"the schema {database.SCHEMA} and its accounts are still there: {error}")
        self._stack.remove(self._lab, self._target)

    def _ready(self) -> Before:
        """Mend what an earlier run broke and wait until every server is in its place and in sync."""
        for node, state in self._lab.states().items():
            if state.cut:
                self._lab.heal(node)
            if state.power == "off":
                self._lab.power_on(node)
        self._say("wait until all servers are in sync")
        why = ["no answer"]

        def primary() -> str | None:
            why[:] = self._lab.problems()
            if why:
                return None
            promoted = database.cluster(self._lab, self._target.database).promoted
            if len(promoted) != 1:
                why[:] = [f"{len(promoted)} promoted instances"]
                return None
            probe = Steps(self._lab, self._target, self._stack, Ledger(), {}, {})
            replicas = [node for node in self._target.nodes if node != promoted[0]]
            why[:] = [f"{node}: {reason}" for node in replicas if (reason := probe.why_not_replica(node))]
            return None if why else promoted[0]

        try:
            found = host.wait("ready", READY_WITHIN, primary, _POLL)
        except HafailoverError:
            raise HafailoverError(f"not all servers are in sync after {READY_WITHIN:g} s: {'; '.join(why)}") from None
        roles = {"primary": found, "replica": next(node for node in self._target.nodes if node != found)}
        if self._lab.quorum_node:
            roles["quorum"] = self._lab.quorum_node
        server_ids = {node: database.health(self._lab, node).server_id for node in self._target.nodes}
        return Before(found, roles, server_ids, database.cib_text(self._lab))

    def _with_writers(self, scenario: Scenario, before: Before, ledger: Ledger) -> Run:
        password = secrets.token_urlsafe(24)
        database.prepare(self._lab, before.primary, password)
        self._same_position(before.primary)
        login = {"user": database.USER, "password": password, "database": database.SCHEMA, "table": database.TABLE}
        steps = Steps(self._lab, self._target, self._stack, ledger, before.roles, before.server_ids)
        problems: list[str] = []
        crew = Crew(
            self._lab,
            ledger,
            login,
            {"host": self._target.ip, "port": self._target.port},
            {node: {"unix_socket": self._target.socket} for node in self._target.nodes},
        )
        with crew:
            try:
                self._await_first_writes(ledger)
                for step in scenario.steps:
                    self._say(steps.describe(step))
                    steps.perform(step)
            except HafailoverError as error:
                problems.append(str(error))
        problems += crew.problems
        return self._judge(scenario, before, ledger, steps, problems)

    def _await_first_writes(self, ledger: Ledger) -> None:
        def enough() -> bool | None:
            last = ledger.last_acknowledged(CLIENT)
            return True if last is not None and last.seq >= _FIRST_WRITES else None

        host.wait("the client's first writes", _FIRST_WRITES_WITHIN, enough)

    def _same_position(self, primary: str) -> None:
        """Wait until every replica stands where the primary stands."""

        def same() -> bool | None:
            positions = {database.health(self._lab, node).position for node in (primary, *self._target.nodes)}
            return True if len(positions) == 1 else None

        host.wait("the replicas reach the primary's position", _SAME_POSITION_WITHIN, same, 0.1)

    def _judge(self, scenario: Scenario, before: Before, ledger: Ledger, steps: Steps, problems: list[str]) -> Run:
        attempts = ledger.attempts()
        acknowledged = acknowledgements(attempts)
        run = Run(scenario.name, self._stack.name, before.primary, None, acknowledged=len(acknowledged))
        if steps.fault is None:
            return replace(run, problems=problems or ["no fault was reached"])
        self._say("compare what was acknowledged with what the servers hold")
        power = self._lab.power_log()
        off = [(event.time, event.node) for event in power if event.action == "off"]
        pairs = concurrency.concurrent_pairs(concurrency.reigns(attempts, before.server_ids, off))
        run = replace(run, concurrent_writers=len(pairs), rejoined=_since(steps.fault, steps.rejoined))
        try:
            after, servers = self._final_state()
        except HafailoverError as error:
            disagreements = oracle.disagreements(oracle.Comparison(), pairs)
            return replace(run, problems=[*problems, *disagreements, f"the servers cannot be compared: {error}"])
        comparison = oracle.compare(attempts, servers, after)
        fenced = [Power(*entry) for entry in self._lab.fence_log()]
        outcome = Outcome(
            before=before.primary,
            after=after,
            fenced=timeline.fenced_nodes(fenced, steps.fault),
            configuration_changes=changes.configuration_changes(before.cib, database.cib_text(self._lab)),
        )
        named = frozenset(before.roles.get(name, name) for name in scenario.expect.fenced or ())
        expected = replace(scenario.expect, fenced=None if scenario.expect.fenced is None else named)
        measured = gaps(acknowledged, steps.fault, before.server_ids[after])
        problems = [
            *problems,
            *oracle.disagreements(comparison, pairs),
            *oracle.roles(servers, [after]),
            *oracle.unmet(expected, outcome),
        ]
        if measured.first_write is None:
            problems.append(f"{after} acknowledged no write after the fault")
        return replace(
            run,
            after=after,
            write_gap=measured.fault,
            first_write=measured.first_write,
            lost=len(comparison.lost),
            extra=len(comparison.extra),
            phases=self._phases(steps, before.primary, after, fenced),
            problems=problems,
            details={
                "fault_at": round(steps.fault, 3),
                "baseline_gap_s": _rounded(measured.baseline),
                "later_gap_s": _rounded(measured.later),
                "refused": sum(a.writer == CLIENT and a.outcome == REFUSED for a in attempts),
                "unknown": sum(a.outcome == UNKNOWN for a in attempts),
                "unknown_present": comparison.unknown_present,
                "probe_acknowledged": {n: len(acknowledgements(attempts, n)) for n in self._target.nodes},
            },
        )

    def _final_state(self) -> tuple[str, dict[str, Server]]:
        """Return the primary and what every server holds, once nothing moves any more."""
        promoted = database.cluster(self._lab, self._target.database).promoted
        if len(promoted) != 1:
            raise HafailoverError(f"Pacemaker has {len(promoted)} promoted instances")
        try:
            self._same_position(promoted[0])
        except HafailoverError as error:
            # The comparison below tells what the difference is.
            self._say(str(error))
        return promoted[0], {node: database.contents(self._lab, node) for node in self._target.nodes}

    def _phases(self, steps: Steps, old: str, new: str, power: Sequence[Power]) -> Phases:
        assert steps.fault is not None
        lines = [line for node in self._lab.cluster_nodes for line in self._journal(node, steps.fault)]
        found = timeline.phases(lines, power, steps.fault, old, new, self._target.resources)
        # Nothing is detected in a switchover, it is announced.
        return found._replace(detected=None) if steps.fault_action == "switchover" else found

    def _journal(self, node: str, since: float) -> list[LogLine]:
        matches = [f"SYSLOG_IDENTIFIER={name}" for name in _IDENTIFIERS]
        return [
            LogLine(
                int(record["__REALTIME_TIMESTAMP"]) / 1e6,
                node,
                str(record.get("SYSLOG_IDENTIFIER", "")),
                str(record.get("MESSAGE", "")),
                str(record.get("HAFAILOVER_EVENT", "")),
            )
            for record in self._lab.journal(node, since - 1.0, matches)
        ]


def _since(fault: float, moment: float | None) -> float | None:
    return None if moment is None else moment - fault


def _rounded(value: Any) -> float | None:
    return None if value is None else round(value, 3)
