"""What somebody names as a file, read in bounded time and memory: a pipe may be slow, a device may never end."""

from __future__ import annotations

import os
import select
import stat
import time
from pathlib import Path

from hafailover.crm.errors import UsageError

PIPE_PATIENCE = 10.0
"""Seconds in which a pipe, such as a shell's ``<(command)``, must have been written to its end."""


def content(path: str | Path, limit: int) -> bytes:
    """The bytes of ``path``, at most one more than ``limit``; UsageError says why it cannot be read."""
    try:
        return _content(path, limit)
    except ValueError as error:  # a NUL in the name
        raise UsageError(f"{str(path)!r}: is no name of a file") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def _content(path: str | Path, limit: int) -> bytes:
    # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise UsageError(f"{path}: is a directory; name the file in it")
        if stat.S_ISFIFO(kind):
            return _pipe(descriptor, path, limit)
        if not stat.S_ISREG(kind):
            raise UsageError(f"{path}: is a device, not a file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(limit + 1)
    finally:
        os.close(descriptor)


def _pipe(descriptor: int, path: str | Path, limit: int) -> bytes:
    """Reading a pipe before its writer has opened it gives its end at once; poll() waits for the writer."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    parts: list[bytes] = []
    size, give_up = 0, time.monotonic() + PIPE_PATIENCE
    while size <= limit:
        if not poll.poll(max(0.0, give_up - time.monotonic()) * 1000):
            if not parts:
                raise UsageError(f"{path}: is a pipe into which nothing is written")
            raise UsageError(f"{path}: is a pipe that does not end within {PIPE_PATIENCE:g} s")
        part = os.read(descriptor, limit + 1 - size)
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)
