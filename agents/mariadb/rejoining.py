"""How a server came back to its primary: what its log says of the recovery, and whose history its data is part of from here on."""

from __future__ import annotations

from hafailover.agents.mariadb import lineage, rejoin_record
from hafailover.agents.mariadb.lineage import Lineage
from hafailover.agents.mariadb.rejoin_record import Rejoin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.mariadb.cluster import Cluster
    from hafailover.agents.mariadb.journal import Journal
    from hafailover.agents.mariadb.server import Process, Unit
    from hafailover.agents.ocf import Context

_TRUNCATED = "Successfully truncated"  # what 10.6 and later log when recovery has removed the unacknowledged tail


def joined(ctx: Context, cluster: Cluster, unit: Unit, process: Process, entry: Journal) -> bool:
    """Record that this server is connected to the recorded primary, which therefore has what it has; False when that could not be kept.

    A clone's own record for this epoch is left as it is.
    """
    known = rejoin_record.read(ctx.instance)
    if known is None or known.rung != rejoin_record.CLONE or known.epoch != entry.epoch:
        line = next(iter(unit.said(process, _TRUNCATED)), "")
        if line:
            said = line.partition("] ")[2] or line  # without date, time, thread and level
            found = Rejoin(rejoin_record.TRUNCATED, entry.epoch, f"{said}; the rest comes from {entry.primary} by GTID")
        else:
            found = Rejoin(rejoin_record.GTID, entry.epoch, f"its history is part of that of {entry.primary}")
        rejoin_record.record(ctx, cluster, found)
    return lineage.keep(unit.datadir, Lineage(entry.epoch, entry.primary))
