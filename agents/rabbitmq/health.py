"""Whether the broker is well: a message there and back, the members it sees, and, rarely, what its own diagnostics say."""

from __future__ import annotations

import time

from hafailover.agents import generation
from hafailover.agents.memo import Memo
from hafailover.agents.ocf import DEGRADED, ERR_GENERIC, NOT_RUNNING, SUCCESS, Context, OcfError
from hafailover.agents.rabbitmq import amqp, decide
from hafailover.agents.rabbitmq.broker import Broker
from hafailover.agents.rabbitmq.cluster import Cluster, Refused
from hafailover.agents.rabbitmq.decide import Peer
from hafailover.agents.rabbitmq.disk import Disk
from hafailover.crm.pacemaker import PacemakerError

_NO_ACCOUNT = (403, 530)  # access refused; no such virtual host
_INTERNAL = 541
_YOUNG = 120  # seconds; Pacemaker's first monitors follow a start, when nodes are busy and nothing can have gone wrong that is not seen
_REFUSED = "Connection refused"
_HUNG_BOOT = 300.0  # seconds in which even a broker that waits for others tells its own tools something


def probe(ctx: Context) -> int:
    """SUCCESS if the broker's process is there, NOT_RUNNING if not; tells the other nodes what this one holds."""
    broker, disk, memo = Broker(ctx), Disk(ctx), Memo(ctx.instance)
    now = broker.state()
    if now.load != "loaded" or now.dead:
        memo.clear("told")  # the attribute daemon may be another one, which knows nothing
        told(ctx, disk)
        return NOT_RUNNING
    broker.keep()
    if memo.read("since") is None and memo.read("booting") is None:
        memo.write("booting", "the broker was found running")  # the first monitor that gets an answer records it
    else:
        memo.clear("told")  # and the next monitor tells it
    return SUCCESS


def told(ctx: Context, disk: Disk) -> None:
    """Tell what a node without a running broker holds. Nothing is lost when it cannot be told now: a start tells it again.

    Never an error: a stop that ended the broker has succeeded, and a disk that cannot be read is no reason to have the node fenced.
    """
    try:
        here = disk.holds(ctx.node)
        data = here.kind in (decide.KEPT, decide.ALONE)
        Cluster(ctx).tell_change(Peer(decide.STOPPED if data else decide.BLANK, here.kind, here.members, disk.view()))
    except (PacemakerError, OcfError, OSError, ValueError) as error:
        ctx.log("info", f"the other nodes are not told what is here: {error}")


def seen(ctx: Context, disk: Disk, memo: Memo) -> Peer:
    """What a node with a running broker tells."""
    return Peer(decide.RUNNING, decide.KEPT, disk.members(), disk.view(), int(memo.read("since") or 0))


def recurring(ctx: Context) -> int:
    """SUCCESS; OcfError with DEGRADED, NOT_RUNNING or ERR_GENERIC."""
    try:
        return _recurring(ctx)
    except (PacemakerError, Refused) as error:
        raise OcfError(DEGRADED, f"what the cluster knows of the brokers cannot be kept current: {error}") from None
    except (OSError, UnicodeError) as error:
        # Not a failure: to end a broker whose disk is bad, or is full, would end what still serves, and it could not start again.
        raise OcfError(DEGRADED, f"cannot be read or written, look at its disk: {error}") from None


def _recurring(ctx: Context) -> int:
    memo = Memo(ctx.instance)
    if memo.read("idle") is not None:
        from hafailover.agents.rabbitmq.starting import Start

        return Start(ctx).look_again()
    broker = Broker(ctx)
    booting = memo.read("booting") is not None
    try:
        blocked = broker.round_trip()
    except amqp.Unanswered as error:
        return _silent(ctx, broker, booting, str(error))
    except amqp.Refusal as error:
        if not booting:
            return _refused(ctx, error)
        blocked = None
    if booting:
        from hafailover.agents.rabbitmq.arrival import arrive

        arrive(ctx)
    if memo.clear("unwell"):
        generation.mark(ctx.instance, "the broker answers again")
        ctx.event("rabbitmq.well", "the broker answers again")
    fault = _apart(ctx, memo)
    if blocked is not None:
        fault = _alarm(ctx, memo, blocked)
    elif memo.clear("alarm"):
        ctx.event("rabbitmq.alarm-over", "publishers are not blocked any more")
    if ctx.check_level >= 10 and time.time() - int(memo.read("since") or 0) > _YOUNG:
        from hafailover.agents.rabbitmq.deep import look

        fault = look(ctx) or fault
    fault = _settings(ctx) or fault
    if fault:
        raise OcfError(DEGRADED, fault)
    return SUCCESS


def _alarm(ctx: Context, memo: Memo, said: str) -> str:
    """What blocks publishers, and where: the alarm of one broker blocks the clients of all. Asked once for each alarm."""
    if (memo.read("alarm") or "").partition("\n")[0] != said:
        from hafailover.agents.rabbitmq import control
        from hafailover.agents.rabbitmq.nodes import alarmed

        answer = control.run(ctx, ctx.node, ["eval", "rabbit_alarm:get_alarms()."], timeout=15)
        where = ", ".join(alarmed(answer.out)) if answer.rc == 0 and not answer.timed_out else ""
        text = f"publishers are blocked, {said}{where and f' on {where}'}: free what is short there, or raise its limit"
        memo.write("alarm", f"{said}\n{text}")
        ctx.event("rabbitmq.alarm", text, level="warning", of=where)
    return (memo.read("alarm") or "").partition("\n")[2]


def _settings(ctx: Context) -> str | None:
    """Bring the topology's settings into the broker after the file has changed; why that failed, or None. It is tried again then."""
    from hafailover.agents.rabbitmq import settings

    try:
        if not settings.applied(ctx):
            settings.apply(ctx)
    except OcfError as error:
        return f"the topology's users and policies are not in the broker: {error.reason}"
    return None


def _silent(ctx: Context, broker: Broker, booting: bool, what: str) -> int:
    """It does not answer. Dead, or booting, or given time: one slow answer is not death, and RabbitMQ restarts its inside by itself."""
    memo = Memo(ctx.instance)
    now = broker.state()
    if now.dead:
        raise OcfError(NOT_RUNNING, f"the broker has ended ({now.result}): {broker.last_words(0)}")
    if booting or now.active == "activating":
        from hafailover.agents.rabbitmq import control
        from hafailover.agents.rabbitmq.starting import boot_reason

        if memo.read("forced") is None and Cluster(ctx).allowed() == decide.FORCE:
            raise OcfError(
                ERR_GENERIC, "a person has said that it need not wait for others; it is started again for that"
            )
        answer = control.run(ctx, ctx.node, ["eval", "rabbit_boot_state:get()."], timeout=15)
        if answer.rc == 0:
            memo.clear("unwell")
        elif memo.since("unwell") > _HUNG_BOOT:
            raise OcfError(ERR_GENERIC, f"the broker boots and answers nobody any more: {control.why(ctx, answer)}")
        raise OcfError(DEGRADED, boot_reason(ctx))
    return _unwell(ctx, memo, what)


def _unwell(ctx: Context, memo: Memo, what: str) -> int:
    lasted = memo.since("unwell")
    if what.endswith(_REFUSED):
        what += ", as after rabbitmqctl stop_app"
    patience = ctx.params["patience"]
    if lasted <= patience:
        raise OcfError(DEGRADED, f"{what}; it is given {patience:g} s")
    raise OcfError(ERR_GENERIC, f"its process runs and it has not answered for {lasted:.0f} s: {what}")


def _refused(ctx: Context, error: amqp.Refusal) -> int:
    """It answers and refuses the check, so it lives; a restart would mend nothing, except what it calls an error of its own."""
    said = f"the broker refuses its health check ({error.code}: {error.words})"
    if error.code == _INTERNAL:
        return _unwell(ctx, Memo(ctx.instance), said)
    if error.code in _NO_ACCOUNT:
        from hafailover.agents.rabbitmq import settings

        try:
            settings.apply(ctx)
            said += "; its account was made anew"
        except OcfError as failed:
            said += f", and its account could not be made anew: {failed.reason}"
    raise OcfError(DEGRADED, said)


def _apart(ctx: Context, memo: Memo) -> str | None:
    """Why the members do not see one another, or None. OcfError when this broker has to be restarted to end that."""
    cluster, disk = Cluster(ctx), Disk(ctx)
    mine = seen(ctx, disk, memo)
    if not mine.members:
        # To be told as a broker without a cluster would have the others refuse to start beside it.
        return (
            f"its files in {disk.path} are gone while it runs: stop it only when another node has copies of its queues"
        )
    cluster.tell_change(mine)
    if not mine.members - mine.view:
        memo.clear("apart")
        if memo.clear("partition"):
            generation.mark(ctx.instance, "a partition of the brokers has ended")
            ctx.event("rabbitmq.healed", "all members see one another again")
        return None
    peers = cluster.peers()
    names = ", ".join(decide.apart(ctx.node, mine.view, peers))
    if not names:
        memo.clear("apart", "partition")  # they are simply not running
        return None
    lasted = memo.since("apart")
    if not lasted:
        return None  # one that has just ended, or died, has not told so yet
    if memo.read("partition") is None:
        memo.write("partition", names)
        ctx.event(
            "rabbitmq.partition", f"the broker on {names} runs, and this one does not see it", level="warning", of=names
        )
    if lasted > ctx.params["partition_patience"]:
        why = decide.loses(ctx.node, mine.view, mine.since, peers)
        if why:
            raise OcfError(ERR_GENERIC, f"partitioned from {names} for {lasted:.0f} s; this broker is restarted: {why}")
    return f"the brokers are partitioned, or that on {names} hangs: its process runs, and is not seen from here, for {lasted:.0f} s"
