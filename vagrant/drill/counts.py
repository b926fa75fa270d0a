"""The sums over many faults: what was done how often, and what it cost."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from hafailover.crm.drill import columns
from hafailover.crm.drill.report import Run


class Count(NamedTuple):
    """The faults in which a kind took part, alone or with another; None where nothing was measured.

    ``lost`` are acknowledged rows, ``concurrent`` pairs of servers; gaps are the client's longest silence, in seconds.
    """

    kind: str
    faults: int
    failed: int
    lost: int
    concurrent: int
    median_gap: float | None
    longest_gap: float | None


def count(runs: Sequence[Run]) -> list[Count]:
    """Group by kind. A fault of two kinds counts for both, so the sum is more than the number of faults."""
    kinds = sorted({kind for run in runs for kind in _kinds(run)} - {"all"})
    return [_one(kind, [run for run in runs if kind in _kinds(run)]) for kind in [*kinds, "all"]]


def _kinds(run: Run) -> set[str]:
    return {"all", *str(run.details.get("kind", "")).split("+")} - {""}


def _one(kind: str, runs: Sequence[Run]) -> Count:
    gaps = [run.write_gap for run in runs if run.write_gap is not None]
    return Count(
        kind,
        len(runs),
        sum(not run.ok for run in runs),
        sum(run.lost or 0 for run in runs),
        sum(run.concurrent_writers or 0 for run in runs),
        round(statistics.median(gaps), 3) if gaps else None,
        round(max(gaps), 3) if gaps else None,
    )


def as_json(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the sums by kind and the number of writes that were acknowledged."""
    return {
        "faults": len(runs),
        "failed": sum(not run.ok for run in runs),
        "acknowledged": acknowledged(runs),
        "kinds": [one._asdict() for one in count(runs) if one.kind != "all"],
    }


def acknowledged(runs: Sequence[Run]) -> int:
    """All writes that were acknowledged to a client or to a probe on a node."""
    probes: list[int] = [sum(run.details.get("probe_acknowledged", {}).values()) for run in runs]
    return sum(run.acknowledged or 0 for run in runs) + sum(probes)


def as_table(runs: Sequence[Run], seed: int) -> str:
    """Return a table for people."""
    rows = [("kind", "faults", "failed", "lost", "dual", "median gap s", "longest")]
    for one in count(runs):
        numbers = [str(number) for number in one[1:5]]
        rows.append((one.kind, *numbers, _seconds(one.median_gap), _seconds(one.longest_gap)))  # type: ignore[arg-type]
    lines = list(columns.lines(rows, [0]))
    failed = [str(run.details["number"]) for run in runs if not run.ok and "number" in run.details]
    lines.append(f"seed {seed}: {len(runs)} faults, {acknowledged(runs)} writes acknowledged")
    lines += [f"replay a failed one with: hafailover drill random --seed {seed} --only {number}" for number in failed]
    return "\n".join(lines)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
