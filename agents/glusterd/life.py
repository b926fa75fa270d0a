"""Start and stop of glusterd in its unit, each within the action's time."""

from __future__ import annotations

import socket
import time

from hafailover.agents import units
from hafailover.agents.gluster import identity, logs, rpc, store
from hafailover.agents.gluster.pool import Pool
from hafailover.agents.nodes import own_address
from hafailover.agents.ocf import ERR_GENERIC, ERR_INSTALLED, Context, OcfError
from hafailover.crm.pacemaker import PacemakerError

_POLL = 0.2
_ASK = 10.0
_TO_SAY_SO = 5.0
_PATIENCE = 20.0  # seconds that the daemon gets to end by itself; it does in milliseconds

# Brick processes are in the unit's control group, and Debian's unit kills that as a whole: a restart of the daemon would take the node's
# files away from every client.
_ADDITION = "# Written by ocf:hafailover:glusterd\n[Service]\nKillMode=process\nRestart=no\nTimeoutStopSec=30\n"


def require(ctx: Context) -> None:
    """OcfError when there is no unit, or the node has not the address that its bricks are named by."""
    _require_address(ctx, own_address(ctx))
    unit = ctx.params["unit"]
    if units.state(ctx, [unit])[unit].load != "loaded":
        raise OcfError(ERR_INSTALLED, f"there is no unit {unit} on this node; install glusterfs-server")
    warning = units.boot_warning(ctx, unit)
    if warning:
        ctx.log("warning", warning)


def _require_address(ctx: Context, address: str) -> None:
    """Another node may have it, and would be taken for this one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            raise OcfError(
                ERR_GENERIC,
                f"parameter nodes gives {ctx.node} the address {address}, which is none of this node's: {error.strerror or error}",
            ) from None


def start(ctx: Context) -> None:
    """Start it and wait for its answer. OcfError."""
    require(ctx)
    unit = ctx.params["unit"]
    units.drop_in(ctx, unit, _ADDITION)
    if units.state(ctx, [unit])[unit].active == "active" and rpc.silence(_ASK, ctx.params["socket"]) is None:
        return
    _identify(ctx)
    begun = time.time()
    units.begin(ctx, [unit])
    while True:
        now = units.state(ctx, [unit])[unit]
        if now.dead:
            raise OcfError(ERR_GENERIC, f"glusterd has ended ({logs.of_daemon(now.result)})")
        # Its socket answers before it has read its volumes; systemd calls it active when it has.
        if now.active == "active" and not now.job:
            why = rpc.silence(min(_ASK, max(1.0, _left(ctx))), ctx.params["socket"])
            if why is None:
                ctx.event("glusterd.started", "glusterd answers", seconds=round(time.time() - begun, 1))
                return
        else:
            why = f"systemd calls it {now.active}"
        if _left(ctx) <= 0:
            raise OcfError(ERR_GENERIC, f"glusterd does not answer at the end of the start's time: {why}")
        time.sleep(_POLL)


def _left(ctx: Context) -> float:
    return ctx.deadline.bound(float("inf")) - _TO_SAY_SO


def _identify(ctx: Context) -> None:
    """Give a node that was installed anew its identity back. OcfError when its glusterd is somebody else."""
    pool = Pool(ctx)
    try:
        known = pool.identity(ctx.node)
        members = pool.members()
    except PacemakerError as error:
        raise OcfError(
            ERR_GENERIC, f"who this node is in the pool cannot be read: {error}; it is tried again"
        ) from None
    there = [*(f"volume {name}" for name in store.volumes()), *(f"peer {uuid}" for uuid in store.peers())]
    course = identity.course(ctx.node, known, store.identity(), there[0] if there else "")
    if course.what == identity.REFUSE:
        raise OcfError(ERR_GENERIC, course.reason)
    if course.what == identity.ADOPT:
        others = {uuid: pool.addresses[name] for name, uuid in members.items() if name != ctx.node}
        store.adopt(known, others)
        ctx.event("glusterd.identity", course.reason, level="warning", uuid=known.uuid)


def stop(ctx: Context) -> None:
    """End the daemon; what serves bricks goes on. OcfError when it survives SIGKILL."""
    unit = ctx.params["unit"]
    now = units.state(ctx, [unit])[unit]
    if now.load != "loaded" or now.dead:
        return
    # It may have been started by hand, with the unit as the package has it.
    units.drop_in(ctx, unit, _ADDITION)
    killed = _end(ctx, unit, now.pid)
    ctx.event(
        "glusterd.stopped",
        "glusterd hung and was killed" if killed else "glusterd has ended",
        level="warning" if killed else "notice",
    )


def _end(ctx: Context, unit: str, pid: int) -> bool:
    """Whether it had to be killed. ``units.stop`` would kill the bricks, too."""
    ctx.run(["systemctl", "--no-block", "--job-mode=ignore-dependencies", "stop", "--", unit], timeout=_ASK)
    if not units.await_death(ctx, [unit], min(_PATIENCE, ctx.deadline.remaining() / 2)):
        return False
    ctx.log("warning", f"glusterd (pid {pid}) has not ended within its time; killing it")
    ctx.run(["systemctl", "kill", "--kill-who=main", "--signal=KILL", "--", unit], timeout=_ASK)
    if units.await_death(ctx, [unit], ctx.deadline.bound(float("inf"))):
        raise OcfError(ERR_GENERIC, f"glusterd (pid {pid}) survives SIGKILL")
    return True
