"""Executions and ticks in MariaDB. Test equipment: a real StackStorm uses MongoDB.

The schema and its account are made by the first stand-in that runs beside a writable server and may do so as root.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from typing import Any, Callable

import pymysql
from hafailover.vagrant.standins.st2 import config

SOCKET = "/run/mysqld/mysqld.sock"
_TIMEOUT = 3
_PAUSE = 0.3
TABLES = (
    """CREATE TABLE IF NOT EXISTS executions (
        id CHAR(24) PRIMARY KEY, action VARCHAR(120) NOT NULL, parameters TEXT NOT NULL, status VARCHAR(20) NOT NULL,
        result TEXT, node VARCHAR(80), runs INT NOT NULL DEFAULT 0,
        created DOUBLE NOT NULL, started DOUBLE, ended DOUBLE) ENGINE=InnoDB""",
    """CREATE TABLE IF NOT EXISTS ticks (
        id CHAR(32) PRIMARY KEY, unit VARCHAR(40) NOT NULL, tick BIGINT NOT NULL, node VARCHAR(80) NOT NULL,
        life CHAR(32) NOT NULL, at DOUBLE NOT NULL, KEY (unit, tick)) ENGINE=InnoDB""",
)


class Store:
    """A connection that is opened when it is needed, again after it was lost."""

    def __init__(self) -> None:
        self._connection: pymysql.connections.Connection[Any] | None = None

    def submit(self, action: str, parameters: dict[str, Any]) -> str:
        """Store a new execution; its id. pymysql.Error."""
        identity = uuid.uuid4().hex[:24]
        self._do(
            "INSERT INTO executions (id, action, parameters, status, created) VALUES (%s, %s, %s, 'requested', %s)",
            (identity, action, json.dumps(parameters), time.time()),
        )
        return identity

    def get(self, identity: str) -> dict[str, Any] | None:
        """An execution's row. pymysql.Error."""
        rows = self._do("SELECT * FROM executions WHERE id = %s", (identity,))
        return rows[0] if rows else None

    def listed(self, limit: int) -> list[dict[str, Any]]:
        """The newest executions. pymysql.Error."""
        return self._do("SELECT * FROM executions ORDER BY created DESC LIMIT %s", (limit,))

    def advance(self, identity: str, status: str, **values: Any) -> None:
        """A new status, and other columns. One that has ended stays as it is. pymysql.Error."""
        columns = "".join(f", {name} = %s" for name in values)
        self._do(
            f"UPDATE executions SET status = %s{columns}, runs = runs + %s"  # noqa: S608 - our own column names
            " WHERE id = %s AND status NOT IN ('succeeded', 'failed')",
            (status, *values.values(), int(status == "running"), identity),
        )

    def tick(self, identity: str, unit: str, tick: int, life: str) -> None:
        """Record a tick once, however often this is repeated with the same ``identity``. pymysql.Error."""
        self._do(
            "INSERT IGNORE INTO ticks (id, unit, tick, node, life, at) VALUES (%s, %s, %s, %s, %s, %s)",
            (identity, unit, tick, os.uname().nodename, life, time.time()),
        )

    def close(self) -> None:
        """Forget the connection."""
        if self._connection is not None:
            with contextlib.suppress(pymysql.Error, OSError):
                self._connection.close()
        self._connection = None

    def _do(self, statement: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
        try:
            if self._connection is None:
                self._connection = _connect()
            with self._connection.cursor(pymysql.cursors.DictCursor) as cursor:
                cursor.execute(statement, values)
                return list(cursor.fetchall())
        except (pymysql.Error, OSError):
            self.close()
            raise


def insist(work: Callable[[], Any], pause: Callable[[float], object], ended: Callable[[], bool]) -> bool:
    """Repeat ``work`` until the database did it, or until ``ended``; whether it did. ``pause`` sleeps so many seconds."""
    told = False
    while True:
        try:
            work()
            return True
        except (pymysql.Error, OSError) as error:
            if not told:
                config.say(f"the database does not take it, trying again: {error}")
            told = True
        if ended():
            return False
        pause(_PAUSE)


def _connect() -> pymysql.connections.Connection[Any]:
    host, port = config.database()
    options: dict[str, Any] = {
        "connect_timeout": _TIMEOUT,
        "read_timeout": _TIMEOUT,
        "write_timeout": _TIMEOUT,
        "autocommit": True,
    }
    arguments = {"host": host, "port": port, "user": config.ACCOUNT, "password": config.PASSWORD, **options}
    try:
        return pymysql.connect(database=config.SCHEMA, **arguments)
    except pymysql.OperationalError as error:
        if error.args[0] not in (1044, 1045, 1049, 1130):  # no such account or schema yet
            raise
    _make(options)
    return pymysql.connect(database=config.SCHEMA, **arguments)


def _make(options: dict[str, Any]) -> None:
    """Schema, tables and account, on the server of this node. pymysql.Error if it is not for us to do."""
    with (
        contextlib.closing(pymysql.connect(unix_socket=SOCKET, user="root", **options)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT @@read_only")
        if cursor.fetchone() != (0,):
            raise pymysql.OperationalError(1290, "the server of this node is read-only, and the schema is not there")
        cursor.execute(f"CREATE DATABASE IF NOT EXISTS {config.SCHEMA}")
        cursor.execute(f"USE {config.SCHEMA}")
        for statement in TABLES:
            cursor.execute(statement)
        # The account last: who can log in finds tables.
        cursor.execute(f"CREATE USER IF NOT EXISTS '{config.ACCOUNT}'@'%%' IDENTIFIED BY %s", (config.PASSWORD,))
        cursor.execute(f"GRANT ALL ON {config.SCHEMA}.* TO '{config.ACCOUNT}'@'%'")
