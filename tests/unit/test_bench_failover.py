"""The arithmetic of bench/failover.py: medians, ratios to the floor, and what has no number."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import common
import failover
from failover import Row, Sample
from hafailover.crm.errors import UsageError

KILL, HUNG = Row("kill", "kill-primary"), Row("hung", "hung-primary", alone=True)


def samples(agents: str, *seconds: float | None, row: Row = KILL) -> list[Sample]:
    return [Sample(row.name, agents, one, 0, () if one is not None else ("nobody could write",)) for one in seconds]


def test_the_ratio_is_that_of_the_medians() -> None:
    taken = samples("null", 0.2, 0.9, 0.3) + samples("hafailover", 0.5, 0.6, 9.0)
    floor, ours = failover.results(taken, [KILL], ["null", "hafailover"])
    assert (floor.median_s, floor.min_s, floor.max_s, floor.ratio_to_null) == (0.3, 0.2, 0.9, 1.0)
    assert (ours.runs, ours.median_s, ours.ratio_to_null, ours.not_ok) == (3, 0.6, 2.0, 0)


def test_a_run_after_which_nobody_could_write_has_no_time_and_counts() -> None:
    taken = samples("null", 0.2) + samples("heartbeat-mysql", 3.0, None)
    _, stock = failover.results(taken, [KILL], ["null", "heartbeat-mysql"])
    assert (stock.runs, stock.median_s, stock.not_ok) == (2, 3.0, 1)
    (nothing,) = failover.results(samples("heartbeat-mysql", None), [KILL], ["heartbeat-mysql"])
    assert (nothing.median_s, nothing.min_s, nothing.ratio_to_null) == (None, None, None)


def test_runs_of_an_earlier_time_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "samples"
    assert failover.kept(file) == []
    taken = samples("null", 0.2, None)
    file.write_text("".join(json.dumps(one._asdict()) + "\n" for one in taken))
    assert failover.kept(file) == taken
    for other in ('{"row": "kill"}\n', "no JSON\n", "[1]\n"):
        file.write_text(other)
        with pytest.raises(UsageError, match="does not hold runs"):
            failover.kept(file)


def test_what_is_printed_as_json_has_names(capsys: pytest.CaptureFixture[str]) -> None:
    (one,) = failover.results(samples("null", 0.2), [KILL], ["null"])
    common.answer(argparse.Namespace(output="json"), {"results": [one]}, "")
    (printed,) = json.loads(capsys.readouterr().out)["results"]
    assert (printed["agents"], printed["median_s"]) == ("null", 0.2)
    common.answer(argparse.Namespace(output="markdown"), {}, "| a table |")
    assert capsys.readouterr().out == "| a table |\n"


def test_without_a_floor_there_is_no_ratio() -> None:
    (ours,) = failover.results(samples("hafailover", 5.0, row=HUNG), [KILL, HUNG], ["null", "hafailover"])
    assert (ours.scenario, ours.ratio_to_null) == ("hung", None)
    assert "| hung | hafailover | 5.00 | 5.00 | 5.00 |  | 1 | 0 | 0 |" in failover.table([ours])


def test_turns_have_all_the_runs() -> None:
    assert list(failover.turns(12, 5)) == [5, 5, 2]
    assert list(failover.turns(3, 5)) == [3]
