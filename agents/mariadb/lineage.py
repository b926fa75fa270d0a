"""Whose history this data directory has followed: a mark beside the data, written only when it was seen to be true.

A server that has only replicated from the recorded primary since that one was promoted has no transaction of its own that recovery would
have to remove. The mark lies in the data directory because it is said of that data; one that is missing or old only makes a start more
careful.
"""

from __future__ import annotations

import os

from hafailover.agents.record import NamedTuple

_NAME = "hafailover-lineage"


class Lineage(NamedTuple):
    """In ``epoch`` this data followed ``primary``, with which it agreed, or was the primary itself."""

    epoch: int
    primary: str


NONE = Lineage(0, "")


def read(datadir: str) -> Lineage:
    """The mark, or NONE when there is none that can be read."""
    try:
        with open(f"{datadir}/{_NAME}", encoding="utf-8", errors="replace") as file:
            epoch, _, primary = file.read().strip().partition(" ")
    except OSError:
        return NONE
    return Lineage(int(epoch), primary) if epoch.isdigit() and primary else NONE


def keep(datadir: str, seen: Lineage) -> bool:
    """Write the mark if it differs; False when it could not be written (a full disk), which leaves the old one."""
    if read(datadir) == seen:
        return True
    path = f"{datadir}/{_NAME}"
    try:
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(f"{seen.epoch} {seen.primary}\n")
        os.rename(path + ".new", path)
    except OSError:
        return False
    return True
