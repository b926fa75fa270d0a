"""Promote and demote: the two steps in which a writer may exist twice or an acknowledged write may be left behind."""

from __future__ import annotations

import threading
import time

from hafailover.agents import ocf
from hafailover.agents.mariadb import decide, gtid, life, replication, semisync, sql
from hafailover.agents.mariadb.cluster import Cluster, Refused, now
from hafailover.agents.mariadb.decide import Standing
from hafailover.agents.mariadb.journal import Journal
from hafailover.agents.mariadb.nodes import addresses
from hafailover.agents.mariadb.server import Unit
from hafailover.agents.mariadb.sql import STATEMENT_TIMEOUT, Connection, SqlError
from hafailover.agents.ocf import Context
from hafailover.crm.pacemaker import PacemakerError

_READ_ONLY_TRIES = 3
_READ_ONLY_WAIT = 2  # seconds per try, before what blocks it is killed
_UNREACHABLE = 0.15  # seconds; stopping an IO thread takes 20 ms, unless its primary is unreachable
_CLAIM_PATIENCE = 30.0  # seconds for the cluster to answer and to have quorum
_CLAIM_PAUSE = 0.2
_ERRANT_LOOKS = 10  # a transaction is in the binary log for one fsync before it counts as applied
_STILL = 0.02  # seconds between two equal positions that make a server "standing still"


def standing(ctx: Context, cluster: Cluster, unit: Unit, server: Connection, journal: Journal, hint: bool) -> Standing:
    """Gather what the promotion rules want to know, and no more: each answer from Pacemaker costs a process.

    ``hint``: the result only becomes a score, so quorum is left to Pacemaker; promote itself asks for everything again.
    """
    nodes = tuple(addresses(ctx.params["nodes"]))
    process = unit.process()
    alone = journal.primary in ("", cluster.node)
    online = cluster.pacemaker.joined() if alone or len(nodes) > 2 else frozenset(nodes)
    if not journal.epoch:
        positions = {name: value[2:] for name, value in cluster.published("position").items()}
    elif not hint and len(set(journal.sync) - {cluster.node}) > 0:
        positions = cluster.published_in_epoch("received", journal.epoch)
    else:
        positions = {}
    state, replica = _state_and_replica(server)
    reigns = cluster.reigns() if alone or not hint else {}
    returned = journal.epoch and alone and reigns.get(cluster.node) != journal.epoch and not online.issuperset(nodes)
    return Standing(
        node=cluster.node,
        nodes=nodes,
        online=online & frozenset(nodes),
        quorate=True if hint else cluster.pacemaker.quorate(),
        journal=journal,
        incarnation=life.of(process, server) if process else "",
        reigns=reigns,
        lives=cluster.published("incarnation") if not hint and set(journal.sync) - {cluster.node} else {},
        replica=replica,
        state=state,
        positions=positions,
        witnessed=bool(returned) and cluster.witnessed(online),
    )


def _state_and_replica(server: Connection) -> tuple[str, decide.Replica | None]:
    """Both, such that a transaction on its way from the binary log to ``gtid_slave_pos`` does not look errant."""
    for _ in range(_ERRANT_LOOKS):
        state, replica = server.state(), server.replica()
        if replica is None or not decide.errant(state, replica.applied):
            break
        time.sleep(_STILL)
    return state, replica


def promote(ctx: Context, cluster: Cluster, unit: Unit, server: Connection) -> int:
    """Open this server for writing, after everything that may speak against it was asked again.

    The score that made Pacemaker choose this node is only a hint: since the monitor that set it the facts may have changed.
    """
    journal = cluster.journal()
    if server.writable() and journal.primary == cluster.node:
        return ocf.SUCCESS
    receiving = Receiving(ctx)
    try:
        journal = _claim(ctx, cluster, unit, server, journal, receiving)
    except ocf.OcfError:
        receiving.resume(server)
        raise
    if receiving.ended(_UNREACHABLE):
        forget_primary(server)
    server.run("SET GLOBAL rpl_semi_sync_slave_enabled=OFF")
    # Every replica is stale from here on; the first monitor that proves one in sync makes commits wait for it again.
    semisync.release(server)
    server.run("SET GLOBAL read_only=OFF")
    if not server.writable():
        raise ocf.OcfError(ocf.ERR_GENERIC, "read_only is still on after it was switched off")
    ctx.event("promoted", f"writable as primary of epoch {journal.epoch} at {journal.gtid or 'an empty history'}")
    replication.ensure_account(ctx, server)
    return ocf.SUCCESS


class Receiving:
    """The end of a replica's IO thread, which may take seconds.

    A semi-sync replica that stops connects to its primary once more to end its session there, and waits for that even if the
    primary is unreachable: 2 s with the defaults, in the middle of a failover. By then the old primary is demoted or fenced, so nothing
    can come from it any more; what is left is tidying up, and the first monitor does it (``forget_primary``).
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._thread: threading.Thread | None = None

    def end(self) -> None:
        """Begin to stop the IO thread, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._stop, daemon=True)
            self._thread.start()
            self._thread.join(_UNREACHABLE)

    def ended(self, seconds: float) -> bool:
        """Wait for at most ``seconds``; True when nothing is received any more, or nothing ever was."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def resume(self, server: Connection) -> None:
        """Receive again after a promotion that did not come about, or this replica would look broken. The SQL thread still runs."""
        if self._thread is not None:
            self._thread.join(self._ctx.deadline.bound(5))
            server.run("START SLAVE IO_THREAD")

    def _stop(self) -> None:
        try:
            with sql.local(self._ctx.params["socket"], self._ctx.deadline.bound(60)) as server:
                server.run("STOP SLAVE IO_THREAD")
        except SqlError as error:
            self._ctx.log("warning", f"stopping the IO thread: {error}")


def forget_primary(server: Connection) -> None:
    """Remove a promoted server's replication from the old primary."""
    server.run("STOP SLAVE")
    server.run("RESET SLAVE ALL")


def _claim(
    ctx: Context, cluster: Cluster, unit: Unit, server: Connection, journal: Journal, receiving: Receiving
) -> Journal:
    """Ask everything again, apply what was received, and record this node as the primary; return the record.

    A Pacemaker tool that fails, or a partition whose quorum is just forming, is asked again for a while: a failed promote makes
    Pacemaker restart this server, and that ends the one life for which it was proved in sync.
    """
    end = time.monotonic() + ctx.deadline.bound(_CLAIM_PATIENCE)
    entry = None
    while True:
        try:
            seen = cluster.journal()
            if entry is not None and seen == entry:
                cluster.record(entry, seen)  # written before, but not confirmed
                return entry
            journal = seen
            facts = standing(ctx, cluster, unit, server, journal, hint=False)
            refusal = decide.promotion_refusal(facts)
            if not refusal:
                if facts.replica is not None:
                    receiving.end()
                    _drain(ctx, server)
                    _reach_final_position(ctx, cluster, server, journal)
                entry = journal.promoted(cluster.node, gtid.latest(server.state()), now())
                cluster.record(entry, journal)
                return entry
            if facts.quorate:
                raise _refuse(cluster, refusal)
        except (PacemakerError, Refused) as error:
            refusal = str(error)
        if time.monotonic() > end:
            raise _refuse(cluster, refusal)
        ctx.log("notice", f"not promoted yet: {refusal}")
        time.sleep(_CLAIM_PAUSE)


def _refuse(cluster: Cluster, reason: str) -> ocf.OcfError:
    cluster.set_score(decide.SCORE_NEVER)
    cluster.explain(reason)
    return ocf.OcfError(ocf.ERR_GENERIC, f"not promoted: {reason}")


def _drain(ctx: Context, server: Connection) -> None:
    """Wait until everything received is applied; a pre-promote notification may not have run, so this is where it counts."""
    begin = time.monotonic()
    while True:
        replica = server.replica()
        if replica is None:
            raise ocf.OcfError(ocf.ERR_GENERIC, "replication was reset while its relay log was being applied")
        if gtid.reached(replica.applied, replica.received):
            return
        if replica.sql_errno or not replica.sql:
            raise ocf.OcfError(ocf.ERR_GENERIC, f"not promoted: {decide.broken_replication(replica)}")
        if ctx.deadline.expired:
            left = gtid.behind(replica.applied, replica.received)
            raise ocf.OcfError(ocf.ERR_GENERIC, f"not promoted: {left} received transactions are still not applied")
        server.row("SELECT MASTER_GTID_WAIT(%s, 1) AS v", replica.received)
        waited = time.monotonic() - begin
        if waited > 1:
            left = gtid.behind(replica.applied, replica.received)
            ctx.log(
                "notice", f"applying what was received before opening: {left} transactions left after {waited:.0f} s"
            )


def _reach_final_position(ctx: Context, cluster: Cluster, server: Connection, journal: Journal) -> None:
    """After a planned demote the old primary has said where it stands: opening before that point would leave writes behind."""
    final = cluster.published_in_epoch("final", journal.epoch).get(journal.primary)
    if final is None:
        return  # it died before it could say; what it acknowledged is on this server, which was in sync
    mine = gtid.latest(server.binlog_position(), server.state())
    if not gtid.reached(mine, final):
        raise _refuse(cluster, f"{journal.primary} stopped at {final}, this server stands at {mine}")


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


def refresh(ctx: Context, cluster: Cluster, unit: Unit, server: Connection, journal: Journal) -> str | None:
    """Set an unpromoted server's score from the facts; return why it may not be promoted, or None."""
    score, reason = decide.promotion_score(standing(ctx, cluster, unit, server, journal, hint=True))
    cluster.set_score(score)
    cluster.explain(reason)
    return reason
