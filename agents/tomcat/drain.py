"""Have every Apache leave this node's worker alone before it stops, and use it again afterwards."""

from __future__ import annotations

import time

from hafailover.agents.memo import Memo
from hafailover.agents.tomcat import decide, jkstatus, place
from hafailover.agents.tomcat.jkstatus import StatusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hafailover.agents.ocf import Context
    from hafailover.agents.tomcat.decide import Budget
    from hafailover.agents.tomcat.jkstatus import Member

_ANSWER = 1.0  # seconds for a status worker, which holds nothing up: it is asked again
_POLL = 0.2
_TWICE = 2  # a request that has just chosen the worker is not counted as busy yet
DRAINED = "drained"


def drain(ctx: Context, plan: Budget) -> str:
    """Stop new sessions, then all requests, and wait for those under way; what was done, as words. Never an error."""
    worker = place.worker(ctx)
    if not ctx.params["status"]:
        return "not drained, for no Apache is named"
    willing = [url for url in jkstatus.urls(ctx.params["status"]) if _is_willing(ctx, url, worker)]
    if not willing:
        return "not drained"
    # Before the first change: whoever comes after a killed stop has to take it back.
    Memo(ctx.instance).write(DRAINED, "\n".join(willing))
    begun = time.monotonic()
    if plan.drain > 0:
        willing = _hold(ctx, willing, worker, jkstatus.DISABLED, plan.drain, lambda busy: False)
    quiet = [0]

    def is_over(busy: Sequence[int]) -> bool:
        quiet[0] = quiet[0] + 1 if decide.idle(busy) else 0
        return quiet[0] >= _TWICE

    _hold(ctx, willing, worker, jkstatus.STOPPED, plan.finish, is_over)
    took = time.monotonic() - begun
    text = f"drained in {took:.1f} s" if quiet[0] >= _TWICE else f"requests are still under way after {took:.1f} s"
    ctx.event("tomcat.drained", f"{worker}: {text}", worker=worker, seconds=f"{took:.2f}")
    return text


def _is_willing(ctx: Context, url: str, worker: str) -> bool:
    """Whether this Apache can do without the worker; it is logged why not."""
    try:
        reason = decide.no_drain(jkstatus.members(url, ctx.params["balancer"], _ANSWER), worker)
    except StatusError as error:
        reason = str(error)
    if reason:
        ctx.log("notice", f"{worker} is not drained at {url}: {reason}")
    return reason is None


def _hold(
    ctx: Context,
    urls: Sequence[str],
    worker: str,
    activation: str,
    seconds: float,
    is_over: Callable[[Sequence[int]], bool],
) -> list[str]:
    """Keep the worker so in every Apache until ``is_over(busy requests)`` or for ``seconds``; the URLs that still answer."""
    end = time.monotonic() + seconds
    alive = list(urls)
    while True:
        busy = []
        for url in list(alive):
            try:
                busy.append(_held(ctx, url, worker, activation).busy)
            except StatusError as error:
                alive.remove(url)
                ctx.log("notice", f"{error}; its requests are not waited for")
        if not alive or is_over(busy) or time.monotonic() >= end:
            return alive
        time.sleep(min(_POLL, max(0.0, end - time.monotonic())))


def _held(ctx: Context, url: str, worker: str, activation: str) -> Member:
    """The worker, after it was set (again: a graceful reload of Apache resets it). StatusError."""
    found = jkstatus.members(url, ctx.params["balancer"], _ANSWER).get(worker)
    if found is None:
        raise StatusError(f"{url} has no worker {worker} any more")
    if found.activation != activation:
        jkstatus.set_activation(url, ctx.params["balancer"], worker, activation, _ANSWER)
    return found


def restore(ctx: Context, only: Sequence[str] | None = None) -> list[str]:
    """Have every Apache (or ``only`` these) use the worker again; the URLs where that is still to be done."""
    memo, worker = Memo(ctx.instance), place.worker(ctx)
    left = []
    for url in only if only is not None else jkstatus.urls(ctx.params["status"] or ""):
        try:
            found = jkstatus.members(url, ctx.params["balancer"], _ANSWER).get(worker)
            if found is not None and found.activation != jkstatus.ACTIVE:
                jkstatus.set_activation(url, ctx.params["balancer"], worker, jkstatus.ACTIVE, _ANSWER)
                ctx.event("tomcat.restored", f"{url} uses {worker} again", worker=worker)
            if found is not None and found.state == jkstatus.FAILED:
                jkstatus.recover(url, ctx.params["balancer"], worker, _ANSWER)
        except StatusError as error:
            # One that hangs or cannot be reached now may come back with what a stop had told it.
            left.append(url)
            ctx.log("info", f"{worker}: {error}; tried again by the monitor")
    if left:
        memo.write(DRAINED, "\n".join(left))
    else:
        memo.clear(DRAINED)
    return left


def repair(ctx: Context) -> None:
    """Take back what a stop that was killed, or a start that did not reach every Apache, has left."""
    left = Memo(ctx.instance).read(DRAINED)
    if left:
        restore(ctx, left.split())
