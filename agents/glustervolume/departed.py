"""Let go of a node that is known to be off, instead of waiting until its silence has lasted for the ping-timeout.

A node that loses its power closes no connection, and GlusterFS's clients wait in it with every write. The cluster knows earlier: when it
has fenced the node, it tells the instances on the others that the one there has stopped. Connections to it are then aborted, and the
clients go on with the other copies at once.
"""

from __future__ import annotations

from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Context, OcfError
from hafailover.crm.pacemaker import Pacemaker, PacemakerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# glusterd, and the range in which it gives ports to bricks.
_PORTS = ("(", "dport", "=", ":24007", "or", "dport", "ge", ":49152", ")")


def gone(stopped: Sequence[str], known: Collection[str], me: str, joined: Collection[str]) -> list[str]:
    """Of the nodes whose instance has ``stopped``, those of the list that are not in the cluster any more: others closed what they had."""
    return [node for node in stopped if node in known and node != me and node not in joined]


def let_go(ctx: Context) -> None:
    """Abort this node's connections to nodes that have left. It never fails: without it clients wait a little longer."""
    known = addresses(ctx.params["nodes"])
    try:
        joined = Pacemaker(ctx.run).joined()
    except PacemakerError as error:
        ctx.log("info", f"who is in the cluster cannot be read: {error}")
        return
    for node in gone(ctx.notify.stop, known, ctx.node, joined):
        try:
            answer = ctx.run(["ss", "-K", "-H", "-t", "-n", "dst", known[node], "and", *_PORTS], timeout=5)
        except OcfError as error:
            ctx.log("info", f"connections to {node} are not aborted: {error.reason}")
            return
        count = len(answer.out.splitlines())
        if count:
            ctx.event(
                "glustervolume.departed", f"{node} is off; {count} connections to it are aborted", of=node, count=count
            )
