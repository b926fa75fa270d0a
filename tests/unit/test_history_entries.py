"""From records to entries: what belongs together, what it is called, how long it took, and in what words."""

import random

import pytest
from hafailover.crm.colour import plain
from hafailover.crm.history import report
from hafailover.crm.history.entries import entries
from hafailover.crm.history.report import Names
from history_log import Log, failover, kinds, started
from hypothesis import given, settings
from hypothesis import strategies as st


def test_the_first_promotion_is_no_failover():
    (first,) = started().entries()[-1:]
    assert (first.kind, first.subject, first.who) == ("promotion", "db", "the cluster")


def test_a_failover_has_cause_steps_and_times():
    *_, entry = failover(started()).entries()
    assert entry.kind == "failover"
    assert entry.outcome == "db1 → db2: primary after 0.8 s, address after 1.1 s"
    assert entry.why.startswith("db on db1: mariadbd died")
    steps = [(step.name, round(step.at - entry.at, 2)) for step in entry.steps]
    assert steps == [
        ("detect", 0), ("demote", 0.3), ("stop", 0.4), ("promote", 0.8), ("promote", 0.85), ("address", 1.1), ("services", 1.2),
    ]  # fmt: skip
    assert entry.nodes == ("db1", "db2")


def test_a_failover_just_after_a_promotion_is_one_of_its_own():
    log = failover(started(), 8)
    first, second = [entry for entry in log.entries() if entry.kind in ("promotion", "failover")]
    assert (first.kind, first.outcome) == ("promotion", "db1: primary")
    assert all(step.at - first.at < 1 for step in first.steps)
    assert (second.kind, second.outcome) == ("failover", "db1 → db2: primary after 0.8 s, address after 1.1 s")
    # And back again before half a minute is over.
    log.event(20, "db2", "died", "mariadbd died").op(20.1, "db2", "db", "demote")
    log.event(20.5, "db1", "promoted").op(20.6, "db1", "db", "promote")
    assert log.entries()[-1].outcome == "db2 → db1: primary after 0.5 s"


def test_what_goes_wrong_when_a_command_is_over_is_a_story_of_its_own():
    log = started().command(2000, 2003, "promote", "db2", "--yes")
    log.event(2000.5, "db1", "demoted").event(2001, "db2", "promoted").op(2003.5, "db2", "api", "start")
    log.event(2004, "db2", "degrade", "no replica is connected").op(2004.2, "db2", "late", "start")
    switched, degraded = [one for one in log.entries() if one.kind in ("switchover", "degrade")]
    assert "api" in {step.resource for step in switched.steps} and switched.steps[-1].at < degraded.at
    # And the same for a failover just then.
    log = failover(started().command(2000, 2003, "promote", "db1", "--yes").event(2001, "db1", "promoted"), 2004)
    assert log.entries()[-1].kind == "failover" and "detect" in {step.name for step in log.entries()[-1].steps}


def test_a_headline_says_what_it_is_about():
    *_, entry = failover(started()).entries()
    head = next(iter(report.listed([entry], Names([entry]), plain)))
    assert "db: db1 → db2: primary" in head


def test_a_server_that_is_promoted_again_where_it_was_within_seconds_is_a_recovery():
    log = started().event(8, "db1", "died", "mariadbd died").op(8.1, "db1", "db", "demote").op(8.4, "db1", "db", "stop")
    log.op(9, "db1", "db", "start").event(10, "db1", "promoted").op(10.1, "db1", "db", "promote")
    *_, entry = log.entries()
    assert (entry.kind, entry.outcome) == ("recovery", "db1: primary after 2.0 s")
    assert entry.why.endswith("mariadbd died")


def test_what_was_stopped_elsewhere_before_is_no_cause_of_a_failover():
    log = started().op(985, "db2", "fence-db1", "stop").op(986, "db2", "db", "stop")  # somebody had it in standby
    log.node(1000, "db1", "lost", "db2").fenced(1001, "db1", "db2")
    entry = log.event(1003, "db2", "promoted").event(1004, "db2", "vip.up", resource="vip").entries()[-1]
    assert entry.outcome == "db1 → db2: primary after 3.0 s, address after 4.0 s"


def test_what_is_late_of_the_old_primary_belongs_to_the_failover():
    log = failover(started()).op(1002, "db1", "db", "monitor", rc=7, desc="not running").op(1003, "db1", "db", "stop")
    *_, entry = [one for one in log.entries() if one.kind == "failover"]
    assert [step.name for step in entry.steps][-2:] == ["detect", "stop"]


def test_a_dead_node_is_fenced_before_the_other_serves_and_comes_back():
    log = started().node(500, "db1", "lost", "db2", "w1").fenced(502, "db1", "db2", "w1")
    log.event(504, "db2", "promoted").event(504.5, "db2", "vip.up", resource="vip").node(
        530, "db1", "member", "db2", "w1", "db1"
    )
    log.event(535, "db1", "rejoin", "rejoined (gtid): its history is part of the primary's")
    *_, failed, back, rejoined = log.entries()
    assert kinds([failed, back, rejoined]) == ["failover", "node", "rejoin"]
    # Several nodes told of it; it is one step.
    fence = next(step for step in failed.steps if step.name == "fence")
    assert fence.seen_by == ("db2", "w1")
    assert "OK" in failed.why
    assert back.steps[0].seen_by == ("db2", "w1", "db1")
    assert rejoined.outcome.endswith("its history is part of the primary's")


def test_a_fencing_with_a_name_is_one_though_clocks_are_minutes_apart():
    log = Log()
    for at, writer in ((10, "db2"), (100, "w1")):
        log.add(at, writer, "fencing", node="db1", task="reboot", rc=0, desc="reboot of db1: OK (ref=4b3c-77)")
    log.add(900, "db2", "fencing", node="db1", task="reboot", rc=0, desc="reboot of db1: OK (ref=4b3c-78)")
    first, second = log.entries()
    assert (first.steps[0].seen_by, second.steps[0].seen_by) == (("db2", "w1"), ("db2",))


def test_a_switchover_belongs_to_who_asked_for_it():
    log = started().command(2000, 2003, "promote", "db2", "--yes", reason="new kernel")
    log.event(2000.5, "db1", "demoted").event(2001, "db2", "promoted").event(2001.4, "db2", "vip.up", resource="vip")
    *_, entry = log.entries()
    assert (entry.kind, entry.who, entry.why) == ("switchover", "ann (as root) on db1", "new kernel")
    assert entry.subject == "hafailover promote db2 --yes"
    assert entry.outcome == "done, address after 1.4 s"
    # What follows knows who was primary.
    *_, later = failover(log, 9000).entries()
    assert later.kind == "recovery", "db2 was primary already"


@pytest.mark.parametrize(
    ("code", "says", "outcome"),
    [
        (0, "", "done"),
        (3, "nothing was changed", "refused: nothing was changed"),
        (4, "see status", "incomplete: see status"),
        (130, "", "interrupted"),
        (9, "", "ended with 9"),
    ],
)
def test_commands_and_how_they_ended(code, says, outcome):
    (entry,) = Log().command(10, 12, "apply", "t.yml", code=code, says=says).entries()
    assert (entry.kind, entry.outcome) == ("apply", outcome)


def test_a_command_that_was_killed_and_one_whose_beginning_is_gone():
    (killed,) = Log().command(10, None, "rejoin", "db2").entries()
    assert killed.outcome == "how it ended is not known"
    log = Log().command(10, 20, "apply", "t.yml")
    (cut,) = entries(log.made[1:])
    assert (cut.kind, cut.outcome) == ("apply", "done")


def test_fencing_alone_and_one_that_failed():
    (alone,) = Log().node(1, "db2", "lost", "db1").fenced(2, "db2", "db1").entries()
    assert (alone.kind, alone.subject, alone.outcome) == ("fencing", "db2", "done")
    (failed,) = Log().fenced(2, "db2", "db1", rc=1).entries()
    assert (failed.outcome, failed.steps[0].bad) == ("failed", True)


def test_services_that_go_on_elsewhere_are_a_failover_too():
    log = (
        Log().node(1, "n1", "lost", "n2").fenced(2, "n1", "n2").op(5, "n2", "vip", "start").op(9, "n2", "web", "start")
    )
    log.node(60, "n1", "member", "n2").op(65, "n1", "memcached", "start")
    failed, back, started_again = log.entries()
    assert (failed.kind, failed.subject, failed.outcome) == ("failover", "vip, web", "n1 → n2: runs after 8.0 s")
    assert "OK" in failed.why
    assert (back.kind, started_again.kind) == ("node", "services")
    left = Log().node(1, "n1", "lost", "n2").op(3, "n2", "web", "start").node(90, "n1", "member", "n2").entries()
    assert [(one.kind, one.outcome) for one in left] == [
        ("failover", "n1 → n2: runs after 2.0 s"),
        ("node", "is a member"),
    ]
    away = Log().node(1, "n1", "lost", "n2").node(9, "n1", "member", "n2").entries()
    assert [(one.kind, one.outcome) for one in away] == [("node", "back after 8.0 s")]


def test_a_primary_that_nobody_takes_over_from_is_no_failover():
    """A rack lost its power, its replica's server was started again: it may not be promoted, and nothing has moved."""
    log = started().op(1, "db2", "fence-db1", "start").event(90, "db1", "degrade", "replicas marked stale")
    log.node(91, "db2", "lost", "db1").fenced(92, "db2", "db1")
    log.node(130, "db1", "lost", "db2").fenced(131, "db1", "db2").op(133, "db2", "fence-db1", "start").op(
        134, "db2", "db", "start"
    )
    log.node(200, "db1", "member", "db2").event(210, "db1", "promoted", "writable as primary of epoch 2").event(
        213, "db1", "regain", "in sync from here on: db2"
    )
    lost = next(one for one in log.entries() if one.kind == "fencing" and one.subject == "db1")
    assert lost.outcome == "done; nobody took over as primary of db"
    assert [one.kind for one in log.entries() if one.at > lost.at and one.kind in ("failover", "recovery")] == [
        "recovery"
    ]
    degraded = next(one for one in log.entries() if one.kind == "degrade")
    assert degraded.outcome == "in sync again after 123.0 s"


def test_an_address_that_moves_from_a_lost_node_is_a_failover_and_what_starts_beside_it_is_not_in_it():
    log = (
        Log()
        .op(0, "n1", "vip", "start")
        .op(0, "n1", "web", "start")
        .op(0, "n2", "web", "start")
        .op(1, "n2", "fence-n1", "start")
    )
    log.node(50, "n1", "lost", "n2").op(52, "n2", "fence-n1", "start").op(53, "n2", "web", "start").op(
        55, "n2", "vip", "start"
    )
    failed = next(one for one in log.entries() if one.kind == "failover")
    assert (failed.subject, failed.outcome) == ("vip", "n1 → n2: runs after 5.0 s")


def test_degradation_lasts_until_the_replica_is_in_sync():
    log = (
        started()
        .event(100, "db1", "degrade", "replicas marked stale, then commits released: db2 left")
        .event(160, "db1", "regain", "in sync from here on: db2")
    )
    entry = log.entries()[-1]
    assert (entry.kind, entry.outcome) == ("degrade", "in sync again after 60.0 s")
    assert "db2 left" in entry.why
    open_ended = started().event(100, "db1", "degrade", "x").entries()[-1]
    assert open_ended.outcome == "nothing says that it was in sync again"


def test_a_rebuild_is_one_entry_from_its_beginning_to_its_end():
    log = Log().event(1, "db2", "clone.begin", "to be cloned: it diverged").event(2, "db2", "clone", "cloning from db1")
    log.event(900, "db2", "rejoined", "in sync as a clone of db1")
    (entry,) = log.entries()
    assert (entry.kind, entry.subject, len(entry.steps)) == ("rejoin", "db on db2", 3)
    assert entry.outcome.endswith("in sync as a clone of db1")


def test_a_failure_and_what_mended_it():
    log = (
        Log()
        .op(10, "n1", "web", "monitor", rc=1, desc="no answer")
        .op(11, "n1", "web", "stop")
        .op(12, "n1", "web", "start", exec_time="800")
    )
    (entry,) = log.entries()
    assert entry.kind == "failure"
    assert entry.why == "monitor of web on n1 failed: no answer"
    assert entry.outcome == "web started on n1 in 0.8 s"


def test_a_death_without_a_primary_is_a_failure():
    log = (
        Log()
        .event(10, "n1", "died", "the broker died; reported, to be started again", resource="mq")
        .op(12, "n1", "mq", "start")
    )
    (entry,) = log.entries()
    assert (entry.kind, entry.subject, entry.outcome) == ("failure", "mq on n1", "mq started on n1")


def test_clocks_that_do_not_agree_are_told():
    log = Log().event(10, "db1", "degrade", "x").event(11, "db1", "regain", "y", behind=3.5)
    (entry,) = log.entries()
    assert entry.skew == 3.5
    text = "\n".join(report.shown(entry, Names([entry]), plain))
    assert "The clock of db1 was at least 3.5 s behind" in text
    (clock,) = Log().add(5, "db1", "clock", node="db2", seconds="4.2").entries()
    assert (clock.kind, clock.why) == ("clock", "the clock of db2 is at least 4.2 s ahead of db1's")


TASKS = st.sampled_from(["start", "stop", "promote", "demote", "monitor"])
NODES = st.sampled_from(["db1", "db2"])
ANY = st.one_of(
    st.tuples(st.just("op"), NODES, TASKS, st.integers(0, 1)),
    st.tuples(
        st.just("event"),
        NODES,
        st.sampled_from(["died", "promoted", "degrade", "regain", "rejoined", "clone.begin", "vip.up", "x.y"]),
        st.just(0),
    ),
    st.tuples(st.just("node"), NODES, st.sampled_from(["lost", "member", ""]), st.just(0)),
    st.tuples(st.just("fence"), NODES, st.just(""), st.integers(0, 1)),
    st.tuples(st.just("audit"), NODES, st.sampled_from(["begin", "end", ""]), st.integers(0, 4)),
    st.tuples(st.just("odd"), NODES, st.just(""), st.just(0)),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(ANY, st.floats(0, 90)), max_size=40), st.randoms())
def test_every_record_belongs_to_one_entry_in_whatever_order_they_come(steps, shuffled: random.Random):
    log, now = Log(), 0.0
    for (what, node, word, number), pause in steps:
        now += pause
        if what == "op":
            log.op(now, node, "db", word, rc=number)
        elif what == "event":
            log.event(now, node, word)
        elif what == "node":
            log.add(now, node, "node", node="db1", desc=word)
        elif what == "fence":
            log.add(now, node, "fencing", node="db1", rc=number)
        elif what == "audit":
            log.add(now, node, "audit", phase=word, token=str(number), command="promote")
        else:
            log.add(now, node, "odd")
    found = log.entries()
    mixed = list(log.made)
    shuffled.shuffle(mixed)
    assert entries(mixed) == found
    told = [step.record.id for entry in found for step in entry.steps]
    assert len(set(told)) == len(told)
    seen = sum(len(step.seen_by) for entry in found for step in entry.steps)
    assert seen == len(log.made)
    names = Names(found)
    for entry in found:
        assert names.find(names.entry(entry)) == [entry]
        assert "\n" not in "".join(report.shown(entry, names, plain))
    list(report.listed(found, names, plain))


def test_ten_thousand_records_are_sorted_out_in_a_moment():
    import time

    log = Log()
    for number in range(2000):
        log.op(number, "db1", "web", "monitor", rc=1).op(number + 0.2, "db1", "web", "start")
        log.node(number * 50, "db2", "lost" if number % 2 else "member", "db1").event(
            number * 40, "db1", "degrade"
        ).event(number, "db2", "a.b")
    began = time.process_time()
    assert len(log.entries()) > 100
    assert time.process_time() - began < 5


def test_a_flood_within_seconds_does_not_keep_anybody_waiting():
    import time

    log = Log()
    for number in range(1500):
        at = number / 1000
        log.command(at, None, "apply", str(number)).fenced(at, "db2", "db1").op(at, "db1", "web", "start")
        log.event(at, "db1", "promoted").op(at, "db1", "web", "monitor", rc=1)
    began = time.process_time()
    assert len(log.entries()) > 1500
    assert time.process_time() - began < 8
