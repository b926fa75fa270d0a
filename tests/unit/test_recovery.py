"""In which role a server may recover: the cases of cases/recovery.txt, versions, and what the choice reads from files."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from hafailover.agents.mariadb import binlog, journal, lineage, recovery
from hafailover.agents.mariadb.lineage import Lineage

CASES = pathlib.Path(__file__).parent / "cases" / "recovery.txt"
SUPERSEDED = journal.Journal(4, "db2", "0-1-50", {}, 1000, "promote")


def cases() -> Iterator[Any]:
    for block in CASES.read_text().split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if lines:
            *facts, dashes, choice = lines
            assert dashes == "----", block
            yield pytest.param(facts, choice, id=choice[:60])


def facts(lines: list[str]) -> recovery.Facts:
    known = recovery.Facts("", journal.NONE, "", (10, 11, 19), False, lineage.NONE, False, ())
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "recovery":
            known = known._replace(node=rest)
        elif word == "journal":
            known = known._replace(journal=journal.read(rest))
        elif word == "promoted":
            known = known._replace(promoted=rest)
        elif word == "version":
            known = known._replace(version=tuple(map(int, rest.split("."))))
        elif word == "lineage":
            known = known._replace(lineage=Lineage(int(rest.split()[0]), rest.split()[1]))
        elif word == "absent":
            known = known._replace(absent=tuple(rest.split()))
        elif word == "heirs":
            known = known._replace(heirs=tuple(rest.split()))
        elif line in ("closed", "reigning"):
            known = known._replace(**{line: True})
        else:
            raise AssertionError(f"unknown fact {line!r}")
    return known


@pytest.mark.parametrize(("lines", "choice"), list(cases()))
def test_cases(lines: list[str], choice: str) -> None:
    found = recovery.choose(facts(lines))
    role = found.options[0].rpartition("=")[2] if found.options else "-"
    if found.wait_for:
        role = f"wait for {', '.join(found.wait_for)}"
    assert f"{role}: {found.reason}" == choice
    assert found.truncates == (role == "SLAVE")


@pytest.mark.parametrize(
    ("version", "replica", "primary"),
    [
        ((10, 5, 29), (), ()),
        ((10, 6, 7), (), ()),
        ((10, 6, 8), ("--rpl-semi-sync-slave-enabled=ON",), ("--rpl-semi-sync-slave-enabled=OFF",)),
        ((10, 6, 18), ("--rpl-semi-sync-slave-enabled=ON",), ("--rpl-semi-sync-slave-enabled=OFF",)),
        ((10, 6, 19), ("--init-rpl-role=SLAVE",), ("--init-rpl-role=MASTER",)),
        ((10, 11, 8), ("--rpl-semi-sync-slave-enabled=ON",), ("--rpl-semi-sync-slave-enabled=OFF",)),
        ((11, 4, 3), ("--init-rpl-role=SLAVE",), ("--init-rpl-role=MASTER",)),
        ((11, 8, 6), ("--init-rpl-role=SLAVE",), ("--init-rpl-role=MASTER",)),
    ],
)
def test_each_version_gets_what_it_supports(
    version: tuple[int, ...], replica: tuple[str, ...], primary: tuple[str, ...]
) -> None:
    known = recovery.Facts("db1", SUPERSEDED, "db2", version, False, lineage.NONE, False, ())
    assert recovery.choose(known).options == replica
    assert recovery.choose(known._replace(journal=SUPERSEDED._replace(primary="db1"))).options == primary
    assert recovery.keeping_all(version, "because").options == primary


def test_a_person_s_decision_stays_in_the_journal() -> None:
    forced = SUPERSEDED.accepted("db1", "0-1-40", 5.0)
    assert (forced.epoch, forced.primary, forced.sync, forced.by) == (1004, "db1", {}, journal.ACCEPTED)
    later = forced.promoted("db1", "0-1-40", 6.0)
    assert (later.epoch, later.forced) == (1005, 1004)
    assert journal.read(journal.write(later)) == later
    assert "forced" not in journal.write(SUPERSEDED)


def test_lineage_is_kept_with_the_data(tmp_path: pathlib.Path) -> None:
    assert lineage.read(str(tmp_path)) == lineage.NONE
    assert lineage.keep(str(tmp_path), Lineage(3, "db1"))
    assert lineage.read(str(tmp_path)) == Lineage(3, "db1")
    assert not lineage.keep(str(tmp_path / "gone"), Lineage(3, "db1"))
    for torn in ("", "three db1", "3"):
        (tmp_path / "hafailover-lineage").write_text(torn)
        assert lineage.read(str(tmp_path)) == lineage.NONE


# -- binary and relay logs, made here event by event ---------------------------------------------------------------


def event(kind: int, body: bytes = b"", server: int = 1, flags: int = 0) -> bytes:
    length = (19 + len(body)).to_bytes(4, "little")
    return (
        bytes(4) + bytes([kind]) + server.to_bytes(4, "little") + length + bytes(4) + flags.to_bytes(2, "little") + body
    )


def begin(sequence: int, flags: int = 0, server: int = 1) -> bytes:
    return event(
        162, sequence.to_bytes(8, "little") + (0).to_bytes(4, "little") + bytes([flags]) + bytes(6), server=server
    )


def query(statement: bytes) -> bytes:
    return event(2, bytes(8) + bytes([2]) + bytes(2) + (3).to_bytes(2, "little") + b"var" + b"db\0" + statement)


COMMIT = event(16, bytes(8))
ROWS = event(23, bytes(40))


def log(path: pathlib.Path, *events: bytes, flags: int = 0) -> str:
    path.write_bytes(b"\xfebin" + event(15, bytes(50), flags=flags) + b"".join(events))
    return str(path)


@pytest.mark.parametrize(("flags", "closed"), [(0, True), (1, False)])
def test_the_last_binary_log_says_whether_the_server_was_shut_down(
    tmp_path: pathlib.Path, flags: int, closed: bool
) -> None:
    index = tmp_path / "bin.index"
    assert binlog.closed(str(index)), "a server without a log has no tail"
    log(tmp_path / "bin.000001", flags=1 - flags)
    log(tmp_path / "bin.000002", flags=flags)
    index.write_text("./bin.000001\n./bin.000002\n")
    assert binlog.closed(str(index)) is closed


@pytest.mark.parametrize("content", [b"", b"\xfebin", b"\xfebin" + event(16) + bytes(20), b"rubbish" * 10])
def test_a_torn_log_was_not_closed(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / "bin.000001").write_bytes(content)
    (tmp_path / "bin.index").write_text("bin.000001\n")
    assert not binlog.closed(str(tmp_path / "bin.index"))
    (tmp_path / "bin.000001").unlink()
    assert not binlog.closed(str(tmp_path / "bin.index"))


def found(*names: str) -> list[tuple[str, bool]]:
    return [(str(one.gtid), one.complete) for one in binlog.transactions(names)]


def test_transactions_across_files(tmp_path: pathlib.Path) -> None:
    first = log(tmp_path / "relay.1", begin(1), ROWS, COMMIT, begin(2, flags=1), query(b"CREATE TABLE t (a INT)"))
    second = log(tmp_path / "relay.2", begin(3), query(b"INSERT"), query(b"COMMIT"), begin(4, server=2), ROWS)
    assert found(first, second) == [("0-1-1", True), ("0-1-2", True), ("0-1-3", True), ("0-2-4", False)]
    last = list(binlog.transactions([second]))[-1]
    assert (last.file, pathlib.Path(second).read_bytes()[last.position + 4]) == (second, 162)
    assert found(log(tmp_path / "relay.3", ROWS, COMMIT)) == []


def test_a_torn_event_ends_the_log(tmp_path: pathlib.Path) -> None:
    assert found(log(tmp_path / "relay", begin(1), ROWS, COMMIT[:-3])) == [("0-1-1", False)]
    assert found(log(tmp_path / "relay", begin(1), ROWS, COMMIT, begin(2)[:20])) == [("0-1-1", True)]
    # A statement's variables are not yet the statement.
    assert found(log(tmp_path / "relay", begin(1, flags=1), event(5, bytes(9)))) == [("0-1-1", False)]


def test_what_cannot_be_read_is_said(tmp_path: pathlib.Path) -> None:
    with pytest.raises(binlog.Unreadable, match="encrypted"):
        found(log(tmp_path / "relay", event(164, bytes(17))))
    with pytest.raises(binlog.Unreadable, match="damaged at"):
        found(log(tmp_path / "relay", b"\0" * 40))
    (tmp_path / "none").write_bytes(b"text")
    with pytest.raises(binlog.Unreadable, match="no binary log"):
        found(str(tmp_path / "none"))
