"""The primary's side of "no acknowledged write is ever lost": when to stop waiting for a replica, and when it counts again.

The order is everything. Degrade: record "the replica is stale" with quorum, *then* release the commits that wait. Regain: wait for
acknowledgements first, *then* sample the position, and record "in sync" when the replica has passed it. A failure between any two steps
leaves the safe side: commits wait, or a replica that is in sync is not yet called so.
"""

from __future__ import annotations

import time

from hafailover.agents.mariadb import decide, gtid, replication
from hafailover.agents.mariadb.cluster import Cluster, Refused, now
from hafailover.agents.mariadb.decide import Peer
from hafailover.agents.mariadb.journal import Journal
from hafailover.agents.mariadb.nodes import addresses
from hafailover.agents.mariadb.server import RUN_DIR
from hafailover.agents.mariadb.sql import Connection, SqlError
from hafailover.agents.ocf import Context

_LOOK_EVERY = 0.05  # seconds between two looks at the commits that wait
_CATCH_UP = 1.5  # seconds a monitor gives a replica to pass the sampled position
_CLOSE_ENOUGH = (
    20  # transactions still to be received; farther behind than this, commits would wait too long for the replica
)
_GRACE = 0.3  # seconds: a replica that reconnects within this is not called lost


def tend(ctx: Context, cluster: Cluster, server: Connection, journal: Journal) -> str | None:
    """Degrade or regain as the facts ask for; return what is degraded now, or None when every peer is in sync."""
    peers = [name for name in addresses(ctx.params["nodes"]) if name != cluster.node]
    if not peers:
        return None
    reason = _degrade_reason(ctx, server)
    if reason:
        return _degrade(ctx, cluster, server, journal, reason)
    if journal.sync and not server.semi_sync().enforcing:
        # Somebody else has switched the waiting off: what was acknowledged since may be here alone.
        stale = journal.degraded(frozenset(journal.sync), now())
        cluster.record(stale, journal)
        ctx.event("degrade", "acknowledgements were not waited for: replicas marked stale")
        journal = stale
    connections = server.replica_connections()
    if all(name in journal.sync for name in peers) and connections == _verified(cluster.resource):
        return None
    lives = cluster.published("incarnation")
    behind = {}
    for name in peers:
        if journal.in_sync(name, lives.get(name, "")):
            continue
        refusal = _regain(ctx, cluster, server, journal, name, lives.get(name, ""))
        if refusal:
            behind[name] = refusal
        else:
            journal = cluster.journal()
    if not behind:
        _remember_verified(cluster.resource, connections)
    return "; ".join(f"{name} {why}" for name, why in behind.items()) or None


def _verified(resource: str) -> frozenset[int] | None:
    """The replicas' connections that were looked at when all was in sync: a new one may be a new life of a replica."""
    try:
        with open(f"{RUN_DIR}/{resource}.replicas") as file:
            return frozenset(int(word) for word in file.read().split())
    except (OSError, ValueError):
        return None


def _remember_verified(resource: str, connections: frozenset[int]) -> None:
    with open(f"{RUN_DIR}/{resource}.replicas", "w") as file:
        file.write(" ".join(map(str, sorted(connections))))


def _degrade_reason(ctx: Context, server: Connection) -> str | None:
    """Look until it is clear whether commits flow; bounded by the stall that the topology allows."""
    patience = float(ctx.params["stall"])
    semi = server.semi_sync()
    if not semi.enforcing:
        return None
    begin = time.monotonic()
    stuck = server.waiters()
    while semi.clients == 0 or stuck:
        waited = time.monotonic() - begin
        reason = decide.degrade_reason(semi._replace(stalled=waited if stuck else 0.0), patience)
        if reason and (semi.clients or waited >= _GRACE):
            return reason
        time.sleep(_LOOK_EVERY)
        semi = server.semi_sync()
        stuck &= server.waiters()
    return None


def _degrade(ctx: Context, cluster: Cluster, server: Connection, journal: Journal, reason: str) -> str:
    # Also when the journal names no replica already: that text counts only if it was confirmed.
    if journal.sync or cluster.recorded() != journal:
        try:
            cluster.record(journal.degraded(frozenset(journal.sync), now()), journal)
        except Refused as refused:
            ctx.event("degrade.refused", f"commits keep waiting: {refused} ({reason})")
            return f"commits wait: {reason}, and {refused}"
    release(server)
    ctx.event(
        "degrade", f"replicas marked stale, then commits released: {reason}", stale=",".join(sorted(journal.sync))
    )
    return f"running without a replica: {reason}"


def release(server: Connection) -> None:
    """Stop waiting for acknowledgements; those who wait now are told OK. Only after the journal says that replicas are stale."""
    server.run("SET GLOBAL rpl_semi_sync_master_enabled=OFF")


def enforce(server: Connection) -> None:
    """From here on a commit is acknowledged only when a replica has it."""
    server.run("SET GLOBAL rpl_semi_sync_master_enabled=ON")


def _regain(
    ctx: Context, cluster: Cluster, server: Connection, journal: Journal, name: str, incarnation: str
) -> str | None:
    """Bring ``name`` from catching up to in sync; return why it is not there yet, or None when the journal says so."""
    end = time.monotonic() + ctx.deadline.bound(_CATCH_UP)
    try:
        peer = replication.look_at(ctx, name, incarnation)
        started_waiting = not server.semi_sync().enforcing
        if started_waiting:
            refusal = decide.regain_refusal(peer, "")
            if refusal:
                return refusal
            # Commits wait for this replica from here on, and for all that it has yet to receive.
            while _lag(peer, server) > _CLOSE_ENOUGH:
                if time.monotonic() > end:
                    return f"is catching up, {_lag(peer, server)} transactions behind"
                time.sleep(_LOOK_EVERY)
                peer = replication.look_at(ctx, name, incarnation)
            enforce(server)
        refusal = _prove(ctx, cluster, server, journal, name, incarnation)
    except Refused as refused:
        # The mark may have been written all the same, and the replica be promoted on it: commits go on waiting.
        return f"is caught up but cannot be recorded: {refused}"
    except SqlError as error:
        refusal = f"does not answer: {error}"
        started_waiting = not journal.sync
    if refusal:
        if started_waiting and not journal.sync:
            release(server)
        return refusal
    ctx.event("regain", f"{name} holds every acknowledged write from here on", peer=name)
    return None


def _lag(peer: Peer, server: Connection) -> int:
    """How many transactions the peer has yet to receive."""
    got = gtid.latest(peer.replica.received, peer.replica.applied) if peer.replica else ""
    return gtid.behind(got, server.binlog_position())


def _prove(
    ctx: Context, cluster: Cluster, server: Connection, journal: Journal, name: str, incarnation: str
) -> str | None:
    """With commits waiting for acknowledgements: sample the position, see the replica pass it, record it in sync (or Refused)."""
    sampled = server.binlog_position()
    end = time.monotonic() + ctx.deadline.bound(_CATCH_UP)
    while True:
        refusal = decide.regain_refusal(replication.look_at(ctx, name, incarnation), sampled)
        if not refusal:
            break
        if time.monotonic() > end:
            return refusal
        time.sleep(_LOOK_EVERY)
    cluster.record(journal.regained(name, incarnation, now()), journal)
    return None
