"""The recurring monitor: does the JVM answer, do the Apaches use it, has something begun anew that it depends on?"""

from __future__ import annotations

import time

from hafailover.agents import answers, managed, units
from hafailover.agents.memo import Memo
from hafailover.agents.ocf import DEGRADED, ERR_GENERIC, NOT_RUNNING, SUCCESS, Context, OcfError
from hafailover.agents.tomcat import decide, drain, jkstatus, life, place

_ASK = 10.0
_RESTART = 120.0  # seconds in which a JVM that was restarted for a new generation answers again


def probe(ctx: Context) -> int:
    """Whether it runs here, whoever started it."""
    unit = place.unit_name(ctx)
    now = units.state(ctx, [unit])[unit]
    return NOT_RUNNING if now.dead else SUCCESS


def monitor(ctx: Context) -> int:
    """SUCCESS, NOT_RUNNING; OcfError DEGRADED for a silence that is new, ERR_GENERIC for one that lasts."""
    memo, unit = Memo(ctx.instance), place.unit_name(ctx)
    if answers.process(ctx) is None:
        answers.look_again(ctx, unit, lambda since: life.last_words(ctx, unit, since))
        if memo.read(life.SEEN) is None:
            memo.write(life.SEEN, life.generations(ctx))
    wrong = life.silence(ctx, min(ctx.params["ping"], max(0.5, ctx.deadline.bound(float("inf")) / 3)))
    if wrong:
        _silent(ctx, memo, wrong)
    memo.clear(answers.SILENT)
    if memo.clear(life.ANEW):
        memo.clear(units.PLANNED)
        ctx.event("tomcat.anew", "it answers again after its restart")
        drain.restore(ctx)
    drain.repair(ctx)
    if ctx.params["watch"]:
        _follow(ctx, memo)
    return SUCCESS


def _silent(ctx: Context, memo: Memo, wrong: str) -> None:
    """It does not answer. OcfError: degraded at first, for a long collection of garbage is no death."""
    if memo.read(life.ANEW) is not None and memo.since(life.ANEW) < _RESTART:
        raise OcfError(DEGRADED, f"restarted, because something began anew; the JVM {wrong}")
    answers.silent(ctx, "the JVM", wrong)


def _follow(ctx: Context, memo: Memo) -> None:
    """Restart once what holds connections from before its database moved; one node after the other."""
    text = life.generations(ctx)
    newest = _numbers(text)
    news = decide.changed(_numbers(memo.read(life.SEEN) or ""), newest)
    if not news:
        return
    why = f"{', '.join(news)} began anew"
    unmanaged = managed.unmanaged(ctx)
    if unmanaged:
        raise OcfError(DEGRADED, f"{why}, and {unmanaged}")
    worker, urls = place.worker(ctx), jkstatus.urls(ctx.params["status"] or "")
    wait = decide.restart_waits(_views(ctx, urls), worker)
    if wait:
        raise OcfError(DEGRADED, f"{why}: the restart waits, {wait}")
    plan = decide.budget(ctx.deadline.remaining(), ctx.params["drain"], ctx.params["finish"], 0, _ASK)
    drain.drain(ctx, plan)
    if decide.yields(_views(ctx, urls), worker):
        drain.restore(ctx)
        raise OcfError(DEGRADED, f"{why}: the restart waits for the one of another node")
    # Before the restart: it must not be done again, whatever becomes of it.
    memo.write(life.SEEN, text)
    memo.write(life.ANEW, f"{time.monotonic():.6f}")
    memo.write(units.PLANNED, "")
    unit = place.unit_name(ctx)
    # Waited for as long as there is time (systemd goes on without us): the JVM that answers next is the new one.
    answer = ctx.run(["systemctl", "restart", "--", unit], timeout=ctx.deadline.bound(ctx.params["term"] + _ASK))
    if answer.rc != 0 and not answer.timed_out:
        raise OcfError(ERR_GENERIC, f"{why}; systemd does not restart {unit}: {answer.err.strip() or 'no answer'}")
    ctx.event("tomcat.restarted", f"restarted {unit}: {why}", level="warning", unit=unit)
    raise OcfError(DEGRADED, f"{why}: restarted")


def _views(ctx: Context, urls: tuple[str, ...]) -> list[dict[str, jkstatus.Member]]:
    """The workers as each Apache that answers sees them."""
    found = []
    for url in urls:
        try:
            found.append(jkstatus.members(url, ctx.params["balancer"], 1.0))
        except jkstatus.StatusError as error:
            ctx.log("info", str(error))
    return found


def _numbers(text: str) -> dict[str, int]:
    pairs = (line.partition(" ") for line in text.splitlines())
    return {name: int(number) for name, _, number in pairs}
