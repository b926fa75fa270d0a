"""The first primary's origin, who may replicate from nothing, and who may make a new database in an empty directory."""

from __future__ import annotations

from typing import Any

import pytest
from hafailover.agents.mariadb import blank, decide, first, journal
from hafailover.agents.ocf import OcfError

PAIR = ("db1", "db2")
VIRGIN = journal.Journal(1, "db1", "", {}, 5, "promote", journal.VIRGIN)


def standing(**given: Any) -> decide.Standing:
    known = {
        "node": "db1", "nodes": PAIR, "online": frozenset(PAIR), "quorate": True, "journal": journal.NONE,
        "incarnation": "b.2.2", "reigns": {}, "lives": {}, "replica": None, "state": "", "positions": {}, "virgin": frozenset(PAIR),
    }  # fmt: skip
    return decide.Standing(**{**known, **given})


@pytest.mark.parametrize(
    ("facts", "origin"),
    [
        ({}, journal.VIRGIN),
        ({"state": "0-1-1"}, journal.DATA),
        ({"virgin": frozenset({"db2"})}, journal.DATA),
        ({"journal": VIRGIN, "state": "0-1-9", "virgin": frozenset()}, journal.VIRGIN),
        ({"journal": VIRGIN._replace(origin="")}, ""),
    ],
)
def test_the_origin_is_decided_by_the_first_promotion(facts: dict[str, Any], origin: str) -> None:
    assert first.origin(standing(**facts)) == origin


def test_every_later_record_keeps_the_origin() -> None:
    later = VIRGIN.regained({"db2": "b.1.1"}, 6).degraded(frozenset({"db2"}), 7).promoted("db2", "0-1-5", 8)
    assert (later.origin, later.epoch, later.primary) == (journal.VIRGIN, 2, "db2")
    assert journal.read(journal.write(later)) == later
    assert journal.read("v=1 epoch=1 primary=db1 gtid= sync= at=1 by=promote").origin == ""


@pytest.mark.parametrize(
    ("origin", "virgin", "said"),
    [
        (journal.VIRGIN, True, None),
        (journal.DATA, True, "needs a clone: it is empty"),
        ("", True, "needs a clone: it is empty"),
        (journal.VIRGIN, False, "DIVERGED: holds tables but no GTID history"),
        (journal.DATA, False, "DIVERGED: holds tables but no GTID history"),
    ],
)
def test_who_may_replicate_from_nothing(origin: str, virgin: bool, said: str | None) -> None:
    refusal = first.from_nothing_refusal(origin, virgin, "db1")
    assert refusal is None if said is None else str(refusal).startswith(said)


@pytest.mark.parametrize(
    ("entry", "online", "published", "said"),
    [
        # Nobody holds anything.
        (journal.NONE, PAIR, {"db1": "none:", "db2": "none:"}, None),
        (journal.NONE, PAIR, {"db1": "none:", "db2": "virgin:"}, None),
        # The other has not said, or has left since.
        (journal.NONE, PAIR, {"db1": "none:"}, "db2 has not shown yet"),
        (journal.NONE, ("db1",), {"db1": "none:", "db2": "none:"}, "db2 has not shown yet"),
        # The other holds tables, or at least a history.
        (journal.NONE, PAIR, {"db1": "none:", "db2": "data:"}, "needs a clone: its data directory is empty, and db2"),
        (journal.NONE, PAIR, {"db1": "none:", "db2": "virgin:0-2-3"}, "needs a clone"),
        # There was a primary: its origin tells, and its own disk is never made anew.
        (VIRGIN._replace(primary="db2"), PAIR, {}, None),
        (VIRGIN._replace(primary="db2", origin=journal.DATA), PAIR, {}, "needs a clone"),
        (VIRGIN._replace(primary="db2", origin=""), PAIR, {}, "needs a clone"),
        (VIRGIN, PAIR, {}, "is its disk mounted?"),
    ],
)
def test_an_empty_directory_is_initialised_only_where_no_data_can_be(
    entry: journal.Journal, online: tuple[str, ...], published: dict[str, str], said: str | None
) -> None:
    refusal = first.initialise_refusal(entry, "db1", PAIR, frozenset(online), published)
    assert refusal is None if said is None else said in str(refusal)


def test_what_a_node_shows_is_read_back() -> None:
    published = {"db1": first.shown(True, ""), "db2": first.shown(False, "0-1-5,1-2-3"), "db3": f"{first.NOTHING}:"}
    assert first.read_shown(published) == (
        {"db1": "", "db2": "0-1-5,1-2-3", "db3": ""},
        frozenset({"db1", "db3"}),
    )


def test_a_directory_with_anything_in_it_is_not_blank(tmp_path: Any) -> None:
    assert blank.is_blank(str(tmp_path))
    (tmp_path / "lost+found").mkdir()
    assert blank.is_blank(str(tmp_path))
    (tmp_path / "ibdata1").touch()
    assert not blank.is_blank(str(tmp_path))
    (tmp_path / ".hafailover-initialising").touch()
    with pytest.raises(OcfError, match="was interrupted: look at it"):
        blank.is_blank(str(tmp_path))
