"""An application's connections to its database, each kept while it works: one row, one commit, the next.

Its orders: ``host``, ``port``, ``user``, ``password``, ``database``, ``table``, ``name``, ``count`` (connections), ``every``
(seconds between two rows of one), ``connect`` and ``read`` (seconds; null: whatever the driver and the kernel do); the end of its
input ends it at once, also those that hang. A connection that fails is opened anew at the next turn, and nothing else is tried.
Each row is a line: ``connection``, ``at`` (Unix time of its end), ``took`` (seconds), and ``error`` when it failed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import Any

import pymysql

from .pace import orders, say, turns

_SAYING = threading.Lock()


class Connection:
    """One of them."""

    def __init__(self, told: Mapping[str, Any], number: int) -> None:
        self._told, self._number = told, number
        self._kept: Any = None

    def work(self) -> None:
        """Write a row every so often, for ever."""
        row = 0
        while True:
            row += 1
            begun = time.monotonic()
            entry: dict[str, Any] = {"connection": self._number}
            try:
                self._write(row)
            except (OSError, pymysql.Error) as error:
                entry["error"] = f"{type(error).__name__}: {error}"
                self._close()
            entry["took"], entry["at"] = time.monotonic() - begun, time.time()
            with _SAYING:
                say(entry)
            time.sleep(max(0.0, float(self._told["every"]) - entry["took"]))

    def _write(self, row: int) -> None:
        if self._kept is None:
            names = ("host", "port", "user", "password", "database")
            limits = {"connect_timeout": self._told["connect"]} if self._told["connect"] else {}
            self._kept = pymysql.connect(
                **{name: self._told[name] for name in names},
                **limits,
                read_timeout=self._told["read"],
                write_timeout=self._told["read"],
                autocommit=True,
            )
        with self._kept.cursor() as cursor:
            who = f"{self._told['name']}-{self._number}"
            cursor.execute(f"INSERT INTO {self._told['table']} (who, number) VALUES (%s, %s)", (who, row))  # noqa: S608 (our own order)

    def _close(self) -> None:
        if self._kept is not None:
            self._kept._force_close()
            self._kept = None


def main() -> None:
    """Work until standard input ends."""
    told = orders()
    for number in range(int(told["count"])):
        threading.Thread(target=Connection(told, number).work, daemon=True).start()
    for _ in turns(3600.0):
        pass
    # Those that wait for an answer that never comes would be waited for.
    os._exit(0)
