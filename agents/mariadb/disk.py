"""A full disk: what it does to a primary and to a replica, and when it is a reason to change places.

A primary whose binary log cannot grow answers every SELECT and no commit: the server waits for space, a minute at a time, and nothing
fails. Of two full disks the primary's is the better one to have: it holds everything.
"""

from __future__ import annotations

import os
import time

from hafailover.agents import RUN_DIR
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from hafailover.agents.mariadb.cluster import Cluster
    from hafailover.agents.mariadb.sql import Connection
    from hafailover.agents.ocf import Context

FULL = 1 << 20  # bytes that the server may still use: it cannot extend a table by less
LOW = 64 << 20  # a replica with less would soon be where the primary is
_LASTING = 10.0  # seconds; what a failed ALTER TABLE took is given back at once


class Disk(NamedTuple):
    """free: bytes the server may use where its data or its binary log is, whichever is less. waiting: a session waits for space.

    lasts: seconds since it was first seen full.
    """

    free: int
    waiting: bool
    lasts: float


def state(free: int) -> str:
    """What a node publishes of its disk: ``full``, ``low`` or ``ok``."""
    return "full" if free < FULL else "low" if free < LOW else "ok"


def trouble(disk: Disk) -> str | None:
    """Say what is wrong with a disk, or None."""
    if disk.free >= FULL:
        return None
    held = ", and commits wait for space" if disk.waiting else ""
    return f"its disk is full: {disk.free >> 10} KiB are left for the server{held}"


def leave(disk: Disk, heir: str | None, published: Mapping[str, str]) -> str | None:
    """Say why a primary with a full disk should keep its role, or None when ``heir`` is better off. ``published``: node → state.

    Sessions that wait while the disk is not full wait for another one, the one for temporary files, say: commits go on.
    """
    if disk.free >= FULL:
        return "its disk is not full"
    if not disk.waiting and disk.lasts < _LASTING:
        return "nothing waits for space yet"
    if heir is None:
        return "no replica may take over"
    theirs = published.get(heir, "")
    return None if theirs == "ok" else f"the disk of {heir} is {theirs or 'not known'}, too"


def look(ctx: Context, server: Connection) -> Disk:
    """How full the disk is, now and for how long."""
    log = str(server.row("SELECT @@global.log_bin_basename AS v")["v"] or "")
    left = min(free(ctx.params["datadir"]), free(os.path.dirname(log) or ctx.params["datadir"]))
    mark = f"{RUN_DIR}/{ctx.instance}.full"
    if left >= FULL:
        if os.path.exists(mark):
            os.unlink(mark)
        return Disk(left, False, 0.0)
    if not os.path.exists(mark):
        os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
        with open(mark, "w"):
            pass
    from hafailover.agents.mariadb import sessions

    return Disk(left, sessions.waits_for_space(server), time.time() - os.stat(mark).st_mtime)


def hand_over(ctx: Context, cluster: Cluster, disk: Disk) -> bool:
    """Give a primary's role to a replica that has space left, if there is one; True when that is under way."""
    heir = next((name for name in cluster.able() if name != cluster.node), None)
    keep = leave(disk, heir, cluster.published("disk"))
    why = trouble(disk)
    if keep or why is None:
        ctx.log("warning", f"{why}; this server keeps its role: {keep}")
        return False
    return cluster.hand_over(why)


def keep_published(cluster: Cluster, disk: Disk) -> None:
    """Let the primary know whether this node could take over from a full disk; costs nothing while it stays so."""
    cluster.keep_published("disk", state(disk.free))


def unasked(directory: str) -> Disk | None:
    """The full disk of a server that cannot be asked, by its data directory; None when it is not full. Since when nobody knows."""
    left = free(directory) if os.path.isdir(directory) else FULL
    return Disk(left, False, float("inf")) if left < FULL else None


def said_first(directory: str, why: str) -> str:
    """Say of a server that cannot be asked ``why`` that is; a full disk is the cause of whatever else is wrong."""
    full = unasked(directory)
    return f"{trouble(full)}; {why}" if full else why


def free(path: str) -> int:
    """The bytes that the server may still use where ``path`` is."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
