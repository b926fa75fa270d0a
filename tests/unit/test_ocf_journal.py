"""What the agent framework writes to the journal, and where there is none."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hafailover.agents import journal
from toy_agent import Toy

pytestmark = pytest.mark.usefixtures("no_journal")


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "socket"))
        sock.settimeout(2)
        monkeypatch.setattr(journal, "NATIVE", str(tmp_path / "socket"))
        yield sock


def decode(data: bytes) -> dict[str, str]:
    """A record in the native protocol, decoded by the letter of its description."""
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        key, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + size], data[9 + size :]
        fields[key.decode()] = value.decode()
    return fields


def test_event(toy: Toy, records: socket.socket) -> None:
    ctx = toy.context(OCF_RESOURCE_INSTANCE="ip:0")
    ctx.event("toy.up", "two\nlines", level="warning", address="192.0.2.1", dad_ms=4.5)
    record = decode(records.recv(65536))
    assert record.pop("SYSLOG_PID").isdecimal()
    assert record == {
        "MESSAGE": "two\nlines",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "hafailover-toy",
        "SYSLOG_FACILITY": "3",
        "HAFAILOVER_EVENT": "toy.up",
        "HAFAILOVER_RESOURCE": "ip",
        "HAFAILOVER_ACTION": "start",
        "HAFAILOVER_ADDRESS": "192.0.2.1",
        "HAFAILOVER_DAD_MS": "4.5",
    }


def test_log_levels(toy: Toy, records: socket.socket) -> None:
    ctx = toy.context()
    for level, priority in (("critical", 2), ("error", 3), ("warning", 4), ("notice", 5), ("info", 6)):
        ctx.log("debug", "not without HA_debug")
        ctx.log(level, "text")
        assert decode(records.recv(65536))["PRIORITY"] == str(priority)
    toy.context(HA_debug="1").log("debug", "text")
    assert decode(records.recv(65536))["PRIORITY"] == "7"


def test_reason_and_traceback_reach_the_journal(
    toy: Toy, records: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.outcome = ValueError("surprise")
    toy.run("start")
    assert "ValueError: surprise" in decode(records.recv(65536))["MESSAGE"]
    assert "Traceback" in decode(records.recv(65536))["MESSAGE"]
    assert "Traceback" not in capsys.readouterr().err


def test_record_that_is_too_large_is_cut(records: socket.socket) -> None:
    assert journal.send("info", "x", "a" * 1_000_000)
    assert len(decode(records.recv(1_000_000))["MESSAGE"]) == 32768


def test_syslog_where_there_is_no_journal(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "log"))
        monkeypatch.setattr(journal, "SYSLOG", str(tmp_path / "log"))
        toy.context().event("toy.up", "it is\nup")
        line = sock.recv(65536).decode()
    assert line.startswith("<29>hafailover-toy[")
    assert "it is up [hafailover_resource=default hafailover_event=toy.up" in line
    assert capsys.readouterr().err == ""


def test_standard_error_where_there_is_neither(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.context().log("info", "hello")
    assert capsys.readouterr().err == "hafailover-toy: info: hello\n"
