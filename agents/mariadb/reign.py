"""A promoted instance: it is the recorded primary, and commits wait for its replicas or these are recorded as stale."""

from __future__ import annotations

from hafailover.agents import ocf
from hafailover.agents.mariadb import decide, gtid, roles, semisync
from hafailover.agents.mariadb.cluster import Cluster, now
from hafailover.agents.mariadb.sql import Connection
from hafailover.agents.ocf import Context


def look(ctx: Context, cluster: Cluster, server: Connection) -> int:
    """Keep the record of this primary true and its promise about replicas; return the monitor's OCF code, or OcfError."""
    entry = cluster.journal()
    recorded = cluster.recorded()
    setback = decide.setback(entry, recorded, cluster.node)
    if setback and recorded:
        # Its replicas are stale until they are proved again: what an old copy says of them may be believed by one that reads it now.
        seen = entry
        newest = max(recorded, seen, key=lambda known: known.epoch)
        entry = newest.promoted(cluster.node, gtid.latest(server.state()), now())
        cluster.record(entry, seen)
        ctx.event("record-again", f"{setback}; recorded again as epoch {entry.epoch}")
    if entry.primary != cluster.node:
        raise ocf.OcfError(
            ocf.FAILED_PROMOTED,
            f"this server is writable, but {entry.primary or 'nobody'} is the recorded primary (epoch {entry.epoch})",
        )
    if server.replica() is not None:
        roles.forget_primary(server)
    degraded = semisync.tend(ctx, cluster, server, entry)
    if not entry.settling(now()):
        cluster.set_score(decide.SCORE_PRIMARY)
        cluster.explain(None)
    if degraded:
        ctx.log("notice", f"degraded: {degraded}")
    return ocf.RUNNING_PROMOTED
