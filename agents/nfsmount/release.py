"""Take a mount away and come to an end, whatever hangs: end its users, unmount, force, detach; each step has its own bound.

The system call is made directly: the programs umount and umount.nfs look at the mount point first, which hangs, and ask a dead
server to forget us.
"""

from __future__ import annotations

import ctypes
import os
import time

from hafailover.agents import child, mounts, proc
from hafailover.agents.nfsmount import users
from hafailover.agents.nfsmount.wanted import NFS
from hafailover.agents.ocf import Context
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence

    from hafailover.agents.mounts import Mount
    from hafailover.agents.nfsmount.users import User
else:
    import _signal as signal

_FORCE, _DETACH, _NOFOLLOW = 1, 2, 8
_EBUSY = 16
_POLL = 0.2


class Patience(NamedTuple):
    """Seconds for each step; ``scan`` is one look at all processes."""

    term: float
    kill: float
    plain: float
    force: float
    detach: float
    scan: float

    @property
    def all(self) -> float:
        """Seconds for the whole way: an attempt before the users are ended and one after it, and three looks."""
        return self.term + self.kill + 2 * self.plain + self.force + self.detach + 3 * self.scan


_PATIENCE = Patience(term=10.0, kill=5.0, plain=5.0, force=10.0, detach=5.0, scan=3.0)


def patience(remaining: float) -> Patience:
    """How long each step may take when the action has ``remaining`` seconds: three quarters of these for all of them."""
    share = min(1.0, max(remaining, 1.0) * 3 / 4 / _PATIENCE.all)
    return Patience(*(step * share for step in _PATIENCE))


class Released(NamedTuple):
    """``how`` it went: "unmounted", "forced" or "detached"; ``stays`` are processes that outlived it; ``fault`` why it is still there."""

    how: str
    stays: tuple[User, ...]
    fault: str


def release(ctx: Context, mount: Mount, *, detach: bool) -> Released:
    """Unmount ``mount``, which must be the topmost at its place, and what is mounted in it.

    ``detach`` allows to let go of a mount that is still used. It is wrong for a bind mount of a shared disk, which then stays in
    use, unseen, while another node mounts it.
    """
    bounds = patience(ctx.deadline.remaining())
    held = _unmount(mount, 0, bounds.plain) if _idle(mount) else "it is in use"
    if held is None:
        return Released("unmounted", (), "")
    who = users.find(mount.point, bounds.scan)
    blocked = _blocked(mount, who, bounds.scan)
    who = _ended(ctx, mount, who, bounds)
    held = _unmount(mount, 0, bounds.plain)
    if held is None:
        return Released("unmounted", (), "")
    # In NFS at both looks, and with no file of another mount to wait for: it hangs in this one, or in one with the same fate.
    blocked = [user for user in _blocked(mount, who, bounds.scan) if user in blocked]
    hint = f", and these hang in it: {listed(blocked)}" if blocked else ""
    ctx.log("warning", f"{mount.point}: {held}{hint}; forcing it")
    held, who = _force(mount, [*who, *blocked], bounds.force)
    if held is None:
        return Released("forced", tuple(who), "")
    if not detach:
        return Released("", tuple(who), held)
    ctx.log("warning", f"{mount.point}: {held}; detaching it from the tree of directories")
    held = _unmount(mount, _DETACH, bounds.detach)
    return Released("detached", tuple(who), "") if held is None else Released("", tuple(who), held)


def end_users(ctx: Context, mount: Mount) -> list[User]:
    """End the processes that use ``mount``, which itself cannot be taken away; who outlived that."""
    bounds = patience(ctx.deadline.remaining())
    return _ended(ctx, mount, users.find(mount.point, bounds.scan), bounds)


def _ended(ctx: Context, mount: Mount, who: list[User], bounds: Patience) -> list[User]:
    """Ask ``who`` to end, then kill them; who is still there."""
    if who:
        ctx.log("warning", f"{mount.point} cannot be unmounted yet; ending what uses it: {listed(who)}")
        who = _end(mount, who, signal.SIGTERM, bounds.term)
    if who:
        ctx.log("warning", f"not ended by TERM, killing: {listed(who)}")
        who = _end(mount, who, signal.SIGKILL, bounds.kill)
    return who


def one_server(mount: Mount, table: Sequence[Mount]) -> bool:
    """Whether all NFS on this node is from the server of ``mount``, so that who waits in NFS waits for that server."""
    server = mount.source.rpartition(":")[0]
    return mount.fstype in NFS and all(
        other.source.rpartition(":")[0] == server for other in table if other.fstype in NFS
    )


def _blocked(mount: Mount, known: list[User], seconds: float) -> list[User]:
    """The processes that hang in NFS, if all NFS is from the server of ``mount``, without those that are known by their files."""
    if not one_server(mount, mounts.read()):
        return []
    pids = [user.pid for user in known]
    return [user for user in users.waiting(seconds) if user.pid not in pids]


def _force(mount: Mount, who: list[User], seconds: float) -> tuple[str | None, list[User]]:
    """Unmount by force for ``seconds``; None when it is gone, else why not, and who of ``who`` is still there.

    Forcing makes the requests fail that wait for the server at this moment. A process that is to end has more of them, one after
    the other: what it wrote, then what closes its files.
    """
    until = time.monotonic() + seconds
    while True:
        held = _unmount(mount, _FORCE, max(0.5, until - time.monotonic()))
        who = _end(mount, who, signal.SIGKILL, 0.0)
        if held is None or time.monotonic() > until:
            return held, who
        time.sleep(_POLL)


def listed(who: list[User] | tuple[User, ...]) -> str:
    """Processes for a sentence; at most eight of them."""
    more = f" and {len(who) - 8} more" if len(who) > 8 else ""
    return ", ".join(str(user) for user in who[:8]) + more


def _idle(mount: Mount) -> bool:
    """Whether a plain attempt makes sense before its users are asked to end: not when something is mounted inside."""
    return not mounts.below(mounts.read(), mount.point)


def _end(mount: Mount, who: list[User], number: int, seconds: float) -> list[User]:
    """Send a signal to processes and wait; who is still there afterwards."""
    until = time.monotonic() + seconds
    for user in who:
        _signal(user, number)
    while True:
        left = [user for user in who if proc.started(user.pid) == user.started]
        if not left or time.monotonic() > until:
            return left
        time.sleep(_POLL)


def _signal(user: User, number: int) -> None:
    if proc.started(user.pid) == user.started:
        try:
            os.kill(user.pid, number)
        except ProcessLookupError:
            return


def _unmount(mount: Mount, flags: int, seconds: float) -> str | None:
    """Unmount it and all in it, within ``seconds``; None when it is gone, else why not."""
    until = time.monotonic() + seconds
    inner = mounts.below(mounts.read(), mount.point)
    why = None
    for each in [*inner, mount] if not flags & _DETACH else [mount]:  # detaching takes what is inside along
        answer = child.ask(lambda point=each.point: _umount2(point, flags), max(0.5, until - time.monotonic()))  # type: ignore[misc]
        if answer.text is None:
            why = f"unmounting {each.point} hangs"
        elif answer.text:
            why = f"unmounting {each.point}: {answer.text}"
    if any(found.identity == mount.identity for found in mounts.read()):
        return why or f"{mount.point} is still mounted"
    return None


def _umount2(point: str, flags: int) -> str:
    """Runs in the child. An empty text, or the error in words."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(point), flags | _NOFOLLOW) == 0:
        return ""
    number = ctypes.get_errno()
    return "it is in use" if number == _EBUSY else os.strerror(number)
