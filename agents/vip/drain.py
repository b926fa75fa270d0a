"""A planned stop of an address that cuts no request: new connections wait for the next node, the others finish.

The order on the wire: a rule drops what would open a connection (the client's kernel repeats it after one second, then after
three, and is not told of anything); the service ends kept connections; when none is left, the address goes. Without the rule
the service would go on taking connections to the very end, and some would be cut.
"""

from __future__ import annotations

import _socket as socket
import os
import time

from hafailover.agents import RUN_DIR, sockets, web
from hafailover.agents.ocf import Context, OcfError
from hafailover.agents.vip import netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from hafailover.agents.vip.place import Wanted

_NFT = 5.0
_RELOAD = 10.0
_ANSWER = 2.0
_POLL = 0.05
_AGAIN = 1.0  # seconds until the service is reloaded again: connections that were just being taken belong to its new processes
_RESERVE = 8.0  # seconds of the action that are kept for taking the address away


def drained(ctx: Context, wanted: Wanted, take_away: Callable[[], list[str]]) -> list[str]:
    """Let connections finish, then ``take_away``; what that returned. The rule goes in every case."""
    seconds = min(ctx.params["drain"], max(0.0, ctx.deadline.remaining() - _RESERVE))
    try:
        # Also when nothing is waited for: whoever is reset connects again at once, and would be taken by the kernel, even for
        # a service that hangs, while the address is still here.
        is_shut = _shut(ctx, wanted)
        hopeless = _hopeless(ctx)
        if hopeless:
            ctx.log("notice", f"{wanted} is not drained: the service {hopeless}")
        elif is_shut:
            _tell(ctx, wanted, *_await_end(ctx, wanted.ip, seconds))
        return take_away()
    finally:
        undo(ctx)


def _tell(ctx: Context, wanted: Wanted, left: int, took: float) -> None:
    said = f"{left} connections are cut" if left else "every connection has ended"
    ctx.event(
        "vip.drained",
        f"{wanted}: {said} after {took:.1f} s",
        level="warning" if left else "notice",
        address=str(wanted),
        cut=left,
        seconds=f"{took:.2f}",
    )


def _hopeless(ctx: Context) -> str | None:
    """Why no connection would come to a good end, or None."""
    url = ctx.params["drain_url"]
    return web.ask({"url": url}, _ANSWER)["url"] if url else None


def _await_end(ctx: Context, ip: bytes, seconds: float) -> tuple[int, float]:
    """Wait until no connection to the address is open, at most so long; how many are, and the seconds that it took."""
    units = (ctx.params["drain_reload"] or "").split()
    begun, again = time.monotonic(), 0.0
    while True:
        count = open_connections(ip)
        now = time.monotonic()
        if not count or now >= begun + seconds:
            return count, now - begun
        if units and now >= again:
            ctx.run(["systemctl", "--no-block", "reload", "--", *units], timeout=_RELOAD)
            again = now + _AGAIN
        time.sleep(_POLL)


def open_connections(ip: bytes) -> int:
    """How many TCP connections to this address of this node still have something to deliver."""
    wanted = {sockets.digits(ip)}
    if len(ip) == 4:
        wanted.add(sockets.digits(b"\0" * 10 + b"\xff\xff" + ip))
    return sum(one.state in sockets.OPEN and one.local[0] in wanted for one in sockets.tcp())


def _shut(ctx: Context, wanted: Wanted) -> bool:
    """Drop what would open a connection to the address; whether that was possible."""
    family = "ip" if netlink.family(wanted.ip) == socket.AF_INET else "ip6"
    rules = (
        f"add table inet {_table(ctx)}\ndelete table inet {_table(ctx)}\n"
        f"table inet {_table(ctx)} {{\n chain input {{\n  type filter hook input priority -150;\n"
        f"  {family} daddr {wanted} tcp flags & (fin|syn|rst|ack) == syn drop\n }}\n}}\n"
    )
    os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
    with open(_flag(ctx), "w") as file:  # before the rule: whoever comes after a killed stop has to remove it
        file.write("")
    try:
        done = ctx.run(["nft", "-f", "-"], timeout=_NFT, input=rules)
    except OcfError as error:
        reason = error.reason
    else:
        reason = "" if done.rc == 0 else done.err.strip() or "nft did not answer"
    if reason:
        ctx.log("warning", f"{wanted} is not drained: {reason}")
        undo(ctx)
    return not reason


def undo(ctx: Context) -> None:
    """Remove the rule, if it is there."""
    table = _table(ctx)
    try:
        # Adding what is there does nothing; deleting what is not there would be an error.
        done = ctx.run(["nft", "-f", "-"], timeout=_NFT, input=f"add table inet {table}\ndelete table inet {table}\n")
    except OcfError as error:  # no nft: there is no rule either
        ctx.log("info", error.reason)
    else:
        if done.rc != 0:
            ctx.log("warning", f"the rule of {table} could not be removed: {done.err.strip() or 'nft did not answer'}")
            return
    try:
        os.unlink(_flag(ctx))
    except FileNotFoundError:
        return


def _table(ctx: Context) -> str:
    return f"hafailover-{ctx.instance}"


def _flag(ctx: Context) -> str:
    return f"{RUN_DIR}/{ctx.instance}.draining"
