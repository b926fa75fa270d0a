"""What the oracle of numbered work sees, and what it must not overlook."""

from __future__ import annotations

import pytest
from hafailover.vagrant.drill.loads.gaps import Gap, longest_gap
from hafailover.vagrant.drill.loads.work.oracle import Acknowledged, Evidence, Execution, Tick, judge


def done(number: int, status: str = "succeeded", runs: int = 1, ended: float = 0.0) -> Execution:
    return Execution(f"id{number}", number, status, "n1", runs, 100.0, ended or 100.0 + number)


def acked(*numbers: int) -> tuple[Acknowledged, ...]:
    return tuple(Acknowledged(number, f"id{number}", 100.0 + number) for number in numbers)


def executions(*found: Execution) -> dict[str, Execution]:
    return {execution.id: execution for execution in found}


def ticks(life: str, *seconds: int, node: str = "n1") -> tuple[Tick, ...]:
    return tuple(Tick("timers", second, node, life, float(second)) for second in seconds)


def test_all_is_well() -> None:
    moved = ticks("a", 1, 2, 3) + ticks("b", 6, 7, node="n2") + ticks("c", 9)
    verdict = judge(Evidence(acked(0, 1, 5), executions(done(0), done(1, runs=2), done(5), done(6)), moved))
    assert verdict.problems == ()
    assert (verdict.acknowledged, verdict.done, verdict.repeated) == (3, 3, 1)
    assert verdict.publish_gap == Gap(101.0, 105.0)
    assert verdict.consume_gap == Gap(101.0, 105.0)
    assert verdict.missed == {"timers": 3}
    assert not any("PROBLEM" in line for line in verdict.lines())


@pytest.mark.parametrize("status", ["requested", "scheduled", "running", "failed"])
def test_an_item_that_is_not_done(status: str) -> None:
    verdict = judge(Evidence(acked(0), executions(done(0, status)), ()))
    assert verdict.problems == (f"item 0 (id0) was acknowledged and is {status}",)
    assert verdict.done == 0


def test_an_item_that_is_lost_or_another() -> None:
    assert "is lost" in judge(Evidence(acked(0), {}, ())).problems[0]
    other = Execution("id0", 9, "succeeded", "n1", 1, 100.0, 101.0)
    assert "stored as item 9" in judge(Evidence(acked(0), {"id0": other}, ())).problems[0]


def test_a_tick_that_fired_twice() -> None:
    verdict = judge(Evidence((), {}, ticks("a", 1, 2) + ticks("b", 2, 3, node="n2")))
    assert verdict.problems[0] == "timers: tick 2 fired 2 times, on n1, n2"


def test_two_processes_at_the_same_time_even_if_no_tick_is_doubled() -> None:
    verdict = judge(Evidence((), {}, ticks("a", 1, 3, 5) + ticks("b", 2, 4, node="n2")))
    assert verdict.problems == ("timers: on n2 it began at 2, while on n1 it ticked until 5",)


def test_units_are_judged_apart() -> None:
    sensor = tuple(tick._replace(unit="sensor", life="s") for tick in ticks("s", 1, 2))
    assert judge(Evidence((), {}, ticks("a", 1, 2) + sensor)).problems == ()


def test_gaps() -> None:
    assert longest_gap([]) is None
    assert longest_gap([5.0]) is None
    assert longest_gap([5.0, 1.0, 2.0]) == Gap(2.0, 5.0)
