"""Start and stop of the cache, each far shorter than its timeout: nothing else of the cluster may wait for a cache."""

from __future__ import annotations

import time

from hafailover.agents import nodes, proc, units
from hafailover.agents.memcached import decide, wire
from hafailover.agents.memo import Memo
from hafailover.agents.ocf import ERR_GENERIC, ERR_INSTALLED, Context, OcfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.memcached.wire import Answer
    from hafailover.agents.units import State

PROCESS, SILENT = "process", "silent"
_START = 10.0  # seconds until it must answer; it takes 0.1
_TERM = 3.0  # seconds to end in order; it has nothing to write
_POLL = 0.1
_LOCAL = 0.2  # seconds for this machine's own answer
_ASK = 10.0


def state(ctx: Context) -> State:
    """The unit as systemd sees it; OcfError when systemd does not answer."""
    unit = ctx.params["unit"]
    return units.state(ctx, [unit])[unit]


def start(ctx: Context) -> Answer | None:
    """Start the cache and wait until it answers; None when it is too full to answer. OcfError with the reason if it does not."""
    address, unit = nodes.own_address(ctx), ctx.params["unit"]
    require(ctx)
    # Restarts are systemd's: within a tenth of a second instead of a monitor's interval. Also has it read what render wrote.
    units.drop_in(
        ctx,
        unit,
        "# Written by ocf:hafailover:memcached\n[Service]\nRestart=always\nRestartSec=100ms\nTimeoutStopSec=5\n",
    )
    begun = time.time()
    units.begin(ctx, [unit])
    reason, found = _await_answer(ctx, address)
    if reason:
        stop(ctx)  # systemd would go on trying, behind the cluster's back
        said = units.last_line(ctx, unit, begun)
        raise OcfError(ERR_GENERIC, f"{reason}{decide.remedy(said)}{_taken(ctx)}: {said}")
    return found


def _await_answer(ctx: Context, address: str) -> tuple[str | None, Answer | None]:
    """Why it does not start, or None and its answer."""
    end = time.monotonic() + ctx.deadline.bound(_START)
    first, local = 0, None
    while True:
        now = state(ctx)
        reason = decide.failed_start(now, first)
        if reason:
            return reason, None
        first = first or now.pid
        try:
            found = wire.ask(address, ctx.params["port"], min(1.0, ctx.params["patience"]))
            reason = decide.foreign(now.pid, found.pid)
        except wire.Unanswered as error:
            if local is not None:
                return decide.unreachable(address, local), None
            # Said only when it still does not answer on the address next time: it may have begun to listen between the two questions.
            local = _local(ctx, address, now.pid)
            reason = str(error)
        except wire.Full:
            found = None
        if not reason and now.pid:
            remember(ctx, now.pid)
            return None, found
        if time.monotonic() > end:
            return reason or "systemd does not get it started", None
        time.sleep(_POLL)


def _local(ctx: Context, address: str, pid: int) -> str | None:
    """Where it listens, when it answers this machine and not on ``address``."""
    for loopback in ("127.0.0.1", "::1"):
        if loopback == address:
            continue
        try:
            found = wire.ask(loopback, ctx.params["port"], _LOCAL)
        except (wire.Unanswered, wire.Full):
            continue
        if found.pid == pid:
            return found.settings.get("inter", "")
    return None


def _taken(ctx: Context) -> str:
    """Who has the port, when somebody has."""
    port = ctx.params["port"]
    try:
        shown = ctx.run(["ss", "-Hltnp", f"sport = :{port}"], timeout=_ASK).out
    except OcfError:  # the program is not there; the reason goes without a name
        return ""
    _, _, users = shown.partition("users:((")
    name, _, rest = users.partition(",pid=")
    return f" (port {port} is taken by {name} {rest.partition(',')[0]})".replace('"', "") if rest else ""


def stop(ctx: Context) -> None:
    """End the cache, by SIGKILL if need be. Succeeds whatever happens: what is left of a cache is not worth a node's power."""
    try:
        now = state(ctx)
        killed = [] if now.load == "not-found" or now.dead else units.stop(ctx, [ctx.params["unit"]], _TERM)
        if killed:
            ctx.event("memcached.killed", f"it did not end within {_TERM:g} s and was killed", level="warning")
    except OcfError as error:
        ctx.event(
            "memcached.left",
            f"{error.reason}; it is taken for stopped all the same, because nobody loses anything by a cache that is left",
            level="error",
        )
    Memo(ctx.instance).clear(PROCESS, SILENT)


def require(ctx: Context) -> None:
    """OcfError ERR_INSTALLED when the program or its unit is not on this node."""
    ctx.require(ctx.params["binary"])
    now = state(ctx)
    if now.load != "loaded":
        raise OcfError(ERR_INSTALLED, f"{ctx.params['unit']}: {decide.gone(now)} on this node; install memcached")


def remember(ctx: Context, pid: int) -> None:
    """Keep the process for the monitor, which then need not ask systemd. OSError."""
    began = proc.started(pid)
    if began:
        Memo(ctx.instance).write(PROCESS, f"{pid} {began}")


def known(ctx: Context) -> tuple[int, bool]:
    """The process that was known last (0: none) and whether it still lives."""
    pid, _, began = (Memo(ctx.instance).read(PROCESS) or "0 ").partition(" ")
    number = int(pid) if pid.isdecimal() else 0
    return number, bool(number) and proc.started(number) == began
