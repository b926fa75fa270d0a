"""Phases are found in the lines that Pacemaker 2.1 and 3.0 really write."""

from __future__ import annotations

import pytest
from hafailover.crm.drill.timeline import LogLine, Phases, Power, address_gap, fenced_nodes, phases
from hafailover.crm.history import words
from hafailover.crm.history.records import Record

RESOURCES = {"database": "db", "address": "vip"}


def line(time: float, message: str, node: str = "db2", event: str = "") -> LogLine:
    return LogLine(time, node, "pacemaker-controld", message, event)


POWER_OFF = [
    line(99.0, "Result of promote operation for db on db2: ok"),  # an earlier run
    line(102.7, "Node db1 state is now lost"),
    line(102.8, "Node db1 state is now lost", node="qd"),
    line(103.4, "Result of promote operation for db:1 on db2: OK"),
    line(103.5, "Result of start operation for vip on db2: ok"),
    line(120.0, "Result of promote operation for db on db2: ok"),
]


def test_power_off_has_all_four_phases_and_the_first_trace_counts():
    power = [Power(50.0, "db1", "off"), Power(103.0, "db1", "reboot"), Power(103.1, "db2", "reboot")]
    assert phases(POWER_OFF, power, 100.0, "db1", "db2", RESOURCES) == Phases(2.7, 3.0, 3.4, 3.5)


def test_what_left_no_trace_is_none():
    assert phases([], [], 100.0, "db1", "db2", RESOURCES) == Phases(None, None, None, None)


@pytest.mark.parametrize(
    ("trace", "seen"),
    [
        (line(101, "Node db1 state is now lost"), True),
        (line(101, "Node db2 state is now lost"), False),
        (line(101, "Result of monitor operation for db on db1: not running"), True),
        (line(101, "Result of monitor operation for db on db1: error (mariadbd is gone)"), True),
        (line(101, "Result of monitor operation for db on db1: ok"), False),
        (line(101, "Result of monitor operation for db on db1: promoted"), False),
        (line(101, "Result of monitor operation for db on db2: not running"), False),
        (line(101, "Setting master-db[db1] in instance_attributes: 100 -> -1000000 | from db1"), True),
        (line(101, "Setting master-db[db1]: 100 -> -INFINITY | from db1"), True),
        (line(101, "Setting master-db[db1]: 50 -> 100 | from db1"), False),
        (line(101, "Setting master-db[db2]: 100 -> -INFINITY | from db2"), False),
        (line(101, "mariadbd is gone", node="db1", event="died"), True),
        (line(101, "mariadbd is gone", node="db2", event="died"), False),
    ],
)
def test_detection_is_the_first_notice_that_the_old_primary_is_gone(trace, seen):
    found = phases([trace], [], 100.0, "db1", "db2", RESOURCES).detected
    assert found == (1.0 if seen else None)


def test_a_failed_promotion_or_another_resource_is_no_phase():
    lines = [
        line(101, "Result of promote operation for db on db2: error"),
        line(101, "Result of start operation for vip2 on db2: ok"),
        line(101, "Result of start operation for vip on db1: ok"),
    ]
    # … but something else was started where the new primary is
    assert phases(lines, [], 100.0, "db1", "db2", RESOURCES) == Phases(services_up=1.0)


def test_fenced_nodes_are_those_turned_off_since():
    power = [Power(1.0, "db1", "off"), Power(5.0, "db2", "reboot"), Power(6.0, "db3", "on")]
    assert fenced_nodes(power, 2.0) == {"db2"}


def test_the_gap_of_an_address_runs_from_its_last_stop_to_its_start_elsewhere():
    lines = [
        line(99.0, "Result of stop operation for vip on db1: ok"),  # an earlier run
        line(100.5, "Result of stop operation for vip on db1: ok"),
        line(100.6, "Result of stop operation for other on db1: ok"),
        line(100.75, "Result of start operation for vip on db2: ok"),
        line(130.0, "Result of start operation for vip on db2: ok"),
    ]
    assert address_gap(lines, 100.0, "db1", "db2", "vip") == pytest.approx(0.25)
    assert address_gap(lines[3:], 100.0, "db1", "db2", "vip") == pytest.approx(0.75)
    assert address_gap(lines[:3], 100.0, "db1", "db2", "vip") is None


def told(seconds: float, kind: str, writer: str = "db2~abcd", **facts: str):
    """A step as the cluster's own history has it."""
    at = int(seconds * 1e6)
    return words.of(Record(writer, 1, at, at, kind, facts))


def test_the_old_primary_gives_up_and_the_new_one_has_applied_everything():
    lines = [
        line(101.0, "Result of demote operation for db on db1: ok", node="db1"),
        line(101.5, "everything that was received is applied", event="drained"),
        line(101.4, "everything that was received is applied", node="db1", event="drained"),
        line(102.0, "Result of demote operation for db on db1: error", node="db1"),
    ]
    found = phases(lines, [], 100.0, "db1", "db2", RESOURCES)
    assert (found.demoted, found.drained) == (1.0, 1.5)


def test_of_the_other_services_the_last_one_counts():
    lines = [
        line(103, "Result of start operation for tomcat on db2: ok"),
        line(105, "Result of start operation for apache on db2: ok"),
        line(106, "Result of start operation for apache on db1: ok", node="db1"),
        line(107, "Result of start operation for fence-db1 on db2: ok"),
    ]
    assert phases(lines, [], 100.0, "db1", "db2", RESOURCES).services_up == 5.0


def test_what_no_journal_tells_the_clusters_history_does():
    history = [
        told(99.0, "resource", node="db2", rsc="db", task="promote", rc="0"),
        told(101.0, "node", writer="db2~abcd", node="db1", desc="lost"),
        told(102.0, "fencing", node="db1", rc="0", task="reboot", desc="Operation reboot of db1 was OK (ref=1)"),
        told(102.5, "event", resource="db", event="drained", text="everything"),
        told(103.0, "resource", node="db2", rsc="db", task="promote", rc="0", exec_time="900"),
        told(104.0, "resource", node="db2", rsc="vip", task="start", rc="0"),
        told(104.5, "resource", node="db2", rsc="tomcat", task="start", rc="0"),
        told(105.0, "resource", node="db2", rsc="broken", task="start", rc="1"),
        told(106.0, "resource", node="db1", rsc="db", task="promote", rc="0"),
    ]
    found = phases([], [], 100.0, "db1", "db2", RESOURCES, history)
    assert found == Phases(detected=1.0, fenced=2.0, promoted=3.0, address_up=4.0, drained=2.5, services_up=4.5)


def test_a_fencing_that_failed_is_none():
    failed = told(102.0, "fencing", node="db1", rc="1", task="reboot")
    assert phases([], [], 100.0, "db1", "db2", RESOURCES, [failed]).fenced is None
