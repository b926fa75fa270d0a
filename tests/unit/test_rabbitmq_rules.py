"""The rules of the broker cluster: who founds it, who joins, who waits, who loses a partition, and that nobody's last copy is wiped."""

from __future__ import annotations

import itertools

import pytest
from hafailover.agents.rabbitmq import decide
from hafailover.agents.rabbitmq.broker import telling
from hafailover.agents.rabbitmq.decide import Course, Here, Peer, Record, course
from hafailover.agents.rabbitmq.nodes import addresses, alarmed, hear, in_term, told

BLANK = Peer(decide.BLANK)
NOTHING, HALF = Here(decide.NOTHING), Here(decide.HALF, frozenset({"a"}), decide.FOUND)


def here(kind: str, *members: str) -> Here:
    return Here(kind, frozenset(members))


def record(founder: str = "", *members: str) -> Record:
    return Record(founder, frozenset(members))


def peer(state: str, *members: str, kind: str = decide.KEPT) -> Peer:
    return Peer(state, kind, frozenset(members), frozenset(members), 1)


def what(*arguments: object) -> str:
    return course(*arguments).what  # type: ignore[arg-type]


def test_the_first_start_founds() -> None:
    assert what("a", NOTHING, record(), {}) == decide.FOUND
    assert what("a", NOTHING, record(), {"b": BLANK}) == decide.FOUND
    assert what("a", HALF, record(), {"b": BLANK}) == decide.FOUND


def test_a_lost_claim_waits_for_the_founder() -> None:
    assert what("a", NOTHING, record("b"), {"b": BLANK}) == decide.WAIT
    assert what("a", NOTHING, record("b", "b"), {"b": peer(decide.RUNNING, "b")}) == decide.JOIN


def test_an_interrupted_founding_is_begun_anew_by_the_founder_alone() -> None:
    assert what("a", HALF, record("a"), {"b": BLANK}) == decide.FOUND
    assert what("b", NOTHING, record("a"), {"a": BLANK}) == decide.WAIT
    assert what("a", HALF, record("a", "a"), {"b": BLANK}) == decide.BOOT


def test_an_interrupted_joining_counts_only_if_the_cluster_has_taken_it_in() -> None:
    known, merged = record("a", "a", "b"), Here(decide.KEPT, frozenset("ab"), decide.JOIN)
    half = Here(decide.HALF, frozenset("b"), decide.JOIN)
    assert what("b", half, known, {"a": peer(decide.RUNNING, "a")}) == decide.JOIN
    plan = course("b", merged, known, {"a": peer(decide.RUNNING, "a")})
    assert (plan.what, plan.aside) == (decide.JOIN, True)
    assert what("b", merged, known, {"a": peer(decide.STOPPED, "a")}) == decide.WAIT
    for state in (decide.RUNNING, decide.WAITING, decide.STOPPED):
        assert what("b", merged, known, {"a": peer(state, "a", "b")}) == decide.BOOT


def test_a_member_boots() -> None:
    assert what("a", here(decide.KEPT, "a", "b"), record("a", "a", "b"), {}) == decide.BOOT
    assert (
        what("a", here(decide.KEPT, "a", "b"), record("b", "b"), {"b": peer(decide.RUNNING, "a", "b")}) == decide.BOOT
    )


def test_a_blank_member_joins_again_and_never_founds_beside_data() -> None:
    known = record("a", "a", "b")
    assert course("b", NOTHING, known, {"a": peer(decide.RUNNING, "a", "b")}) == Course(
        decide.JOIN, "it holds nothing, and a runs", "a"
    )
    for state in (decide.STOPPED, decide.WAITING, decide.STARTING):
        plan = course("b", NOTHING, known, {"a": peer(state, "a", "b")})
        assert (plan.what, plan.way_out) == (decide.WAIT, decide.FOUND)
        assert course("b", NOTHING, known, {"a": peer(state, "a", "b")}, decide.FOUND).what == decide.REFUSE
    assert "a is not there" in course("b", NOTHING, known, {}).reason
    assert what("b", NOTHING, known, {}, decide.FOUND) == decide.FOUND


def test_the_only_holder_with_an_empty_directory_asks_about_its_disk() -> None:
    plan = course("a", NOTHING, record("a", "a"), {"b": BLANK})
    assert plan.what == decide.REFUSE
    assert "is a disk not mounted" in plan.reason


def test_foreign_data_are_never_wiped_unasked() -> None:
    known, running = record("a", "a"), {"a": peer(decide.RUNNING, "a")}
    plan = course("b", here(decide.KEPT, "b"), known, running)
    assert (plan.what, plan.way_out) == (decide.REFUSE, decide.JOIN)
    assert course("b", here(decide.KEPT, "b"), known, running, decide.JOIN) == Course(
        decide.JOIN, "a person has said that its own data may be put aside", "a", aside=True
    )
    assert what("b", here(decide.KEPT, "b"), known, {}, decide.JOIN) == decide.WAIT
    assert what("b", here(decide.ALONE, "b"), known, running) == decide.LOOK
    assert course("b", here(decide.FRESH, "b"), known, running).aside


def test_a_forgotten_member_does_not_start_beside_the_others() -> None:
    plan = course("b", here(decide.KEPT, "a", "b"), record("a", "a", "b"), {"a": peer(decide.RUNNING, "a")})
    assert plan.what == decide.REFUSE
    assert "the broker on a does not count it as a member" in plan.reason


def test_a_member_that_was_reset_does_not_found_another_cluster() -> None:
    for state in (decide.RUNNING, decide.STOPPED, decide.WAITING):
        other = {"b": peer(state, "a", "b")}
        assert what("a", here(decide.ALONE, "a"), record("a", "a", "b"), other) == decide.LOOK
        assert what("a", here(decide.KEPT, "a"), record("a", "a", "b"), other) == decide.REFUSE


def test_brokers_that_were_there_before() -> None:
    assert what("a", here(decide.ALONE, "a"), record(), {"b": BLANK}) == decide.BOOT
    assert what("b", NOTHING, record(), {"a": peer(decide.STOPPED, "a", kind=decide.ALONE)}) == decide.WAIT
    assert what("a", here(decide.KEPT, "a", "b"), record(), {"b": peer(decide.STOPPED, "a", "b")}) == decide.BOOT
    both = {"b": peer(decide.STOPPED, "b", kind=decide.ALONE)}
    assert what("a", here(decide.ALONE, "a"), record(), both) == decide.LOOK
    assert what("a", here(decide.KEPT, "a"), record(), both) == decide.WAIT
    assert what("a", here(decide.KEPT, "a"), record(), {"b": peer(decide.STOPPED, "b")}) == decide.REFUSE
    fresh = {"b": Peer(decide.BLANK, decide.FRESH, frozenset("b"))}
    assert what("a", here(decide.FRESH, "a"), record(), fresh) == decide.FOUND


def test_force_boot_is_a_persons_and_needless_beside_a_running_one() -> None:
    mine, known = here(decide.KEPT, "a", "b"), record("a", "a", "b")
    assert what("a", mine, known, {"b": peer(decide.WAITING, "a", "b")}, decide.FORCE) == decide.FORCE
    assert what("a", mine, known, {"b": peer(decide.RUNNING, "a", "b")}, decide.FORCE) == decide.BOOT
    assert what("a", NOTHING, known, {"b": peer(decide.WAITING, "a", "b")}, decide.FORCE) == decide.WAIT


def test_no_course_ever_removes_what_may_be_the_last_copy() -> None:
    """All small situations: what counts is put aside only by a word or when seen to hold nothing, and never without a host."""
    kinds = (decide.NOTHING, decide.HALF, decide.FRESH, decide.ALONE, decide.KEPT)
    theirs_kinds, states = (
        (decide.NOTHING, decide.ALONE, decide.KEPT),
        (decide.RUNNING, decide.STARTING, decide.STOPPED),
    )
    memberships = (frozenset(), frozenset("a"), frozenset("b"), frozenset("ab"))
    seen = 0
    for kind, mine, state, other, theirs, founder, listed, allowed in itertools.product(
        kinds,
        memberships,
        states,
        theirs_kinds,
        memberships,
        ("", "a", "b"),
        memberships,
        ("", decide.JOIN, decide.FORCE, decide.FOUND),
    ):
        if kind == decide.KEPT and not mine:
            continue
        peers = {"b": Peer(state, other, theirs, theirs, 1)}
        begun = decide.FOUND if kind == decide.HALF else ""
        plan = course("a", Here(kind, mine, begun), Record(founder, listed), peers, allowed)
        seen += 1
        removes = plan.what in (decide.JOIN, decide.FOUND)
        if removes and kind in (decide.KEPT, decide.ALONE):
            assert (plan.what, plan.aside, allowed) == (decide.JOIN, True, decide.JOIN)
        if removes and kind == decide.HALF:
            assert "a" not in listed or (plan.aside and allowed == decide.JOIN)
        if plan.what == decide.JOIN:
            assert peers[plan.peer].state == decide.RUNNING
        if plan.what == decide.FOUND:
            assert not peers["b"].holds
            assert not listed or allowed == decide.FOUND
        if plan.what == decide.FORCE:
            assert allowed == decide.FORCE
        assert plan.reason
    assert seen > 5000


def test_for_whom_a_broker_waits() -> None:
    members = {"a", "b", "c"}
    assert decide.waiting_for("a", members, {"a", "b", "c"}, {}) == "b, c"
    assert decide.waiting_for("a", members, {"a", "b", "c"}, {"b": peer(decide.WAITING, "a")}) == "b, c"
    assert decide.waiting_for("a", members, {"a", "b", "c"}, {"b": peer(decide.STARTING, "a")}) is None
    assert decide.waiting_for("a", members, {"a"}, {}) is None, "it saw all others end"


def running(since: int, *view: str) -> Peer:
    return Peer(decide.RUNNING, decide.KEPT, frozenset("abc"), frozenset(view), since)


def test_exactly_one_side_of_a_partition_loses() -> None:
    for mine, theirs in itertools.product((10, 20), repeat=2):
        a = decide.loses("a", {"a"}, mine, {"b": running(theirs, "b")})
        b = decide.loses("b", {"b"}, theirs, {"a": running(mine, "a")})
        assert (a is None) != (b is None)
    assert decide.loses("a", {"a"}, 20, {"b": running(10, "b")}) == "the side of b goes on: it has run longer"


def test_the_larger_side_goes_on() -> None:
    sides = {"a": running(1, "a"), "b": running(9, "b", "c"), "c": running(9, "b", "c")}
    for name in sides:
        others = {other: sides[other] for other in sides if other != name}
        lost = decide.loses(name, sides[name].view, sides[name].since, others)
        assert (lost is not None) == (name == "a")


def test_who_is_merely_stopped_is_no_partition() -> None:
    assert decide.apart("a", {"a"}, {"b": peer(decide.STOPPED, "a", "b")}) == []
    assert decide.apart("a", {"a", "b"}, {"b": running(1, "a", "b")}) == []
    assert decide.loses("a", {"a"}, 5, {"b": peer(decide.WAITING, "a", "b")}) is None


@pytest.mark.parametrize(
    ("definitions", "held"),
    [
        ({"users": [{"name": "guest"}], "vhosts": [{"name": "/"}], "queues": []}, None),
        ({"users": [{"name": "guest"}, {"name": "app"}], "vhosts": [{"name": "/"}]}, "users"),
        ({"users": [{"name": "guest"}], "vhosts": [{"name": "/"}, {"name": "x"}]}, "virtual hosts"),
        ({"queues": [{"name": "q"}]}, "queues"),
    ],
)
def test_what_a_broker_of_its_own_holds(definitions: dict[str, object], held: str | None) -> None:
    assert decide.holdings(definitions) == held


def test_names() -> None:
    assert in_term("{[rabbit@mq1,'rabbit@mq-2'],[rabbit@mq1]}.\n") == {"mq1", "mq-2"}
    assert in_term("[rabbit@mq1].") == {"mq1"}
    assert in_term("[].") == frozenset()


def test_whose_alarms() -> None:
    assert alarmed("[{{resource_limit,memory,'rabbit@mq-2'},[]},\n {{resource_limit,disk,rabbit@mq1},[]}]\n") == [
        "mq-2",
        "mq1",
    ]
    assert alarmed("[]\n") == []
    assert addresses("a:10.0.0.1 b:[fd00::2]") == {"a": "10.0.0.1", "b": "fd00::2"}
    for bad in ("a", "a:", "a:1 a:2", "a.b:1"):
        with pytest.raises(ValueError):
            addresses(bad)
    for one in (Peer(decide.BLANK), running(7, "a"), peer(decide.WAITING, "a", "b")):
        assert hear(told(one)) == one
    assert hear("something newer") is None


def test_the_telling_line_of_a_log() -> None:
    log = (
        "2026-11-21 14:04:56+00:00 [info] <0.1.0> Starting\n"
        "2026-11-21 14:04:56+00:00 [error] <0.2.0> Node rabbit@a thinks it's clustered with node rabbit@b, but disagrees\n"
        "2026-11-21 14:04:56+00:00 [error] <0.2.0> exception exit: x\n"
    )
    assert telling(log).startswith("Node rabbit@a thinks it's clustered")
    assert telling("BOOT FAILED\nError during startup: {error,failed}\n") == "Error during startup: {error,failed}"
    assert telling("all is well") == ""


def test_what_somebody_removed_or_changed_by_hand() -> None:
    policy = {
        "vhost": "/",
        "name": "hafailover",
        "pattern": ".*",
        "apply-to": "queues",
        "definition": {"ha-mode": "all"},
        "priority": 0,
    }
    user = {"name": "st2", "password_hash": "x", "tags": ""}
    right = {"user": "st2", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
    wanted = {"vhosts": [{"name": "/"}], "users": [user], "permissions": [right], "policies": [policy]}
    more = {"vhosts": [{"name": "/", "tags": []}, {"name": "own"}], "users": [{**user, "tags": []}, {"name": "own"}]}
    same = {**wanted, **more, "policies": [{**policy, "name": "own"}, policy]}
    assert decide.strayed(wanted, same) == ({}, [])
    gone = {**same, "users": [], "permissions": [], "policies": []}
    assert decide.strayed(wanted, gone) == ({"users": [user], "permissions": [right], "policies": [policy]}, [])
    changed = {**same, "policies": [{**policy, "definition": {}}], "permissions": [{**right, "read": ""}]}
    assert decide.strayed(wanted, changed) == ({}, ["permissions of st2", "policy hafailover"])
