"""The rules of rejoining and cloning: which rung, from whom, how fast, whether it fits, and where the clone stands."""

from __future__ import annotations

import pytest
from hafailover.agents.mariadb.cloning import ladder, pace, position
from hafailover.agents.mariadb.cloning.ladder import Facts, Plan
from hafailover.agents.mariadb.cloning.position import PositionError
from hafailover.agents.mariadb.decide import Replica
from hafailover.agents.mariadb.peer_port import peer_port

WORKS = Replica("10.0.0.1", "Yes", True, "0-1-100", "0-1-100", 0, 0, "")
FACTS = Facts(
    node="db2",
    primary="db1",
    serving=True,
    promoted=False,
    running=True,
    blank=False,
    in_sync=True,
    state="0-1-100,0-2-50",
    primary_state="0-1-120,0-2-50",
    replica=WORKS,
)


@pytest.mark.parametrize(
    ("change", "clone", "rung", "why"),
    [
        ({}, False, "none", "db2 is a healthy replica; --clone"),
        ({}, True, "clone", "asked for"),
        ({"in_sync": False}, False, "gtid", "db1 holds everything that db2 holds"),
        ({"replica": None}, False, "gtid", "db1 holds everything"),
        ({"replica": WORKS._replace(sql=False)}, False, "gtid", "db1 holds everything"),
        ({"state": "0-1-100,0-2-51"}, False, "quarantine", "it holds 0-2-51, which db1 does not"),
        ({"state": "0-1-100,0-2-51"}, True, "quarantine", "it holds 0-2-51"),
        ({"state": "0-1-100,7-2-1"}, False, "quarantine", "it holds 7-2-1"),
        ({"replica": WORKS._replace(io_errno=1236, error="purged")}, False, "clone", "cannot send what is missing"),
        ({"replica": WORKS._replace(sql_errno=1062, sql=False)}, False, "clone", "its rows differ"),
        ({"blank": True, "running": False}, False, "clone", "its data directory is empty"),
        ({"running": False}, False, "none", "its server does not run"),
        ({"running": False}, True, "quarantine", "nobody can tell what its data hold"),
        ({"primary": "db2"}, True, "none", "db2 is the primary"),
        ({"promoted": True}, True, "none", "db2 is the primary"),
        ({"primary": ""}, True, "none", "nobody was ever promoted"),
        ({"serving": False}, True, "none", "db1 was primary last and is not serving"),
        ({"serving": False, "blank": True}, False, "none", "db1 was primary last"),
    ],
)
def test_the_lowest_rung_that_loses_nothing(change: dict[str, object], clone: bool, rung: str, why: str) -> None:
    plan = ladder.choose(FACTS._replace(**change), clone)
    assert plan.rung == rung
    assert why in plan.why
    assert plan.clones == (rung in ("clone", "quarantine"))


def test_what_would_be_given_up_is_named() -> None:
    assert ladder.choose(FACTS._replace(state="0-1-100,0-2-51,0-3-7"), False).lost == ("0-2-51", "0-3-7")


@pytest.mark.parametrize(
    ("plan", "policy", "quarantined", "says"),
    [
        (Plan("clone", "purged"), "automatic", False, None),
        (Plan("clone", "purged"), "never", False, "not automatic"),
        (
            Plan("quarantine", "errant", ("0-2-51",)),
            "automatic",
            False,
            "only a person may give up what 0-2-51 changed",
        ),
        (Plan("gtid", "behind"), "automatic", False, "no clone is needed"),
        (Plan("clone", "purged"), "automatic", True, "still in quarantine"),
    ],
)
def test_a_clone_without_a_person_loses_nothing(plan: Plan, policy: str, quarantined: bool, says: str | None) -> None:
    found = ladder.automatic_refusal(plan, policy, quarantined)
    assert found is None if says is None else says in (found or "")


def test_a_replica_in_sync_is_cloned_before_the_primary() -> None:
    nodes = ("db1", "db2", "db3")
    assert ladder.donors(("db2", "db3"), "db1", "db3", nodes) == ("db2", "db1")
    assert ladder.donors(("db3",), "db1", "db3", nodes) == ("db1",)
    assert ladder.donors((), "db1", "db2", ("db1", "db2")) == ("db1",)


def test_who_may_be_cloned_from() -> None:
    assert ladder.donor_refusal("db1", "db1", True, False, None) is None
    assert "not open for writing" in (ladder.donor_refusal("db1", "db1", False, False, None) or "")
    assert ladder.donor_refusal("db2", "db1", False, True, None) is None
    assert "not in sync" in (ladder.donor_refusal("db2", "db1", False, False, None) or "")
    assert "does not replicate" in (ladder.donor_refusal("db2", "db1", False, True, "stopped") or "")


# -- where a clone stands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "at", "after", "state"),
    [
        ("0-1-5", "0-1-5", "0-1-5", "0-1-5"),
        ("0-1-5", "0-1-9", "0-1-12", "0-1-9"),
        ("0-2-3,0-1-5", "0-1-9", "0-2-3,0-1-12", "0-2-3,0-1-9"),  # an earlier primary's transactions are kept
        ("", "", "", ""),
        ("", "0-1-2", "0-1-2", "0-1-2"),
        ("0-1-5,1-1-3", "0-1-6,1-1-4", "0-1-7,1-1-4", "0-1-6,1-1-4"),
        ("0-2-16,0-3-7,0-1-18,7-3-1", "7-3-1,0-1-19", "0-2-16,0-3-7,0-1-21,7-3-1", "0-3-7,0-2-16,0-1-19,7-3-1"),
        ("0-1-5", "0-2-9", "0-1-8,0-2-9", "0-1-8,0-2-9"),  # another one wrote in between
        ("0-1-5", "0-1-9", "0-1-9,0-2-11", "0-1-9"),  # and one that wrote later
        ("0-1-5", "0-1-9", "0-1-9,3-1-1", "0-1-9"),
    ],
)
def test_the_state_that_belongs_to_a_position(before: str, at: str, after: str, state: str) -> None:
    """The order matters: a server takes the last entry of a domain for its position."""
    assert position.state_at(before, at, after) == state


@pytest.mark.parametrize(
    ("before", "at", "after", "says"),
    [
        ("0-1-9", "0-1-5", "0-1-9", "stood at 0-1-9 already"),
        ("0-1-5,0-2-9", "0-1-12", "0-1-12", "does not hold 0-2-9 any more"),  # its binary log was reset
        ("0-1-5,7-3-1", "0-1-9", "0-1-9,7-3-1", "says nothing of 7-3-1"),
    ],
)
def test_a_state_that_cannot_be_known_is_not_guessed(before: str, at: str, after: str, says: str) -> None:
    with pytest.raises(PositionError, match=says):
        position.state_at(before, at, after)


def test_the_position_in_the_backup() -> None:
    assert position.read_info("mariadb-bin.000002\t344\t0-1-9\n") == ("mariadb-bin.000002", 344, "0-1-9")
    assert position.read_info("mariadb-bin.000002\t344\t1-2-4,0-1-9\n").gtid == "0-1-9,1-2-4"
    assert position.read_info("mariadb-bin.000002\t344\t\n").gtid == ""
    for wrong in ("", "mariadb-bin.000002\t344\n", "mariadb-bin.000002\t344\tabc\n", "mariadb-bin.000002\tx\t0-1-9\n"):
        with pytest.raises(PositionError):
            position.read_info(wrong)


# -- how fast, and whether there is room -------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_rate_is_kept_over_time() -> None:
    clock = Clock()
    bucket = pace.TokenBucket(1000.0, clock, clock.sleep)
    for _ in range(100):
        bucket.take(100)
    assert 9.4 <= clock.now - 100.0 <= 10.1  # 10,000 bytes, half a second's worth at once


def test_what_was_not_used_is_not_saved_up() -> None:
    clock = Clock()
    bucket = pace.TokenBucket(1000.0, clock, clock.sleep)
    clock.now += 3600.0
    begin = clock.now
    bucket.take(2500)
    assert clock.now - begin == pytest.approx(2.0)


def test_no_rate_is_no_limit() -> None:
    clock = Clock()
    pace.TokenBucket(0, clock, clock.sleep).take(1 << 40)
    assert clock.now == 100.0


def test_space_is_checked_with_room_to_grow() -> None:
    size = 1000 * pace.MIB
    assert pace.space_refusal(size, 1101 * pace.MIB, "/d") is None
    refusal = pace.space_refusal(size, 1099 * pace.MIB, "/d")
    assert refusal == (
        "not enough space: the clone needs 1100 MiB beside the old data, 1099 MiB are free on the file system of /d"
    )
    assert pace.needed(10 * pace.MIB) == 74 * pace.MIB


def test_the_size_leaves_out_what_is_not_copied(tmp_path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "orders.ibd").write_bytes(b"x" * 8192)
    whole = pace.size_of(str(tmp_path))
    (tmp_path / "mariadb-bin.000001").write_bytes(b"x" * 8192)
    assert whole >= 8192
    assert pace.size_of(str(tmp_path), ("mariadb-bin.",)) == whole


def test_the_peer_services_port_follows_the_servers() -> None:
    assert peer_port(3306, None) == 4444
    assert peer_port(3307, None) == 4445
    assert peer_port(65000, None) == 63862
    assert peer_port(3306, 5000) == 5000


def test_a_server_whose_files_lie_in_several_places_is_not_cloned() -> None:
    ours = "[mysqld]\ndatadir = /var/lib/mysql\nlog_bin = mariadb-bin\nrelay_log = mariadb-relay-bin\n"
    assert pace.elsewhere(ours, "/var/lib/mysql") is None
    assert pace.elsewhere(ours + "innodb_undo_directory = /var/lib/mysql/undo\n", "/var/lib/mysql") is None
    for line in ('log-bin = "/logs/bin"', "innodb_log_group_home_dir=/logs", "LOG_BIN = /var/lib/mysql2/bin"):
        refusal = pace.elsewhere(ours + line + "\n", "/var/lib/mysql")
        assert refusal and "outside of the data directory" in refusal
