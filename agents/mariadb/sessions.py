"""The sessions on a server that is to change its role: who is in the way, and ending them."""

from __future__ import annotations

import time

from hafailover.agents.mariadb.sql import Connection, SqlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_NO_SUCH_SESSION = 1094
_LOOK_EVERY = 0.02
_SAME_COMMIT = 0.5  # seconds; an acknowledgement takes a millisecond
_SHOWN = 3
_WAITS_FOR_SPACE = "Waiting for someone to free space"


def stuck_commits(server: Connection) -> bool:
    """Tell whether a commit waits for a replica, and not just for the moment that an acknowledgement takes."""
    waiting = server.waiters()
    end = time.monotonic() + _SAME_COMMIT
    while waiting and time.monotonic() < end:
        time.sleep(_LOOK_EVERY)
        waiting &= server.waiters()
    return bool(waiting)


def waits_for_space(server: Connection) -> bool:
    """Tell whether somebody waits for space on a disk. A commit that does holds up all the others, for at least a minute."""
    return bool(server.row("SELECT 1 FROM information_schema.processlist WHERE state = %s LIMIT 1", _WAITS_FOR_SPACE))


def kill(server: Connection, sessions: Iterable[int]) -> None:
    """End ``sessions``, except those that wait for an acknowledgement: a killed waiter commits, unacknowledged."""
    for session in sorted(set(sessions) - _waiting(server)):
        try:
            server.run(f"KILL CONNECTION {session}")
        except SqlError as error:
            if error.errno != _NO_SUCH_SESSION:  # that one ended by itself meanwhile
                raise


def end(server: Connection, seconds: float) -> tuple[int, str]:
    """Kill all that is connected now and wait until none of it can commit any more; return how many there were, and who remains.

    Who remains is "" unless ``seconds`` were too few. A session whose transaction is being rolled back may take minutes to end, but
    nothing of it gets into the binary log; one that was in the middle of its commit does, after it was killed.
    """
    found = frozenset(server.client_sessions())
    limit = time.monotonic() + seconds
    kill(server, found)
    while True:
        left = found & frozenset(server.client_sessions())
        if left:
            left -= _rolling_back(server)
        if not left or time.monotonic() > limit:
            return len(found), describe(server, left)
        time.sleep(_LOOK_EVERY)
        kill(server, left)


def describe(server: Connection, sessions: Iterable[int]) -> str:
    """Name some of ``sessions`` for a person: account, what it does, for how long. No statement's text: it may hold a secret."""
    wanted = frozenset(sessions)
    rows = (
        server.rows("SELECT id, user, host, command, state, time FROM information_schema.processlist") if wanted else []
    )
    found = [_named(row) for row in rows if int(row["id"]) in wanted]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more


def _named(row: dict[str, Any]) -> str:
    doing = row["state"] or row["command"]
    return f"{row['user']}@{str(row['host']).split(':')[0]} ({doing}, {row['time']} s)"


def _waiting(server: Connection) -> frozenset[int]:
    rows = server.rows("SELECT id FROM information_schema.processlist WHERE state LIKE 'Waiting for semi-sync ACK%'")
    return frozenset(int(row["id"]) for row in rows)


def _rolling_back(server: Connection) -> frozenset[int]:
    rows = server.rows(
        "SELECT trx_mysql_thread_id AS id FROM information_schema.innodb_trx WHERE trx_state = 'ROLLING BACK'"
    )
    return frozenset(int(row["id"]) for row in rows)


def blocked_replication(server: Connection) -> str:
    """What the SQL thread, or one of its workers, waits for that a session on this server may hold; "" when it waits for none such."""
    row = server.row(
        "SELECT state FROM information_schema.processlist WHERE command IN ('Slave_SQL', 'Slave_worker') "
        "AND state LIKE 'Waiting for % lock' LIMIT 1"
    )
    if row:
        return str(row["state"])[0].lower() + str(row["state"])[1:]
    row = server.row(
        "SELECT 1 FROM information_schema.innodb_trx JOIN information_schema.processlist ON id = trx_mysql_thread_id "
        "WHERE trx_state = 'LOCK WAIT' AND command IN ('Slave_SQL', 'Slave_worker') LIMIT 1"
    )
    return "waiting for a row lock" if row else ""


def writes_are_locked(server: Connection) -> bool:
    """Tell whether a global read lock keeps everybody from writing, by a write that changes nothing. Takes a second if so."""
    try:
        server.run("SET STATEMENT lock_wait_timeout=1 FOR DELETE FROM mysql.gtid_slave_pos WHERE 1=0")
    except SqlError as error:
        if error.errno == 1205:
            return True
        raise
    return False


def may_write_always(server: Connection) -> tuple[str, ...]:
    """The accounts that write in spite of read_only, but for root's: a switchover has to kill the server if one does not stop."""
    # From 10.11 on SUPER does not include it any more.
    mighty = (
        "('READ_ONLY ADMIN', 'READ ONLY ADMIN')"
        if _split(server)
        else "('SUPER', 'READ_ONLY ADMIN', 'READ ONLY ADMIN')"
    )
    rows = server.rows(
        f"SELECT DISTINCT grantee FROM information_schema.user_privileges WHERE privilege_type IN {mighty} ORDER BY grantee"  # noqa: S608
    )
    names = (str(row["grantee"]).replace("'", "") for row in rows)
    return tuple(name for name in names if name.partition("@")[0] not in ("root", "mariadb.sys", "mysql"))


def _split(server: Connection) -> bool:
    from hafailover.agents.mariadb.decide import parse_version

    return parse_version(str(server.row("SELECT VERSION() AS v")["v"])) >= (10, 11)
