"""Does the mount answer? Asked by a child, because whoever asks a hung mount hangs with it.

What hangs is remembered in /run/hafailover/RESOURCE.hung: since when, and the child that could not be ended, so that a mount
that hangs for a day has one such child and not one for each monitor.
"""

from __future__ import annotations

import os
import time

from hafailover.agents import RUN_DIR, child
from hafailover.agents.child import Left
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.mounts import Mount

READ, WRITE = 10, 20  # what OCF_CHECK_LEVEL asks for: list the directory; write and read a file, too
_NO_CHILD = Left(0, "")
_ANSWERS = "answers"
_EIO = 5


class Hang(NamedTuple):
    """A mount (by identity) that has been silent ``since`` (seconds of the monotonic clock), and the child that hangs in it."""

    mount: str
    since: float
    left: Left


class Outcome(NamedTuple):
    """``silent``: seconds without an answer, None if it answered; ``before``: how long it had been silent until this answer,
    0 if it had not; ``error`` and ``words``: the error in the answer (0: none).
    """

    silent: float | None
    before: float
    error: int
    words: str


def look(resource: str, mount: Mount, level: int, patience: float, node: str = "") -> Outcome:
    """Ask the mount at its own mount point, and wait no longer than ``patience`` seconds for the answer.

    ``level`` is OCF_CHECK_LEVEL; with WRITE, ``node`` is in the name of the file that is written.
    """
    known = remembered(resource)
    if known is not None and known.mount != mount.identity:
        forget(resource)  # that mount is gone; the child in it, if any, hangs on alone and is nobody's business
        known = None
    if known is not None and known.left.pid and child.alive(known.left):
        return Outcome(time.monotonic() - known.since, 0.0, 0, "")
    begun = time.monotonic()
    answer = child.ask(lambda: _touch(mount.point, level, node), patience)
    if answer.text is None:
        hang = Hang(mount.identity, known.since if known else begun, answer.left or _NO_CHILD)
        _remember(resource, hang)
        return Outcome(time.monotonic() - hang.since, 0.0, 0, "")
    before = max(time.monotonic() - known.since, 0.001) if known else 0.0
    number, words = child.error(answer.text) or (0, "")
    if not number and answer.text != _ANSWERS:
        number, words = _EIO, "whoever asked it ended without an answer"
    return Outcome(None, before, number, words)


def _touch(point: str, level: int, node: str) -> str:
    """Runs in the child."""
    os.statvfs(point)
    # With a fixed fsid the handle of an export stands for whatever is at its path, also for the server's own disk when the
    # shared one is not mounted there; statvfs is content with that, the attributes show that it is another directory.
    os.stat(point)
    if level >= READ:
        os.listdir(point)
    if level >= WRITE:
        name = f"{point}/.hafailover-{node}"
        said = f"{time.time():.6f}\n".encode()
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, said)
            os.fsync(fd)
            if os.pread(fd, 100, 0) != said:
                return f"!5 what was written to {name} is not what is read from it"
        finally:
            os.close(fd)
        os.unlink(name)
    return _ANSWERS


def remembered(resource: str) -> Hang | None:
    """The hang that an earlier action saw, or None."""
    try:
        with open(_path(resource)) as file:
            mount, since, pid, started = file.read().split(" ")
        return Hang(mount, float(since), Left(int(pid), started.strip()))
    except (OSError, ValueError):
        return None


def forget(resource: str) -> None:
    """The mount answers, or is gone."""
    try:
        os.unlink(_path(resource))
    except FileNotFoundError:
        return


def _remember(resource: str, hang: Hang) -> None:
    os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
    path = _path(resource)
    with open(f"{path}.new", "w") as file:
        file.write(f"{hang.mount} {hang.since!r} {hang.left.pid} {hang.left.started}\n")
    os.replace(f"{path}.new", path)


def _path(resource: str) -> str:
    return f"{RUN_DIR}/{resource}.hung"
