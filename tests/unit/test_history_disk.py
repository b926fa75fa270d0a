"""A node whose disk is full, or that is cut off in the middle of writing, loses nothing and doubles nothing."""

import os

import pytest
from hafailover.agents import inbox
from hafailover.crm.history import handed_in
from hafailover.crm.history.store import Store
from history_cluster import Cluster, event, nearly_full


def test_a_torn_line_and_a_full_disk_lose_nothing_but_that(tmp_path):
    cluster = Cluster(tmp_path)
    cluster.tell("db1", event(1))
    cluster.run("db1")
    (log,) = (tmp_path / "db1" / "store").glob("*.log")
    with open(log, "ab") as file:
        file.write(b'{"w":"db1~')
    cluster.tell("db1", event(2))
    cluster.settle()
    assert [record.facts["text"] for record in cluster.lists()[1]] == ["event 1", "event 2"]
    assert log.stat().st_mode & 0o777 == 0o600 and (tmp_path / "db1" / "store").stat().st_mode & 0o777 == 0o700


def test_a_disk_that_takes_a_part_loses_nothing(tmp_path):
    cluster = Cluster(tmp_path)
    cluster.tell("db1", event(0))
    cluster.settle()
    (log,) = (tmp_path / "db1" / "store").glob("*.log")
    before = log.read_bytes()
    cluster.tell("db1", *[event(number) for number in range(1, 20)])
    with nearly_full(len(before) + 700), pytest.raises(OSError, match="too large"):
        cluster.run("db1")
    assert log.read_bytes() == before
    assert len(os.listdir(tmp_path / "db1" / "inbox")) == 19
    # Nor does a copy that cannot be written anew keep its half.
    with nearly_full(100), pytest.raises(OSError, match="too large"):
        Store(str(log.parent))._replace(log.stem, cluster.lists()[0] * 20)
    assert not list(log.parent.glob("*.new"))
    cluster.settle()
    one, *others = cluster.lists()
    assert [record.facts["text"] for record in one] == [f"event {number}" for number in range(20)]
    assert others == [one, one]


def test_what_was_written_down_before_a_crash_is_not_written_twice(tmp_path, monkeypatch):
    cluster = Cluster(tmp_path)
    cluster.tell("db1", event(1))
    with monkeypatch.context() as patch:
        patch.setattr(handed_in, "clear", lambda directory, names: None)
        cluster.run("db1")
    cluster.tell("db1", event(2))
    cluster.settle()
    assert [record.facts["text"] for record in cluster.lists()[2]] == ["event 1", "event 2"]
    assert inbox.MOST >= len(os.listdir(tmp_path / "db1" / "inbox")) == 0
