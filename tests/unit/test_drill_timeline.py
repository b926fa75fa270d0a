"""Phases are found in the lines that Pacemaker 2.1 and 3.0 really write."""

from __future__ import annotations

import pytest
from hafailover.vagrant.drill.timeline import LogLine, Phases, Power, address_gap, fenced_nodes, phases

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
    assert phases(lines, [], 100.0, "db1", "db2", RESOURCES) == Phases()


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
