"""Starting the server: read-only, and in the role in which its recovery loses nothing; or not yet, when that role is not known."""

from __future__ import annotations

import os
import time

from hafailover.agents import ocf
from hafailover.agents.mariadb import (
    binlog,
    blank,
    cloning,
    decide,
    disk,
    held,
    life,
    lineage,
    mounts,
    recovery,
    sql,
    standby,
    unseen,
)
from hafailover.agents.mariadb.cluster import Cluster
from hafailover.agents.mariadb.journal import Journal
from hafailover.agents.mariadb.recovery import Facts, Recovery
from hafailover.agents.mariadb.server import Unit
from hafailover.agents.mariadb.sql import SqlError
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Context
from hafailover.crm.pacemaker import PacemakerError

# What a server says that is to remove its tail and finds a transaction there that cannot be undone (InnoDB followed by MyISAM).
_NOT_UNDONE = "Cannot truncate"

# Seconds for which Pacemaker is kept waiting for a recovery. Before a start is over it begins nothing else, on the other nodes neither: a
# new primary was not monitored for five minutes, because the dead one had been started again and waited for space in its recovery.
_PATIENCE = 20.0

# Seconds in which Pacemaker has surely begun to promote a replica in sync, unless something keeps it from doing so (a ban, say), and in
# which a promotion that has begun is over.
_ELECTION = 20.0
_PROMOTION = 150.0


def start(ctx: Context, cluster: Cluster, unit: Unit) -> int:
    """Start the server read-only, in the role that the journal gives it, and begin to replicate if somebody is promoted.

    Success also when the server recovers for longer than Pacemaker is kept waiting (it is then ``activating``), and when it must not
    recover yet (it is then held): to Pacemaker both are healthy instances that cannot be promoted.
    """
    held.release(ctx.instance)
    process = unit.process()
    if process and not unit.owns(process):
        raise ocf.OcfError(
            ocf.ERR_GENERIC,
            f"mariadbd {process.pid} already runs on {unit.datadir} outside the cluster: take it over with hafailover adopt, "
            "or stop it with systemctl disable --now mariadb",
        )
    point = mounts.missing(unit.datadir) if process is None else None
    if point:
        raise ocf.OcfError(
            ocf.ERR_GENERIC, f"nothing is mounted on {point}, where {unit.datadir} belongs: mount {point}"
        )
    settled = unit.settled(_PATIENCE)
    process = unit.process()
    if process is None and cloning.takes_over(ctx, cluster, unit, cluster.journal()):
        return ocf.SUCCESS
    process = unit.process()
    if process is None and blank.furnish(ctx, cluster, unit, cluster.journal()):
        return ocf.SUCCESS
    if process is None:
        # A new life of the server is in sync with nobody; a dead one's score would make it an heir.
        cluster.set_score(decide.SCORE_NEVER)
        entry = cluster.journal()
        cluster.records.take_back_reign(entry)
        choice = recovery.choose(facts(ctx, cluster, unit, entry, ctx.notify.promoted, 0))
        if choice.wait_for:
            held.hold(ctx.instance, held.WAITING, _waiting(choice))
            ctx.event("start.held", f"not recovering yet: {choice.reason}", waits_for=" ".join(choice.wait_for))
            return standby.not_promotable(ctx, cluster, _waiting(choice))
        try:
            settled = _run(ctx, unit, choice)
        except ocf.OcfError as error:
            if not cloning.instead(ctx, cluster, unit, error.reason):
                raise
            return ocf.SUCCESS
        process = unit.process()
    if not settled:
        unseen.mark(ctx.instance)
        ctx.event("start.recovering", "mariadbd is recovering and goes on with it after this start")
        return standby.not_promotable(ctx, cluster, disk.said_first(unit.datadir, "mariadbd is recovering"))
    unseen.forget(ctx.instance)
    if process is None:
        raise ocf.OcfError(ocf.ERR_GENERIC, "mariadbd ended right after it became ready; see its journal")
    with sql.own(ctx) as server:
        server.run("SET GLOBAL read_only=ON")
        cluster.keep_published("incarnation", life.of(process, server))
        try:
            cloning.not_wanted(cluster)
            standby.stand_by(ctx, cluster, unit, server, cluster.journal())
        except (SqlError, PacemakerError) as error:
            # The server is up and read-only, which is what start promises; its first monitor looks after the rest.
            ctx.log("warning", f"not following yet: {error}")
    return ocf.SUCCESS


def resume(ctx: Context, cluster: Cluster, unit: Unit, mark: held.Held) -> int:
    """Look whether the role of a server that waits is known by now, and if so start it; return the monitor's OCF code.

    In the background: recovery may take longer than the monitor or notification that found out.
    """
    promoted = (*ctx.notify.promoted, *ctx.notify.promote)
    waited = time.monotonic() - mark.since
    choice = recovery.choose(facts(ctx, cluster, unit, cluster.journal(), promoted, waited))
    if choice.wait_for:
        if _waiting(choice) != mark.why:
            held.hold(ctx.instance, held.WAITING, _waiting(choice))
        return standby.not_promotable(ctx, cluster, _waiting(choice))
    _tell(ctx, choice)
    _cut_torn_end(ctx, unit)
    process = unit.begin(choice.options)
    if process is None:
        return standby.not_promotable(ctx, cluster, mark.why)  # the next monitor looks again
    held.release(ctx.instance)
    unseen.mark(ctx.instance)
    return standby.not_promotable(ctx, cluster, disk.said_first(unit.datadir, f"mariadbd {process.pid} is recovering"))


def facts(
    ctx: Context, cluster: Cluster, unit: Unit, entry: Journal, promoted: tuple[str, ...], waited: float
) -> Facts:
    """Gather what :func:`recovery.choose` wants to know.

    ``promoted``: the nodes that Pacemaker names as promoted, or as just promoted. ``waited``: seconds since the start.
    """
    others = [name for name in promoted if name not in (cluster.node, *ctx.notify.demote)]
    reigns = cluster.reigns()
    reigning = [
        name for name, epoch in reigns.items() if entry.epoch and epoch == entry.epoch == reigns.get(entry.primary)
    ]
    if entry.primary in reigning and entry.primary != cluster.node:
        others.append(entry.primary)
    joined = cluster.pacemaker.joined()
    absent = tuple(name for name in addresses(ctx.params["nodes"]) if name not in joined)
    if absent and cluster.records.witnessed(joined):
        absent = ()
    return Facts(
        node=cluster.node,
        journal=entry,
        promoted=entry.primary if entry.primary in others else next(iter(others), ""),
        version=unit.version(),
        closed=binlog.closed(_binlog_index(ctx.params["config"], unit.datadir)),
        lineage=lineage.read(unit.datadir),
        reigning=cluster.node in reigning,
        absent=absent,
        heirs=_heirs(cluster, entry, joined, waited),
    )


def _heirs(cluster: Cluster, entry: Journal, joined: frozenset[str], waited: float) -> tuple[str, ...]:
    """The members recorded in sync that Pacemaker may promote; nobody when it has had the time to and does not."""
    heirs = tuple(name for name in cluster.able() if name in entry.sync and name in joined and name != cluster.node)
    if not heirs or waited < _ELECTION:
        return heirs
    return heirs if waited < _PROMOTION and cluster.promotes() else ()


def _waiting(choice: Recovery) -> str:
    return f"waiting for {', '.join(choice.wait_for)}: {choice.reason}"


def _tell(ctx: Context, choice: Recovery) -> None:
    ctx.event("start", f"starting mariadbd {' '.join(choice.options)}: {choice.reason}")


def _cut_torn_end(ctx: Context, unit: Unit) -> None:
    """Leave no half-written event in a log that replicas will have to read."""
    try:
        done = binlog.cut_torn_end(_binlog_index(ctx.params["config"], unit.datadir))
    except (binlog.Unreadable, OSError) as error:
        ctx.log("warning", f"the end of the binary log could not be looked at: {error}")
    else:
        if done:
            ctx.event("start.torn-binlog", done)


def _run(ctx: Context, unit: Unit, choice: Recovery) -> bool:
    """Start the server as chosen; True when it is ready, False when it still recovers.

    One that cannot remove its tail refuses to start in that role: it is started in the other one, read-only, and the comparison with
    the primary finds what it holds too much.
    """
    _tell(ctx, choice)
    _cut_torn_end(ctx, unit)
    begin = time.time()
    patience = float("inf") if unseen.marked(ctx.instance) and not disk.unasked(unit.datadir) else _PATIENCE
    try:
        return unit.start(choice.options, patience)
    except ocf.OcfError:
        said = unit.said_since(begin, _NOT_UNDONE) if choice.truncates else []
        if not said:
            raise
        choice = recovery.keeping_all(
            unit.version(), f"the tail cannot be removed ({said[-1].partition('[ERROR] ')[2]})"
        )
    _tell(ctx, choice)
    return unit.start(choice.options, patience)


def _binlog_index(config: str, datadir: str) -> str:
    """The file that lists the server's binary logs, by its configuration; the last setting of an option counts."""
    settings: dict[str, str] = {}
    with open(config, encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition("=")
            settings[name.strip().lower().replace("-", "_")] = value.strip().strip("\"'")
    name = settings.get("log_bin_index") or settings.get("log_bin") or ""
    if name.lower() in ("", "1", "on", "true"):
        name = f"{os.uname().nodename}-bin"
    return os.path.join(datadir, os.path.splitext(name)[0] + ".index")
