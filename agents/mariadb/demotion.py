"""Demote: the step in which a writer may exist twice. Afterwards nobody can write here, and everybody knows where it stopped."""

from __future__ import annotations

import time

from hafailover.agents import ocf
from hafailover.agents.mariadb.cluster import Cluster
from hafailover.agents.mariadb.server import Unit
from hafailover.agents.mariadb.sql import STATEMENT_TIMEOUT, Connection, SqlError
from hafailover.agents.ocf import Context

_READ_ONLY_TRIES = 3
_READ_ONLY_WAIT = 2  # seconds per try, before what blocks it is killed
_STILL = 0.02  # seconds between two equal positions that make a server "standing still"


def demote(ctx: Context, cluster: Cluster, unit: Unit, server: Connection) -> int:
    """Make sure that nobody can write here any more, and publish where the server stands.

    Sessions that wait for an acknowledgement commit when they are killed or the server is terminated: rather than that, the server is
    killed, and recovery on its return removes what nobody acknowledged.
    """
    if server.writable():
        if server.waiters() and not cluster.pacemaker.quorate():
            return _kill_instead(ctx, unit, "commits wait for a replica and quorum is lost")
        try:
            _close(ctx, server)
        except SqlError as error:
            return _kill_instead(ctx, unit, f"it would not become read-only: {error}")
    if server.waiters():
        return _kill_instead(ctx, unit, "a privileged session still waits for a replica")
    position = _stand_still(server)
    cluster.publish_for_epoch("final", cluster.journal().epoch, position)
    if server.binlog_position() != position or server.waiters():
        # Somebody with SUPER or READ ONLY ADMIN has connected again and writes on; the successor opens without that.
        return _kill_instead(ctx, unit, "it is still being written to by a privileged session")
    ctx.event("demoted", f"read-only at {position or 'an empty history'}")
    return ocf.SUCCESS


def _kill_instead(ctx: Context, unit: Unit, why: str) -> int:
    ctx.event("demote.killed", f"killing the server instead of demoting it: {why}")
    unit.kill()
    return ocf.SUCCESS


def _close(ctx: Context, server: Connection) -> None:
    """read_only=ON within a deadline; it waits for table locks, running bulk statements and unacknowledged commits."""
    for attempt in range(_READ_ONLY_TRIES):
        try:
            server.run(f"SET STATEMENT max_statement_time={_READ_ONLY_WAIT} FOR SET GLOBAL read_only=ON")
            break
        except SqlError as error:
            if error.errno != STATEMENT_TIMEOUT or attempt + 1 == _READ_ONLY_TRIES:
                raise
            if server.waiters():
                raise SqlError(error.errno, "commits wait for a replica that does not answer") from None
            ctx.log("warning", f"read_only is blocked; killing {len(server.client_sessions())} sessions")
            _kill_sessions(server)
    # SUPER and READ ONLY ADMIN may still write, and an open transaction may hold locks: nobody keeps a session.
    _kill_sessions(server)
    if server.writable():
        raise SqlError(0, "read_only is off after it was switched on")


def _kill_sessions(server: Connection) -> None:
    if server.waiters():
        return  # a killed waiter commits, unacknowledged
    for session in server.client_sessions():
        try:
            server.run(f"KILL CONNECTION {session}")
        except SqlError as error:
            if error.errno != 1094:  # ended by itself meanwhile
                raise


def _stand_still(server: Connection) -> str:
    """Return the position once two looks agree; a bulk statement may run on for a moment after its session was killed."""
    position = server.binlog_position()
    for _ in range(100):
        time.sleep(_STILL)
        again = server.binlog_position()
        if again == position:
            return position
        position = again
    raise SqlError(0, f"still being written to at {position}")
