#!/usr/bin/python3
"""How long a service is away: ours, the stock agents and agents that do nothing, in turn in one lab.

Agents that do nothing show what Pacemaker itself needs, the floor under every other number; the ratio to their median is what
counts. Times are a client's: without a warning, from the fault to the first acknowledged write on the other node; in a planned move,
the longest time without one. With agents that do nothing there is nobody to write: from the fault to the start of the address, or from
its stop to its start. Turns are short, and every other one has the opposite order, so that whatever else the machine does falls on all.

    bench/failover.py                                       # makes a lab, a Markdown table
    bench/failover.py --runs 20 --scenario kill-primary -o json
    bench/failover.py --samples FILE                        # again later: the results are those of all times
    bench/failover.py --samples FILE --runs 0               # only those of earlier times, without a lab
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import common
from hafailover.crm.drill import scenario
from hafailover.crm.drill.engine import Drill
from hafailover.crm.drill.report import Run
from hafailover.crm.drill.stacks import Hafailover
from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.vagrant.drill import session, target
from hafailover.vagrant.drill.heartbeat import Heartbeat
from hafailover.vagrant.drill.null import Null
from hafailover.vagrant.lab import Lab

NULL = Null.name
STACKS = {
    Null.name: Null,
    Hafailover.name: Hafailover,
    "heartbeat-mysql": lambda: Heartbeat("mysql"),
    "heartbeat-mariadb": lambda: Heartbeat("mariadb"),
}


class Row(NamedTuple):
    """What is measured: a scenario under a client's load. ``planned``: the gap counts, not the time since the fault.

    ``alone``: a floor does not exist, because agents that do nothing notice nothing.
    """

    name: str
    scenario: str
    interval: float = 0.01  # seconds between two writes
    planned: bool = False
    alone: bool = False


ROWS = (
    Row("kill-primary", "kill-primary"),
    Row("switchover", "switchover", planned=True),
    Row("switchover-1000", "switchover", interval=0.001, planned=True),
    Row("standby-primary", "standby-primary", planned=True),
    Row("hung-primary", "hung-primary", alone=True),
    Row("power-off-primary", "power-off-primary"),
    Row("cut-primary", "cut-primary"),
)


class Sample(NamedTuple):
    """One run. ``seconds`` is None when nobody could write afterwards; ``lost``: acknowledged rows that are gone."""

    row: str
    agents: str
    seconds: float | None
    lost: int
    problems: tuple[str, ...]


class Result(NamedTuple):
    """All runs of one row with one set of agents, as in the JSON answer."""

    scenario: str
    agents: str
    runs: int
    median_s: float | None
    min_s: float | None
    max_s: float | None
    ratio_to_null: float | None
    not_ok: int
    lost: int


def turns(runs: int, size: int) -> Iterator[int]:
    """How many runs of each row the turns have: ``size``, and what is left."""
    while runs > 0:
        yield min(runs, size)
        runs -= size


def measure(
    lab: Lab, stacks: Sequence[str], rows: Sequence[Row], runs: int, size: int, ledgers: Path, say: session.Progress
) -> Iterator[Sample]:
    """Let the sets of agents take turns. HafailoverError when one cannot even be put in place."""
    for number, count in enumerate(turns(runs, size)):
        for name in stacks if number % 2 == 0 else list(reversed(stacks)):
            yield from _turn(lab, name, rows, count, ledgers / f"{number}-{name}", say)


def _turn(
    lab: Lab, name: str, rows: Sequence[Row], count: int, ledgers: Path, say: session.Progress
) -> Iterator[Sample]:
    with in_place(lab, name, ledgers, say) as drill:
        for row in rows:
            if row.alone and name == NULL:
                continue
            drill.interval = row.interval
            for _ in range(count):
                yield sample(row, drill.run(scenario.load(row.scenario)))


@contextmanager
def in_place(lab: Lab, name: str, ledgers: Path, say: session.Progress) -> Iterator[Drill]:
    """With it the set of agents ``name`` runs in ``lab``, to be drilled; what was there before comes back. HafailoverError."""
    ledgers.mkdir()
    drill = Drill(lab, target.of_lab(lab.name), STACKS[name](), ledgers, say)
    try:
        drill.begin()
        yield drill
    finally:
        with session.undisturbed():
            drill.end()


def sample(row: Row, run: Run) -> Sample:
    """What counts of a run."""
    seconds = run.write_gap if row.planned else run.first_write
    return Sample(row.name, run.agents, seconds, run.lost or 0, tuple(run.problems))


def results(samples: Sequence[Sample], rows: Sequence[Row], stacks: Sequence[str]) -> list[Result]:
    """The medians, row by row."""
    found = []
    for row in rows:
        floor = _median([one for one in samples if (one.row, one.agents) == (row.name, NULL)])
        for name in stacks:
            mine = [one for one in samples if (one.row, one.agents) == (row.name, name)]
            if not mine:
                continue
            times = [one.seconds for one in mine if one.seconds is not None]
            median = _median(mine)
            ratio = round(median / floor, 2) if median is not None and floor else None
            found.append(
                Result(
                    scenario=row.name,
                    agents=name,
                    runs=len(mine),
                    median_s=median,
                    min_s=round(min(times), 3) if times else None,
                    max_s=round(max(times), 3) if times else None,
                    ratio_to_null=ratio,
                    not_ok=sum(bool(one.problems) for one in mine),
                    lost=sum(one.lost for one in mine),
                )
            )
    return found


def _median(samples: Sequence[Sample]) -> float | None:
    times = [one.seconds for one in samples if one.seconds is not None]
    return round(statistics.median(times), 3) if times else None


def kept(path: Path) -> list[Sample]:
    """The runs of an earlier time, oldest first; none when there is no such file. HafailoverError if it is something else."""
    if not path.exists():
        return []
    try:
        found = [Sample(**json.loads(line)) for line in path.read_text().splitlines()]
        return [one._replace(problems=tuple(one.problems)) for one in found]
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{path} does not hold runs of this benchmark: {error}") from None


def table(found: Sequence[Result]) -> str:
    """The results in Markdown."""
    lines = [
        "| scenario | agents | median s | min | max | to null | runs | not ok | rows lost |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in found:
        values = [one.median_s, one.min_s, one.max_s, one.ratio_to_null]
        shown = ["" if value is None else f"{value:.2f}" for value in values]
        lines.append(
            f"| {one.scenario} | {one.agents} | {' | '.join(shown)} | {one.runs} | {one.not_ok} | {one.lost} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = common.parser("Time to the next write after a fault or a planned move, ours against others, in a lab.")
    parser.add_argument("-n", "--runs", type=int, default=10, help="runs of each scenario with each set (default: 10)")
    parser.add_argument("--turn", type=int, default=5, help="runs of a scenario in one turn of a set (default: 5)")
    parser.add_argument("--agents", action="append", choices=sorted(STACKS), help="only these (repeatable)")
    parser.add_argument(
        "--scenario", action="append", choices=[row.name for row in ROWS], help="only these (repeatable)"
    )
    parser.add_argument("-t", "--topology", type=Path, help="topology of the lab that is made")
    parser.add_argument(
        "--samples", type=Path, help="keep each run there, a line of JSON each, and count those that are there already"
    )
    options = parser.parse_args()
    stacks = [name for name in STACKS if not options.agents or name in options.agents]
    rows = [row for row in ROWS if not options.scenario or row.name in options.scenario]
    with common.ending("failover"):
        samples = kept(options.samples) if options.samples else []
    if options.runs:
        samples += _measured(options, stacks, rows)
    with common.ending("failover"):
        if not samples:
            raise HafailoverError("nothing was measured")
    found = results(samples, rows, stacks)
    common.answer(options, {"results": found}, table(found))


def _measured(options: argparse.Namespace, stacks: Sequence[str], rows: Sequence[Row]) -> list[Sample]:
    """Run what is asked for; each run is kept as soon as it is over."""
    say, samples = session.Progress(), []
    ledgers = Path(tempfile.mkdtemp(prefix="hafailover-bench-"))
    with (
        common.ending("failover"),
        say.until_end(),
        session.interruptible(),
        session.lab(options.lab, say, options.topology) as lab,
    ):
        for one in measure(lab, stacks, rows, options.runs, options.turn, ledgers, say):
            samples.append(one)
            seconds = "none" if one.seconds is None else f"{one.seconds:.3f} s"
            say(f"{one.row} {one.agents}: {seconds} {'; '.join(one.problems)}")
            if options.samples:
                with options.samples.open("a") as file:
                    file.write(json.dumps(one._asdict()) + "\n")
    if any(one.problems for one in samples):
        say(f"the ledgers are kept in {ledgers}")
    else:
        shutil.rmtree(ledgers)
    return samples


if __name__ == "__main__":
    main()
