"""An unpromoted instance: it follows the recorded primary, and its score says whether it may succeed it."""

from __future__ import annotations

import os
import time

from hafailover.agents import RUN_DIR, ocf
from hafailover.agents.mariadb import decide, divergence, first, gtid, life, minority, replication, roles
from hafailover.agents.mariadb.cluster import Cluster, now
from hafailover.agents.mariadb.held import CLONING
from hafailover.agents.mariadb.journal import Journal
from hafailover.agents.mariadb.server import Unit
from hafailover.agents.mariadb.sql import Connection
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Context
from hafailover.crm.pacemaker import PacemakerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.mariadb.held import Held


def look(ctx: Context, cluster: Cluster, unit: Unit, server: Connection) -> int:
    """Keep a running replica replicating and its score true; return the monitor's OCF code, or OcfError when it is degraded."""
    read_at = time.monotonic()
    entry = cluster.journal()
    cluster.records.take_back_reign(entry)
    cluster.tell_users(entry)
    proved = _proved(cluster, unit, server, entry)
    server.sync_relay_log(proved)
    wrong = stand_by(ctx, cluster, unit, server, entry)
    if wrong and "DIVERGED" in wrong:
        raise ocf.OcfError(ocf.DEGRADED, wrong)
    if wrong and wrong.startswith(first.NEEDS_CLONE):
        from hafailover.agents.mariadb import cloning  # rare

        cloning.begin(ctx, cluster, wrong)
        return ocf.SUCCESS
    replica = server.replica()
    if replica is not None and (replica.sql_errno or replica.io_errno in decide.DIVERGENCE_ERRORS):
        if ctx.params["reclone"] == "automatic":
            from hafailover.agents.mariadb import cloning  # rare

            cloning.consider(ctx)
        raise ocf.OcfError(ocf.DEGRADED, f"replication is broken: {replica.error}")
    if proved and replica is not None and replica.io == "Yes":
        minority.note(cluster, entry, read_at)
    return ocf.SUCCESS


def stand_by(ctx: Context, cluster: Cluster, unit: Unit, server: Connection, entry: Journal) -> str | None:
    """Follow the recorded primary if that is needed, then set the score; return what is wrong with this replica, or None."""
    replica = server.replica()
    wrong = None
    if replica is not None and replica.io == "No":
        wrong = _salvage(ctx, cluster, unit, server, replica, entry)
        replica = server.replica()
    if not wrong and entry.primary not in ("", cluster.node):
        address = addresses(ctx.params["nodes"]).get(entry.primary)
        stopped = replica is not None and decide.stopped_receiving(replica)
        proved = _proved(cluster, unit, server, entry)
        # A primary that has just been promoted admits nobody before its first monitor, and that waits until this one has ended.
        patience = 0 if entry.settling(now()) else replication.ADMISSION
        if (
            replica is None
            or replica.source != address
            or (stopped and not replica.sql)
            or (not proved and _must_follow_anew(replica, server))
        ):
            wrong = replication.follow(ctx, cluster, server, entry.primary, patience)
            if wrong and "DIVERGED" not in wrong:
                wrong = f"{decide.stale(entry)} ({wrong})"
        elif stopped:  # not admitted yet, its promotion came to nothing, or whoever started the SQL thread was ended
            wrong = replication.receive(ctx, cluster, server, entry.primary, proved, patience)
        else:
            state, seen = roles.state_and_replica(server)
            # What one in sync cannot receive any more nobody has acknowledged: barred for it, it would leave the role to a last
            # primary that returned with older data, and therefore could send nothing.
            wrong = decide.broken_replication(replica._replace(io="Yes", io_errno=0) if proved else replica)
            if cluster.has_several_replicas() and not replica.sql and replica.io != "No":
                server.run("STOP SLAVE IO_THREAD")  # it would acknowledge commits that it cannot be promoted with
            own = _divergence(ctx, cluster, server, entry, state, seen or replica, proved)
            wrong = f"{own} ({wrong})" if own and wrong else own or wrong
            if not wrong and replica.io == "Yes":
                _joined(ctx, cluster, unit, entry)
    if wrong:
        # A promotion asks for all of it again, so a score that is late by a few seconds costs nothing; one that falls now, the address.
        if "DIVERGED" in wrong or not entry.settling(now()):
            cluster.set_score(decide.SCORE_NEVER)
        cluster.explain(wrong)
        if "DIVERGED" in wrong:
            from hafailover.agents.mariadb import rejoin_record

            rejoin_record.record(ctx, cluster, rejoin_record.Rejoin(rejoin_record.QUARANTINE, entry.epoch, wrong))
        return wrong
    if not entry.epoch:
        cluster.keep_published("position", first.shown(server.virgin(), server.state()))
    if not entry.settling(now()):
        roles.refresh(ctx, cluster, unit, server, entry)
    return None


def _divergence(
    ctx: Context,
    cluster: Cluster,
    server: Connection,
    entry: Journal,
    state: str,
    replica: decide.Replica,
    proved: bool,
) -> str | None:
    """Say what this replica holds that did not come from its primary, or None, and keep the GTIDs published."""
    extra = divergence.look(cluster, server, state, replica.applied)
    said = divergence.sentence(extra) if extra else None
    # A primary whose log was reset leaves a connected replica waiting for ever, with both threads at "Yes".
    if not extra and (replica.io_errno in decide.DIVERGENCE_ERRORS or not proved):
        extra = replication.differs(ctx, server, entry.primary)
        said = decide.divergence(gtid.text(extra), "", entry.primary)
    divergence.report(cluster, gtid.text(extra))
    return said


def _must_follow_anew(replica: decide.Replica, server: Connection) -> bool:
    """Tell whether it replicates from the right server in a wrong way, as one that was taken over does.

    Not to be asked of a life that is in sync: following anew discards relay log that it may have acknowledged.
    """
    return not decide.broken_replication(replica) and not (replica.gtid and server.acknowledges())


def _proved(cluster: Cluster, unit: Unit, server: Connection, entry: Journal) -> bool:
    """Tell whether the primary has recorded this very life as in sync."""
    process = unit.process()
    return process is not None and entry.in_sync(cluster.node, life.of(process, server))


def _joined(ctx: Context, cluster: Cluster, unit: Unit, entry: Journal) -> None:
    """Record, once for each life and epoch, that this server replicates from the recorded primary, and by which rung of the ladder."""
    process = unit.process()
    path = f"{RUN_DIR}/{ctx.instance}.joined"
    text = f"{process.incarnation if process else ''} {entry.epoch} {entry.primary}"
    try:
        with open(path) as file:
            if file.read() == text:
                return
    except FileNotFoundError:
        pass  # the first time since the node booted
    from hafailover.agents.mariadb import rejoining  # what a monitor hardly ever needs is not loaded for it

    if process and rejoining.joined(ctx, cluster, unit, process, entry):
        with open(path, "w") as file:
            file.write(text)


def _salvage(
    ctx: Context, cluster: Cluster, unit: Unit, server: Connection, replica: decide.Replica, entry: Journal
) -> str | None:
    """Say what is being done about a relay log that nobody else may have, or None."""
    process = unit.process()
    if process is None:
        return None
    from hafailover.agents.mariadb import salvage

    return salvage.look(ctx, cluster, server, process, replica, entry)


def held_back(ctx: Context, cluster: Cluster, mark: Held) -> int:
    """The outcome for an instance that is started without a server on purpose; its worker, if it needs one, is kept going."""
    worker = f"/run/systemd/transient/hafailover-mariadb-{ctx.instance}-rejoin.service"
    if mark.kind == CLONING and not ctx.is_probe and not os.path.exists(worker):
        from hafailover.agents.mariadb import cloning  # rare

        cloning.go_on(ctx)
    return not_promotable(ctx, cluster, mark.why)


def keep_listening(ctx: Context) -> None:
    """Have the peer service's socket made again if it is gone; systemd removes the mark with it."""
    if not os.path.exists(f"{RUN_DIR}/{ctx.instance}.peer"):
        from hafailover.agents.mariadb.cloning import service  # rare

        service.listen(ctx)


def not_promotable(ctx: Context, cluster: Cluster, why: str) -> int:
    """The outcome for a healthy, unpromoted instance whose server is not there to be asked."""
    if not ctx.is_probe:
        try:
            cluster.set_score(decide.SCORE_NEVER)
            cluster.explain(why)
        except PacemakerError as error:
            ctx.log("warning", f"the standing could not be kept up to date: {error}")
    return ocf.SUCCESS


def publish_received(ctx: Context, cluster: Cluster, unit: Unit, server: Connection, entry: Journal) -> None:
    """With several replicas in sync an election needs every one's received position; the IO thread stops so that it is final.

    A thread that looks for its dead primary takes 2 s to end, and is not waited for: the primary was demoted or fenced before, so what it
    still takes out of its socket nobody was told of, and no acknowledgement of it reaches anybody.
    Only of the life that is recorded: what that one said stays true when a promotion that was refused has had its server restarted, since
    the primary of this epoch was demoted or fenced before. A later life may have lost some of it, and must not replace it by less.
    """
    replica = server.replica()
    if replica is None or len(entry.sync) < 2 or not _proved(cluster, unit, server, entry):
        return
    roles.Receiving(ctx).end()
    replica = server.replica() or replica
    received = gtid.latest(replica.received, replica.applied)
    cluster.publish_for_epoch("received", entry.epoch, f"{entry.sync[cluster.node]} {received}")
