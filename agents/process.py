"""Run programs so that no action ever hangs: everything ends at its deadline, with what it started.

The ``subprocess`` module is not used: importing it costs 12 ms of processor time, more than the whole interpreter
start of 8 ms, and a monitor pays that every few seconds. ``os.posix_spawn``, ``select.poll`` and a pidfd cost 0.1 ms.
"""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable, Mapping, Sequence
else:
    import _signal as signal  # the signal module builds enums for 5 ms; constants and handlers are in this one

OUTPUT_LIMIT = 4 << 20  # bytes kept of each stream, unless a caller says otherwise; the rest is read and dropped
_ENDING = (signal.SIGTERM, signal.SIGINT)
_GRACE = 0.5  # seconds a killed child may take to vanish; one in uninterruptible sleep may take for ever


class Result:
    """What a program left: ``rc`` (negative: the signal that ended it), ``out``, ``err`` as text, ``timed_out``."""

    __slots__ = ("err", "out", "rc", "timed_out")

    def __init__(self, rc: int, out: str, err: str, timed_out: bool = False) -> None:
        self.rc, self.out, self.err, self.timed_out = rc, out, err, timed_out

    def __repr__(self) -> str:
        return f"Result(rc={self.rc}, out={self.out!r}, err={self.err!r}, timed_out={self.timed_out})"


def find(binary: str, path: str) -> str | None:
    """The full name of ``binary`` on the colon-separated ``path``, or None."""
    names = [binary] if "/" in binary else [f"{directory or '.'}/{binary}" for directory in path.split(":")]
    for name in names:
        if os.access(name, os.X_OK) and not os.path.isdir(name):
            return name
    return None


def run(
    program: str,
    argv: Sequence[str],
    timeout: float,
    env: Mapping[str, str],
    input: str | None,
    *,
    session: bool = False,
    limit: int = OUTPUT_LIMIT,
) -> Result:
    """Run the file ``program`` with ``argv``; after ``timeout`` seconds kill it and its descendants.

    ``session``: it gets one of its own. ``limit``: bytes kept of each stream. OSError if it cannot be started.
    """
    stdin = os.memfd_create("stdin") if input is not None else os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    opened = [stdin]
    blocked: list[Iterable[int]] = []
    try:
        if input is not None:
            # A file in memory instead of a pipe: the child can read or ignore it, and nobody blocks on writing.
            os.write(stdin, input.encode())
            os.lseek(stdin, 0, os.SEEK_SET)
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        opened += [out_read, out_write, err_read, err_write]
        # A signal to end that arrives between the child's start and the moment when _collect has it in its hands would leave
        # it behind, and it may run for as long as it likes. So it has to wait that long; _collect lets it in.
        blocked.append(
            signal.pthread_sigmask(signal.SIG_BLOCK, ())
        )  # by itself: the next line may raise, and must be undone
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        # An agent's child stays in its process group. Pacemaker kills an agent's whole group, without warning, on a timeout
        # and when it cancels a monitor; in a group of its own the child would survive that.
        pid = os.posix_spawn(
            program,
            list(argv),
            dict(env),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, stdin, 0),
                (os.POSIX_SPAWN_DUP2, out_write, 1),
                (os.POSIX_SPAWN_DUP2, err_write, 2),
            ],
            setsid=session,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGTERM, signal.SIGINT],
        )
        os.close(opened.pop(opened.index(out_write)))
        os.close(opened.pop(opened.index(err_write)))
        return _collect(pid, (_Stream(out_read, limit), _Stream(err_read, limit)), timeout, blocked)
    finally:
        for fd in opened:
            os.close(fd)
        _let_in(blocked)


def _let_in(blocked: list[Iterable[int]]) -> None:
    """Take back the mask of signals in ``blocked``, once; what has been waiting arrives here."""
    if blocked:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked.pop())


def _collect(pid: int, streams: Sequence[_Stream], timeout: float, blocked: list[Iterable[int]]) -> Result:
    """Read both pipes until the child has exited, or kill it. Reaps the child. Signals are let in once it cannot be left behind."""
    end = time.monotonic() + timeout
    child = _Child(pid)
    status, timed_out = None, False
    try:
        _let_in(blocked)
        while status is None:
            left = end - time.monotonic()
            timed_out = left <= 0
            if timed_out:
                status = child.kill()
                break
            child.wait(left, streams)
            status = child.status()
            # Once it has exited, what is there is all: a daemon left behind may hold the pipe open for ever.
            for stream in streams:
                stream.drain()
    finally:
        child.close()
    return Result(os.waitstatus_to_exitcode(status), streams[0].text(), streams[1].text(), timed_out)


class _Stream:
    """The reading end of a pipe, and what has come out of it."""

    __slots__ = ("_chunks", "_limit", "_size", "fd", "open")

    def __init__(self, fd: int, limit: int) -> None:
        os.set_blocking(fd, False)
        self.fd, self.open = fd, True
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0

    def drain(self) -> None:
        """Read all that is there."""
        while self.open:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                return
            self.open = bool(data)
            if self._size < self._limit:
                self._chunks.append(data)
                self._size += len(data)

    def text(self) -> str:
        return b"".join(self._chunks).decode("utf-8", "replace")


class _Child:
    """A child process that is reaped, or killed, before this object is forgotten."""

    __slots__ = ("_fd", "_pid", "_reaped")

    def __init__(self, pid: int) -> None:
        self._pid, self._reaped = pid, False
        try:
            self._fd = os.pidfd_open(pid)
        except OSError:  # a kernel before 5.3: wait() has to come back again and again
            self._fd = -1

    def wait(self, timeout: float, streams: Sequence[_Stream] = ()) -> None:
        """Sleep until it exits or has written something, at most ``timeout`` seconds."""
        poll = select.poll()
        for fd in (self._fd, *(stream.fd for stream in streams if stream.open)):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        poll.poll((timeout if self._fd >= 0 else min(timeout, 0.02)) * 1000)

    def status(self) -> int | None:
        """Its wait status, or None while it runs."""
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        self._reaped = pid != 0
        return status if pid else None

    def kill(self) -> int:
        """Kill it and its descendants; its wait status, or that of SIGKILL if it does not die."""
        kill_tree(self._pid)
        self.wait(_GRACE)
        status = self.status()
        self._reaped = True
        return int(signal.SIGKILL) if status is None else status

    def close(self) -> None:
        """Leave nothing running, whatever exception (a SIGTERM to the agent, say) ends the caller."""
        if not self._reaped:
            self.kill()
        if self._fd >= 0:
            os.close(self._fd)


def kill_tree(pid: int) -> None:
    """SIGKILL ``pid`` and all its descendants."""
    waiting, found = [pid], []
    while waiting:
        pid = waiting.pop()
        _kill(pid, signal.SIGSTOP)  # or it could start another one between our looking and our killing
        found.append(pid)
        waiting += _children(pid)
    for pid in found:
        _kill(pid, signal.SIGKILL)


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(child) for child in file.read().split()]
    except FileNotFoundError:  # it has just exited
        return found
    return found
