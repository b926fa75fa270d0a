"""Where the time went, and what a person is told to do about it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drills import broken, recorded, unreached
from hafailover.crm.drill import recovery
from hafailover.crm.drill.recovery import KNOWN, NONE, UNKNOWN
from hafailover.crm.drill.timeline import Phases


def named(run):
    return {phase.name: phase for phase in recovery.phases(run.as_json())}


def test_what_each_phase_took_adds_up_to_the_whole():
    found = recovery.phases(recorded().as_json())
    known = [phase for phase in found if phase.state == KNOWN]
    assert [phase.name for phase in known] == ["detect", "fence", "drain", "promote", "address", "client", "rejoin"]
    assert sum(phase.took for phase in known) == pytest.approx(recorded().rejoined)
    assert [phase.at for phase in known] == sorted(phase.at for phase in known)


def test_phases_stand_in_the_order_in_which_they_came():
    run = replace(recorded(), phases=Phases(detected=3.0, fenced=1.0, promoted=4.0, address_up=5.0))
    known = [phase.name for phase in recovery.phases(run.as_json()) if phase.state == KNOWN]
    assert known[:4] == ["fence", "detect", "promote", "address"]
    assert all(phase.took >= 0 for phase in recovery.phases(run.as_json()) if phase.took is not None)


@pytest.mark.parametrize(
    ("fault", "name", "state"),
    [
        ("cut", "detect", UNKNOWN),
        ("cut", "fence", UNKNOWN),
        ("kill", "fence", NONE),
        ("kill", "promote", UNKNOWN),
        ("kill", "demote", NONE),
        ("switchover", "detect", NONE),
        ("switchover", "demote", UNKNOWN),
        ("switchover", "services", NONE),
    ],
)
def test_without_a_trace_it_is_not_known_or_does_not_apply(fault, name, state):
    run = replace(recorded(), phases=Phases(), details={"fault": fault})
    assert named(run)[name].state == state
    assert named(run)[name].at is None and named(run)[name].took is None


def test_where_the_primary_stays_nothing_is_promoted():
    run = replace(recorded(), phases=Phases(), after="db1", details={"fault": "stop-cluster"})
    assert {named(run)[name].state for name in ("drain", "promote", "address")} == {NONE}


def said(run, earlier=()):
    return " ".join(recovery.advice(run.as_json(), earlier))


def test_the_way_back_is_told():
    assert "To have db1 back: hafailover promote db1" in said(recorded())
    assert "hafailover promote" not in said(replace(recorded(), after="db1"))


def test_an_application_is_told_for_how_long_to_repeat():
    assert "repeat what failed for at least 14 s" in said(recorded())
    assert "repeat what failed for at least 2 s" in said(replace(recorded(), write_gap=0.31))


def test_nobody_is_troubled_by_what_nobody_noticed():
    run = replace(recorded(), after="db1", write_gap=0.12)
    assert "Writers noticed nothing: their longest silence was 0.12 s" in said(run)


def test_lost_rows_come_first():
    assert recovery.advice(broken().as_json())[0].startswith("Do not rely on this cluster")
    assert "repeat what failed" not in said(broken())


def test_a_run_that_never_began_says_where_to_look():
    assert recovery.advice(unreached().as_json())[0].startswith("Look at hafailover status")


def test_the_longest_phase_is_named_when_it_is_most_of_it():
    slow = replace(recorded(), phases=Phases(0.5, 6.0, 6.5, 6.8))
    assert "Most of it was fence: 5.5 s of 7.0 s until the old primary was off" in said(slow)
    assert "Most of it" not in said(recorded())


@pytest.mark.parametrize(
    ("gaps", "slower"), [((2.0, 2.2, 30.0), True), ((6.0, 6.5), False), ((6.3,), False), ((None,), False), ((), False)]
)
def test_a_run_that_took_longer_than_usual_is_noticed(gaps, slower):
    assert ("longer than usual" in said(recorded(), [{"write_gap_s": gap} for gap in gaps])) is slower


def test_a_run_that_failed_says_nothing_of_what_is_usual():
    good, bad = {"write_gap_s": 6.5, "ok": True}, {"write_gap_s": 0.1, "ok": False}
    assert "longer than usual" not in said(recorded(), [bad, bad, good])
    assert "longer than usual" in said(recorded(), [{**bad, "ok": True}] * 2)


def test_a_later_silence_that_was_longer_is_told_and_counted_with():
    run = replace(recorded(), after="db1", write_gap=0.12, details={**recorded().details, "later_gap_s": 8.25})
    assert "no answer for another 8.25 s" in said(run) and "Writers noticed nothing" not in said(run)
    assert "repeat what failed for at least 17 s" in said(run)
    assert "another" not in said(recorded())
