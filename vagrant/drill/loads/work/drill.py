"""hafailover drill work: break a StackStorm lab while work is submitted, and account for every item and tick."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from hafailover.crm.drill import database
from hafailover.vagrant.drill import target
from hafailover.vagrant.drill.loads import wait
from hafailover.vagrant.drill.loads.frame import TOPOLOGIES, LoadDrill, Struck
from hafailover.vagrant.drill.loads.result import NODE, Column, Run, seconds, seconds_by_kind
from hafailover.vagrant.drill.loads.work import load, oracle
from hafailover.vagrant.drill.loads.work.faults import FAULTS
from hafailover.vagrant.drill.loads.work.load import Worker
from hafailover.vagrant.drill.loads.work.oracle import Evidence
from hafailover.vagrant.lab import Lab

API_PORT = 9101


@dataclass(frozen=True)
class WorkRun(Run):
    """``lost`` counts acknowledged items that were not done at the end, ``repeated`` those that ran more than once, which at-least-once
    allows. Gaps are the longest in the run, from before the fault until everything was back; ``missed_ticks`` is the time without a
    tick by unit; ``back`` is from the fault until the lab was healthy again."""

    acknowledged: int = 0
    lost: int | None = None
    repeated: int | None = None
    publish_gap: float | None = seconds()
    consume_gap: float | None = seconds()
    missed_ticks: Mapping[str, int] = seconds_by_kind()
    back: float | None = seconds()


class Working(Worker):
    """A worker on a lab whose timers and sensors are looked at, too."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab, [f"http://{lab.nodes[one].address}:{API_PORT}" for one in lab.data_nodes])
        self.began = time.time()
        self._aim = target.of_lab(lab.name)

    def comes_back(self, node: str) -> None:
        """Work goes on, and every unit that ever ticked does."""
        self.goes_on()
        since = time.time()

        def silent() -> str | None:
            ticks = load.evidence(self._lab, database.primary(self._lab, self._aim), []).ticks
            left = {tick.unit for tick in ticks} - {tick.unit for tick in ticks if tick.at > since}
            return None if ticks and not left else f"{', '.join(sorted(left)) or 'nobody'} does not tick any more"

        wait.until_none(silent, wait.GOES_ON_WITHIN)


class WorkDrill(LoadDrill[Working, WorkRun]):
    """Break a StackStorm pair on purpose while numbered work is submitted, and count what became of it.

    A client outside the cluster submits an item five times a second to whichever st2api answers, and remembers what was
    acknowledged. Each FAULT strikes each node in turn (without one: power-off). Afterwards every acknowledged item must be done,
    and timers and sensors must have fired once per tick, on one node at a time.

    The lab's StackStorm services are stand-ins: small programs with the same unit names that work on the lab's real broker,
    database and content.

    Exit code 0: nothing was lost and all came back; 1: something is not as it must be; 2: wrong usage.

    \b
    Example:
      hafailover drill work
      hafailover drill work kill-broker hang-content --node st2-node -o json
    """

    name = "work"
    topology = TOPOLOGIES / "stackstorm-pair.yml"
    faults = FAULTS
    default = ("power-off",)
    result = WorkRun
    columns = (
        NODE,
        Column("acked", lambda run: run.acknowledged),
        Column("lost", lambda run: run.lost),
        Column("again", lambda run: run.repeated),
        Column("publish s", lambda run: run.publish_gap),
        Column("consume s", lambda run: run.consume_gap),
        Column("no tick s", lambda run: max(run.missed_ticks.values(), default=None)),
        Column("back s", lambda run: run.back),
    )

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.nodes = lab.data_nodes
        self._aim = target.of_lab(lab.name)

    @contextmanager
    def load(self) -> Iterator[Working]:
        """One worker, and the action that it asks for."""
        load.install_pack(self.lab, self.nodes[0])
        with Working(self.lab) as worker:
            yield worker

    def judged(self, worker: Working, struck: Struck) -> WorkRun:
        """When every acknowledged item has ended, or should have."""
        found = load.await_done(self.lab, database.primary(self.lab, self._aim), worker.acknowledged())
        verdict = oracle.judge(_since(found, worker.began))
        silent = () if verdict.missed else ("no timer and no sensor fired",)
        return WorkRun(
            struck.fault,
            struck.node,
            (*struck.problems, *verdict.problems, *silent),
            acknowledged=verdict.acknowledged,
            lost=verdict.acknowledged - verdict.done,
            repeated=verdict.repeated,
            publish_gap=verdict.publish_gap and verdict.publish_gap.seconds,
            consume_gap=verdict.consume_gap and verdict.consume_gap.seconds,
            missed_ticks=verdict.missed,
            back=struck.back,
        )


def _since(evidence: Evidence, began: float) -> Evidence:
    """The part of ``evidence`` that belongs to a run that began then (Unix time): earlier runs left theirs, too."""
    executions = {key: item for key, item in evidence.executions.items() if item.created >= began}
    return evidence._replace(executions=executions, ticks=tuple(tick for tick in evidence.ticks if tick.at >= began))
