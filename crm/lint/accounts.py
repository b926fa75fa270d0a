"""The accounts of this node's database that may replicate, asked of the server itself with a short patience."""

from __future__ import annotations

from pathlib import Path

from hafailover.agents.mariadb import sql
from hafailover.agents.mariadb.sql import SqlError

SOCKETS = ("/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock")
_TIMEOUT = 2.0  # seconds for each answer
# Who may do everything is an administrator and no replica: root may well be limited to one node.
_QUESTION = (
    "SELECT User AS user, Host AS host FROM mysql.user "
    "WHERE Repl_slave_priv = 'Y' AND Super_priv = 'N' ORDER BY User, Host LIMIT 200"
)


def replication() -> tuple[tuple[str, str], ...]:
    """(user, host) of each account with REPLICATION SLAVE; nothing where no server answers, or not to this user."""
    for socket in SOCKETS:
        if not Path(socket).exists():
            continue
        try:
            with sql.local(socket, _TIMEOUT, 2 * _TIMEOUT) as server:
                return tuple((str(row["user"]), str(row["host"])) for row in server.rows(_QUESTION))
        except SqlError:
            continue
    return ()
