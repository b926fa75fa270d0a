"""Which rung of the rejoin ladder brought this node's server back, and why: for status, explain and history.

The text is ``RUNG epoch reason``. It lies in /run and is published; both end with the node's boot, the event stays in the journal.
"""

from __future__ import annotations

import os

from hafailover.agents import RUN_DIR
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.mariadb.cluster import Cluster
    from hafailover.agents.ocf import Context

GTID = "gtid"
TRUNCATED = "truncated"
CLONE = "clone"
QUARANTINE = "quarantine"
ATTRIBUTE = "rejoin"
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
    try:
        with open(_path(resource), encoding="utf-8") as file:
            return parse(file.read())
    except FileNotFoundError:
        return None


def record(ctx: Context, cluster: Cluster, rejoin: Rejoin) -> None:
    """Keep and publish ``rejoin``, and write the event, unless it is what was recorded last."""
    if read(ctx.instance) == rejoin:
        return
    text = f"{rejoin.rung} {rejoin.epoch} {rejoin.reason}"
    os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
    with open(_path(ctx.instance) + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(_path(ctx.instance) + ".new", _path(ctx.instance))
    cluster.publish(ATTRIBUTE, text)
    ctx.event("rejoin", f"rejoined ({rejoin.rung}): {rejoin.reason}", rung=rejoin.rung, epoch=rejoin.epoch)


def publish_again(resource: str, cluster: Cluster) -> None:
    """Publish what was recorded last: a Pacemaker that was restarted has forgotten it."""
    known = read(resource)
    if known:
        cluster.publish(ATTRIBUTE, f"{known.rung} {known.epoch} {known.reason}")


def _path(resource: str) -> str:
    return f"{RUN_DIR}/{resource}.{ATTRIBUTE}"
