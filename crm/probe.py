"""Measure for how long writers were shut out: ask a server again and again whether it accepts writes.

One thread per address. A connection is kept open while it answers; after that it is opened anew with short timeouts, until the
server, or another one behind the same address, says that it is writable.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

from hafailover.agents.mariadb.replication import Login

INTERVAL = 0.02  # seconds from one answer to the next question
_FIRST = 2.0  # seconds for the first connection, from which the others' limits follow
_CONNECT = (0.03, 1.0)  # shortest and longest time for a connection, seconds
_ANSWER = (0.1, 1.0)  # the same for an answer
_PATIENT = 20  # failed logins in a row after which it asks less often: the server counts them against this host
METHOD = (
    "longest time between two answers that said the server is writable (SELECT @@global.read_only over a kept "
    f"connection, asked every {INTERVAL * 1000:.0f} ms)"
)


class Probe:
    """Asks one address until it is stopped. Times are ``time.monotonic()``; an answer counts from when it arrived."""

    def __init__(self, host: str, port: int, login: Login) -> None:
        self.host, self.port = host, port
        self._login = login
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._limits = (_FIRST, _FIRST)
        self.writable: list[tuple[float, float]] = []
        """(asked, answered) of every answer that said writable."""
        self.closed: list[float] = []
        """When it turned from writable to read-only or unreachable."""
        self.error = ""

    def start(self) -> None:
        """Start asking."""
        self._thread.start()

    def wait_ready(self, timeout: float) -> bool:
        """True as soon as the first answer of any kind came, False after ``timeout`` seconds."""
        return self._ready.wait(timeout)

    def stop(self) -> None:
        """Stop asking; returns when the thread has ended or after two seconds."""
        self._stop.set()
        self._thread.join(2.0)

    def closed_after(self, moment: float) -> float | None:
        """When it stopped being writable, after ``moment``; None while it has not."""
        return next((at for at in list(self.closed) if at >= moment), None)

    def writable_after(self, moment: float) -> float | None:
        """When it first answered writable, asked after ``moment``; None while it has not."""
        return next((answered for asked, answered in list(self.writable) if asked >= moment), None)

    def _work(self) -> None:
        failed = 0
        while not self._stop.is_set():
            try:
                with self._connected() as connection:
                    failed = 0
                    self._ask_on(connection)
            except (OSError, self._errors()) as error:
                self.error = str(error)
                self._mark_closed()
                failed += 1
                self._ready.set()
            self._stop.wait(INTERVAL if failed < _PATIENT else 0.2)

    def _errors(self) -> type[Exception]:
        import pymysql

        error: type[Exception] = pymysql.Error
        return error

    @contextlib.contextmanager
    def _connected(self) -> Any:
        import pymysql

        connect, answer = self._limits
        begin = time.monotonic()
        # Opened here and not by the driver, because reaching a host and being answered deserve different patience.
        sock = socket.create_connection((self.host, self.port), timeout=connect)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = pymysql.connect(
                host=self.host,
                port=self.port,
                user=self._login.user,
                password=self._login.password,
                read_timeout=answer,
                write_timeout=answer,
                autocommit=True,
                defer_connect=True,
            )
            connection.connect(sock)
            if self._limits == (_FIRST, _FIRST):
                self._limits = (
                    _within(5 * (time.monotonic() - begin), _CONNECT),
                    _within(10 * (time.monotonic() - begin), _ANSWER),
                )
            yield connection
        finally:
            sock.close()

    def _ask_on(self, connection: Any) -> None:
        """Ask until it is stopped or the connection breaks (which raises)."""
        connection._read_timeout = connection._write_timeout = self._limits[1]
        with connection.cursor() as cursor:
            while not self._stop.is_set():
                asked = time.monotonic()
                cursor.execute("SELECT @@global.read_only")
                said = str(cursor.fetchone()[0]).upper()
                if said in ("0", "OFF"):
                    self.writable.append((asked, time.monotonic()))
                else:
                    self._mark_closed()
                self._ready.set()
                self._stop.wait(INTERVAL)

    def _mark_closed(self) -> None:
        if self.writable and (not self.closed or self.closed[-1] < self.writable[-1][1]):
            self.closed.append(time.monotonic())


def _within(value: float, limits: tuple[float, float]) -> float:
    return min(max(value, limits[0]), limits[1])


def longest_gap(probes: Sequence[Probe], since: float, until: float) -> tuple[float | None, str]:
    """The longest time, in seconds, in which no probe was answered writable between ``since`` and ``until``, or None and why.

    With several probes (no address moves, clients look for the primary themselves) an answer of any of them counts.
    """
    answers = sorted(answered for probe in probes for _, answered in list(probe.writable))
    before = [at for at in answers if at <= since]
    during = [at for at in answers if since < at <= until]
    if not before:
        return None, "no writable answer came before the switchover"
    if not during:
        return None, "no writable answer came since the switchover was asked for"
    points = [before[-1], *during]
    return max(after - earlier for earlier, after in zip(points, points[1:])), ""


def both_writable(old: Probe, new: Probe, since: float) -> bool:
    """Whether the old primary still said writable when asked after the new one had said so, both since ``since``."""
    opened = new.writable_after(since)
    return opened is not None and any(asked > opened for asked, _ in list(old.writable))
