"""The facts that the ladder decides on, asked of this node's server and of the primary."""

from __future__ import annotations

from hafailover.agents.mariadb import decide, life, replication, sql
from hafailover.agents.mariadb.cloning import ladder, swap
from hafailover.agents.mariadb.cluster import Cluster
from hafailover.agents.mariadb.journal import Journal
from hafailover.agents.mariadb.server import Unit
from hafailover.agents.mariadb.sql import SqlError
from hafailover.agents.ocf import Context


def gather(ctx: Context, cluster: Cluster, unit: Unit, entry: Journal) -> ladder.Facts:
    """Ask both servers; one that does not answer is not running, or not serving."""
    facts = ladder.Facts(
        node=cluster.node,
        primary=entry.primary,
        serving=False,
        promoted=False,
        running=False,
        blank=swap.blank(unit.datadir),
        in_sync=False,
        state="",
        primary_state="",
        replica=None,
    )
    process = unit.process()
    if process is not None:
        try:
            with sql.own(ctx) as server:
                # Before the primary's: what arrives in between must not look like this server's own.
                facts = facts._replace(
                    running=True,
                    state=server.state(),
                    replica=server.replica(),
                    promoted=server.writable(),
                    in_sync=entry.in_sync(cluster.node, life.of(process, server)),
                )
        except SqlError as error:
            ctx.log("notice", f"this node's server does not answer: {error}")
    if entry.primary in ("", cluster.node):
        return facts
    try:
        with replication.connect(ctx, entry.primary) as peer:
            return facts._replace(serving=peer.writable(), primary_state=peer.state())
    except SqlError as error:
        ctx.log("notice", f"{entry.primary} does not answer: {error}")
    return facts


def donor_refusal(ctx: Context, cluster: Cluster, unit: Unit, entry: Journal) -> str | None:
    """Say why this node is not fit to be cloned from now, or None."""
    process = unit.process()
    if process is None:
        return f"no server runs on {cluster.node}"
    try:
        with sql.own(ctx) as server:
            replica = server.replica()
            return ladder.donor_refusal(
                cluster.node,
                entry.primary,
                server.writable(),
                entry.in_sync(cluster.node, life.of(process, server)),
                decide.broken_replication(replica) if replica else None,
            )
    except SqlError as error:
        return f"the server on {cluster.node} does not answer: {error}"
