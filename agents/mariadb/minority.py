"""Whether this node was without quorum since its server was proved in sync: then the primary may have gone on alone, unheard.

Cut off, the primary records its replica as stale in a copy of the CIB that the replica does not get, and acknowledges writes alone. If
it dies before the replica is fenced, the quorum device turns to the replica, whose copy still says "in sync". Pacemaker stops the
servers of a partition without quorum, which ends the life that was proved, but that takes a moment, and the device may be faster.
Corosync says in its log when a node loses quorum or has it again; a failover in which the device decides at once leaves no such record.
"""

from __future__ import annotations

import os
import time

from hafailover.agents import RUN_DIR
from hafailover.agents.mariadb import journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.mariadb.cluster import Cluster
    from hafailover.agents.mariadb.journal import Journal
    from hafailover.agents.mariadb.server import Process
    from hafailover.agents.ocf import Context

_SAID = "primary component"  # "within the primary component" and "within the non-primary component"
_RENEW = 30.0  # seconds
_LOOK = 5.0  # seconds; the newest such record of this boot is found in 0.02


def _path(resource: str, what: str) -> str:
    return f"{RUN_DIR}/{resource}.{what}"


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _write(path: str, text: str) -> None:
    os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


def note(cluster: Cluster, entry: Journal, read_at: float) -> None:
    """Keep since when the proof in ``entry`` is known to stand: it was read at ``read_at`` (monotonic), and its primary is a member.

    To be called while this server receives from that primary. Costs a question to Pacemaker for each text of the journal, and twice a
    minute: a network that was cut for a moment may leave the text as it was.
    """
    path, text = _path(cluster.resource, "proved"), journal.write(entry)
    since, _, known = _read(path).partition(" ")
    if known == text and read_at - float(since) < _RENEW:
        return
    if entry.primary in cluster.pacemaker.joined():
        _write(path, f"{read_at:.3f} {text}")


def last_change(ctx: Context) -> str:
    """What Corosync has last logged about this node's quorum since it booted, or ""."""
    argv = ["journalctl", "-b", "-q", "-n", "1", "-t", "corosync", "-g", _SAID, "-o", "short-monotonic"]
    return ctx.run(argv, timeout=ctx.deadline.bound(_LOOK)).out.strip()


def doubt(ctx: Context, process: Process, entry: Journal, line: str | None = None) -> str:
    """Say that this node was without quorum since ``entry`` was known to stand, or "". ``line``: what :func:`last_change` has said.

    Without a note the proof may be as old as the server. A log that does not answer is no reason to serve nobody: what is told here is then
    left to Pacemaker alone.
    """
    since, _, text = _read(_path(ctx.instance, "proved")).partition(" ")
    begun = float(since) if text == journal.write(entry) else process.uptime_at_start()
    line = last_change(ctx) if line is None else line
    if not line:
        return ""
    try:
        at = float(line.partition("]")[0].strip("[ "))
    except ValueError:
        ctx.log("warning", f"Corosync's log cannot be read: {line[:200]}")
        return ""
    if at <= begun:
        return ""
    clock = time.strftime("%H:%M:%S", time.localtime(time.time() - time.monotonic() + at))
    said = f"this node was without quorum ({clock}) since it was proved in sync, and {entry.primary} may have gone on alone"
    _write(_path(ctx.instance, "minority"), f"{process.incarnation} {journal.write(entry)}\n{said}")
    return said


def found(ctx: Context, process: Process, entry: Journal) -> str:
    """What :func:`doubt` has found of this server and ``entry``, or ""."""
    known, _, said = _read(_path(ctx.instance, "minority")).partition("\n")
    return said if known == f"{process.incarnation} {journal.write(entry)}" else ""
