"""What nodes tell one another of their instances, as one line of an attribute of the cluster. Pure."""

from __future__ import annotations

from hafailover.agents.glustervolume.decide import BLOCKED, READY, RUNNING, STOPPED, Told


def line(told: Told) -> str:
    """What a node tells, for an attribute of the cluster."""
    lists = (",".join(sorted(told.serves)) or "-", ",".join(sorted(told.blames)) or "-")
    return " ".join((told.state, told.uuid or "-", *lists, told.why)).strip()


def hear(text: str) -> Told | None:
    """What another node told; None for something that this version does not say."""
    words = text.split(" ", 4)
    if len(words) < 4 or words[0] not in (READY, RUNNING, BLOCKED, STOPPED):
        return None
    lists = [frozenset() if word == "-" else frozenset(word.split(",")) for word in words[2:4]]
    return Told(words[0], "" if words[1] == "-" else words[1], lists[0], lists[1], words[4] if len(words) > 4 else "")
