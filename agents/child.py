"""Work that may hang in the kernel is done by a child, which is killed and, if even that does not end it, left behind.

A process in uninterruptible sleep (state D) cannot be ended; whoever waits for it hangs with it. So nothing here waits
without a bound, and a child that could not be ended is known by its pid and start time.
"""

from __future__ import annotations

import os
import select
import time

from hafailover.agents import proc
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable
else:
    import _signal as signal  # the signal module would build enums for 5 ms

_GRACE = 0.5  # seconds in which a killed child has vanished, unless it hangs in the kernel


class Left(NamedTuple):
    """A child that did not end; ``started`` (clock ticks since boot) tells it from a later process with the same pid."""

    pid: int
    started: str


class Answer(NamedTuple):
    """``text`` is what the child said, or None if it was not done in time; ``left`` is the child if it could not be ended."""

    text: str | None
    left: Left | None


def ask(work: Callable[[], str], seconds: float) -> Answer:
    """The text that ``work`` returns, from a child that has ``seconds`` for it; its OSError as ``!NUMBER words``."""
    answer, complete, left = _run(lambda: [work()], seconds)
    return Answer(answer if complete else None, left)


def lines(work: Callable[[], Iterable[str]], seconds: float) -> list[str]:
    """The lines that ``work`` has produced in a child when it was done, or when its ``seconds`` were over."""
    answer = _run(lambda: (f"{line}\n" for line in work()), seconds)[0]
    found = answer.split("\n")
    return found[:-1]


def _run(work: Callable[[], Iterable[str]], seconds: float) -> tuple[str, bool, Left | None]:
    """What the child said, whether that is all, and the child if it could not be ended."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _work(work, reading, writing)
    os.close(writing)
    started = proc.started(pid) or ""
    try:
        chunks, complete = _read(reading, seconds)
    finally:  # also when a SIGTERM to the agent ends the wait
        os.close(reading)
        ended = end(pid)
    text = b"".join(chunks).decode("utf-8", "surrogateescape")
    return text, complete, None if ended else Left(pid, started)


def _read(fd: int, seconds: float) -> tuple[list[bytes], bool]:
    """What comes out of a pipe, and whether it was closed before the time was over."""
    until = time.monotonic() + seconds
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    chunks: list[bytes] = []
    while poll.poll(max(0.0, until - time.monotonic()) * 1000):
        chunk = os.read(fd, 65536)
        if not chunk:
            return chunks, True
        chunks.append(chunk)
    return chunks, False


def _work(work: Callable[[], Iterable[str]], reading: int, writing: int) -> None:
    """The child's life; never returns."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.close(reading)
        # Pacemaker reads the agent's output to its end, and this child may outlive the agent.
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.chdir("/")
        try:
            for said in work():
                _write(writing, said)
        except OSError as error:
            _write(writing, f"!{error.errno} {error.strerror}")
    finally:
        os._exit(0)


def _write(fd: int, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    while data:
        data = data[os.write(fd, data) :]


def end(pid: int) -> bool:
    """Kill a child of ours; False if it hangs in the kernel."""
    os.kill(pid, signal.SIGKILL)  # it is not reaped yet, so the pid is still its own
    until = time.monotonic() + _GRACE
    while time.monotonic() < until:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.01)
    return False


def alive(left: Left) -> bool:
    """Whether a child that was left behind still hangs."""
    return proc.started(left.pid) == left.started


def error(text: str) -> tuple[int, str] | None:
    """The number and words of the OSError in an answer's text, or None."""
    if not text.startswith("!"):
        return None
    number, _, words = text[1:].partition(" ")
    return (int(number) if number.isdecimal() else 0), words
