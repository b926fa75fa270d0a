"""The rules of a GlusterFS volume: which bricks where, who makes it, what is done with a disk; no last good copy is given up."""

from __future__ import annotations

import itertools

import pytest
from hafailover.agents.gluster import layout
from hafailover.agents.gluster.layout import ARBITER
from hafailover.agents.glustervolume import decide, departed, place, telling
from hafailover.agents.glustervolume.decide import Brick, Course, Facts, Told, Volume, course
from hafailover.agents.glustervolume.faults import Health, fault, waiting

NODES = ("a", "b", "c")


# -- making the volume ------------------------------------------------------------------------------------------------------------

READY = {name: Told(decide.READY, f"u-{name}") for name in NODES}
BRICKS = tuple(Brick(name, "/b/brick", f"v-client-{at}") for at, name in enumerate(NODES))
MADE = Volume("id", True, BRICKS, 3, False)


def others(me: str, told: dict[str, Told] = READY) -> dict[str, Told]:
    return {name: one for name, one in told.items() if name != me}


def running(*names: str, blames: dict[str, str] | None = None) -> dict[str, Told]:
    return {
        name: Told(
            decide.RUNNING, f"u-{name}", frozenset({"/b/brick"}), frozenset((blames or {}).get(name, "").split())
        )
        for name in names
    }


def fresh(**more: object) -> Facts:
    told = {"told": others("a"), "here": {"/b/brick": place.FRESH}}
    return Facts(NODES, "3", **{**told, **more})  # type: ignore[arg-type]


def serving(**more: object) -> Facts:
    facts = {"record": "id", "volume": MADE, "here": {"/b/brick": place.KEPT}, "told": running("b", "c")}
    return Facts(NODES, "3", **{**facts, **more})  # type: ignore[arg-type]


def test_the_volume_is_made_when_every_node_is_ready_by_the_one_that_claims() -> None:
    waits = course("a", fresh(told={"b": READY["b"]}))
    assert (waits.what, "c is not there" in waits.reason) == (decide.WAIT, True)
    blocked = course(
        "a", fresh(told={**others("a"), "c": Told(decide.BLOCKED, why="cannot: the brick's disk is missing")})
    )
    assert (blocked.what, "c cannot: the brick's disk is missing" in blocked.reason) == (decide.WAIT, True)
    assert course("a", fresh()).what == decide.CLAIM
    assert course("a", fresh(maker="b")) == Course(decide.WAIT, "b makes the volume")
    assert course("a", fresh(maker="a", pool=("a", "b"))).items == ("c",)
    assert course("a", fresh(maker="a", pool=NODES)).what == decide.CREATE


def test_what_the_maker_left_another_one_finishes() -> None:
    assert course("a", fresh(maker="b", gone=True)).what == decide.CLAIM
    unstarted = MADE._replace(started=False)
    for gone, what in ((False, decide.WAIT), (True, decide.CLAIM)):
        assert course("a", serving(record="", volume=unstarted, maker="b", gone=gone)).what == what
        assert course("a", serving(record="", maker="b", gone=gone)).what == what
    assert course("a", serving(record="", volume=unstarted, maker="a")).what == decide.START
    assert course("a", serving(record="", maker="a")).what == decide.RECORD
    assert course("a", serving(maker="a")).what == decide.RUN


def test_a_volume_that_was_made_is_never_made_again() -> None:
    for maker, gone, told in itertools.product(
        ("", "a", "b"), (False, True), (others("a"), running("b"), running("b", "c"), {})
    ):
        facts = fresh(record="id", maker=maker, gone=gone, told=told, pool=NODES)
        assert course("a", facts).what == decide.WAIT
    assert (
        "not heard of the volume"
        in course("a", fresh(record="id", told=running("b"), here={"/b/brick": place.KEPT})).reason
    )


def test_files_that_no_volume_knows_are_not_touched() -> None:
    for record, volume in (("", None), ("id", None), ("id", MADE)):
        found = course("a", serving(record=record, volume=volume, here={"/b/brick": place.STRANGE}))
        assert (found.what, "nothing is touched" in found.reason) == (decide.REFUSE, True)


def test_a_directory_that_is_just_being_made_a_brick_is_waited_for() -> None:
    """glusterd marks it before it has written down that the volume has it; refusing it had its start fail."""
    volume = MADE._replace(bricks=MADE.bricks[1:])
    found = course("a", serving(volume=volume, here={"/b/brick": place.KEPT}))
    assert (found.what, "just being added" in found.reason) == (decide.WAIT, True)


def test_a_volume_that_was_made_by_hand_is_not_taken_over() -> None:
    for volume, record in itertools.product(
        (MADE, MADE._replace(started=False), MADE._replace(bricks=())), ("", "other")
    ):
        found = course("a", serving(record=record, volume=volume, made=False, maker="a"))
        assert (found.what, "made by hand; nothing is touched" in found.reason) == (decide.REFUSE, True)
        assert record in found.reason


def test_a_dead_brick_is_started() -> None:
    assert course("a", serving(dead=frozenset({"/b/brick"}))).items == ("/b/brick",)


# -- copies ------------------------------------------------------------------------------------------------------------------------


def test_an_empty_brick_is_filled_only_when_it_is_known_to_be_new() -> None:
    empty = {"/b/brick": place.FRESH}
    refused = course("a", serving(here=empty))
    assert (refused.what, "not mounted?" in refused.reason) == (decide.REFUSE, True)
    assert course("a", serving(here=empty, anew=True)).what == decide.RESET
    assert course("a", serving(here=empty, allowed=decide.REPLACE)).what == decide.RESET
    assert course("a", serving(here=empty, record="", maker="b")).what == decide.WAIT, "it is just being made"


@pytest.mark.parametrize(
    ("told", "whole"),
    [
        (running("b", "c"), True),
        (running("b"), False),  # c may have what b lacks, and is not there to say so
        ({}, False),
        (others("a"), False),  # ready is not in service
        (
            running("b", "c", blames={"b": "v-client-0", "c": "v-client-0"}),
            True,
        ),  # they lack nothing; it is this one that does
        (running("b", "c", blames={"c": "v-client-1"}), True),  # c is whole
        (running("b", "c", blames={"b": "v-client-2", "c": "v-client-1"}), False),  # each lacks something
    ],
)
def test_a_brick_is_begun_anew_only_beside_a_whole_copy_in_service(told: dict[str, Told], whole: bool) -> None:
    found = course("a", serving(here={"/b/brick": place.FRESH}, anew=True, told=told))
    assert found.what == (decide.RESET if whole else decide.WAIT)
    assert (decide.lost("a", "/b/brick", MADE, told) is None) == whole


def test_a_person_may_say_that_a_copy_never_returns() -> None:
    empty = {"/b/brick": place.FRESH}
    assert course("a", serving(here=empty, allowed=decide.REPLACE, told=running("b"))).what == decide.RESET
    assert course("a", serving(here=empty, allowed=decide.REPLACE, told={})).what == decide.WAIT, "nobody has a copy"
    behind = running("b", blames={"b": "v-client-1"})
    assert course("a", serving(here=empty, allowed=decide.REPLACE, told=behind)).what == decide.WAIT


def test_two_empty_bricks_do_not_wait_for_each_other() -> None:
    empty, told = {"/b/brick": place.FRESH}, {**running("b"), "c": Told(decide.READY, why=decide.EMPTY)}
    assert course("a", serving(here=empty, anew=True, told=told)).what == decide.RESET
    alone = {"b": Told(decide.READY, why=decide.EMPTY), "c": Told(decide.READY, why=decide.EMPTY)}
    waits = course("a", serving(here=empty, anew=True, told=alone))
    assert (waits.what, waits.told) == (decide.WAIT, decide.EMPTY)


def test_an_arbiter_is_no_copy() -> None:
    volume = MADE._replace(arbiter=True)
    behind = running("b", "c", blames={"c": "v-client-1"})
    assert decide.lost("a", "/b/brick", volume, running("b", "c")) is None
    assert decide.lost("a", "/b/brick", volume, behind) is not None, "b lacks something, and c has names alone"
    assert decide.lost("c", "/b/brick", volume, running("a", "b", blames={"b": "v-client-0"})) is None


def test_two_copies() -> None:
    pair = Volume("id", True, BRICKS[:2], 2, False)
    assert decide.lost("a", "/b/brick", pair, running("b")) is None
    assert decide.lost("a", "/b/brick", pair, {}) is not None


def test_only_bricks_of_the_same_set_count() -> None:
    chain = Volume(
        "id",
        True,
        (Brick("a", "/b/brick1"), Brick("b", "/b/brick2"), Brick("b", "/b/brick1"), Brick("c", "/b/brick2")),
        2,
        False,
    )
    told = {
        "b": Told(decide.RUNNING, "u", frozenset({"/b/brick1"})),
        "c": Told(decide.RUNNING, "u", frozenset({"/b/brick2"})),
    }
    reason = decide.lost("a", "/b/brick1", chain, told)
    assert reason is not None
    assert "waits for b" in reason


# -- two copies --------------------------------------------------------------------------------------------------------------------

PAIR = Volume("id", True, BRICKS[:2], 2, False)


def alone(**more: object) -> Facts:
    return serving(**{"volume": PAIR, "told": {}, "behind": frozenset({"v-client-0"}), **more})._replace(
        nodes=NODES[:2], replica="2"
    )


def test_a_copy_that_is_behind_does_not_serve_alone() -> None:
    waits = course("a", alone())
    assert (waits.what, waits.items, waits.told) == (decide.WAIT, ("/b/brick",), decide.BEHIND)
    assert "waits for b; if lost, allow alone" in waits.reason
    assert course("a", alone(dead=frozenset({"/b/brick"}))).what == decide.WAIT, "it is not started either"
    assert course("a", alone(told={"b": Told(decide.READY)})).what == decide.WAIT
    assert course("a", alone(told=running("b"))).what == decide.RUN
    assert course("a", alone(behind=frozenset({"v-client-1"}))).what == decide.RUN, "it is the other one that is behind"
    assert course("a", alone(allowed=decide.ALONE)).what == decide.RUN


def test_a_node_that_returns_does_not_know_whether_the_other_went_on() -> None:
    returns = alone(behind=frozenset(), begins=True)
    waits = course("a", returns)
    assert (waits.what, waits.told) == (decide.WAIT, decide.UNSURE)
    assert "b may have taken writes" in waits.reason
    assert course("a", returns._replace(told={"b": Told(decide.READY)})).what == decide.WAIT, "it may know more"
    for goes_on in (
        returns._replace(ahead=True),
        returns._replace(allowed=decide.ALONE),
        returns._replace(begins=False),
        returns._replace(told=running("b")),
        returns._replace(told={"b": Told(decide.READY, why=decide.UNSURE)}),
        returns._replace(told={"b": Told(decide.READY, why=decide.BEHIND)}),
        returns._replace(volume=MADE, nodes=NODES, replica="3"),
    ):
        assert course("a", goes_on).what == decide.RUN
    assert decide.by_itself("a", PAIR, {})
    assert not decide.by_itself("a", PAIR, running("b"))
    assert not decide.by_itself("a", MADE, {}), "three have quorum"


def test_what_is_remembered_of_two_copies() -> None:
    assert decide.kept_back(PAIR, {"v-client-1"}, ["b"]) == {"v-client-1"}
    assert decide.kept_back(PAIR, {"v-client-1"}, []) == frozenset(), "it is there and is being healed"
    assert decide.kept_back(PAIR, set(), ["b"]) == frozenset(), "nothing was written without it"
    assert decide.kept_back(MADE, {"v-client-1"}, ["b"]) == frozenset(), "quorum sees to three"
    assert decide.caught_up("a", PAIR, running("b")) == {"v-client-1"}
    assert decide.caught_up("a", PAIR, {}) == frozenset()


# -- growing -----------------------------------------------------------------------------------------------------------------------

SIX = ("a", "b", "c", "d", "e", "f")


def grows(**more: object) -> Facts:
    told = {**running("b", "c"), **{name: Told(decide.READY) for name in "def"}}
    return serving(**{"told": told, **more})._replace(nodes=SIX)


def test_new_nodes_are_taken_in_together_by_the_one_that_claims() -> None:
    assert course("a", grows()).what == decide.CLAIM
    assert course("a", grows(maker="b")) == Course(decide.RUN, "")
    assert course("a", grows(maker="b", gone=True)).what == decide.CLAIM
    assert course("a", grows(maker="a", pool=("a", "b", "c", "d"))).items == ("e", "f")
    assert course("a", grows(maker="a", pool=SIX)).what == decide.GROW
    waits = course("a", grows(maker="a", told=running("b", "c")))
    assert (waits.what, "d, e, f is not" in waits.reason) == (decide.RUN, True)
    assert course("d", grows(here={"/b/brick": place.FRESH}, told=running("a", "b", "c"))).what == decide.WAIT


def test_a_single_new_node_is_told_why_it_waits() -> None:
    facts = serving(here={"/b/brick": place.FRESH}, told=running("a", "b", "c"))._replace(nodes=SIX[:4])
    found = course("d", facts)
    assert (found.what, "2 more nodes" in found.reason) == (decide.WAIT, True)


def test_two_copies_get_a_third_brick() -> None:
    pair = Volume("id", True, BRICKS[:2], 2, False)
    for replica in (ARBITER, "3"):
        facts = serving(volume=pair, told={**running("b"), "c": Told(decide.READY)}, maker="a", pool=NODES)
        assert course("a", facts._replace(replica=replica)).what == decide.WIDEN
    what, added, _ = decide.addition(NODES, ARBITER, pair)
    assert (what, added) == (decide.WIDEN, [[layout.Brick("c", "brick")]])
    assert decide.addition(NODES[:2], ARBITER, pair)[2] is not None
    chain = [{"a", "b"}, {"b", "c"}, {"c", "a"}]
    assert layout.third(chain, ["d"])[0] == [layout.Brick("d", f"brick{number}") for number in (1, 2, 3)]
    assert {brick.node for brick in layout.third(chain, ["d", "e"])[0]} == {"d", "e"}


@pytest.mark.parametrize(("replica", "arbiter", "width"), [("2", False, 3), (ARBITER, False, 3), ("3", True, 3)])
def test_copies_are_not_taken_away(replica: str, arbiter: bool, width: int) -> None:
    what, added, reason = decide.addition(SIX, replica, Volume("id", True, BRICKS, width, arbiter))
    assert (what, added) == (decide.RUN, [])
    assert reason is not None
    assert "the cluster does not make it" in reason


def test_connections_are_aborted_only_to_nodes_that_have_left() -> None:
    known = set(NODES)
    assert departed.gone(["b"], known, "a", {"a", "c"}) == ["b"]
    assert departed.gone(["b"], known, "a", {"a", "b", "c"}) == [], "a planned stop"
    assert departed.gone(["a", "z"], known, "a", set()) == []


# -- words -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "told",
    [
        Told(decide.READY),
        Told(decide.RUNNING, "u", frozenset({"/b/brick1", "/b/brick2"}), frozenset({"v-client-0"})),
        Told(decide.BLOCKED, "", why="cannot: the brick's disk is missing: /dev/x"),
    ],
)
def test_what_is_told_is_heard(told: Told) -> None:
    assert telling.hear(telling.line(told)) == told


def test_nonsense_is_not_heard() -> None:
    assert telling.hear("") is None
    assert telling.hear("dancing u - -") is None


def test_the_worst_is_said_first() -> None:
    assert fault("v", Health(pending=5)) is None, "healing is work under way"
    away = fault("v", Health(pending=5, away=("c",)))
    full = fault("v", Health(5, (), ("/b/brick", 0.4), ("c",)))
    split = fault("v", Health(5, ("/x", "/y"), ("/b/brick", 0.4), ("c",)))
    assert away is not None
    assert "no brick serves on c; 5 entries" in away
    assert full is not None
    assert "/b/brick is full (0.4 % free)" in full
    assert split is not None
    assert fault("v", Health(pending=5, unhealed=599)) is None, "it may be about to be"
    unhealed = fault("v", Health(pending=5, unhealed=720))
    assert unhealed is not None
    assert "5 entries are not healed for 12 min, though every brick serves" in unhealed
    rejected = fault("v", Health(rejected=("b",), away=("c",)))
    assert rejected is not None
    assert rejected.startswith("glusterd rejects b: they describe a volume differently")
    assert split.startswith("split-brain: /x and 1 more; gluster volume heal v info split-brain")


def test_only_the_same_entries_wait_long() -> None:
    note = waiting("", {"a", "b"}, 100)
    assert note == "100 a b"
    note = waiting(note, {"b", "c"}, 200)
    assert note == "100 b"
    assert waiting(note, {"c", "d"}, 300) == "300 c d", "others have come in their place"
    assert waiting(note, (), 300) == ""
