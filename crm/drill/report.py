"""What a drill prints: one JSON document for programs, one compact table for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hafailover.crm.drill import columns
from hafailover.crm.drill.timeline import Phases


@dataclass(frozen=True)
class Run:
    """The result of one run; times in seconds, counted from the fault. ``ok`` means that nothing is in ``problems``.

    A value is None where it was not reached (then ``problems`` says why) or does not apply to these agents.
    ``details`` holds what explains the numbers: the client's jitter before the fault, unknown outcomes, and so on. ``story`` is what a
    page draws (crm/drill/strips.py), ``steps`` what was done: ``at`` and ``took`` in seconds from the fault, ``says``, ``ok``.
    """

    scenario: str
    agents: str
    before: str | None
    after: str | None
    write_gap: float | None = None
    first_write: float | None = None
    acknowledged: int | None = None
    lost: int | None = None
    extra: int | None = None
    concurrent_writers: int | None = None
    rejoined: float | None = None
    phases: Phases = field(default_factory=Phases)
    problems: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    story: Mapping[str, Any] = field(default_factory=dict)
    steps: Sequence[Mapping[str, Any]] = ()

    @property
    def ok(self) -> bool:
        """Whether everything held that had to."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """Return the run in the documented shape."""
        return {
            "scenario": self.scenario,
            "agents": self.agents,
            "from": self.before,
            "to": self.after,
            "write_gap_s": _rounded(self.write_gap),
            "first_write_s": _rounded(self.first_write),
            "acknowledged": self.acknowledged,
            "lost": self.lost,
            "extra": self.extra,
            "concurrent_writers": self.concurrent_writers,
            "rejoined_s": _rounded(self.rejoined),
            "phases": self.phases._asdict(),
            "ok": self.ok,
            "problems": list(self.problems),
            "details": dict(self.details),
            "steps": [dict(step) for step in self.steps],
            "story": dict(self.story),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def as_json(runs: Sequence[Run]) -> str:
    """Return all runs as one JSON document."""
    return json.dumps({"runs": [run.as_json() for run in runs]}, indent=2)


_HEADINGS = ("scenario", "from → to", "gap s", "first s", "acked", "lost", "extra", "dual", "back s", "")
_LEFT = (0, 1, 9)


def as_table(runs: Sequence[Run]) -> str:
    """Return a table, at most 80 columns wide for names of usual length, then what went wrong in each failed run."""
    lines = list(columns.lines([_HEADINGS, *map(_cells, runs)], _LEFT))
    for number, run in enumerate(runs, 1):
        lines += [f"run {number}, {run.scenario}: {problem}" for problem in run.problems]
    failed = sum(not run.ok for run in runs)
    agents = ", ".join(sorted({run.agents for run in runs}))
    lines.append(f"{len(runs)} runs with {agents} agents, {f'{failed} failed' if failed else 'all ok'}")
    return "\n".join(lines)


def _cells(run: Run) -> tuple[str, ...]:
    return (
        run.scenario,
        f"{run.before or '-'} → {run.after or '-'}",
        _seconds(run.write_gap, 2),
        _seconds(run.first_write, 2),
        _count(run.acknowledged),
        _count(run.lost),
        _count(run.extra),
        _count(run.concurrent_writers),
        _seconds(run.rejoined, 1),
        "ok" if run.ok else "FAILED",
    )


def _seconds(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)
