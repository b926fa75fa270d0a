"""``ocf:hafailover:memcached``: a cache on each node, watched where its clients reach it, and never worth a failover.

Layout: ``decide`` is pure; ``wire`` speaks to the cache; ``life`` starts and stops it; ``health`` is the monitor.
"""

from __future__ import annotations

from hafailover.agents import checks, nodes
from hafailover.agents.ocf import SUCCESS, Agent, Context

agent = Agent(
    "memcached",
    shortdesc="memcached on a node",
    longdesc="""
The distribution's unit of memcached on each node, as a clone: clients hash their keys over all nodes, so nothing moves and nothing is
copied. What a cache held is lost when it ends, and asked for anew by whoever misses it.

The monitor asks for statistics on the address that clients use, and looks that it is this unit's process that answers: one that hangs,
or listens on 127.0.0.1 alone, is seen. It is then killed and started again in place. systemd restarts one that died at once; the monitor
tells that the cache was emptied. One that is full, may open fewer files than it takes connections, or answers by UDP is degraded, with
the reason.

Nothing else ever waits long for it, fails over or is fenced because of it: start takes 10 s at most, and stop succeeds whatever happens.
""",
)


agent.parameter(
    "nodes",
    required=True,
    check=checks.parsed_by(nodes.addresses, "wrong: "),
    shortdesc="Nodes and their addresses",
    longdesc="All nodes that have a cache, as name:address separated by blanks; the address is the one that clients use.",
)
agent.parameter(
    "port",
    type="integer",
    default=11211,
    check=checks.port,
    shortdesc="TCP port",
    longdesc="The port that memcached takes connections on, as its own configuration says.",
)
agent.parameter(
    "patience",
    type="time",
    default="3s",
    check=checks.within(0.5, 10, "500ms to 10s"),
    shortdesc="Time for an answer",
    longdesc="How long it may take to answer one look, 500ms to 10s. It is restarted when it has not answered in two monitors.",
)
agent.parameter(
    "unit",
    default="memcached.service",
    check=lambda value: None if value.endswith(".service") else "not the name of a service unit",
    shortdesc="Unit of the cache",
    longdesc="The systemd unit that runs memcached. The cluster starts and stops it; it should not be enabled at boot.",
)
agent.parameter(
    "binary",
    default="/usr/bin/memcached",
    check=checks.path,
    shortdesc="Program",
    longdesc="The program that the unit starts; without it nothing is tried on this node.",
)


@agent.action("start", timeout="30s")
def start(ctx: Context) -> int:
    """Start it; return when it answers where clients reach it."""
    from hafailover.agents.memcached import life

    answer = life.start(ctx)
    said = f"memcached {answer.version} answers" if answer else "memcached runs, and all its connections are taken"
    ctx.event("memcached.started", said)
    return SUCCESS


@agent.action("stop", timeout="30s")
def stop(ctx: Context) -> int:
    """End it. Never fails, because a failed stop would have the node fenced."""
    from hafailover.agents.memcached import life

    life.stop(ctx)
    return SUCCESS


@agent.action("monitor", timeout="20s", interval="10s")
def monitor(ctx: Context) -> int:
    """SUCCESS, NOT_RUNNING, DEGRADED with what is wrong, ERR_GENERIC when it hangs."""
    from hafailover.agents.memcached import health

    return health.probe(ctx) if ctx.is_probe else health.recurring(ctx)


@agent.action("validate-all", timeout="20s")
def validate_all(ctx: Context) -> int:
    """Whether this node is one of the nodes and has the program and its unit."""
    from hafailover.agents.memcached import life

    nodes.own_address(ctx)
    life.require(ctx)
    unit = ctx.params["unit"]
    if ctx.run(["systemctl", "is-enabled", "--", unit], timeout=10).out.strip() == "enabled":
        ctx.log(
            "warning", f"{unit} is also started at boot, also where the cluster wants none: systemctl disable {unit}"
        )
    return SUCCESS
