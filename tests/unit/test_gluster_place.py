"""Where the bricks of a GlusterFS volume lie, who a node is that was reinstalled, and what becomes of a disk."""

from __future__ import annotations

import itertools

import pytest
from hafailover.agents.gluster import identity, layout
from hafailover.agents.gluster.layout import ARBITER
from hafailover.agents.gluster.store import Identity
from hafailover.agents.glustervolume import place
from hafailover.agents.glustervolume.place import Step

# -- layout -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(2, 13))
@pytest.mark.parametrize("replica", layout.KINDS)
def test_copies_lie_on_different_nodes_and_every_node_has_the_same_share(count: int, replica: str) -> None:
    nodes = [f"n{number}" for number in range(count)]
    if count < layout.copies(replica):
        with pytest.raises(ValueError, match=f"there are {count}"):
            layout.sets(nodes, replica)
        return
    found = layout.sets(nodes, replica)
    assert all(len({brick.node for brick in one}) == layout.copies(replica) for one in found)
    bricks = [brick for one in found for brick in one]
    assert len(set(bricks)) == len(bricks)
    shares = {node: sum(brick.node == node for brick in bricks) for node in nodes}
    assert len(set(shares.values())) == 1
    if replica == ARBITER and count % 3:
        assert sorted(one[-1].node for one in found) == sorted(nodes), "the arbiters' work, too"


def test_five_nodes_make_a_chain() -> None:
    words = layout.words(
        layout.sets(list("abcde"), "3"), {name: f"10.0.0.{at}" for at, name in enumerate("abcde")}, "/b"
    )
    assert len(words) == 15
    assert words[:3] == ["10.0.0.0:/b/brick1", "10.0.0.1:/b/brick2", "10.0.0.2:/b/brick3"]
    assert words[-3:] == ["10.0.0.4:/b/brick1", "10.0.0.0:/b/brick2", "10.0.0.1:/b/brick3"]


def test_nodes_are_added_in_whole_replica_sets() -> None:
    assert layout.growth(list("abc"), set("abc"), "3") == ([], None)
    added, reason = layout.growth(list("abcdef"), set("abc"), "3")
    assert reason is None
    assert [[brick.node for brick in one] for one in added] == [["d", "e", "f"]]
    added, reason = layout.growth(list("abcd"), set("abc"), "3")
    assert added == []
    assert reason is not None
    assert "2 more nodes" in reason
    assert len(layout.growth(list("abcdefg"), set("abc"), "3")[0]) == 4, "four new nodes make a chain of their own"


# -- who a reinstalled node is ---------------------------------------------------------------------------------------------------


def test_an_identity_is_given_back_to_a_daemon_that_holds_nothing() -> None:
    known = Identity("u1", "100000")
    assert identity.course("a", Identity(), Identity("u9"), "volume v").what == identity.KEEP
    assert identity.course("a", known, Identity("u1", "100000"), "peer u2").what == identity.KEEP
    assert identity.course("a", known, Identity(), "").what == identity.ADOPT
    assert identity.course("a", known, Identity("u9", "1"), "").what == identity.ADOPT
    refused = identity.course("a", known, Identity("u9", "1"), "volume v")
    assert refused.what == identity.REFUSE
    assert "volume v" in refused.reason


# -- the place -----------------------------------------------------------------------------------------------------------------

MARK = "volume v on a"
DISK = place.Wanted("/b", "/dev/x", MARK)
DIRECTORY = place.Wanted("/b", "", MARK)


def on_disk(**found: object) -> Step:
    return place.step(DISK, place.Facts(**found))  # type: ignore[arg-type]


def test_a_blank_disk_becomes_a_place_step_by_step() -> None:
    assert on_disk(device=place.BLANK).what == place.MAKE
    assert on_disk(device=place.SYSTEM, content="xfs").what == place.MOUNT
    assert on_disk(mounted="/dev/x", ours=True, entries=("lost+found",)).what == place.CLAIM
    assert on_disk(mounted="/dev/x", ours=True, mark=MARK, entries=("brick",)).what == place.USE


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"device": place.ABSENT}, "the brick's disk is missing"),
        ({"device": place.FOREIGN, "content": "LVM2_member"}, "holds LVM2_member, and nothing is overwritten"),
        ({"device": place.FOREIGN}, "something unknown"),
        ({"device": place.BLANK, "elsewhere": "/mnt"}, "is mounted at /mnt"),
        ({"device": place.BLANK, "mounted": "/dev/y"}, "/dev/y is mounted at /b"),
        ({"device": place.BLANK, "entries": ("brick",)}, "has brick in it, which mounting /dev/x would hide"),
        ({"device": place.BLANK, "mark": MARK}, "the mark of a brick"),
        ({"mounted": "/dev/x", "ours": True, "mark": "volume w on a"}, "has the brick of volume w on a"),
        (
            {"mounted": "/dev/x", "ours": True, "entries": ("etc", "home", "usr", "var")},
            "not empty (etc, home, usr, …)",
        ),
    ],
)
def test_a_disk_that_is_not_ours_is_refused(found: dict[str, object], said: str) -> None:
    refused = on_disk(**found)
    assert refused.what == place.REFUSE
    assert said in refused.reason


def test_a_file_system_is_made_only_on_a_blank_disk_that_nobody_uses() -> None:
    kinds = (place.NONE, place.ABSENT, place.BLANK, place.SYSTEM, place.FOREIGN)
    for device, mounted, ours, elsewhere, mark, entries in itertools.product(
        kinds, ("", "/dev/y"), (False, True), ("", "/mnt"), ("", MARK), ((), ("file",))
    ):
        facts = place.Facts(device, "", mounted, ours, elsewhere, "", mark, entries)
        if place.step(DISK, facts).what == place.MAKE:
            assert (device, mounted, ours, elsewhere, mark, entries) == (place.BLANK, "", False, "", "", ())


def test_a_directory_whose_disk_is_missing_is_not_filled() -> None:
    assert place.step(DIRECTORY, place.Facts()).what == place.CLAIM
    unmounted = place.step(DIRECTORY, place.Facts(fstab="/b"))
    assert (unmounted.what, "not mounted" in unmounted.reason) == (place.REFUSE, True)
    known = DIRECTORY._replace(known="own")
    assert place.step(known, place.Facts(own=False)).what == place.REFUSE
    assert place.step(known, place.Facts(own=True, mark=MARK)).what == place.USE


def test_what_a_bricks_directory_is() -> None:
    assert place.brick("", False, "id") == place.FRESH
    assert place.brick("id", True, "id") == place.KEPT
    assert place.brick("id", False, "id") == place.KEPT
    assert place.brick("other", False, "id") == place.HALF
    assert place.brick("other", False, "") == place.HALF
    assert place.brick("other", True, "id") == place.STRANGE
    assert place.brick("", True, "id") == place.STRANGE, "files that no volume knows"
