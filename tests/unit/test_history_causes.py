"""What is put down to whom: a failover to its own cause, and to a command only what it has brought about."""

import pytest
from history_log import Log, failover, started


def told(log):
    """Kind, outcome and cause of what is more than a start."""
    return [(one.kind, one.outcome, one.why) for one in log.entries()[2:]]


DIED = "db on db1: mariadbd died; db2 may take over, so this node gives up the role"
TOOK = "db1 → db2: primary after 0.8 s, address after 1.1 s"


def test_another_server_that_died_earlier_is_neither_cause_nor_beginning():
    log = started().event(960, "db1", "died", "the broker died", resource="mq")
    broker, failed = told(failover(log, 1000))
    assert broker[0] == "failure" and broker[2] == "mq on db1: the broker died"
    assert failed == ("failover", TOOK, DIED), "the primary was away for less than a second, not for 40"


def test_what_dies_afterwards_is_no_cause():
    log = started().node(500, "db1", "lost", "db2").fenced(502, "db1", "db2").event(504, "db2", "promoted")
    log.event(510, "db2", "died", "the broker died", resource="mq")
    assert told(log) == [("failover", "db1 → db2: primary after 4.0 s", "Operation reboot of db1 by db2: OK")]


def test_a_node_that_is_lost_before_its_server_dies_is_the_beginning():
    log = started().node(1000, "db1", "lost", "db2").event(1002, "db1", "died", "killed")
    log.event(1005, "db2", "promoted")
    assert told(log) == [("failover", "db1 → db2: primary after 5.0 s", "db on db1: killed")]


def test_a_server_that_goes_with_another_is_put_down_to_that():
    log = started().op(1000, "db1", "vip", "monitor", rc=1, desc="no link").op(1001, "db1", "db", "demote")
    log.event(1002, "db2", "promoted")
    assert told(log) == [("failover", "db1 → db2: primary after 2.0 s", "monitor of vip on db1 failed: no link")]


def test_the_fencing_of_a_third_node_is_no_cause():
    log = started().op(998, "db1", "db", "demote").node(999, "w1", "lost", "db2").fenced(999.5, "w1", "db2")
    log.event(1000, "db2", "promoted")
    (failed,) = [one for one in told(log) if one[0] == "failover"]
    assert failed == ("failover", "db1 → db2: primary after 2.0 s", "")


@pytest.mark.parametrize("command", ["rejoin", "apply", "adopt", "undo", "hooks"])
def test_a_failover_in_the_middle_of_a_long_command_is_a_failover(command):
    log = failover(started().command(900, 4000, command, "db3", host="db2"), 1000)
    assert told(log) == [(command, "done", ""), ("failover", TOOK, DIED)]


@pytest.mark.parametrize("command", ["rejoin", "apply", "promote"])
def test_a_command_that_died_with_its_node_does_not_hide_the_failover(command):
    log = started().command(900, None, command).node(910, "db1", "lost", "db2").fenced(912, "db1", "db2")
    log.event(914, "db2", "promoted")
    assert [one[1] for one in told(log)] == ["how it ended is not known", "db1 → db2: primary after 4.0 s"]


def test_a_drill_has_what_it_broke_and_a_promotion_its_fencing():
    log = failover(started().command(900, 1100, "drill", "kill"), 1000)
    (drill,) = log.entries()[2:]
    assert (drill.kind, len(drill.steps)) == ("drill", 9)
    log = started().command(900, 960, "promote", "db2").fenced(910, "db1", "db2").event(915, "db2", "promoted")
    (switched,) = log.entries()[2:]
    assert [step.name for step in switched.steps] == ["command", "fence", "promote", "command"]


def test_a_switchover_within_a_long_command_has_its_own_steps():
    log = started().command(900, 4000, "rejoin", "db3", host="db2").command(2000, 2003, "promote", "db2")
    log.event(2000.5, "db1", "demoted").event(2001, "db2", "promoted").event(2001.4, "db2", "vip.up", resource="vip")
    assert told(log) == [("rejoin", "done", ""), ("switchover", "done, address after 1.4 s", "")]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("db2 --accept-data-loss --yes", "accept-loss"),
        ("db2 --reason 'no --accept-data-loss this time'", "switchover"),
        ("db2 --accept-data-loss --reason 'cut of", "accept-loss"),
        ("db2 --reason 'after --accept-data-loss it was cut of", "switchover"),
    ],
)
def test_a_reason_that_speaks_of_an_option_is_none(line, kind):
    (entry,) = Log().command(1, 2, "promote", line).entries()
    assert entry.kind == kind
