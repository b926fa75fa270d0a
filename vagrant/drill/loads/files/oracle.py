"""What acknowledged files and what the nodes read in the end prove: pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from hafailover.vagrant.drill.loads.gaps import Gap, longest_gap

_SHOWN = 5


class Written(NamedTuple):
    """A file that was acknowledged: its name, its checksum, when (Unix time), by the writer of which node."""

    name: str
    sum: str
    at: float
    node: str


class Healing(NamedTuple):
    """What a volume says of its own copies: bricks that are not connected, entries to heal, entries in split-brain."""

    away: tuple[str, ...]
    pending: int
    split: int

    @property
    def done(self) -> bool:
        """Whether every brick is there and nothing is left to do."""
        return not self.away and not self.pending and not self.split


def healing(text: str) -> Healing:
    """Read ``gluster volume heal VOLUME info summary``."""
    away, pending, split, brick = [], 0, 0, ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if line.startswith("Brick "):
            brick = line[len("Brick ") :].strip()
        elif key == "Status" and value.strip() != "Connected":
            away.append(brick)
        elif key == "Total Number of entries" and value.strip().isdecimal():
            pending += int(value)
        elif key == "Number of entries in split-brain" and value.strip().isdecimal():
            split += int(value)
    return Healing(tuple(away), pending, split)


def sums(text: str) -> dict[str, str]:
    """What a node read: the checksum of each file, or why it could not be read."""
    entries = [json.loads(line) for line in text.splitlines()]
    return {str(entry["name"]): str(entry.get("sum", entry.get("error"))) for entry in entries}


def missing(written: Sequence[Written], seen: Mapping[str, Mapping[str, str]]) -> tuple[int, list[str]]:
    """How many acknowledged files some node lacks or reads differently, and the sentences for the first of them."""
    bad: dict[str, str] = {}
    for node, found in seen.items():
        for one in written:
            if found.get(one.name) != one.sum:
                what = found.get(one.name, "not there")
                bad.setdefault(
                    one.name, f"{one.name} was acknowledged on {one.node}, and on {node} it is {_short(what)}"
                )
    problems = list(bad.values())[:_SHOWN]
    return len(bad), [*problems, *([f"and {len(bad) - _SHOWN} more files"] if len(bad) > _SHOWN else [])]


def _short(what: str) -> str:
    return "another content" if len(what) == 64 and " " not in what else what


def gap(written: Iterable[Written], without: str) -> Gap | None:
    """The longest time in which a writer of a node other than ``without`` had nothing acknowledged."""
    by_node: dict[str, list[float]] = {}
    for one in written:
        if one.node != without:
            by_node.setdefault(one.node, []).append(one.at)
    gaps = [found for moments in by_node.values() if (found := longest_gap(moments)) is not None]
    return max(gaps, key=lambda one: one.seconds, default=None)
