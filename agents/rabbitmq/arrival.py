"""A broker has begun to answer: make it count, give it its settings, and tell those who use it."""

from __future__ import annotations

from hafailover.agents import generation
from hafailover.agents.memo import Memo
from hafailover.agents.ocf import ERR_GENERIC, Context, OcfError
from hafailover.agents.rabbitmq import decide, settings
from hafailover.agents.rabbitmq.broker import Broker
from hafailover.agents.rabbitmq.cluster import Cluster
from hafailover.agents.rabbitmq.decide import Peer
from hafailover.agents.rabbitmq.disk import Disk


def arrive(ctx: Context) -> None:
    """Record it as a member, end what was begun, import the settings, mark a new generation. OcfError; Refused; PacemakerError."""
    cluster, disk, broker, memo = Cluster(ctx), Disk(ctx), Broker(ctx), Memo(ctx.instance)
    begun = disk.begun() or ""
    members = disk.members()
    if begun.startswith(decide.JOIN) and not members - {cluster.node}:
        # Its peer was gone at the very moment at which it booted: it is a broker of its own now, which nobody has used.
        raise OcfError(ERR_GENERIC, f"it could not {begun}, and began by itself; it is started anew")
    if not cluster.record().founder:
        cluster.claim()
    cluster.add_member()
    if begun == decide.FOUND:
        # Before it counts: an interrupted founding is begun anew, and removes the account then.
        settings.remove_guest(ctx)
    disk.finish()
    broker.end_joining()
    try:
        if begun or not settings.applied(ctx):
            settings.apply(ctx)
    except OcfError as error:
        # A tool that is slow on a busy node is no reason to end a broker that runs; the monitor tries again.
        Memo(ctx.instance).clear("applied")
        ctx.log("warning", f"the topology's users and policies are not in the broker yet: {error.reason}")
    since = broker.since()
    memo.write("since", str(since))
    memo.clear("booting", "forced", "idle", "unwell", "apart", "partition")
    cluster.tell(Peer(decide.RUNNING, decide.KEPT, members, disk.view(), since))
    if cluster.allowed():
        cluster.done()
    broker.expect_life()
    words = {decide.FOUND: "founded its cluster", "": "is a member of its cluster again"}.get(begun, f"did {begun}")
    ctx.event(
        f"rabbitmq.{begun.partition(' ')[0] or 'started'}",
        f"the broker runs and {words}; members: {', '.join(sorted(members))}",
        members=",".join(sorted(members)),
        running=",".join(sorted(disk.view())),
    )
    generation.mark(ctx.instance, f"the broker was started and {words}")
