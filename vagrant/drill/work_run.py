"""One run of ``hafailover drill work``: work is submitted, a fault strikes, everything comes back, the evidence is judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hafailover.crm.errors import HafailoverError
from hafailover.vagrant import host
from hafailover.vagrant.drill import database, target, work, work_faults, work_oracle
from hafailover.vagrant.drill.work import Worker
from hafailover.vagrant.drill.work_faults import Fault, Stage
from hafailover.vagrant.drill.work_oracle import Evidence, Gap
from hafailover.vagrant.lab import Lab

API_PORT = 9101
HEALTHY_WITHIN = 300.0
_FIRST_ITEMS = 10
_ITEMS_AFTER = 10
_TICKS_AFTER = 3.0  # seconds in which a tick of each unit must come

Say = Callable[[str], None]


@dataclass(frozen=True)
class WorkRun:
    """The result of one run; times in seconds. ``lost`` counts acknowledged items that were not done at the end.

    ``repeated``: items that ran more than once, which at-least-once allows. Gaps are the longest in the run, from before the
    fault until everything was back; ``missed`` is seconds without a tick by unit; ``back`` is from the fault until the lab
    was healthy again. None where a value was not reached; then ``problems`` says why.
    """

    fault: str
    node: str
    acknowledged: int = 0
    lost: int | None = None
    repeated: int | None = None
    publish_gap: float | None = None
    consume_gap: float | None = None
    missed: Mapping[str, int] = field(default_factory=dict)
    back: float | None = None
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """The run in the documented shape."""
        return {
            "fault": self.fault,
            "node": self.node,
            "acknowledged": self.acknowledged,
            "lost": self.lost,
            "repeated": self.repeated,
            "publish_gap_s": _rounded(self.publish_gap),
            "consume_gap_s": _rounded(self.consume_gap),
            "missed_ticks_s": dict(self.missed),
            "back_s": _rounded(self.back),
            "ok": self.ok,
            "problems": list(self.problems),
        }


def run(lab: Lab, name: str, fault: Fault, node: str, say: Say) -> WorkRun:
    """Strike once. Never raises HafailoverError: what went wrong is in the result's problems."""
    done = WorkRun(name, node)
    try:
        say("wait until everything is healthy")
        await_health(lab)
        work.install_pack(lab, node)
        began = time.time()
        urls = [f"http://{lab.nodes[one].address}:{API_PORT}" for one in lab.data_nodes]
        with Worker(lab, urls) as worker:
            worker.await_progress(_FIRST_ITEMS, HEALTHY_WITHIN)
            struck, problems = _strike(lab, fault, node, worker, say)
            back = time.time() - struck
            say("everything is back; submit a little more, then wait until all is done")
            worker.await_progress(_ITEMS_AFTER)
            _await_ticks(lab, time.time())
            worker.stop()
            acknowledged = worker.acknowledged()
        found = work.await_done(lab, _primary(lab), acknowledged)
        return _judged(done, _since(found, began), back if not problems else None, problems)
    except HafailoverError as error:
        return WorkRun(name, node, problems=(str(error),))


def _strike(lab: Lab, fault: Fault, node: str, worker: Worker, say: Say) -> tuple[float, list[str]]:
    """Break, and wait until everything is back; when it was broken (Unix time) and what went wrong."""

    def goes_on() -> None:
        worker.await_progress(_ITEMS_AFTER, work_faults.GOES_ON_WITHIN)
        say("work goes on")

    say(fault.summary[0].lower() + fault.summary[1:])
    struck, problems = time.time(), []
    try:
        fault.strike(Stage(lab, node, goes_on))
    except HafailoverError as error:
        problems.append(str(error))
    say("wait until everything is back")
    try:
        await_health(lab)
    except HafailoverError as error:
        problems.append(str(error))
    return struck, problems


def await_health(lab: Lab) -> None:
    """Wait until the lab has no problem for two looks in a row; HafailoverError with what is left after five minutes."""
    seen = ["nobody looked"]
    well = 0

    def healthy() -> bool | None:
        nonlocal seen, well
        seen = lab.problems()
        well = 0 if seen else well + 1
        return True if well > 1 else None

    try:
        host.wait("healthy", HEALTHY_WITHIN, healthy, 0.5)
    except HafailoverError:
        raise HafailoverError(f"not healthy after {HEALTHY_WITHIN:g} s: {'; '.join(seen)}") from None


def _await_ticks(lab: Lab, since: float) -> None:
    """Wait until every unit that ever ticked has ticked after ``since`` (Unix time); HafailoverError."""
    silent = {"timers"}

    def all_tick() -> bool | None:
        nonlocal silent
        ticks = work.evidence(lab, _primary(lab), []).ticks
        silent = {tick.unit for tick in ticks} - {tick.unit for tick in ticks if tick.at > since}
        return True if ticks and not silent else None

    try:
        host.wait("ticks", work_faults.GOES_ON_WITHIN, all_tick, 0.5)
    except HafailoverError:
        raise HafailoverError(f"{', '.join(sorted(silent))} does not tick any more") from None


def _primary(lab: Lab) -> str:
    promoted = database.cluster(lab, target.of_lab(lab.name)).promoted
    if len(promoted) != 1:
        raise HafailoverError(f"Pacemaker has {len(promoted)} promoted databases")
    return promoted[0]


def _since(evidence: Evidence, began: float) -> Evidence:
    """The part of ``evidence`` that belongs to a run that began then (Unix time): earlier runs left theirs, too."""
    executions = {key: item for key, item in evidence.executions.items() if item.created >= began}
    return evidence._replace(executions=executions, ticks=tuple(tick for tick in evidence.ticks if tick.at >= began))


def _judged(done: WorkRun, evidence: Evidence, back: float | None, problems: list[str]) -> WorkRun:
    verdict = work_oracle.judge(evidence)
    silent = [] if verdict.missed else ["no timer and no sensor fired"]
    return WorkRun(
        done.fault,
        done.node,
        acknowledged=verdict.acknowledged,
        lost=verdict.acknowledged - verdict.done,
        repeated=verdict.repeated,
        publish_gap=_seconds(verdict.publish_gap),
        consume_gap=_seconds(verdict.consume_gap),
        missed=dict(verdict.missed),
        back=back,
        problems=(*problems, *verdict.problems, *silent),
    )


def _seconds(gap: Gap | None) -> float | None:
    return None if gap is None else gap.seconds


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
