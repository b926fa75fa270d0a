"""What a replica holds that did not come from its primary: found while it replicates, too, and published as GTIDs.

Two signs. A GTID beyond what was applied was written here. And a replica makes no transactions of its own, so any GTID with its own
server id that the primary did not know when replication began was written here, too, even if replication has since gone past its number
(somebody switched gtid_strict_mode off).
"""

from __future__ import annotations

import os

from hafailover.agents import RUN_DIR
from hafailover.agents.mariadb import decide, gtid
from hafailover.agents.mariadb.cluster import Cluster
from hafailover.agents.mariadb.sql import Connection

ATTRIBUTE = "diverged"
NOTHING = "none"
UNKNOWN = "unknown"  # it differs, and there are no GTIDs to tell by


def own_writes(state: str, server_id: int, known: str) -> tuple[gtid.Gtid, ...]:
    """The GTIDs in ``state`` that ``server_id`` itself made and that were not ``known`` to the primary when it began to follow."""
    mine = tuple(one for one in gtid.parse(state) if one.server == server_id)
    return gtid.missing(gtid.text(mine), known)


def found(state: str, applied: str, server_id: int, known: str | None) -> tuple[gtid.Gtid, ...]:
    """Everything in a replica's ``state`` that did not come from the primary. ``known``: None when that was not kept."""
    extra = set(decide.errant_gtids(state, applied))
    if known is not None:
        extra |= set(own_writes(state, server_id, known))
    return tuple(sorted(extra))


def sentence(extra: tuple[gtid.Gtid, ...]) -> str:
    """What a person reads."""
    return f"DIVERGED: holds {gtid.text(extra)}, which did not come from the primary; the data is kept and must be looked at"


def look(cluster: Cluster, server: Connection, state: str, applied: str) -> tuple[gtid.Gtid, ...]:
    """What this replica holds of its own."""
    server_id = int(server.row("SELECT @@global.server_id AS v")["v"])
    return found(state, applied, server_id, _known(cluster.resource))


def report(cluster: Cluster, gtids: str) -> None:
    """Publish the GTIDs, or UNKNOWN, or "" for nothing."""
    cluster.keep_published(ATTRIBUTE, gtids or NOTHING)


def remember(resource: str, known: str) -> None:
    """Keep what the primary held when this replica began to follow."""
    os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
    with open(_path(resource) + ".new", "w") as file:
        file.write(known)
    os.rename(_path(resource) + ".new", _path(resource))


def _known(resource: str) -> str | None:
    try:
        with open(_path(resource)) as file:
            return file.read()
    except FileNotFoundError:
        return None


def _path(resource: str) -> str:
    return f"{RUN_DIR}/{resource}.followed"
