"""The actions of ``ocf:hafailover:mariadb``."""

from __future__ import annotations

import os

from hafailover.agents import ocf
from hafailover.agents.mariadb import (
    decide,
    disk,
    events,
    held,
    life,
    outside,
    reign,
    replication,
    roles,
    sql,
    standby,
    tender,
)
from hafailover.agents.mariadb.cluster import Cluster, now
from hafailover.agents.mariadb.declaration import agent
from hafailover.agents.mariadb.journal import JournalError
from hafailover.agents.mariadb.records import Refused
from hafailover.agents.mariadb.server import Process, Unit
from hafailover.agents.mariadb.sql import SqlError
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Context
from hafailover.crm.pacemaker import PacemakerError

# The lowered score already makes Pacemaker demote this instance and promote the peer. A failure code on top of it would have this
# instance stopped and started first, with the peer waiting; the next, unpromoted monitor finds it dead and has it restarted.
_HANDED_OVER = ocf.RUNNING_PROMOTED

# Seconds for all looks of one monitor; the rest of its 20 s is for telling a busy server from a hung one, and for saying so.
_LOOK = 16.0


def _require(ctx: Context) -> None:
    """OcfError when the server cannot be run here at all."""
    if not os.access(ctx.params["binary"], os.X_OK):
        raise ocf.OcfError(
            ocf.ERR_INSTALLED, f"{ctx.params['binary']} is not an executable program: install mariadb-server"
        )
    ctx.require("systemd-run")
    if not os.path.exists(ctx.params["config"]):
        raise ocf.OcfError(ocf.ERR_INSTALLED, f"config {ctx.params['config']} does not exist on this node")
    replication.login(ctx.params["credentials"])
    if ctx.node not in addresses(ctx.params["nodes"]):
        raise ocf.OcfError(ocf.ERR_CONFIGURED, f"{ctx.node} is not in the parameter nodes ({ctx.params['nodes']})")


class _sentences:
    """Turn what the helpers raise inside a ``with`` into an exit reason."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SqlError):
            raise ocf.OcfError(ocf.ERR_GENERIC, f"the server does not do as asked: {error}") from None
        if isinstance(error, (PacemakerError, JournalError)):
            raise ocf.OcfError(ocf.ERR_GENERIC, str(error)) from None


@agent.action("start", timeout="300s")
def start(ctx: Context) -> int:
    """Start the server, unpromoted."""
    from hafailover.agents.mariadb import starting  # what a monitor never needs is not loaded for it
    from hafailover.agents.mariadb.cloning import service

    _require(ctx)
    outside.save(ctx)
    service.end_worker(ctx)  # of an instance that was never stopped: this start decides anew
    service.listen(ctx)
    with _sentences():
        return starting.start(ctx, Cluster(ctx), Unit(ctx))


@agent.action("stop", timeout="120s")
def stop(ctx: Context) -> int:
    """Stop the server; a writable one is demoted first, one that may not commit what waits is killed."""
    from hafailover.agents.mariadb import demotion, sessions  # what a monitor never needs is not loaded for it
    from hafailover.agents.mariadb.cloning import service

    unit, cluster = Unit(ctx), Cluster(ctx)
    service.end_worker(ctx)
    service.close(ctx)
    held.release(ctx.instance)
    process = unit.process()
    if process is None:
        unit.stop()  # one that systemd has begun to start and that is no server yet
        return ocf.SUCCESS
    try:
        with tender.end(ctx), sql.own(ctx) as server:
            if server.writable():
                demotion.demote(ctx, cluster, unit, server)
            elif sessions.waits_for_space(server) or demotion.late_writer(server):
                unit.kill()  # TERM would wait for the disk, or commit what nobody has acknowledged
    except (SqlError, PacemakerError, JournalError, ocf.OcfError) as error:
        ctx.log("warning", f"stopping a server that could not be asked first: {error}")
        unit.kill()
    unit.stop()
    return ocf.SUCCESS


def _serves(ctx: Context, cluster: Cluster, server: sql.Connection, full: str | None) -> int:
    """Look after a writable server. What is wrong with its disk is said before anything else that degrades it."""
    try:
        code = reign.look(ctx, cluster, server)
        events.keep_running(ctx, cluster, server)
    except ocf.OcfError as error:
        if full and error.rc == ocf.DEGRADED_PROMOTED:
            raise ocf.OcfError(error.rc, f"{full}; {error.reason}") from None
        raise
    if full:
        raise ocf.OcfError(ocf.DEGRADED_PROMOTED, full)
    return code


@agent.action("monitor", timeout="20s", interval="2s", role="Promoted")
@agent.action("monitor", timeout="20s", interval="3s", role="Unpromoted")
def monitor(ctx: Context) -> int:
    """Tell the role from the server itself, keep the score true, and on the primary keep the promise about replicas."""
    unit, cluster = Unit(ctx), Cluster(ctx)
    process = unit.process()
    mark = held.read(ctx.instance)
    if process is None and mark is None:
        process = unit.process()  # its mark was taken away since the first look: the server runs on its new data by now
    if mark and ctx.role != "Promoted" and mark.kind == held.CLONING:
        # While it is cloned its server comes and goes, and must not be touched: it may not have its position yet.
        return standby.held_back(ctx, cluster, mark)
    if process is None:
        if mark and ctx.role != "Promoted":
            return _held(ctx, cluster, unit, mark)
        if ctx.role == "Promoted" and cluster.hand_over("mariadbd is dead and its unit has not reported it"):
            return _HANDED_OVER
        return ocf.NOT_RUNNING
    try:
        with sql.own(ctx, ctx.deadline.bound(_LOOK)) as server:
            writable = server.writable()
            if ctx.is_probe:
                return reign.found(cluster) if writable else ocf.SUCCESS
            if not outside.saved(ctx):  # Pacemaker came back to a server that had gone on
                outside.save(ctx)
            standby.keep_listening(ctx)
            try:
                if cluster.keep_published("incarnation", life.of(process, server)):
                    from hafailover.agents.mariadb import unseen  # once in a life of the server

                    unseen.forget(ctx.instance)
                    cluster.tell_again()
                space = disk.look(ctx, server)
                disk.keep_published(cluster, space)
                full = disk.trouble(space)
                if writable:
                    if full and disk.hand_over(ctx, cluster, space):
                        return _HANDED_OVER
                    return _serves(ctx, cluster, server, full)
                if server.waiters() and _written_late(ctx, unit, server):
                    return ocf.NOT_RUNNING
                if events.halt(server):
                    ctx.log("warning", "the event scheduler was on, on a server that is not promoted: switched off")
                if full:
                    standby.not_promotable(ctx, cluster, full)
                    raise ocf.OcfError(ocf.DEGRADED, full)
                return standby.look(ctx, cluster, unit, server)
            except (PacemakerError, JournalError, Refused) as error:
                # The cluster's trouble, not the server's: failing the server for it would add one trouble to the other.
                ctx.log("warning", f"the server is well, but its standing could not be kept up to date: {error}")
                return ocf.RUNNING_PROMOTED if writable else ocf.SUCCESS
    except SqlError as error:
        return _unanswered(ctx, cluster, unit, process, error)


def _written_late(ctx: Context, unit: Unit, server: sql.Connection) -> bool:
    """Whether somebody has written here after the demotion; the server is then ended, and its recovery removes what was written."""
    from hafailover.agents.mariadb import demotion, sessions

    if not demotion.late_writer(server):
        return False
    who = sessions.describe(server, server.client_sessions())
    ctx.event("late-writer", f"killing a demoted server: somebody wrote on it, unacknowledged: {who}", level="warning")
    unit.silence()
    return True


def _held(ctx: Context, cluster: Cluster, unit: Unit, mark: held.Held) -> int:
    """The monitor of an instance without a server; one that waits is started as soon as its role is known."""
    if ctx.is_probe or mark.kind != held.WAITING:
        return standby.not_promotable(ctx, cluster, mark.why)
    from hafailover.agents.mariadb import blank, cloning, starting  # a monitor needs them only here

    try:
        if cloning.fills(ctx, cluster, unit, cluster.journal()):
            return ocf.SUCCESS
        if not blank.is_blank(unit.datadir):
            return starting.resume(ctx, cluster, unit, mark)
        if blank.wait_is_over(ctx, cluster, unit):
            return ocf.NOT_RUNNING
        return standby.not_promotable(ctx, cluster, (held.read(ctx.instance) or mark).why)
    except (PacemakerError, JournalError) as error:
        ctx.log("warning", f"cannot tell yet how to recover: {error}")
        return ocf.SUCCESS


def _unanswered(ctx: Context, cluster: Cluster, unit: Unit, process: Process, error: SqlError) -> int:
    promoted = ctx.role == "Promoted"
    mark = held.read(ctx.instance)
    if mark and not promoted:
        # Stopped on purpose while this monitor looked at it. It may take seconds to end, and answers nobody: failed for that, the instance
        # was stopped, and with it the worker that was just putting a clone in place.
        return standby.held_back(ctx, cluster, mark)
    if unit.process() != process:
        return ocf.NOT_RUNNING
    if not promoted and unit.state() == "activating":
        # Recovery takes as long as it takes; ending it would only have the next one begin from the start.
        why = disk.said_first(unit.datadir, f"mariadbd {process.pid} is recovering")
        return standby.not_promotable(ctx, cluster, why)
    from hafailover.agents.mariadb import patience  # what a monitor never needs is not loaded for it

    full = disk.unasked(unit.datadir)
    try:
        if full and promoted and disk.hand_over(ctx, cluster, full):
            return _HANDED_OVER
    except PacemakerError as refused:
        ctx.log("warning", f"the disk is full, and the role could not be given away: {refused}")
    slow = patience.excuse(ctx, process, error)
    if full:
        # It waits for space while it holds a lock that our statement needs. Started anew it would wait for space in its recovery.
        slow = disk.said_first(unit.datadir, slow or f"mariadbd {process.pid} does not answer: {error}")
    if slow:
        # Failing over a busy server to a cold one made an outage worse (GitHub, 2012): busy is degraded, not failed.
        raise ocf.OcfError(ocf.DEGRADED_PROMOTED if promoted else ocf.DEGRADED, slow)
    mark = held.read(ctx.instance)
    if mark and not promoted:  # marked while we were patient
        return standby.held_back(ctx, cluster, mark)
    if promoted and cluster.hand_over(f"killing mariadbd {process.pid}, which does not answer: {error}"):
        unit.silence()
        return _HANDED_OVER
    raise ocf.OcfError(ocf.ERR_GENERIC, f"mariadbd {process.pid} runs but does not answer: {error}")


@agent.action("promote", timeout="120s")
def promote(ctx: Context) -> int:
    """Open the server for writing if, and only if, it holds every acknowledged write."""
    unit, cluster = Unit(ctx), Cluster(ctx)
    try:
        mark = held.read(ctx.instance)
        if mark:
            raise ocf.OcfError(ocf.ERR_GENERIC, f"not promoted: {mark.why}")
        with _sentences(), sql.own(ctx) as server:
            replica, process = server.replica(), unit.process()
            if replica and process and replica.io == "No":
                from hafailover.agents.mariadb import salvage  # a promotion in a hurry does not need it

                salvage.finish(ctx, cluster, server, process, cluster.journal())
            return roles.promote(ctx, cluster, unit, server)
    except ocf.OcfError:
        # With its score kept, Pacemaker would demote whoever can serve and promote this one again at once, for ever: no monitor
        # comes in between to find, say, its server dead. The next monitor of a healthy one restores the score.
        with _sentences():
            cluster.set_score(decide.SCORE_NEVER)
        raise


@agent.action("demote", timeout="60s")
def demote(ctx: Context) -> int:
    """Make the server read-only; one that is dead needs no demotion."""
    from hafailover.agents.mariadb import hooks

    cluster = Cluster(ctx)
    code = _demote(ctx, cluster, Unit(ctx))
    hooks.after_demotion(ctx, cluster)
    return code


def _demote(ctx: Context, cluster: Cluster, unit: Unit) -> int:
    from hafailover.agents.mariadb import demotion

    if unit.process() is None:
        # Success without touching the score: another code makes Pacemaker stop and start this instance before it promotes the peer.
        return ocf.SUCCESS
    with _sentences(), tender.end(ctx):
        try:
            with sql.own(ctx) as server:
                return demotion.demote(ctx, cluster, unit, server)
        except SqlError as error:
            return demotion.kill_instead(ctx, cluster, unit, f"it cannot be asked to become read-only: {error}")


@agent.action("notify", timeout="60s")
def notify(ctx: Context) -> int:
    """Act between the steps of a transition. A hint only: Pacemaker ignores a failed notification, so nothing relies on one."""
    from hafailover.agents.mariadb import hooks

    step = f"{ctx.notify.type}-{ctx.notify.operation}"
    unit, cluster = Unit(ctx), Cluster(ctx)
    hooks.notified(ctx, cluster, step)
    if step not in ("pre-promote", "post-promote", "post-start"):
        return ocf.SUCCESS
    mark = held.read(ctx.instance)
    if mark and mark.kind == held.CLONING:
        return ocf.SUCCESS
    if unit.process() is None:
        return _held(ctx, cluster, unit, mark) if mark and step == "post-promote" else ocf.SUCCESS
    with _sentences(), sql.own(ctx) as server:
        if server.writable():
            return ocf.SUCCESS
        entry = cluster.journal()
        if step == "pre-promote":
            standby.publish_received(ctx, cluster, unit, server, entry)
        elif step == "post-promote":
            if cluster.node not in ctx.notify.promote:
                _follow_now(ctx, cluster, server)
        elif not entry.settling(now()):
            roles.refresh(ctx, cluster, unit, server, entry)
    return ocf.SUCCESS


def _follow_now(ctx: Context, cluster: Cluster, server: sql.Connection) -> None:
    """Follow the primary that was just promoted, if that takes no time: its first monitor, and its address, wait for this.

    Without patience, for it admits nobody before that monitor. A thread that still looks for the dead primary ends within 2 s; that
    long, it is this node's next monitor that follows.
    """
    primary = ctx.notify.promote[0] if ctx.notify.promote else ""
    if not primary:
        return
    receiving = roles.Receiving(ctx)
    receiving.end()
    if not receiving.ended(0):
        return
    wrong = replication.follow(ctx, cluster, server, primary, patience=0)
    if wrong:
        ctx.log("warning", wrong)


@agent.action("reload-agent", timeout="20s")
def reload_agent(ctx: Context) -> int:
    """Take in changed parameters without touching the server: what works outside of Pacemaker reads the kept ones."""
    outside.save(ctx)
    return ocf.SUCCESS


@agent.action("validate-all", timeout="20s")
def validate(ctx: Context) -> int:
    """Check that the server could be started here."""
    _require(ctx)
    if not os.path.exists(ctx.params["datadir"]):
        raise ocf.OcfError(ocf.ERR_INSTALLED, f"datadir {ctx.params['datadir']} does not exist on this node")
    Unit(ctx).version()
    return ocf.SUCCESS
