"""What MariaDB's binary and relay log files say without a server: whether the last one was closed, and which transactions are in them.

The layout has been the same since MySQL 5.0; MariaDB's own events are from 10.0. Checked against 10.11.19: the flag is 1 in the last binary
log of a running and of a killed server, and 0 after an orderly end.
"""

from __future__ import annotations

import os

from hafailover.agents.mariadb.gtid import Gtid
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MAGIC = b"\xfebin"
_HEADER = 19
_IN_USE = 0x1  # LOG_EVENT_BINLOG_IN_USE_F, in the flags of the format description event
_QUERY, _XID, _FORMAT, _XA_PREPARE, _GTID, _START_ENCRYPTION, _QUERY_COMPRESSED = 2, 16, 15, 38, 162, 164, 165
_STANDALONE = 0x1  # a GTID event's flag: one statement without COMMIT
_BETWEEN = frozenset({5, 13, 14})  # INTVAR, RAND and USER_VAR belong to the statement that comes after them
_CHUNK = 1 << 20


class Unreadable(Exception):
    """A log that cannot be read (damaged, encrypted); the message says which and why."""


class Transaction(NamedTuple):
    """A transaction in a log: its GTID, where it begins, and whether all of it is there."""

    gtid: Gtid
    file: str
    position: int
    complete: bool


def indexed(index: str) -> list[str]:
    """The full names of the log files that the index file names, oldest first; OSError."""
    base = os.path.dirname(index)
    with open(index, encoding="utf-8", errors="surrogateescape") as file:
        return [os.path.normpath(os.path.join(base, line.strip())) for line in file if line.strip()]


def closed(index: str) -> bool:
    """Tell whether the server that wrote these binary logs has ended in order; True also if there are none.

    An unreadable or torn last log was not closed.
    """
    try:
        names = indexed(index)
    except FileNotFoundError:
        return True
    if not names:
        return True
    try:
        with open(names[-1], "rb") as file:
            head = file.read(len(_MAGIC) + _HEADER)
    except FileNotFoundError:
        return False
    if len(head) < len(_MAGIC) + _HEADER or not head.startswith(_MAGIC) or head[8] != _FORMAT:
        return False
    return not int.from_bytes(head[21:23], "little") & _IN_USE


def cut_torn_end(index: str) -> str | None:
    """Remove an event that was not written whole from the end of the last log of a server that was not closed; say so, or return None.

    A full disk and a kill leave one. The server begins a new log and never removes it, and every replica that has to read the
    old one stops there with error 1236. Nobody can have read or acknowledged half an event. Unreadable, OSError.
    """
    if closed(index):
        return None
    name = indexed(index)[-1]
    end = len(_MAGIC)
    for position, kind, _, length in _headers(name):
        if kind == _START_ENCRYPTION:
            raise Unreadable(f"{name} is encrypted")
        end = position + length
    torn = os.path.getsize(name) - end
    if torn <= 0:
        return None
    with open(name, "r+b") as file:
        file.truncate(end)
        os.fsync(file.fileno())
    return f"removed {torn} bytes of an event that was not written whole from the end of {name}"


def transactions(names: Sequence[str]) -> Iterator[Transaction]:
    """The transactions in these files, which are one log, in their order; Unreadable, OSError."""
    begun: Transaction | None = None
    standalone = whole = False
    for name in names:
        for position, kind, server, body in _events(name):
            if kind == _START_ENCRYPTION:
                raise Unreadable(f"{name} is encrypted")
            if kind == _GTID and len(body) >= 13:
                if begun:
                    yield begun._replace(complete=whole)
                gtid = Gtid(int.from_bytes(body[8:12], "little"), server, int.from_bytes(body[:8], "little"))
                begun = Transaction(gtid, name, position, complete=False)
                standalone, whole = bool(body[12] & _STANDALONE), False
            elif begun and not whole:
                whole = _ends(kind, body, standalone)
    if begun:
        yield begun._replace(complete=whole)


def _ends(kind: int, body: bytes, standalone: bool) -> bool:
    """Whether this event is the last one of its transaction."""
    if kind in (_XID, _XA_PREPARE):
        return True
    if standalone:
        return kind not in _BETWEEN and kind in (_QUERY, _QUERY_COMPRESSED)
    if kind == _QUERY and len(body) >= 13:
        # thread, time, length of the database's name, error, length of the status variables; then these, the name, a zero, the statement
        statement = body[13 + int.from_bytes(body[11:13], "little") + body[8] + 1 :]
        return statement.startswith((b"COMMIT", b"ROLLBACK"))
    return False


def _headers(name: str) -> Iterator[tuple[int, int, int, int]]:
    """(position, kind, server id, length) of each whole event; a torn one at the end is left out."""
    with open(name, "rb", buffering=_CHUNK) as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(len(_MAGIC)) != _MAGIC:
            raise Unreadable(f"{name} is no binary log, or it is encrypted")
        position = len(_MAGIC)
        while position + _HEADER <= size:
            header = file.read(_HEADER)
            length = int.from_bytes(header[9:13], "little")
            if length < _HEADER:
                raise Unreadable(f"{name} is damaged at {position}")
            if position + length > size:
                return
            yield position, header[4], int.from_bytes(header[5:9], "little"), length
            position += length
            file.seek(position)


def _events(name: str) -> Iterator[tuple[int, int, int, bytes]]:
    """(position, kind, server id, what comes after the header if it is needed) of each whole event."""
    with open(name, "rb", buffering=_CHUNK) as file:
        for position, kind, server, length in _headers(name):
            body = b""
            if kind in (_GTID, _QUERY):
                file.seek(position + _HEADER)
                body = file.read(length - _HEADER)
            yield position, kind, server, body
