"""Which of a replica's transactions did not come from its primary."""

from __future__ import annotations

import pytest
from hafailover.agents.mariadb import decide, divergence, gtid
from hafailover.agents.mariadb.decide import Replica

KNOWN = "0-1-100,0-2-40"  # the primary's state when server 2 began to follow: 2 was primary once


@pytest.mark.parametrize(
    ("state", "applied", "known", "extra"),
    [
        ("0-1-120,0-2-40", "0-1-120", KNOWN, ""),
        ("", "", "", ""),
        # The newest is its own.
        ("0-1-120,0-2-121", "0-1-120", KNOWN, "0-2-121"),
        # Replication has gone past it, which takes a server that is not strict.
        ("0-1-125,0-2-121", "0-1-125", KNOWN, "0-2-121"),
        # The same number from two servers.
        ("0-1-121,0-2-121", "0-1-121", KNOWN, "0-2-121"),
        # Another domain, by its own server or pretended.
        ("0-1-120,7-2-1", "0-1-120", KNOWN, "7-2-1"),
        ("0-1-120,7-9-1", "0-1-120", KNOWN, "7-9-1"),
        # Its own transactions that recovery had removed come back from the primary, which knew them.
        ("0-1-120,0-2-40", "0-1-120", "0-1-100,0-2-45", ""),
        ("0-1-120,0-2-45", "0-1-120", "0-1-100,0-2-45", ""),
        # What was known was not kept (the node has booted): the first sign still counts.
        ("0-1-125,0-2-121", "0-1-125", None, ""),
        ("0-1-120,0-2-121", "0-1-120", None, "0-2-121"),
        # A gap in the numbers is none in the data.
        ("0-1-5000,0-2-40", "0-1-5000", KNOWN, ""),
    ],
)
def test_what_did_not_come_from_the_primary(state: str, applied: str, known: str | None, extra: str) -> None:
    assert gtid.text(divergence.found(state, applied, 2, known)) == extra


def test_the_sentence_names_the_gtids() -> None:
    said = divergence.sentence(gtid.parse("0-2-121,7-2-1"))
    assert said.startswith("DIVERGED: holds 0-2-121,7-2-1, which did not come from the primary")


def test_what_was_known_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(divergence, "RUN_DIR", str(tmp_path))
    assert divergence._known("db") is None
    divergence.remember("db", KNOWN)
    assert divergence._known("db") == KNOWN
    divergence.remember("db", "")
    assert divergence._known("db") == ""


def test_a_filter_bars_a_replica_whose_threads_both_run() -> None:
    replica = Replica("10.0.0.1", "Yes", True, "0-1-5", "0-1-5", 0, 0, "", filters="Replicate_Do_DB=shop")
    assert "leaves rows out: Replicate_Do_DB=shop" in str(decide.broken_replication(replica))
