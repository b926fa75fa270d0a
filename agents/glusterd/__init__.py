"""``ocf:hafailover:glusterd``: the management daemon of GlusterFS on each node, with the identity that its pool knows it by.

The monitor is here and imports little; ``life`` is start and stop.
"""

from __future__ import annotations

import time

from hafailover.agents import checks, units
from hafailover.agents.gluster import rpc
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import ERR_GENERIC, NOT_RUNNING, SUCCESS, Agent, Context, OcfError

_POLL = 0.5
_TO_SAY_SO = 12.0  # seconds of a monitor that are kept for asking systemd

agent = Agent(
    "glusterd",
    shortdesc="GlusterFS management daemon",
    longdesc="""
glusterd on each node of a GlusterFS pool, in the distribution's unit, which must not be enabled at boot. Clone it with interleave=true.

The monitor asks the daemon a question under the lock that every command takes, so it sees one that hangs, for less than a millisecond of
processor time beyond its own start. The daemon is restarted without the brick processes, which go on serving: the unit is told to end
the daemon alone. Brick processes end with the volume's resource (ocf:hafailover:glustervolume), when the node leaves.

A node that was installed anew is given back the identity that the pool knows it by, when its glusterd holds nothing yet. One that holds
something else is not started, and says so.
""",
)

agent.parameter(
    "nodes",
    required=True,
    check=checks.parsed_by(addresses, "wrong: "),
    shortdesc="Nodes and their addresses",
    longdesc="All nodes of the pool, as name:address separated by blanks; the daemons and the clients talk to these addresses.",
    reloadable=True,
)
agent.parameter(
    "unit",
    default="glusterd.service",
    check=lambda value: None if value.endswith(".service") else "not the name of a service unit",
    shortdesc="Unit of the daemon",
    longdesc="The systemd unit that runs glusterd. The cluster starts and stops it; it must not be enabled at boot.",
)
agent.parameter(
    "socket",
    default=rpc.SOCKET,
    check=checks.path,
    shortdesc="The daemon's socket",
    longdesc="The local socket on which glusterd takes commands.",
)
agent.parameter(
    "patience",
    type="time",
    default="30s",
    check=checks.within(1, 300, "1s to 5m"),
    shortdesc="Time without an answer",
    longdesc="""
How long a daemon that runs may leave the monitor's question unanswered before it is restarted. It serves no files, so there is no hurry; a
command of the pool that waits for a node which has just died keeps the lock that long.
""",
)


@agent.action("monitor", timeout="60s", interval="10s")
def monitor(ctx: Context) -> int:
    """SUCCESS, NOT_RUNNING, ERR_GENERIC when it runs and does not answer for ``patience``."""
    unit, patience = ctx.params["unit"], ctx.params["patience"]
    if ctx.is_probe:
        now = units.state(ctx, [unit])[unit]
        return NOT_RUNNING if now.load != "loaded" or now.dead else SUCCESS
    end = time.monotonic() + min(patience, ctx.deadline.remaining() - _TO_SAY_SO)
    while True:
        why = rpc.silence(max(1.0, end - time.monotonic()), ctx.params["socket"])
        if why is None:
            return SUCCESS
        now = units.state(ctx, [unit])[unit]
        if now.dead:
            from hafailover.agents.gluster import logs

            raise OcfError(NOT_RUNNING, f"glusterd has ended ({logs.of_daemon(now.result)})")
        if time.monotonic() > end:
            raise OcfError(ERR_GENERIC, f"glusterd runs (pid {now.pid}) and hangs: {why}")
        time.sleep(_POLL)  # it is just being restarted


@agent.action("start", timeout="120s")
def start(ctx: Context) -> int:
    """Start it, as who it was; return when it answers."""
    from hafailover.agents.glusterd import life

    life.start(ctx)
    return SUCCESS


@agent.action("stop", timeout="60s")
def stop(ctx: Context) -> int:
    """End the daemon, and nothing but the daemon."""
    from hafailover.agents.glusterd import life

    life.stop(ctx)
    return SUCCESS


@agent.action("validate-all", timeout="20s")
def validate_all(ctx: Context) -> int:
    """Whether the node has what it needs."""
    from hafailover.agents.glusterd import life

    life.require(ctx)
    return SUCCESS
