"""What submitted work, executions and ticks prove: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hafailover.vagrant.drill.loads.gaps import Gap, longest_gap


class Acknowledged(NamedTuple):
    """An item that st2api took: its number, its execution, when (Unix time)."""

    number: int
    id: str
    at: float


class Execution(NamedTuple):
    """An execution as stored; ``number`` is None for one that is no item of ours, ``ended`` 0 while it is not over."""

    id: str
    number: int | None
    status: str
    node: str
    runs: int
    created: float
    ended: float

    @property
    def over(self) -> bool:
        """Whether it has come to an end, good or bad."""
        return self.status in ("succeeded", "failed")


class Tick(NamedTuple):
    """A timer or a sensor fired: ``tick`` is the second it was for, ``life`` the process, ``at`` when it was recorded."""

    unit: str
    tick: int
    node: str
    life: str
    at: float


class Evidence(NamedTuple):
    """All there is to judge."""

    acknowledged: tuple[Acknowledged, ...]
    executions: Mapping[str, Execution]
    ticks: tuple[Tick, ...]


class Verdict(NamedTuple):
    """``problems`` are sentences, empty if all is well; the longest gaps are None when there is nothing to measure.

    ``repeated`` counts items that ran more than once (allowed: at least once), ``missed`` seconds without a tick by unit.
    """

    problems: tuple[str, ...]
    acknowledged: int
    done: int
    repeated: int
    publish_gap: Gap | None
    consume_gap: Gap | None
    missed: Mapping[str, int]

    def lines(self) -> list[str]:
        """For a report."""
        found = [f"acknowledged {self.acknowledged}, done {self.done}, run more than once {self.repeated}"]
        for what, gap in (("publish", self.publish_gap), ("consume", self.consume_gap)):
            found.append(f"longest {what} gap {gap.seconds:.2f} s" if gap else f"no {what} gap can be measured")
        found += [f"{unit}: {seconds} s without a tick" for unit, seconds in sorted(self.missed.items())]
        return found + [f"PROBLEM {problem}" for problem in self.problems]


def judge(evidence: Evidence) -> Verdict:
    """Every acknowledged item done, none lost; no tick twice, no two processes of one unit ticking at the same time."""
    problems: list[str] = []
    done = 0
    for item in evidence.acknowledged:
        execution = evidence.executions.get(item.id)
        if execution is None:
            problems.append(f"item {item.number} ({item.id}) was acknowledged and is lost")
        elif execution.number != item.number:
            problems.append(f"item {item.number} ({item.id}) is stored as item {execution.number}")
        elif execution.status != "succeeded":
            problems.append(f"item {item.number} ({item.id}) was acknowledged and is {execution.status}")
        else:
            done += 1
    units = sorted({tick.unit for tick in evidence.ticks})
    for unit in units:
        problems += _doubled(unit, [tick for tick in evidence.ticks if tick.unit == unit])
    ours = [execution for execution in evidence.executions.values() if execution.number is not None]
    return Verdict(
        tuple(problems),
        len(evidence.acknowledged),
        done,
        sum(execution.runs > 1 for execution in ours),
        longest_gap(item.at for item in evidence.acknowledged),
        longest_gap(execution.ended for execution in ours if execution.ended),
        {unit: _missed([tick.tick for tick in evidence.ticks if tick.unit == unit]) for unit in units},
    )


def _doubled(unit: str, ticks: Sequence[Tick]) -> list[str]:
    problems = []
    for tick, count in sorted(Counter(found.tick for found in ticks).items()):
        if count > 1:
            nodes = ", ".join(sorted({found.node for found in ticks if found.tick == tick}))
            problems.append(f"{unit}: tick {tick} fired {count} times, on {nodes}")
    lives: dict[str, list[Tick]] = {}
    for found in ticks:
        lives.setdefault(found.life, []).append(found)
    spans = sorted((min(t.tick for t in life), max(t.tick for t in life), life[0].node) for life in lives.values())
    latest, where = -1, ""
    for begin, end, node in spans:
        if begin <= latest:
            problems.append(f"{unit}: on {node} it began at {begin}, while on {where} it ticked until {latest}")
        if end > latest:
            latest, where = end, node
    return problems


def _missed(ticks: Sequence[int]) -> int:
    return max(ticks) - min(ticks) + 1 - len(set(ticks)) if ticks else 0
