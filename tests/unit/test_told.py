"""What a node tells people of its database, in one attribute."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from hafailover.agents.mariadb import told
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "RUN_DIR", str(tmp_path / "run"))


@given(st.dictionaries(st.sampled_from([told.WHY, told.REJOIN, told.HOOKS]), st.text()))
def test_it_is_read_as_it_was_written_on_one_line(parts: dict[str, str]) -> None:
    text = told.write(parts)
    assert len(text.splitlines()) <= 1
    assert told.read(text) == {name: " ".join(value.splitlines()) for name, value in parts.items()}


def test_what_was_told_stays_beside_what_is_new() -> None:
    said: list[str] = []
    assert told.tell("db", {told.WHY: "STALE: 50 % | more"}, said.append, "7.1")
    assert told.tell("db", {told.HOOKS: "post-promote=8:ok | "}, said.append)
    assert not told.tell("db", {told.WHY: "STALE: 50 % | more"}, said.append, "7.1")
    assert said[-1] == "hooks=post-promote=8:ok %7C |why=STALE: 50 %25 %7C more" and len(said) == 2
    assert told.known("db") == {told.WHY: "STALE: 50 % | more", told.HOOKS: "post-promote=8:ok | "}
    assert told.known("other") == {}


def test_a_new_attribute_daemon_is_told_everything_and_nothing_is_new() -> None:
    said: list[str] = []
    told.tell("db", {told.REJOIN: "gtid 7 it follows"}, said.append)
    told.tell("db", {told.WHY: "ok"}, said.append, "7.1")
    assert not told.tell("db", {}, said.append, "9.2")
    assert said[-1] == "rejoin=gtid 7 it follows|why=ok" and len(said) == 3
    assert not told.tell("db", {}, said.append, "9.2")
    assert len(said) == 3


def test_what_could_not_be_told_is_told_the_next_time() -> None:
    def refused(text: str) -> None:
        raise RuntimeError(text)

    with pytest.raises(RuntimeError):
        told.tell("db", {told.WHY: "ok"}, refused)
    said: list[str] = []
    assert told.tell("db", {told.WHY: "ok"}, said.append)
    assert said == ["why=ok"]


def test_where_nothing_can_be_written_down_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(told, "RUN_DIR", str(tmp_path / "file"))
    said: list[str] = []
    assert told.tell("db", {told.WHY: "ok"}, said.append)
    assert said == ["why=ok"]


def test_by_part_and_node() -> None:
    found = told.sorted_out({"db1": "why=ok", "db2": "why=STALE|hooks=a=1:ok %7C ", "db3": "garbage"})
    assert found == {told.WHY: {"db1": "ok", "db2": "STALE"}, told.REJOIN: {}, told.HOOKS: {"db2": "a=1:ok | "}}


def test_nobody_waits_for_one_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    told.tell("db", {told.WHY: "ok"}, said.append)
    monkeypatch.setattr(told, "_ALONE_WITHIN", 0.1)
    with open(tmp_path / "run/db.told") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert told.tell("db", {told.WHY: "STALE"}, said.append)
    assert said == ["why=ok", "why=STALE"]
