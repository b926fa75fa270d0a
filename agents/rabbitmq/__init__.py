"""``ocf:hafailover:rabbitmq``: a RabbitMQ cluster that forms itself, in any order, and never wipes a node that holds something.

Layout: ``decide`` is pure (facts in, a course with its reason out); ``disk``, ``cluster``, ``broker``, ``control`` and ``amqp`` touch the
world; ``starting``, ``arrival`` and ``health`` are what start and monitor do.
"""

from __future__ import annotations

from hafailover.agents import checks
from hafailover.agents.nodes import own_address
from hafailover.agents.ocf import SUCCESS, Agent, Context
from hafailover.agents.rabbitmq.nodes import addresses

agent = Agent(
    "rabbitmq",
    shortdesc="RabbitMQ cluster that forms itself",
    longdesc="""
A RabbitMQ broker (3.9 to 3.13) on each node, in one cluster of any number of nodes. Clone it with interleave=true and ordered=false.

Nodes may start in any order, also all at once. The first cluster is founded by one node, which is decided by a claim in the cluster
configuration that only one can win; a node that holds nothing joins, after the others have forgotten what it was before; a node that
holds something is never wiped, unless a person allows that, and then its data are put aside. After a total stop a broker that may lack
messages waits for those that have them, and its monitor says for whom.

The broker runs in the distribution's unit, which must not be enabled at boot. The recurring monitor publishes a message to a queue of this
node and gets it back; a partition is reported, and ended by a restart of the side that has fewer brokers, or has run for a shorter time.
What a person may allow on a node is said with the transient attribute RESOURCE-allow: join, force-boot or found.
""",
)


agent.parameter(
    "nodes",
    required=True,
    check=checks.parsed_by(addresses, "wrong: "),
    shortdesc="Nodes and their addresses",
    longdesc="""
All nodes that have a broker, as name:address separated by blanks. The broker of a node is called rabbit@NAME; the address is the one that
the brokers talk to one another on.
""",
)
agent.parameter(
    "credentials",
    required=True,
    check=checks.path,
    shortdesc="Account of the health check",
    longdesc="File (mode 0600) with the account of the health check and what the Erlang cookie must be, as written by hafailover render.",
)
agent.parameter(
    "definitions",
    required=True,
    check=checks.path,
    shortdesc="Users, virtual hosts and policies",
    longdesc="""
File (mode 0600) in RabbitMQ's own format of definitions, as written by hafailover render. It is imported when the broker was started and
when the file has changed; what people have made beside it stays.
""",
)
agent.parameter(
    "version",
    shortdesc="Version that this is made for",
    longdesc="The version of RabbitMQ that the policies are made for, such as 3.10. Another major version is not started.",
)
agent.parameter(
    "host",
    default="127.0.0.1",
    shortdesc="Address of the health check",
    longdesc="The address on which the health check reaches this node's broker.",
)
agent.parameter(
    "port",
    type="integer",
    default=5672,
    check=checks.port,
    shortdesc="AMQP port",
    longdesc="The port on which the broker takes AMQP connections without TLS.",
)
agent.parameter(
    "dist_port",
    type="integer",
    default=25672,
    check=checks.port,
    shortdesc="Port between brokers",
    longdesc="""
The port on which brokers take connections from one another. While another broker runs and cannot be reached on it, none is started here.
""",
)
agent.parameter(
    "data",
    default="/var/lib/rabbitmq/mnesia",
    check=checks.path,
    shortdesc="Data directory",
    longdesc="The directory in which RabbitMQ keeps a directory for each broker (RABBITMQ_MNESIA_BASE).",
)
agent.parameter(
    "cookie",
    default="/var/lib/rabbitmq/.erlang.cookie",
    check=checks.path,
    shortdesc="Erlang cookie",
    longdesc="""
The file with the secret that brokers and tools know one another by: the same on all nodes, and readable by the broker's user alone.
""",
)
agent.parameter(
    "user",
    default="rabbitmq",
    shortdesc="System user",
    longdesc="The system user that the broker runs as.",
)
agent.parameter(
    "unit",
    default="rabbitmq-server.service",
    check=lambda value: None if value.endswith(".service") else "not the name of a service unit",
    shortdesc="Unit of the broker",
    longdesc="The systemd unit that runs the broker. The cluster starts and stops it; it must not be enabled at boot.",
)
agent.parameter(
    "wait",
    type="time",
    default="20s",
    check=checks.positive,
    shortdesc="Wait for others within a start",
    longdesc="""
How long a start waits for nodes that have data and that nobody is starting. Then it succeeds and the monitor goes on waiting, because the
cluster manager starts nothing else while a start is under way.
""",
)
agent.parameter(
    "patience",
    type="time",
    default="60s",
    check=checks.positive,
    shortdesc="Time without an answer",
    longdesc="How long a broker whose process runs may not pass on a message before it is restarted. Until then it is degraded.",
)
agent.parameter(
    "partition_patience",
    type="time",
    default="60s",
    check=checks.positive,
    shortdesc="Time for a partition to heal",
    longdesc="""
How long members that run may not see one another, in spite of RabbitMQ's own handling, before the brokers of the losing side are restarted.
""",
)


@agent.action("start", timeout="240s")
def start(ctx: Context) -> int:
    """Found, join, boot or wait, as decided."""
    from hafailover.agents.rabbitmq.starting import Start

    own_address(ctx)
    return Start(ctx).run()


@agent.action("stop", timeout="120s")
def stop(ctx: Context) -> int:
    """End the broker, and tell the others what this node holds."""
    from hafailover.agents.memo import Memo
    from hafailover.agents.rabbitmq.broker import Broker
    from hafailover.agents.rabbitmq.disk import Disk
    from hafailover.agents.rabbitmq.health import told

    Broker(ctx).stop()
    Memo(ctx.instance).clear("idle", "booting", "forced", "unwell", "apart", "partition", "since", "alarm")
    told(ctx, Disk(ctx))
    return SUCCESS


@agent.action("monitor", timeout="60s", interval="10s")
@agent.action("monitor", timeout="120s", interval="300s", depth=10)
def monitor(ctx: Context) -> int:
    """Whether a message comes back, or only whether there is a process when it is a probe."""
    from hafailover.agents.rabbitmq import health

    return health.probe(ctx) if ctx.is_probe else health.recurring(ctx)


@agent.action("validate-all", timeout="20s")
def validate_all(ctx: Context) -> int:
    """Whether the node has what the broker needs."""
    from hafailover.agents.rabbitmq import credentials, settings
    from hafailover.agents.rabbitmq.broker import Broker

    own_address(ctx)
    Broker(ctx).check_version()
    credentials.check_cookie(ctx)
    settings.wanted(ctx)
    return SUCCESS
