"""From the facts of a run to its result: fetches what is left to fetch, then calls the pure comparisons."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hafailover.agents.mariadb import gtid
from hafailover.crm import waiting
from hafailover.crm.drill import changes, concurrency, database, oracle, strips, timeline
from hafailover.crm.drill.actions import PLANNED
from hafailover.crm.drill.ledger import CLIENT, REFUSED, UNKNOWN, Attempt, acknowledgements, gaps, last_try
from hafailover.crm.drill.oracle import Comparison, Outcome, Server
from hafailover.crm.drill.place import Place
from hafailover.crm.drill.report import Run
from hafailover.crm.drill.scenario import Scenario
from hafailover.crm.drill.stacks import Stack
from hafailover.crm.drill.stage import Stage
from hafailover.crm.drill.target import Target
from hafailover.crm.drill.timeline import LogLine, Power
from hafailover.crm.errors import HafailoverError

_SAME_POSITION_WITHIN = 150.0  # seconds; a server that waited for space on its disk tries again once a minute
_BROKEN = 10.0  # seconds
_SILENT_AT_END = (
    10.0  # seconds; a replica that returns may keep writers waiting for a moment, and that may be the run's last
)
_IDENTIFIERS = ("pacemaker-controld", "pacemaker-attrd", "pacemaker-fenced", "pacemakerd", "hafailover-mariadb")


@dataclass(frozen=True)
class Before:
    """How things stood before the first step. ``server_ids`` is empty if there is no database.

    ``datadirs`` tells each node's data directory from one that replaces it."""

    primary: str
    roles: dict[str, str]
    server_ids: dict[str, int]
    cib: str
    datadirs: dict[str, str] = field(default_factory=dict)


class Judge:
    """Judges the runs of one set of agents on one place."""

    def __init__(self, place: Place, target: Target, stack: Stack) -> None:
        self._place = place
        self._target = target
        self._stack = stack
        self._goal = ""

    def unwritten(self, scenario: Scenario, before: Before, stage: Stage, problems: Sequence[str]) -> Run:
        """Judge a run without database: the gap is the address's, as Pacemaker logged it."""
        run = Run(scenario.name, self._stack.name, before.primary, None, rejoined=_since(stage.fault, stage.rejoined))
        if stage.fault is None:
            return replace(run, problems=problems or ["no fault was reached"])
        seen = database.cluster(self._place, self._target)
        after = seen.promoted[0] if len(seen.promoted) == 1 else None
        if after is None:
            return replace(run, problems=[*problems, f"Pacemaker has {len(seen.promoted)} promoted instances"])
        run = self._with_phases(replace(run, after=after), stage, before)
        gap = run.phases.address_up
        if stage.fault_action in PLANNED:
            # Until its address is stopped, the old primary goes on serving.
            gap = timeline.address_gap(self._log(stage.fault), stage.fault, before.primary, after, self._target.address)
        return replace(
            run,
            write_gap=gap,
            first_write=run.phases.address_up,
            problems=[*problems, *self._unmet(scenario, before, stage, run, reigns=None)],
            details={"fault_at": round(stage.fault, 3)},
        )

    def written(
        self, scenario: Scenario, before: Before, attempts: Sequence[Attempt], stage: Stage, problems: Sequence[str]
    ) -> Run:
        """Judge a run under load: every attempted row is looked for on every server."""
        acknowledged = acknowledgements(attempts)
        run = Run(scenario.name, self._stack.name, before.primary, None, acknowledged=len(acknowledged))
        if stage.fault is None:
            return replace(run, problems=problems or ["no fault was reached"])
        off = [(event.time, event.node) for event in self._place.power_log() if event.action == "off"]
        reigns = concurrency.reigns(attempts, before.server_ids, off)
        pairs = concurrency.concurrent_pairs(reigns)
        run = replace(run, concurrent_writers=len(pairs), rejoined=_since(stage.fault, stage.rejoined))
        try:
            after, servers, silent = self._final_state()
        except HafailoverError as error:
            found = oracle.disagreements(Comparison(), pairs)
            return replace(run, problems=[*problems, *found, f"the servers cannot be compared: {error}"])
        comparison = oracle.compare(attempts, servers, after)
        until = last_try(attempts)
        measured = gaps(acknowledged, stage.fault, before.server_ids[after], until)
        unanswered = [] if measured.first_write is not None else [f"{after} acknowledged no write after the fault"]
        silent_for = until - acknowledged[-1].end if until is not None and acknowledged else 0.0
        if not unanswered and silent_for > _SILENT_AT_END:
            unanswered = [f"no write was acknowledged any more in the last {silent_for:.0f} s"]
        run = self._with_phases(replace(run, after=after), stage, before)
        return replace(
            run,
            write_gap=measured.fault,
            first_write=measured.first_write,
            lost=len(comparison.lost),
            extra=len(comparison.extra),
            problems=[
                *problems,
                *unanswered,
                *silent,
                *oracle.disagreements(comparison, pairs),
                *oracle.roles(servers, [after]),
                *self._unmet(scenario, before, stage, run, len(reigns)),
                *self._stack.complaints(self._place),
            ],
            details={
                "summary": scenario.summary,
                "outcome": scenario.outcome,
                "fault": stage.fault_action,
                "fault_at": round(stage.fault, 3),
                "notes": list(stage.notes),
                "gap_from_s": _rounded(measured.begun),
                "baseline_gap_s": _rounded(measured.baseline),
                "later_gap_s": _rounded(measured.later),
                "refused": sum(a.writer == CLIENT and a.outcome == REFUSED for a in attempts),
                "unknown": sum(a.writer == CLIENT and a.outcome == UNKNOWN for a in attempts),
                "unknown_present": comparison.unknown_present,
                "probe_acknowledged": {node: len(acknowledgements(attempts, node)) for node in self._target.nodes},
            },
            story=strips.story(attempts, stage.fault, [measured.first_write, *run.phases], list(self._target.nodes)),
        )

    def await_same_position(self) -> None:
        """Wait until every server stands at the same position; HafailoverError if one does not get there.

        A replica that does not replicate for a while is not waited for any longer, nor a server that does not answer. A replica
        knows the drill's own account only when it has applied what made it.
        """
        broken_since: dict[str, float] = {}

        def is_over(node: str) -> bool:
            return time.monotonic() - broken_since.setdefault(node, time.monotonic()) > _BROKEN

        def same() -> bool | None:
            seen = {}
            for node in self._target.nodes:
                try:
                    server = seen[node] = database.health(self._place, node)
                except HafailoverError:
                    if is_over(node):
                        raise
                    continue
                if server.replicating or not server.read_only:
                    broken_since.pop(node, None)
                elif is_over(node):
                    raise HafailoverError(f"{node} does not replicate")
            if len(seen) < len(self._target.nodes):
                return None
            if not self._place.tables():
                return self._reached(seen)
            return True if len({server.position for server in seen.values()}) == 1 else None

        waiting.wait("the replicas reach the primary's position", _SAME_POSITION_WITHIN, same, 0.1)

    def _reached(self, seen: Mapping[str, database.Health]) -> bool | None:
        """Where others write, too, no two servers are ever seen at the same position: the replicas have to reach where the primary was."""
        primary = next((server.position for server in seen.values() if not server.read_only), "")
        self._goal = self._goal or primary
        return True if self._goal and all(gtid.reached(one.position, self._goal) for one in seen.values()) else None

    def _final_state(self) -> tuple[str, dict[str, Server], list[str]]:
        """Return the primary, what every server holds once nothing moves any more, and a sentence for each replica that
        does not tell; HafailoverError if there is no primary that tells."""
        promoted = database.cluster(self._place, self._target).promoted
        if len(promoted) != 1:
            raise HafailoverError(f"Pacemaker has {len(promoted)} promoted instances")
        self._goal = ""
        # If they never get there, the comparison tells better what the difference is.
        with contextlib.suppress(HafailoverError):
            self.await_same_position()
        servers, silent = {promoted[0]: database.contents(self._place, promoted[0])}, []
        for node in sorted(self._target.nodes.keys() - servers.keys()):
            try:
                servers[node] = database.contents(self._place, node)
            except HafailoverError as error:
                silent.append(f"{node} cannot be compared: {error}")
        if not self._place.tables():
            goal = servers[promoted[0]].position
            servers = {
                node: server._replace(position=goal) if gtid.reached(server.position, self._goal) else server
                for node, server in servers.items()
            }
        return promoted[0], servers, silent

    def _unmet(self, scenario: Scenario, before: Before, stage: Stage, run: Run, reigns: int | None = 0) -> list[str]:
        assert stage.fault is not None and run.after is not None
        try:
            now = database.datadirs(self._place, self._target) if before.datadirs else {}
        except HafailoverError as error:
            return [f"what is expected cannot be checked: {error}"]
        outcome = Outcome(
            before=before.primary,
            after=run.after,
            fenced=timeline.fenced_nodes(self._fencing(), stage.fault),
            configuration_changes=changes.configuration_changes(before.cib, database.cib_text(self._place)),
            rebuilt=frozenset(node for node, identity in before.datadirs.items() if now.get(node) != identity),
            phases=run.phases._asdict(),
            reigns=reigns,
        )

        def named(nodes: frozenset[str] | None) -> frozenset[str] | None:
            return None if nodes is None else frozenset(before.roles.get(name, name) for name in nodes)

        expected = scenario.expect
        return oracle.unmet(replace(expected, fenced=named(expected.fenced), rebuilt=named(expected.rebuilt)), outcome)

    def _with_phases(self, run: Run, stage: Stage, before: Before) -> Run:
        assert stage.fault is not None and run.after is not None
        lines, resources = self._log(stage.fault), self._target.resources
        history = self._place.history(stage.fault)
        found = timeline.phases(lines, self._fencing(), stage.fault, before.primary, run.after, resources, history)
        # A switchover is announced, not detected.
        return replace(run, phases=found._replace(detected=None) if stage.fault_action in PLANNED else found)

    def _fencing(self) -> list[Power]:
        return [Power(*entry) for entry in self._place.fence_log()]

    def _log(self, since: float) -> list[LogLine]:
        matches = [f"SYSLOG_IDENTIFIER={name}" for name in _IDENTIFIERS]
        return [
            LogLine(
                int(record["__REALTIME_TIMESTAMP"]) / 1e6,
                node,
                str(record.get("SYSLOG_IDENTIFIER", "")),
                str(record.get("MESSAGE", "")),
                str(record.get("HAFAILOVER_EVENT", "")),
            )
            for node in self._place.cluster_nodes
            for record in self._place.journal(node, since - 1.0, matches)
        ]


def _since(fault: float | None, moment: float | None) -> float | None:
    return None if fault is None or moment is None else moment - fault


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
