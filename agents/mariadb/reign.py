"""A promoted instance: it is the recorded primary, and commits wait for its replicas or these are recorded as stale."""

from __future__ import annotations

from hafailover.agents import ocf
from hafailover.agents.mariadb import decide, gtid, roles, tender
from hafailover.agents.mariadb.cluster import Cluster, now
from hafailover.agents.mariadb.journal import Journal, JournalError
from hafailover.agents.mariadb.sql import Connection
from hafailover.agents.ocf import Context
from hafailover.crm.pacemaker import PacemakerError


def found(cluster: Cluster) -> int:
    """The outcome of a probe that finds a writable server: Pacemaker was restarted and the server had gone on.

    Without a score Pacemaker would demote what it finds promoted.
    """
    try:
        if cluster.journal().primary == cluster.node:
            cluster.set_score(decide.SCORE_PRIMARY)
    except (PacemakerError, JournalError):
        pass  # what is wrong with the cluster is the first monitor's to say; a probe answers what it was asked
    return ocf.RUNNING_PROMOTED


def _record_again(ctx: Context, cluster: Cluster, server: Connection) -> Journal:
    """Undo an old copy of the CIB that has won; return the journal as it is then."""
    with cluster.records.writing as alone:
        seen, recorded = cluster.journal(), cluster.records.last()
        setback = decide.setback(seen, recorded, cluster.node)
        if not alone or not setback or not recorded:
            return seen  # it was being written at that moment
        # Its replicas are stale until they are proved again: what an old copy says of them may be believed by one that reads it now.
        newest = max(recorded, seen, key=lambda known: known.epoch)
        entry = newest.promoted(cluster.node, gtid.latest(server.state()), now())
        cluster.records.write(entry, seen)
        ctx.event("record-again", f"{setback}; recorded again as epoch {entry.epoch}")
        return entry


def look(ctx: Context, cluster: Cluster, server: Connection) -> int:
    """Keep the record of this primary true and its promise about replicas; return the monitor's OCF code, or OcfError."""
    entry = cluster.journal()
    if decide.setback(entry, cluster.records.last(), cluster.node):
        entry = _record_again(ctx, cluster, server)
    if entry.primary != cluster.node:
        raise ocf.OcfError(
            ocf.FAILED_PROMOTED,
            f"this server is writable, but {entry.primary or 'nobody'} is the recorded primary (epoch {entry.epoch})",
        )
    cluster.keep_published("reign", str(entry.epoch))
    cluster.tell_users(entry)
    if server.replica() is not None:
        roles.forget_primary(server)
    degraded = tender.look_after(ctx, cluster, server, entry)
    if not entry.settling(now()):
        cluster.set_score(decide.SCORE_PRIMARY)
        cluster.explain(None)
    if degraded:
        ctx.log("notice", f"degraded: {degraded}")
    return ocf.RUNNING_PROMOTED
