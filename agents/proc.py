"""Processes and their threads, as the kernel tells of them in /proc, without running anything."""

from __future__ import annotations

import os

from hafailover.agents.record import NamedTuple


class Living(NamedTuple):
    """A process: ``state`` as in ps (R, S, D, T …); ``started``, clock ticks since boot, tells it from a later one of the same pid."""

    state: str
    started: str


def living(pid: int) -> Living | None:
    """The process of this pid; None if there is none, or only its remains."""
    fields = stat(f"/proc/{pid}/stat")
    return None if fields is None or fields[0] in "ZX" else Living(fields[0], fields[19])


def started(pid: int) -> str | None:
    """When a process began, in clock ticks since boot; None if there is none, or only its remains."""
    found = living(pid)
    return found.started if found else None


def states(pid: int) -> str:
    """One letter for the state of each thread (R, S, D, T, Z …); empty when there is no such process."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return ""
    found = (stat(f"/proc/{pid}/task/{task}/stat") for task in tasks)
    return "".join(fields[0] for fields in found if fields)


def hang(pid: int) -> bool:
    """Whether all that is left of a killed process hangs in the kernel, from where it will not come back to its program."""
    return not set(states(pid)) - set("DZX")


def stat(path: str) -> list[str] | None:
    """The fields of a ``stat`` file of /proc from the state on, or None when there is none."""
    try:
        with open(path, errors="replace") as file:  # a process may give itself any name
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None
