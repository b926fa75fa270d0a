"""A replica that was without quorum since it was proved in sync doubts that proof, and nobody else does."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hafailover.agents.mariadb import minority
from hafailover.agents.mariadb.journal import Journal
from hafailover.agents.mariadb.server import Process

ENTRY = Journal(4, "db1", "0-1-50", {"db2": "b.2.2"}, 1000, "regain")
LATER = ENTRY._replace(at=1010)
BEGUN = 100.0  # seconds after the boot
PROCESS = Process(2, str(int(BEGUN * os.sysconf("SC_CLK_TCK"))))


class Context:
    instance = "db"
    deadline = SimpleNamespace(bound=lambda seconds: seconds)

    def __init__(self, said: float | None) -> None:
        words = "db2 corosync[39]:   [QUORUM] This node is within the non-primary component"
        self._out = "" if said is None else f"[{said:12.6f}] {words}"
        self.warned: list[str] = []

    def run(self, argv: list[str], timeout: float) -> Any:
        assert argv[0] == "journalctl"
        return SimpleNamespace(out=self._out)

    def log(self, level: str, text: str) -> None:
        self.warned.append(text)


@pytest.fixture(autouse=True)
def _run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minority, "RUN_DIR", str(tmp_path))


def cluster(*joined: str) -> Any:
    return SimpleNamespace(resource="db", pacemaker=SimpleNamespace(joined=lambda: frozenset(joined)))


def doubt(said: float | None, entry: Journal = ENTRY) -> str:
    context: Any = Context(said)
    return minority.doubt(context, PROCESS, entry)


def test_without_a_note_the_server_s_start_counts() -> None:
    assert doubt(None) == ""
    assert doubt(99.5) == ""
    assert "was without quorum" in doubt(100.5)


def test_a_proof_that_stood_later_is_not_doubted() -> None:
    minority.note(cluster("db1", "db2"), ENTRY, 200.0)
    assert doubt(150.0) == ""
    assert "db1 may have gone on alone" in doubt(200.5)
    assert doubt(150.0, LATER) != "", "the note is of another text"


def test_nothing_is_noted_while_the_primary_is_not_there() -> None:
    minority.note(cluster("db2"), ENTRY, 200.0)
    assert doubt(150.0) != ""


def test_a_note_is_renewed_now_and_then() -> None:
    minority.note(cluster("db1", "db2"), ENTRY, 200.0)
    minority.note(cluster("db1", "db2"), ENTRY, 203.0)
    assert doubt(201.0) != ""
    minority.note(cluster("db1", "db2"), ENTRY, 231.0)
    assert doubt(201.0) == ""
    minority.note(cluster("db2"), ENTRY, 300.0)
    assert doubt(250.0) != ""


def test_a_doubt_is_remembered_for_this_server_and_this_proof() -> None:
    context: Any = Context(150.0)
    assert minority.found(context, PROCESS, ENTRY) == ""
    said = doubt(150.0)
    assert minority.found(context, PROCESS, ENTRY) == said
    assert minority.found(context, PROCESS, LATER) == ""
    assert minority.found(context, PROCESS._replace(pid=3), ENTRY) == ""


def test_a_log_that_cannot_be_read_is_told_and_decides_nothing() -> None:
    context: Any = Context(None)
    context._out = "-- No entries --"
    assert minority.doubt(context, PROCESS, ENTRY) == ""
    assert context.warned


def test_the_clock_is_the_one_of_the_log() -> None:
    """The note's time is time.monotonic(), a process begins in clock ticks after the boot: both count from there."""
    assert (
        abs(Process(1, str(int(time.monotonic() * os.sysconf("SC_CLK_TCK")))).uptime_at_start() - time.monotonic()) < 1
    )
