"""Before a replica opens: everything it has received is applied, and nobody on it is in the way of that, or of the writes to come."""

from __future__ import annotations

import time

from hafailover.agents.mariadb import decide, gtid, sessions
from hafailover.agents.mariadb.sql import Connection
from hafailover.agents.ocf import Context

_SAY_EVERY = 5.0  # seconds
_RESERVE = 10.0  # seconds of the action that are left to receive again and to say why not
_BLOCKED = 1.0  # seconds without a transaction applied, before it is asked whether somebody's lock is the reason


class NotDrained(Exception):
    """Something that was received is not applied; the message is the reason."""


def drain(ctx: Context, server: Connection) -> None:
    """Wait until everything received is applied; a pre-promote notification may not have run, so this is where it counts.

    Sessions on this replica may hold locks that the SQL thread waits for: they are ended, because the service waits for them. NotDrained
    in time for its reason to be read; the replica is then as it was, and may be promoted later.
    """
    begin = moved = said = time.monotonic()
    before = ""
    blocked = ""
    while True:
        replica = server.replica()
        if replica is None:
            raise NotDrained("replication was reset while its relay log was being applied")
        if gtid.reached(replica.applied, replica.received):
            _clear_the_way(ctx, server)
            return
        if replica.sql_errno or not replica.sql:
            raise NotDrained(decide.broken_replication(replica) or "the SQL thread stopped")
        left = gtid.behind(replica.applied, replica.received)
        at = time.monotonic()
        if replica.applied != before:
            before, moved, blocked = replica.applied, at, ""
        elif at - moved > _BLOCKED:
            blocked = _clear(ctx, server)
        if ctx.deadline.remaining() < _RESERVE:
            why = f": it is {blocked}" if blocked else ""
            raise NotDrained(f"{left} received transactions are still not applied{why}")
        if at - said > _SAY_EVERY:
            said = at
            waited = f"{left} transactions left after {at - begin:.0f} s"
            ctx.log(
                "notice", f"applying what was received before opening: {waited}{f' ({blocked})' if blocked else ''}"
            )
        server.row("SELECT MASTER_GTID_WAIT(%s, %s) AS v", replica.received, 1)


def _clear_the_way(ctx: Context, server: Connection) -> None:
    """End the sessions on this replica if one of them holds a global read lock (a backup, say): clients could not write after opening."""
    if sessions.writes_are_locked(server):
        _end_sessions(ctx, server, "a global read lock is held")


def _clear(ctx: Context, server: Connection) -> str:
    """End the sessions here if the SQL thread waits for a lock; return what it waits for, or ""."""
    blocked = sessions.blocked_replication(server)
    if blocked:
        _end_sessions(ctx, server, f"the SQL thread is {blocked}")
    return blocked


def _end_sessions(ctx: Context, server: Connection, why: str) -> None:
    found = server.client_sessions()
    if found:
        who = sessions.describe(server, found)
        ctx.event(
            "promote.cleared", f"ending {len(found)} sessions on this replica, because {why}: {who}", level="warning"
        )
        sessions.kill(server, found)
