"""A server in a systemd unit whose answers prove that it works: what the agents of Apache and of Tomcat have in common.

It is started until it answers, its process is remembered so that a monitor need not ask systemd, and a silence is degraded
before it is a failure: a long pause is no death.
"""

from __future__ import annotations

import time

from hafailover.agents import checks, proc, units
from hafailover.agents.memo import Memo
from hafailover.agents.ocf import DEGRADED, ERR_GENERIC, ERR_INSTALLED, NOT_RUNNING, Agent, Context, OcfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

PROCESS, SILENT = "process", "silent"
_POLL = 0.2
_TO_SAY_SO = 5.0
_RECENT = 300.0  # seconds in which a dead one's last words are looked for


def parameters(agent: Agent, what: str, *, ping: str, patience: str, finish: str, term: str) -> None:
    """Declare the times of an agent; ``what`` is its server as a subject, the others are defaults."""
    agent.parameter(
        "ping",
        type="time",
        default=ping,
        shortdesc="Time for an answer",
        longdesc=f"How long {what} may take to answer, 500ms to 10s.",
        check=checks.within(0.5, 10, "500ms to 10s"),
        reloadable=True,
    )
    agent.parameter(
        "patience",
        type="time",
        default=patience,
        shortdesc="Time until a silence is a failure",
        longdesc=f"""
For how long {what} may live and leave the monitor without an answer before it counts as hung. By default that is the second silence
in a row: it may have been busy, or collecting garbage, for a moment. With 0s it is the first.
""",
        check=checks.within(0, 3600, "0 to 1h"),
        reloadable=True,
    )
    agent.parameter(
        "finish",
        type="time",
        default=finish,
        shortdesc="Time for requests to end",
        longdesc="How long a stop waits for requests under way, after all new ones go elsewhere. It ends when there is none.",
        check=checks.within(0, 3600, "0 to 1h"),
        reloadable=True,
    )
    agent.parameter(
        "term",
        type="time",
        default=term,
        shortdesc="Time to end",
        longdesc=f"How long {what} may take to end by itself before it is killed.",
        check=checks.within(1, 3600, "1s to 1h"),
        reloadable=True,
    )


def require_unit(ctx: Context, unit: str, remedy: str) -> None:
    """OcfError ERR_INSTALLED when systemd has no such unit; it is logged when systemd would start it by itself."""
    load = units.state(ctx, [unit])[unit].load
    if load != "loaded":
        word = "masked" if load == "masked" else "not installed"
        raise OcfError(ERR_INSTALLED, f"{unit} is {word} on this node; {remedy}")
    warn(ctx, unit)


def warn(ctx: Context, unit: str) -> None:
    """Log it when systemd would start the unit by itself."""
    warning = units.boot_warning(ctx, unit)
    if warning:
        ctx.log("warning", warning)


def start(
    ctx: Context,
    unit: str,
    what: str,
    silence: Callable[[float], str | None],
    last_words: Callable[[float], str],
) -> None:
    """Start ``unit`` and wait until ``silence(timeout)`` is None. OcfError with the reason, at once when the process ends.

    ``last_words`` of it since a Unix time go into the reason. PLANNED is left until it answers: an end meanwhile is the start's to report.
    """
    memo = Memo(ctx.instance)
    memo.clear(SILENT)
    memo.write(units.PLANNED, "")
    begun = time.time()
    units.begin(ctx, [unit])
    while True:
        now = units.state(ctx, [unit])[unit]
        if now.dead:
            raise OcfError(ERR_GENERIC, f"{what} ended while it was started: {last_words(begun) or now.result}")
        left = ctx.deadline.remaining() - _TO_SAY_SO
        wrong = silence(max(0.5, min(ctx.params["ping"], left))) if now.active == "active" else "is being started"
        if wrong is None:
            remember(ctx, now.pid)
            memo.clear(units.PLANNED)
            return
        if left <= 0:
            said = last_words(begun)
            raise OcfError(ERR_GENERIC, f"{what} {wrong}, at the end of the start's time{': ' + said if said else ''}")
        time.sleep(_POLL)


def remember(ctx: Context, pid: int) -> None:
    """Keep the main process for the monitor."""
    Memo(ctx.instance).write(PROCESS, f"{pid} {proc.started(pid) or '-'}")


def process(ctx: Context) -> proc.Living | None:
    """The process that was remembered, if it lives: two small files are read, nothing is run."""
    pid, _, started = (Memo(ctx.instance).read(PROCESS) or "0 -").partition(" ")
    found = proc.living(int(pid)) if pid != "0" else None
    return found if found is not None and found.started == started else None


def is_stopped(ctx: Context) -> bool:
    """Whether its main process was stopped by a signal, or is held by a debugger."""
    found = process(ctx)
    return found is not None and found.state in "Tt"


def look_again(ctx: Context, unit: str, last_words: Callable[[float], str]) -> None:
    """Nothing is known of it, or another process is in its place. OcfError NOT_RUNNING, with its last words, when it is dead."""
    now = units.state(ctx, [unit])[unit]
    if now.dead:
        known = forget(ctx)
        reason = f"{unit} has ended ({now.result}): {last_words(time.time() - _RECENT) or 'without a word'}"
        raise OcfError(NOT_RUNNING, reason if known else f"{unit} does not run")
    if now.pid:
        remember(ctx, now.pid)


def forget(ctx: Context) -> bool:
    """It does not run any more; whether anything was known of it."""
    return Memo(ctx.instance).clear(PROCESS, SILENT)


def silent(ctx: Context, what: str, wrong: str) -> NoReturn:
    """It lives and does not answer. OcfError DEGRADED at first, ERR_GENERIC after ``patience``."""
    failed, said = hung(Memo(ctx.instance).since(SILENT), ctx.params["patience"], f"{what} {wrong}")
    raise OcfError(ERR_GENERIC if failed else DEGRADED, said)


def hangs(ctx: Context) -> bool:
    """Whether the monitor has found that it hangs: who stops it then need not wait for an answer once more."""
    memo = Memo(ctx.instance)
    return memo.read(SILENT) is not None and memo.since(SILENT) >= ctx.params["patience"]


def hung(silent_for: float, patience: float, wrong: str) -> tuple[bool, str]:
    """Whether a silence of so many seconds is a failure, and the sentence for it."""
    said = f"{wrong}, for {silent_for:.0f} s now"
    if silent_for < patience:
        return False, f"{said}; it counts as hung after {patience:g} s"
    return True, f"{said}; it hangs"
