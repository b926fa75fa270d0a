"""The states of a process's threads, as the kernel tells them."""

from __future__ import annotations

import os


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
        with open(path) as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None
