"""Which rung of the rejoin ladder brought this node's server back, and why: for status, explain and history.

The text, ``RUNG epoch reason``, is told to all nodes (agents/mariadb/told.py); the event stays in the journal.
"""

from __future__ import annotations

from hafailover.agents.mariadb import told
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.mariadb.cluster import Cluster
    from hafailover.agents.ocf import Context

GTID = "gtid"
TRUNCATED = "truncated"
CLONE = "clone"
QUARANTINE = "quarantine"
_RUNGS = (GTID, TRUNCATED, CLONE, QUARANTINE)


class Rejoin(NamedTuple):
    """``rung``: GTID, TRUNCATED, CLONE or QUARANTINE. ``epoch``: of the primary it rejoined. ``reason``: a sentence for people."""

    rung: str
    epoch: int
    reason: str


def parse(text: str) -> Rejoin | None:
    """Read ``RUNG epoch reason``; None when it is nothing of the kind."""
    rung, _, rest = text.partition(" ")
    epoch, _, reason = rest.partition(" ")
    return Rejoin(rung, int(epoch), reason) if rung in _RUNGS and epoch.isdigit() else None


def read(resource: str) -> Rejoin | None:
    """What was recorded last since this node booted, or None."""
    return parse(told.known(resource).get(told.REJOIN, ""))


def record(ctx: Context, cluster: Cluster, rejoin: Rejoin) -> None:
    """Keep and tell ``rejoin``, and write the event, unless it is what was recorded last."""
    if cluster.tell({told.REJOIN: f"{rejoin.rung} {rejoin.epoch} {rejoin.reason}"}):
        ctx.event("rejoin", f"rejoined ({rejoin.rung}): {rejoin.reason}", rung=rejoin.rung, epoch=rejoin.epoch)
