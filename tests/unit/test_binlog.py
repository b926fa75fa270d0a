"""Binary log files read without a server, made here byte by byte as a server writes them."""

import struct
from pathlib import Path

import pytest
from hafailover.agents.mariadb import binlog

MAGIC = b"\xfebin"


def event(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("<IBIIIH", 0, kind, 7, 19 + len(body), 0, flags) + body


def gtid(sequence: int) -> bytes:
    return event(162, struct.pack("<QIB", sequence, 0, 0) + bytes(6))


def write(directory: Path, *events: bytes, in_use: bool = True) -> Path:
    """One log with its index; the index file's name is returned."""
    name = directory / "mariadb-bin.000001"
    name.write_bytes(MAGIC + event(15, bytes(80), flags=int(in_use)) + b"".join(events))
    index = directory / "mariadb-bin.index"
    index.write_text("./mariadb-bin.000001\n")
    return index


XID = event(16, bytes(8))


@pytest.mark.parametrize("torn", [XID[:1], XID[:19], XID[:-1], event(30, bytes(5000))[:4000]])
def test_half_an_event_at_the_end_is_removed(tmp_path: Path, torn: bytes) -> None:
    index = write(tmp_path, gtid(1), XID, gtid(2), XID)
    log = tmp_path / "mariadb-bin.000001"
    whole = log.read_bytes()
    log.write_bytes(whole + torn)
    assert f"removed {len(torn)} bytes" in (binlog.cut_torn_end(str(index)) or "")
    assert log.read_bytes() == whole
    assert [found.gtid.sequence for found in binlog.transactions([str(log)]) if found.complete] == [1, 2]
    assert binlog.cut_torn_end(str(index)) is None


def test_a_whole_log_and_one_that_was_closed_are_left_alone(tmp_path: Path) -> None:
    index = write(tmp_path, gtid(1), XID)
    assert binlog.cut_torn_end(str(index)) is None
    index = write(tmp_path, gtid(1), XID, b"rest", in_use=False)
    before = (tmp_path / "mariadb-bin.000001").read_bytes()
    assert binlog.closed(str(index))
    assert binlog.cut_torn_end(str(index)) is None
    assert (tmp_path / "mariadb-bin.000001").read_bytes() == before


@pytest.mark.parametrize("events", [(event(164, bytes(17)), b"noise"), (bytes(40),)], ids=["encrypted", "damaged"])
def test_what_cannot_be_read_is_left_alone(tmp_path: Path, events: tuple[bytes, ...]) -> None:
    index = write(tmp_path, *events)
    before = (tmp_path / "mariadb-bin.000001").read_bytes()
    with pytest.raises(binlog.Unreadable):
        binlog.cut_torn_end(str(index))
    assert (tmp_path / "mariadb-bin.000001").read_bytes() == before


def test_no_log_at_all(tmp_path: Path) -> None:
    assert binlog.cut_torn_end(str(tmp_path / "mariadb-bin.index")) is None
