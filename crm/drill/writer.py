"""A client that writes one row every few milliseconds and says what became of each.

Runs as a program of its own, outside the cluster (through the virtual address) or inside a node (through the
server's socket), so it imports nothing of hafailover. Its parameters, the password among them, arrive as one line
of JSON on standard input; after it, "pause" there holds back further attempts until "resume"; end of file, or SIGTERM, stops it
after the attempts in flight have ended.

Each attempt prints two lines of JSON: ``{"seq", "begin"}`` before the statement leaves, so that a writer killed
with its node never leaves a row that nobody attempted, and ``{"seq", "end", "outcome", "server", "code", "error"}``;
"code" is null where it would prove nothing about the server.
Outcomes: "acknowledged" (the server said OK), "refused" (it was certainly not executed), "unknown" (no answer, or
an error that can arrive after the commit: a session killed while it waits for its replica has committed).
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import select
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pymysql
from pymysql.constants import ER

# Errors after which the row is certainly not there: the statement was rejected or rolled back as a whole.
REFUSALS = frozenset((ER.OPTION_PREVENTS_STATEMENT, 1836, ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK, ER.NO_SUCH_TABLE))
_NO_CONNECTION = (2002, 2003)
_IDLE_CONNECTIONS = 2
_WATCH = 0.5  # seconds
if TYPE_CHECKING:
    _Connection = pymysql.connections.Connection[Any]


class _Borrowed(NamedTuple):
    connection: _Connection
    server: int
    generation: int


class Writer:
    """Writes rows ``(writer, seq, @@server_id)`` at a fixed pace over a small pool of connections.

    ``parameters``: user, password, database, table, writer (the rows' name), first (first sequence number),
    interval, connect_timeout, read_timeout (seconds), workers, and either host and port or unix_socket. ``reconnect``
    false: the first connection that breaks is the writer's end. ``paused``: begin so.

    One connection would stand still for a whole timeout whenever its server vanishes without a word, and the gap
    measured would be the timeout's. So up to ``workers`` attempts are in flight, each on a connection that was
    good a moment ago, or else on a new one: the first attempt after the service is back finds it at once.
    """

    def __init__(self, parameters: dict[str, Any]) -> None:
        self._parameters = parameters
        self._interval = float(parameters["interval"])
        self._seq = int(parameters["first"])
        self._due = time.monotonic()
        self._ticket = threading.Lock()
        self._pool_lock = threading.Lock()
        self._pool: list[_Borrowed] = []
        self._generation = 0
        self.stopped = threading.Event()
        self.going = threading.Event()
        if not parameters.get("paused"):
            self.going.set()

    def run(self) -> None:
        """Write until ``stopped`` is set; return when the last attempt has ended."""
        threads = [threading.Thread(target=self._work) for _ in range(int(self._parameters["workers"]))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        while True:
            seq = self._take_turn()
            if seq is None:
                return
            self._attempt(seq)

    def _take_turn(self) -> int | None:
        # The lock is held while sleeping: one worker waits for the next tick, the others for it. Ticks that
        # passed while every worker was stuck are dropped; a burst afterwards would measure itself.
        with self._ticket:
            while not (self.going.wait(_WATCH) or self.stopped.is_set()):
                pass
            pause = self._due - time.monotonic()
            if pause > 0:
                self.stopped.wait(pause)
            if self.stopped.is_set():
                return None
            self._due = max(self._due, time.monotonic() - self._interval) + self._interval
            self._seq += 1
            return self._seq - 1

    def _attempt(self, seq: int) -> None:
        _say({"seq": seq, "begin": time.time()})
        outcome, code, error = "refused", None, None
        borrowed: _Borrowed | None = None
        try:
            borrowed = self._borrow()
            outcome = "unknown"
            borrowed.connection.query(
                f"INSERT INTO {self._parameters['table']} (writer, seq, server)"  # noqa: S608 (values are our own)
                f" VALUES ('{self._parameters['writer']}', {seq}, @@server_id)"
            )
            outcome = "acknowledged"
        except pymysql.Error as failure:
            code, error = failure.args if len(failure.args) == 2 else (None, str(failure))
            if code in REFUSALS:
                outcome = "refused"
            if code in _NO_CONNECTION and self._parameters.get("host") and not _was_refused(failure):
                code = None  # a network that is silent says nothing about the server behind it
        end = time.time()
        server = borrowed.server if borrowed else None
        _say({"seq": seq, "end": end, "outcome": outcome, "server": server, "code": code, "error": error})
        # A server that says "read-only" is well, and so is the connection to it.
        if borrowed and (code is None or code == ER.OPTION_PREVENTS_STATEMENT):
            self._give_back(borrowed)
        else:
            if not self._parameters.get("reconnect", True):
                self.stopped.set()
            self._distrust()
            if borrowed:
                _close(borrowed.connection)

    def _borrow(self) -> _Borrowed:
        with self._pool_lock:
            generation = self._generation
            if self._pool:
                return self._pool.pop()
        where = self._parameters
        target = (
            {"unix_socket": where["unix_socket"]}
            if where.get("unix_socket")
            else {"host": where["host"], "port": int(where["port"])}
        )
        connection: _Connection = pymysql.connect(
            user=where["user"],
            password=where["password"],
            database=where["database"],
            autocommit=True,
            connect_timeout=where["connect_timeout"],
            read_timeout=where["read_timeout"],
            write_timeout=where["read_timeout"],
            **target,
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT @@server_id")
                row = cursor.fetchone()
        except pymysql.Error:
            _close(connection)
            raise
        assert row is not None
        return _Borrowed(connection, int(row[0]), generation)

    def _give_back(self, borrowed: _Borrowed) -> None:
        with self._pool_lock:
            if borrowed.generation == self._generation and len(self._pool) < _IDLE_CONNECTIONS:
                self._pool.append(borrowed)
                return
        _close(borrowed.connection)

    def _distrust(self) -> None:
        """After any failure, idle connections may lead to a server that is gone: let go of them all."""
        with self._pool_lock:
            self._generation += 1
            idle, self._pool = self._pool, []
        for borrowed in idle:
            _close(borrowed.connection)


def _was_refused(failure: pymysql.Error) -> bool:
    """Whether a host answered that nothing listens there."""
    return isinstance(getattr(failure, "original_exception", None), ConnectionRefusedError)


def _close(connection: _Connection) -> None:
    # Connection.close() says goodbye first, which can block for a whole timeout towards a vanished server.
    with contextlib.suppress(OSError, pymysql.Error):
        connection._force_close()  # type: ignore[attr-defined]


def _say(record: dict[str, Any]) -> None:
    # One write below PIPE_BUF is atomic, so the threads need no lock and a kill never leaves half a line.
    os.write(1, (json.dumps(record, separators=(",", ":")) + "\n").encode())


def _watch_input(writer: Writer) -> None:
    while not writer.stopped.is_set():
        readable, _, _ = select.select([0], [], [], _WATCH)
        if not readable:
            continue
        words = os.read(0, 4096).split()
        if not words:
            writer.stopped.set()
        elif words[-1] == b"pause":
            writer.going.clear()
        else:
            writer.going.set()


def main() -> None:
    """Read the parameters, write until told to stop."""
    writer = Writer(json.loads(io.FileIO(0, closefd=False).readline()))
    signal.signal(signal.SIGTERM, lambda *_: writer.stopped.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(PermissionError):
        # A measuring instrument that waits for the CPU measures the machine instead of the cluster.
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    gc.freeze()
    threading.Thread(target=_watch_input, args=(writer,), daemon=True).start()
    writer.run()


if __name__ == "__main__":
    main()
