"""A recovery whose end no start has seen, because Pacemaker is not kept waiting for a long one.

A server that ends in its recovery, time and again, must be seen to do so once: its start then tries something else (the other role, a
clone) and tells the error. So after such a recovery the next start waits to the end, unless the server has been ready in between.
"""

from __future__ import annotations

import contextlib
import os

from hafailover.agents import RUN_DIR


def _path(resource: str) -> str:
    return f"{RUN_DIR}/{resource}.recovering"


def mark(resource: str) -> None:
    """The server is still recovering, and its start is over."""
    os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
    with open(_path(resource), "w"):
        pass


def marked(resource: str) -> bool:
    """Whether the server was last left in its recovery."""
    return os.path.exists(_path(resource))


def forget(resource: str) -> None:
    """For whoever finds the server ready: its recovery has come to a good end."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_path(resource))
