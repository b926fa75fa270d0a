from __future__ import annotations

import pytest
from hafailover.agents.mariadb import decide, journal
from hafailover.agents.mariadb.decide import Peer, Replica, SemiSync
from hafailover.agents.mariadb.journal import Journal, JournalError

HEALTHY = Replica("10.0.0.1", "Yes", True, "0-1-100", "0-1-100", 0, 0, "")
ENTRY = Journal(3, "db1", "0-1-50", {"db2": "b.2.2"}, 1000, "regain")


def test_versions() -> None:
    said = "mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)"
    assert decide.parse_version(said) == (10, 11, 19)
    assert decide.unsupported_version((10, 5, 1)) is None
    assert "one series at a time" in (decide.unsupported_version((10, 3, 39)) or "")
    with pytest.raises(ValueError, match="no MariaDB version"):
        decide.parse_version("command not found")


# -- losing and regaining a replica --------------------------------------------------------------------------------


def test_degrade_only_for_a_reason() -> None:
    assert decide.degrade_reason(SemiSync(True, 1, 0, 0.0, 0.0), 2.0) is None
    assert decide.degrade_reason(SemiSync(True, 1, 1, 0.0, 1.9), 2.0) is None
    assert "waited 2.1 s" in (decide.degrade_reason(SemiSync(True, 1, 1, 0.0, 2.1), 2.0) or "")
    assert decide.degrade_reason(SemiSync(True, 0, 0, 0.5, 0.0), 2.0) == "no replica is connected"
    assert decide.degrade_reason(SemiSync(False, 0, 0, 9.0, 0.0), 2.0) is None


def test_a_replica_that_reconnects_is_not_lost_unless_the_topology_is_less_patient() -> None:
    assert decide.degrade_reason(SemiSync(True, 0, 1, 0.2, 0.2), 2.0) is None
    assert decide.degrade_reason(SemiSync(True, 0, 1, 0.2, 0.2), 0.1) == "no replica is connected"


def test_who_may_acknowledge_and_who_still_counts() -> None:
    lives = {"db1": "a.1.1", "db2": "b.2.2.31", "db3": "c.3.3"}
    assert decide.acknowledging(lives, frozenset({"db2", "db3"})) == {"db2": "b.2.2.31"}
    sync = {"db2": "b.2.2.31", "db3": "c.3.3.40"}
    # Its node has left the cluster and may go on receiving until it is fenced.
    assert decide.still_counted(sync, {"db2": "b.2.2.31"}, {"db2": "b.2.2.31"}, frozenset()) == sync
    assert decide.still_counted(sync, {"db2": "b.2.2.31"}, {"db2": "b.2.2.31"}, frozenset({"db3"})) == {
        "db2": "b.2.2.31"
    }
    # It is there and says that it does not receive any more.
    assert decide.still_counted(sync, lives, {"db2": "b.2.2.31"}, frozenset()) == {"db2": "b.2.2.31"}


def test_where_a_server_may_run_that_nobody_speaks_for() -> None:
    last = {"db1": ("stop", "0"), "db2": ("start", "0"), "db3": ("monitor", "0"), "db4": ("monitor", "7")}
    # Shut down in order with its server left running, or not fenced yet.
    assert decide.left_running(last, frozenset()) == {"db2", "db3"}
    # What this Pacemaker has started itself says whether it acknowledges, or does not run; what its probe has found does not yet.
    assert decide.left_running(last, frozenset(last)) == {"db3"}
    assert decide.left_running({**last, "db1": ("stop", "1")}, frozenset(last)) == {"db3"}
    assert decide.left_running({"db1": ("stop", "1")}, frozenset()) == {"db1"}


@pytest.mark.parametrize(("before", "after"), [(False, True), (True, False), (False, False)])
def test_nothing_is_released_without_quorum(before: bool, after: bool) -> None:
    assert "no quorum" in (decide.release_refusal(ENTRY, "db1", before, after, {"db1": ENTRY}) or "")


def test_nothing_is_released_on_a_mark_that_did_not_hold() -> None:
    assert decide.release_refusal(ENTRY, "db1", True, True, {"db1": ENTRY, "db2": ENTRY}) is None
    other = ENTRY._replace(epoch=4, primary="db2")
    assert "does not have the mark" in (decide.release_refusal(ENTRY, "db1", True, True, {"db1": other}) or "")
    assert "recorded primary" in (decide.release_refusal(other, "db1", True, True, {"db1": other}) or "")


def test_nothing_is_released_on_a_mark_that_a_member_has_not_received() -> None:
    older = ENTRY._replace(sync={"db2": "b.2.2"})
    mark = ENTRY.degraded(frozenset({"db2"}), 1001.0)
    assert "db2 does not have the mark" in (
        decide.release_refusal(mark, "db1", True, True, {"db1": mark, "db2": older}) or ""
    )


def test_an_older_or_unconfirmed_journal_is_a_setback() -> None:
    assert decide.setback(ENTRY, None, "db1") is None
    assert decide.setback(ENTRY, ENTRY, "db1") is None
    assert decide.setback(ENTRY.promoted("db2", "0-1-60", 2000.0), ENTRY, "db1") is None
    marked = ENTRY.degraded(frozenset({"db2"}), 1001.0)
    older = ENTRY._replace(epoch=2, primary="db2")
    assert "gone back to epoch 2 of db2" in (decide.setback(older, marked, "db1") or "")
    assert "epoch 0 of nobody" in (decide.setback(journal.NONE, ENTRY, "db1") or "")
    assert "never confirmed" in (decide.setback(ENTRY, marked, "db1") or "")
    assert "never confirmed" in (decide.setback(marked.promoted("db1", "0-1-60", 2000.0), marked, "db1") or "")


def test_nothing_is_recorded_over_what_a_member_knows_better() -> None:
    newer = ENTRY.promoted("db2", "0-1-60", 2000.0)
    assert decide.record_conflict(ENTRY, {"db1": ENTRY, "db2": ENTRY}) is None
    assert "db2 knows of epoch 4 of db2" in (decide.record_conflict(ENTRY, {"db1": ENTRY, "db2": newer}) or "")


def test_what_counts_as_in_sync() -> None:
    peer = Peer("db2", "b.2.2", HEALTHY, read_only=True, semi_sync=True)
    assert decide.regain_refusal(peer, "0-1-100") is None
    assert decide.regain_refusal(peer, "0-1-101") == "is 1 transactions behind"
    assert decide.regain_refusal(peer._replace(incarnation=""), "") == "has not published its incarnation"
    assert decide.regain_refusal(peer._replace(replica=None), "") == "does not replicate"
    assert decide.regain_refusal(peer._replace(read_only=False), "") == "is writable"
    assert "does not acknowledge" in (decide.regain_refusal(peer._replace(semi_sync=False), "") or "")
    connecting = HEALTHY._replace(io="Connecting", io_errno=2003)
    assert "not connected" in (decide.regain_refusal(peer._replace(replica=connecting), "") or "")
    # Received but not yet applied counts: promotion waits for it.
    received = HEALTHY._replace(applied="0-1-90", received="0-1-101")
    assert decide.regain_refusal(peer._replace(replica=received), "0-1-101") is None


@pytest.mark.parametrize("errno", [1236, 1045, 1593])
def test_a_refused_replica_is_broken(errno: int) -> None:
    assert decide.broken_replication(HEALTHY._replace(io="No", io_errno=errno, error="no")) is not None


def test_a_replica_whose_primary_is_gone_is_not_broken() -> None:
    assert decide.broken_replication(HEALTHY._replace(io="Connecting", io_errno=2003, error="refused")) is None


def test_a_replica_that_only_does_not_receive_can_go_on() -> None:
    assert decide.stopped_receiving(HEALTHY._replace(io="No"))
    assert decide.stopped_receiving(HEALTHY._replace(io="No", io_errno=2003, error="refused"))
    assert not decide.stopped_receiving(HEALTHY._replace(io="No", io_errno=1236, error="purged"))
    assert not decide.stopped_receiving(HEALTHY._replace(io="No", sql=False, sql_errno=1062, error="duplicate"))
    assert not decide.stopped_receiving(HEALTHY._replace(io="Connecting", io_errno=2003))


def test_divergence_is_seen_per_server() -> None:
    assert decide.divergence("0-1-10", "0-1-10,0-2-20", "db2") is None
    assert "0-1-11" in (decide.divergence("0-1-11", "0-1-10,0-2-20", "db2") or "")
    assert "1-1-1" in (decide.divergence("0-1-10,1-1-1", "0-1-10,0-2-20", "db2") or "")


# -- the journal ---------------------------------------------------------------------------------------------------


def test_the_journal_round_trips() -> None:
    for entry in (ENTRY, ENTRY._replace(sync={}, gtid=""), ENTRY.promoted("db2", "0-1-60", 5.5)):
        assert journal.read(journal.write(entry)) == entry
    assert journal.read(None) == journal.read("") == journal.NONE


def test_a_promotion_makes_every_peer_stale_in_the_same_record() -> None:
    after = ENTRY.promoted("db2", "0-1-60", 5.0)
    assert (after.epoch, after.primary, after.sync) == (4, "db2", {})
    assert ENTRY.degraded(frozenset({"db2"}), 5.0).sync == {}
    assert ENTRY.regained({"db3": "c.1.1"}, 5.0).sync == {"db3": "c.1.1"}


@pytest.mark.parametrize(
    "text",
    [
        "v=2 epoch=1 primary=db1 gtid= sync= at=1 by=promote",
        "epoch=1 primary=db1 gtid= sync= at=1 by=promote",
        "v=1 epoch=0 primary=db1 gtid= sync= at=1 by=promote",
        "v=1 epoch=x primary=db1 gtid= sync= at=1 by=promote",
        "v=1 epoch=1 primary= gtid= sync= at=1 by=promote",
        "v=1 epoch=1 primary=db1 gtid= sync=db2 at=1 by=promote",
        "v=1 epoch=1",
        "nonsense",
    ],
)
def test_a_journal_that_cannot_be_read_is_never_taken_for_an_empty_one(text: str) -> None:
    with pytest.raises(JournalError):
        journal.read(text)


def test_a_newer_journal_says_what_to_do() -> None:
    with pytest.raises(JournalError, match="same version of hafailover on all nodes"):
        journal.read("v=2 epoch=1 primary=db1 gtid= sync= at=1 by=promote")
