"""The arithmetic of bench/clients.py: whose gap is how long, and who hangs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import clients
from clients import Sample


def rows(connection: int, *answered: float, failed: tuple[float, ...] = ()) -> list[dict[str, Any]]:
    good = [{"connection": connection, "at": at, "took": 0.01} for at in answered]
    return good + [{"connection": connection, "at": at, "took": 0.01, "error": "gone"} for at in failed]


def test_the_longest_time_without_an_answer_counts_from_the_last_one_before() -> None:
    assert clients.gap(rows(0, 1.0, 2.0, 5.0, 5.5), since=2.5) == 3.0
    assert clients.gap(rows(0, 1.0, 2.0, 3.0, 9.0), since=2.5) == 6.0, "it was answered once more"
    assert clients.gap(rows(0, 1.0, 2.0, failed=(4.0,)), since=2.5) is None


def test_who_is_not_answered_when_others_are_hangs() -> None:
    every = [row for number in range(clients.COUNT - 1) for row in rows(number, 1.0, 2.0, 4.0)]
    # Answered after the fault, by the old primary, and never again.
    every += rows(clients.COUNT - 1, 1.0, 2.0, 2.6)
    sample = clients.judge("kill", "no limits", every, since=2.5, moved=3.9)
    assert sample == Sample("kill", "no limits", (2.0,) * (clients.COUNT - 1), 1)


def test_results_are_of_all_connections_of_all_runs() -> None:
    (one, other) = clients.results(
        [Sample("kill", "a", (1.0, 2.0), 0), Sample("kill", "b", (), 8), Sample("kill", "a", (3.0,), 1)]
    )
    assert (one.runs, one.connections, one.median_s, one.max_s, one.hung) == (2, 2 * clients.COUNT, 2.0, 3.0, 1)
    assert (other.median_s, other.max_s, other.hung) == (None, None, 8)
    assert "| kill | b |  |  | 8 | 8 |" in clients.table([one, other])
