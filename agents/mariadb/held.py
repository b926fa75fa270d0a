"""An instance that Pacemaker has started and whose server deliberately does not run.

Two reasons: it waits to learn in which role to recover (``waiting``), or its data directory is being replaced (``cloning``). To Pacemaker
such an instance is a healthy, unpromoted one that can never be promoted; failing it instead would have it restarted, or its node
fenced, for doing the right thing. The mark lies in /run: after a reboot everything is decided afresh.
"""

from __future__ import annotations

import os
import time

from hafailover.agents import RUN_DIR
from hafailover.agents.record import NamedTuple

WAITING = "waiting"
CLONING = "cloning"


class Held(NamedTuple):
    """Why no server runs: ``kind`` is WAITING or CLONING, ``why`` a sentence for people, ``since`` in seconds of the node's own clock."""

    kind: str
    why: str
    since: float


def _path(resource: str) -> str:
    return f"{RUN_DIR}/{resource}.held"


def hold(resource: str, kind: str, why: str) -> None:
    """Mark the instance as started without a server; another reason of the same kind does not begin the wait anew."""
    mark = read(resource)
    since = mark.since if mark and mark.kind == kind else time.monotonic()
    os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
    with open(_path(resource) + ".new", "w") as file:
        file.write(f"{kind} {since:.1f} {why}")
    os.rename(_path(resource) + ".new", _path(resource))


def read(resource: str) -> Held | None:
    """The mark, or None when a server is expected to run."""
    try:
        with open(_path(resource)) as file:
            kind, since, why = file.read().split(" ", 2)
    except FileNotFoundError:
        return None
    return Held(kind, why, float(since))


def release(resource: str) -> None:
    """Take the mark away; nothing happens if there is none."""
    if os.path.exists(_path(resource)):
        os.unlink(_path(resource))
