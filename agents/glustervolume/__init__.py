"""``ocf:hafailover:glustervolume``: a replicated GlusterFS volume that forms itself over any number of nodes, and is kept whole.

Pure: ``place`` (what may be done with a node's disk) and ``decide`` (what may be done next, and with whose copy). In the world: ``disk``,
``bricks``, ``forming`` (start, and what a monitor puts right), ``health`` (monitor and stop).
"""

from __future__ import annotations

from hafailover.agents import checks
from hafailover.agents.gluster import layout
from hafailover.agents.nodes import addresses, own_address
from hafailover.agents.ocf import ERR_CONFIGURED, SUCCESS, Agent, Context, OcfError

_NAME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

agent = Agent(
    "glustervolume",
    shortdesc="Replicated GlusterFS volume that forms itself",
    longdesc="""
A replicated volume over all nodes of a list, one instance of the clone (interleave=true, ordered=false, notify=true) on each. It comes
after glusterd on its own node (ocf:hafailover:glusterd).

Each instance prepares its node's bricks: a file system is made only on a device on which there is provably nothing; it is mounted and
marked, and a place without the mark is never used, so that a missing disk does not fill the root file system. When every node has told that
its bricks are ready, one node, which is decided by a claim in the cluster configuration that only one can win, takes the others into
the pool, creates the volume, sets its options and starts it. What that node leaves unfinished another one finishes. Nodes may start in any
order: a start never waits for a node that the cluster has not started; its monitor goes on, degraded (190), and says for whom it waits.

The monitor sees dead and stopped brick processes and starts them anew, counts what waits to be healed, names what is in split-brain, and
tells of a full brick. A disk that was replaced, or a node that was installed anew, is filled again from the others, when another whole copy
is in service; an empty brick that may just be a disk that is not mounted is left alone until a person has said otherwise, with the
transient attribute RESOURCE-allow (replace). Of two copies, the one that served alone carries a mark; a node that returns
without it, or is known to be behind, does not serve until the other does (allow alone, if that is lost). New nodes of the list are taken
in when they complete a replica set.

While the volume serves on a node, the node has the transient attribute RESOURCE-ready; what mounts the volume runs where that is set. A
stop ends the node's brick processes, so that clients go on with the other copies at once. When the cluster has fenced a node, notify aborts
the connections to it, so that clients do not wait for the ping-timeout.
""",
)

agent.parameter(
    "volume",
    required=True,
    unique=True,
    check=lambda text: None if not set(text) - set(_NAME) and len(text) <= 200 else "not letters, digits, - and _",
    shortdesc="Name of the volume",
    longdesc="The name of the volume in the pool. One that was made by hand, or by somebody else, is not taken over.",
)
agent.parameter(
    "nodes",
    required=True,
    check=checks.parsed_by(addresses, "wrong: "),
    shortdesc="Nodes and their addresses",
    longdesc="""
All nodes that have bricks, as name:address separated by blanks; their order is that of the bricks. Bricks are named by these addresses,
which clients must reach.
""",
    reloadable=True,
)
agent.parameter(
    "replica",
    required=True,
    check=checks.parsed_by(layout.kind),
    shortdesc="Copies of each file",
    longdesc="""
3: three copies. arbiter: two copies and a third brick that has names and no contents; both go on when one of three bricks is lost,
and refuse writes when two are. 2: two copies, and each goes on without the other; files that were written apart, one after the
other, contradict each other (split-brain), and a person must choose. To prevent that, a node that returns alone waits for the other one.
""",
    reloadable=True,
)
agent.parameter(
    "brick",
    required=True,
    check=lambda text: (
        checks.path(text) or (None if not set(text) & set(" ,\t:") else "a path with blanks, commas or colons")
    ),
    shortdesc="Directory of the node's bricks",
    longdesc="""
The directory, the same on each node, in which the bricks are made. The file system that it is on is to be for them alone; with device it is
the mount point.
""",
)
agent.parameter(
    "device",
    check=checks.path,
    shortdesc="Disk of the node's bricks",
    longdesc="""
A block device, by a name that it has on each node. It is mounted at brick. A blank one, without any signature and with nothing but zeros
where it is looked at, gets a file system; one with anything else on it is refused.
""",
)
agent.parameter(
    "fstype",
    default="xfs",
    check=lambda text: None if text in ("xfs", "ext4") else "not xfs or ext4",
    shortdesc="File system of a new disk",
    longdesc="The file system that a blank device gets: xfs or ext4. A device that has one already keeps it.",
)
agent.parameter(
    "options",
    shortdesc="Options of the volume",
    longdesc="name=value separated by blanks, as gluster volume set takes them; set when the volume is made, and when they differ.",
    reloadable=True,
    check=lambda text: next(
        (f"{word!r}, which is not name=value" for word in text.split() if "=" not in word[1:-1]), None
    ),
)
agent.parameter(
    "free",
    type="integer",
    default=3,
    check=checks.within(0, 90, "0 to 90"),
    shortdesc="Percent of free space",
    longdesc="With fewer percent of its file system's space or inodes free a brick counts as full, and its instance as degraded.",
    reloadable=True,
)
agent.parameter(
    "wait",
    type="time",
    default="20s",
    check=checks.positive,
    shortdesc="Wait for others within a start",
    longdesc="""
How long a start waits for other nodes that have to act first. Then it succeeds and the monitor goes on waiting, because the cluster manager
starts nothing else while a start is under way.
""",
    reloadable=True,
)
agent.parameter(
    "unit",
    default="glusterd.service",
    check=lambda value: None if value.endswith(".service") else "not the name of a service unit",
    shortdesc="Unit of the daemon",
    longdesc="The systemd unit that runs glusterd; it is restarted where that alone makes it see a disk that was replaced.",
)


@agent.action("start", timeout="240s")
def start(ctx: Context) -> int:
    """Prepare the bricks, and bring the volume into being, or wait."""
    from hafailover.agents.glustervolume.forming import Forming

    _require(ctx)
    return Forming(ctx).run()


@agent.action("stop", timeout="90s")
def stop(ctx: Context) -> int:
    """End this node's bricks."""
    from hafailover.agents.glustervolume import health

    health.stop(ctx)
    return SUCCESS


@agent.action("monitor", timeout="120s", interval="10s")
def monitor(ctx: Context) -> int:
    """SUCCESS, NOT_RUNNING, DEGRADED while it waits or something needs a person, ERR_GENERIC."""
    from hafailover.agents.glustervolume import health

    return health.probe(ctx) if ctx.is_probe else health.recurring(ctx)


@agent.action("notify", timeout="20s")
def notify(ctx: Context) -> int:
    """After the stop of an instance elsewhere: let go of its node if that has left the cluster."""
    if ctx.notify.type == "post" and ctx.notify.operation == "stop":
        from hafailover.agents.glustervolume import departed

        departed.let_go(ctx)
    return SUCCESS


@agent.action("validate-all", timeout="20s")
def validate_all(ctx: Context) -> int:
    """Whether the parameters agree with one another, and the node has what it needs."""
    _require(ctx)
    return SUCCESS


def _require(ctx: Context) -> None:
    own_address(ctx)
    reason = layout.refusal(len(addresses(ctx.params["nodes"])), ctx.params["replica"])
    if reason:
        raise OcfError(ERR_CONFIGURED, f"replica={ctx.params['replica']}: {reason}")
    ctx.require("gluster")
    if ctx.params["device"]:
        ctx.require("blkid")
        ctx.require("wipefs")
