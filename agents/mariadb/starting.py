"""Starting the server: read-only, and in the role in which its recovery loses nothing."""

from __future__ import annotations

from hafailover.agents import ocf
from hafailover.agents.mariadb import blank, decide, life, sql, standby
from hafailover.agents.mariadb.cluster import Cluster
from hafailover.agents.mariadb.server import Unit
from hafailover.agents.mariadb.sql import SqlError
from hafailover.agents.ocf import Context
from hafailover.crm.pacemaker import PacemakerError


def start(ctx: Context, cluster: Cluster, unit: Unit) -> int:
    """Start the server read-only, in the role that the journal gives it, and begin to replicate if somebody is promoted."""
    entry = cluster.journal()
    process = unit.process()
    if process and not unit.owns(process):
        raise ocf.OcfError(
            ocf.ERR_GENERIC,
            f"mariadbd {process.pid} already runs on {unit.datadir} outside the cluster: take it over with hafailover adopt, "
            "or stop it with systemctl disable --now mariadb",
        )
    unit.wait_settled()
    promoted = next((name for name in ctx.notify.promoted if name not in (cluster.node, *ctx.notify.demote)), "")
    process = unit.process()
    if process is None and blank.furnish(ctx, cluster, unit, entry):
        return ocf.SUCCESS
    if process is None:
        # A new life of the server is in sync with nobody; a dead one's score would make it an heir.
        cluster.set_score(decide.SCORE_NEVER)
        choice = decide.recovery(entry, cluster.node, promoted, unit.version())
        ctx.event("start", f"starting mariadbd {' '.join(choice.options)}: {choice.reason}")
        unit.start(choice.options)
        process = unit.process()
    if process is None:
        raise ocf.OcfError(ocf.ERR_GENERIC, "mariadbd ended right after it became ready; see its journal")
    with sql.own(ctx) as server:
        server.run("SET GLOBAL read_only=ON")
        cluster.keep_published("incarnation", life.of(process, server))
        try:
            standby.stand_by(ctx, cluster, unit, server, entry)
        except (SqlError, PacemakerError) as error:
            # The server is up and read-only, which is what start promises; its first monitor looks after the rest.
            ctx.log("warning", f"not following yet: {error}")
    return ocf.SUCCESS
