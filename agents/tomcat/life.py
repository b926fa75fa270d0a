"""Start and stop of one Tomcat, each within the action's time."""

from __future__ import annotations

import os
import time

from hafailover.agents import answers, generation, proc, units, web
from hafailover.agents.memo import Memo
from hafailover.agents.ocf import ERR_GENERIC, Context, OcfError
from hafailover.agents.tomcat import ajp, decide, drain, files, place

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # the signal module would build enums for 5 ms

_POLL = 0.3
_ASK = 10.0
_TO_KILL = 12.0  # seconds kept for the thread dump, for killing, and for saying so
_DUMP = 3.0  # seconds in which a JVM that can still write has written its threads
_LINES = 200
_DUMP_LINES = 10_000  # a dump has some twenty for each of a few hundred threads
ANEW, SEEN = "anew", "seen"


def start(ctx: Context) -> None:
    """Start it; return when AJP and the URL answer, and every Apache uses it. OcfError with the reason if not."""
    unit = place.unit_name(ctx)
    place.prepare(ctx, unit)
    fault = files.fault(ctx)
    if fault:
        raise OcfError(ERR_GENERIC, fault)
    memo = Memo(ctx.instance)
    memo.clear(ANEW)
    # Before the JVM: what begins anew while it starts, it may have met in its former life.
    memo.write(SEEN, generations(ctx))
    if units.state(ctx, [unit])[unit].dead:
        _refuse_stranger(ctx)
    answers.start(
        ctx,
        unit,
        "Tomcat",
        lambda timeout: silence(ctx, timeout),
        lambda since: last_words(ctx, unit, since),
    )
    drain.restore(ctx)


def _refuse_stranger(ctx: Context) -> None:
    """Nothing of ours runs, so whoever listens there would be taken for it."""
    address = place.address(ctx)
    if web.works([address], 1.0)[address]:
        raise OcfError(
            ERR_GENERIC,
            f"another process listens at {address[0]}:{address[1]} (ss -ltnp 'sport = :{address[1]}'): end it, or correct ajp",
        )


def silence(ctx: Context, timeout: float) -> str | None:
    """What is wrong with what it answers now, within ``timeout`` seconds for each question, or None."""
    wrong = ajp.silence(place.address(ctx), timeout)
    if wrong is None and ctx.params["url"]:
        said = web.ask({"url": ctx.params["url"]}, timeout)["url"]
        wrong = said and f"answers AJP, but its HTTP at {ctx.params['url']} {said}"
    return wrong


def generations(ctx: Context) -> str:
    """The resources of ``watch`` with the number of each one's newest generation."""
    return "".join(f"{name} {generation.read(name).number}\n" for name in (ctx.params["watch"] or "").split())


def last_words(ctx: Context, unit: str, since: float) -> str:
    """What the unit logged last that says why: Java's exceptions come before the lines that tell where."""
    telling = [line for line in units.log(ctx, unit, since, _LINES) if not line.startswith(("at ", "..."))]
    causes = [line for line in telling if "Exception" in line or "SEVERE" in line or "Error" in line]
    return (causes or telling or [""])[-1]


def stop(ctx: Context) -> str:
    """Drain, end, and if that hangs kill it; how it ended, as a sentence. Nothing that is dead takes time."""
    unit = place.unit_name(ctx)
    now = units.state(ctx, [unit])[unit]
    if now.dead:
        _forget(ctx)
        return "it was not running"
    Memo(ctx.instance).write(units.PLANNED, "")
    well = now.active == "active" and not answers.hangs(ctx)
    well = well and ajp.silence(place.address(ctx), min(ctx.params["ping"], 3.0)) is None
    plan = decide.budget(
        ctx.deadline.remaining(), ctx.params["drain"], ctx.params["finish"], ctx.params["term"], _TO_KILL
    )
    said = drain.drain(ctx, plan) if well else "not drained, for it does not answer"
    found = proc.living(now.pid) if now.pid and not well else None
    if found is not None and found.state in "Tt":
        # systemd's TERM comes with a CONT: requests from before would go on, and write what their sessions were then over
        # what they have become elsewhere.
        units.kill(ctx, [unit])
        said = "killed, for it was stopped by a signal"
    dumped: list[bool] = []
    killed = units.stop(ctx, [unit], plan.term, lambda left: dumped.append(_dump_threads(ctx, unit)))
    _forget(ctx)
    ended = "ended" if not killed else "killed, its threads are in the journal" if any(dumped) else "killed"
    return f"{said}; {ended}"


def _forget(ctx: Context) -> None:
    answers.forget(ctx)
    Memo(ctx.instance).clear(ANEW, SEEN)


def _dump_threads(ctx: Context, unit: str) -> bool:
    """Have the JVM write what each of its threads does, so that what hangs is known afterwards, too; whether it did."""
    pid = units.state(ctx, [unit])[unit].pid
    if not pid or not _is_java(pid):  # a shell, which a SIGQUIT would end without a word
        return False
    before = time.time()
    os.kill(pid, signal.SIGQUIT)
    end = time.monotonic() + min(_DUMP, max(0.0, ctx.deadline.remaining() / 4))
    while not any("Full thread dump" in line for line in units.log(ctx, unit, before, _DUMP_LINES)):
        if time.monotonic() > end:  # -Xrs, or nothing in it runs any more
            ctx.log("warning", f"{unit} does not end, and does not write what its threads do")
            return False
        time.sleep(_POLL)
    ctx.event("tomcat.dumped", f"{unit} does not end: its threads are in its journal", level="warning", unit=unit)
    return True


def _is_java(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip() == "java"
    except OSError:  # it has just ended
        return False
