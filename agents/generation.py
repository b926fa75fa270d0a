"""Tell the services that use a resource when they must begin anew, and why.

A broker that restarted, a database whose primary moved, content that was mounted again: a process that holds a connection
or a file open from before may hang for ever, and looks alive. The agent of the supplier counts such changes on its node;
the agent of whoever uses it compares the count with the one it started with. A file on a tmpfs: what dies with the node
need not be told to what dies with it, too.
"""

from __future__ import annotations

import os
import time

from hafailover.agents import RUN_DIR
from hafailover.agents.record import NamedTuple


class Generation(NamedTuple):
    """``number`` counts from 1 (0: nothing was ever told), ``since`` is a Unix time, ``key`` what it was told for."""

    number: int
    since: float
    key: str
    why: str


NEVER = Generation(0, 0.0, "", "")


def read(resource: str) -> Generation:
    """The newest generation of ``resource`` on this node."""
    try:
        with open(_path(resource)) as file:
            number, since, key, why = file.read().rstrip("\n").split("\t", 3)
        return Generation(int(number), float(since), key, why)
    except FileNotFoundError:
        return NEVER
    except ValueError:  # nobody writes that; a new mark puts it right
        return NEVER


def mark(resource: str, why: str, key: str = "") -> Generation:
    """Begin a new generation: users of ``resource`` have to begin anew, because of ``why`` (words for a person). OSError."""
    new = Generation(read(resource).number + 1, time.time(), _word(key), _word(why))
    os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
    # Nobody may read half of it, and two actions of one resource never run at once.
    temporary = f"{_path(resource)}.new"
    with open(temporary, "w") as file:
        file.write(f"{new.number}\t{new.since:.3f}\t{new.key}\t{new.why}\n")
    os.replace(temporary, _path(resource))
    return new


def note(resource: str, key: str, why: str) -> bool:
    """Begin a new generation if ``key`` is not the key of the newest one; whether that was so. OSError.

    The first key ever noted is a generation, too: who started before it did so without the supplier.
    """
    if read(resource).key == _word(key):
        return False
    mark(resource, why, key)
    return True


def _path(resource: str) -> str:
    return f"{RUN_DIR}/{resource}.generation"


def _word(text: str) -> str:
    return " ".join(text.split())
