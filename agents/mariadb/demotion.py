"""Demote: the step in which a writer may exist twice. Afterwards nobody can write here, and everybody knows where it stopped.

What stands in the way is ended within a deadline; what cannot be ended, ends with the server. A killed server loses nothing: what it
had acknowledged is on the replica that takes over, and recovery on its return removes what nobody acknowledged.
"""

from __future__ import annotations

import time

from hafailover.agents import ocf
from hafailover.agents.asking import Asked
from hafailover.agents.mariadb import events, sessions
from hafailover.agents.mariadb.cluster import Cluster
from hafailover.agents.mariadb.journal import JournalError
from hafailover.agents.mariadb.server import Unit
from hafailover.agents.mariadb.sql import STATEMENT_TIMEOUT, Connection, SqlError
from hafailover.agents.ocf import Context
from hafailover.crm.pacemaker import PacemakerError

_READ_ONLY_TRIES = 3
_READ_ONLY_WAIT = 2  # seconds per try, before what blocks it is killed
_ENDING = 5.0  # seconds in which a killed session ends, or begins to roll back
_ROUNDS = 3  # how often somebody who may write in spite of read_only is thrown out before the server is
_STILL = 0.02  # seconds between two equal positions that make a server "standing still"


def demote(ctx: Context, cluster: Cluster, unit: Unit, server: Connection) -> int:
    """Make sure that nobody can write here any more, and publish where the server stands.

    Sessions that wait for an acknowledgement commit when they are killed or the server is terminated: rather than that, the server is
    killed.
    """
    if sessions.waits_for_space(server):
        # Its position counts a transaction that is not in the binary log, and may never be.
        return kill_instead(ctx, cluster, unit, "the disk is full, and commits wait for space")
    entry = Asked(cluster.journal)  # for its epoch, in which the position counts
    if server.writable():
        if server.waiters() and not cluster.pacemaker.quorate():
            return kill_instead(ctx, cluster, unit, "commits wait for a replica and quorum is lost")
        try:
            events.halt(server)
            _close(ctx, server)
        except SqlError as error:
            return kill_instead(ctx, cluster, unit, f"it would not become read-only: {error}")
    for _ in range(_ROUNDS):
        # SUPER and READ_ONLY ADMIN may still write, and an open transaction may hold locks: nobody keeps a session.
        number, left = sessions.end(server, ctx.deadline.bound(_ENDING))
        if left:
            return kill_instead(ctx, cluster, unit, f"sessions do not end when they are killed: {left}")
        if sessions.stuck_commits(server):
            return kill_instead(ctx, cluster, unit, "a privileged session still waits for a replica")
        position = server.binlog_position()
        begun = time.monotonic()
        # Published first and looked at again afterwards: what is said too early is said again, and nobody asks before this action is over.
        cluster.publish_for_epoch("final", entry.answer().epoch, position)
        time.sleep(max(0.0, begun + _STILL - time.monotonic()))
        if server.binlog_position() == position and not server.waiters():
            ctx.event(
                "demoted", f"read-only at {position or 'an empty history'}; {number} sessions ended", sessions=number
            )
            return ocf.SUCCESS
    # The successor opens without that; what was acknowledged it has.
    who = sessions.describe(server, server.client_sessions()) or "a privileged session"
    return kill_instead(
        ctx, cluster, unit, f"it is written to in spite of read_only, though every session was ended: {who}"
    )


def kill_instead(ctx: Context, cluster: Cluster, unit: Unit, why: str) -> int:
    """Demote the server by ending it, and publish why; OcfError when even that is not possible."""
    ctx.event("demote.killed", f"killing the server instead of demoting it: {why}", level="warning", why=why)
    left = unit.silence()
    if left is not None:
        # Nothing of it runs any more, so the peer may be promoted now; stop fails, and has this node fenced.
        ctx.event(
            "stuck", f"a thread of mariadbd {left.pid} hangs in the kernel; nobody can write through it", level="error"
        )
    try:
        # Where it stood by its own word may count what nobody has acknowledged, and no successor could reach that.
        cluster.withdraw("final")
        cluster.publish_for_epoch("killed", cluster.journal().epoch, why)
    except (PacemakerError, JournalError) as error:
        ctx.log("warning", f"nobody could be told why: {error}")
    return ocf.SUCCESS


def late_writer(server: Connection) -> bool:
    """Tell whether somebody with READ_ONLY ADMIN has written here after the demotion, and waits for an answer.

    Commits still wait for acknowledgements here, and nobody gives one any more. Switching that off would answer "committed" for a row
    that only this server has; killing the server, and letting recovery remove the row, does not.
    """
    return not server.writable() and sessions.stuck_commits(server)


def _close(ctx: Context, server: Connection) -> None:
    """read_only=ON within a deadline; it waits for table locks, running bulk statements and unacknowledged commits."""
    for attempt in range(_READ_ONLY_TRIES):
        try:
            server.run(f"SET STATEMENT max_statement_time={_READ_ONLY_WAIT} FOR SET GLOBAL read_only=ON")
            break
        except SqlError as error:
            if error.errno != STATEMENT_TIMEOUT or attempt + 1 == _READ_ONLY_TRIES:
                raise
            if sessions.stuck_commits(server):
                raise SqlError(error.errno, "commits wait for a replica that does not answer") from None
            found = server.client_sessions()
            ctx.log(
                "warning", f"read_only is blocked; killing {len(found)} sessions: {sessions.describe(server, found)}"
            )
            sessions.kill(server, found)
    if server.writable():
        raise SqlError(0, "read_only is off after it was switched on")
