"""The monitor: does the cluster's own process answer on the address that clients use?"""

from __future__ import annotations

from hafailover.agents import nodes
from hafailover.agents.memcached import decide, life, wire
from hafailover.agents.memo import Memo
from hafailover.agents.ocf import DEGRADED, ERR_GENERIC, NOT_RUNNING, SUCCESS, Context, OcfError


def probe(ctx: Context) -> int:
    """Whether the unit runs here, whoever started it."""
    return NOT_RUNNING if decide.gone(life.state(ctx)) else SUCCESS


def recurring(ctx: Context) -> int:
    """SUCCESS; OcfError with NOT_RUNNING, DEGRADED, or ERR_GENERIC when it hangs and is to be restarted."""
    pid = _process(ctx)
    memo = Memo(ctx.instance)
    try:
        answer = wire.ask(nodes.own_address(ctx), ctx.params["port"], ctx.deadline.bound(ctx.params["patience"]))
        silent = decide.foreign(pid, answer.pid)
    except wire.Full:
        memo.clear(life.SILENT)
        raise OcfError(
            DEGRADED, "it lives, and all its connections are taken: raise connections in the topology"
        ) from None
    except wire.Unanswered as error:
        silent = str(error)
    if silent:
        count = 1 + int(memo.read(life.SILENT) or 0)
        memo.write(life.SILENT, str(count))
        reason = decide.hung(count)
        raise OcfError(
            ERR_GENERIC if reason else DEGRADED,
            f"{silent}; {reason or 'if it does not answer next time it is restarted'}",
        )
    memo.clear(life.SILENT)
    wrong = decide.misconfigured(answer.settings, open_files(pid))
    if wrong:
        raise OcfError(DEGRADED, wrong)
    return SUCCESS


def _process(ctx: Context) -> int:
    """The pid of the cache. systemd is asked only when it is not the one that was known: a question costs 5 ms."""
    before, lives = life.known(ctx)
    if lives:
        return before
    now = life.state(ctx)
    reason = decide.gone(now)
    if reason:
        from hafailover.agents import units

        raise OcfError(NOT_RUNNING, f"{reason}: {units.last_line(ctx, ctx.params['unit'])}")
    if now.active != "active" or not now.pid:
        raise OcfError(DEGRADED, f"it ended, and systemd starts it again ({now.sub})")
    life.remember(ctx, now.pid)
    if before:
        ctx.event(
            "memcached.emptied",
            f"process {before} ended and was started again as {now.pid}: the cache is empty",
            level="warning",
            pid=now.pid,
        )
    return now.pid


def open_files(pid: int) -> int:
    """How many files a process may have open; 0 when that cannot be told."""
    try:
        with open(f"/proc/{pid}/limits") as file:
            line = next((line for line in file if line.startswith("Max open files")), "")
    except OSError:  # it has just ended, which the next monitor tells
        return 0
    words = line.split()
    return int(words[3]) if len(words) > 3 and words[3].isdecimal() else 0
