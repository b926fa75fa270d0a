"""Sessions that people open on a server and keep: the last statement of each is what it is busy with.

Runs as a program of its own inside a node, so it imports nothing of hafailover. Its parameters, the password among them, arrive as
one line of JSON on standard input: user, password, unix_socket, statements (a list), times (how many sessions). It prints one line
of JSON, {"open", "refused", "error", "full"}, when every session has begun its last statement or could not be opened; those that were
refused come again until they are let in, as an application's do. It ends with its standard input.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import threading
import time
from typing import Any

import pymysql
from pymysql.constants import ER

_AGAIN = 0.1  # seconds between two attempts to get in


class Guests:
    """Opens the sessions one after the other, so that a server that is full says so of those it has no room for."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self._parameters = parameters
        self._open: list[Any] = []
        self._refused = 0
        self._error: str | None = None
        self._full = False

    def arrive(self) -> dict[str, Any]:
        """Open every session, run all its statements but the last, and begin that one; return the counts."""
        for _ in range(int(self._parameters["times"])):
            self._refused += not self._enter()
        return {"open": len(self._open), "refused": self._refused, "error": self._error, "full": self._full}

    def come_again(self) -> None:
        """Let in, one after the other, those that were refused: whoever leaves a full server makes room for one of them."""
        while self._refused:
            time.sleep(_AGAIN)
            self._refused -= self._enter()

    def _enter(self) -> bool:
        *first, last = self._parameters["statements"]
        try:
            session = self._connect()
            with session.cursor() as cursor:
                for statement in first:
                    cursor.execute(statement)
        except pymysql.Error as error:
            self._error = str(error)
            self._full = error.args[:1] == (ER.CON_COUNT_ERROR,)
            return False
        self._open.append(session)
        threading.Thread(target=_be_busy, args=(session, last), daemon=True).start()
        return True

    def _connect(self) -> Any:
        where = self._parameters
        return pymysql.connect(
            user=where["user"],
            password=where["password"],
            unix_socket=where["unix_socket"],
            connect_timeout=5,
            read_timeout=3600,
        )


def _be_busy(session: Any, statement: str) -> None:
    # That the session is killed is what it may be there for.
    with contextlib.suppress(pymysql.Error, OSError), session.cursor() as cursor:
        cursor.execute(statement)


def main() -> None:
    """Read the parameters, open the sessions, keep them until standard input ends."""
    stream = io.FileIO(0, closefd=False)
    guests = Guests(json.loads(stream.readline()))
    answer = guests.arrive()
    os.write(1, (json.dumps(answer) + "\n").encode())
    threading.Thread(target=guests.come_again, daemon=True).start()
    while stream.read(4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
