"""``hafailover doctor``: what a careful person would look at before trusting a cluster, on every node.

One module for each group of checks: its ``read`` looks at this node and returns plain data, its ``judge`` makes results of what all nodes
have told, without looking at anything. What could not be looked at is told as that, and is never well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

OK, WARN, FAIL, UNKNOWN = "ok", "WARN", "FAIL", "?"
VERDICTS = {OK: "ok", WARN: "warning", FAIL: "failed", UNKNOWN: "not looked at"}
"""How a result is called in JSON."""


class Result(NamedTuple):
    """One check: its name, on which node ("" for one of the cluster), what came of it, why that matters, and what to paste."""

    check: str
    verdict: str
    node: str
    what: str
    why: str = ""
    fix: str = ""


class Letter(NamedTuple):
    """What a node has told of itself: when, by its own clock (Unix time), and facts by group; ``error`` of one that it could not read."""

    node: str
    at: float
    facts: Mapping[str, Mapping[str, Any]]


class Seen(NamedTuple):
    """Everything there is to judge.

    here: the node that asks. now: its clock. nodes: all of the cluster. letters: what each told; ``missing``: why one told nothing.
    asked: peer → how far its clock is ahead of this node's, as {"ahead": s, "within": s}, or {"error": why}.
    stale: peer → why it could not be had to look again: its letter is of before.
    """

    here: str
    now: float
    nodes: tuple[str, ...]
    letters: Mapping[str, Letter]
    missing: Mapping[str, str]
    asked: Mapping[str, Mapping[str, Any]] = {}
    stale: Mapping[str, str] = {}

    def told(self, group: str) -> dict[str, Mapping[str, Any]]:
        """Node → the facts of a group, of the nodes that could read them."""
        found = {node: self.letters[node].facts.get(group) for node in self.nodes if node in self.letters}
        return {node: facts for node, facts in found.items() if facts is not None and "error" not in facts}

    def untold(self, group: str, check: str, what: str) -> Iterator[Result]:
        """A result for each node that is there and could not read the group."""
        for node in self.nodes:
            if node in self.letters:
                facts = self.letters[node].facts.get(group)
                if facts is None:
                    yield Result(
                        check, UNKNOWN, node, f"{what}: not looked at, because its hafailover does not know this check"
                    )
                elif "error" in facts:
                    yield Result(check, UNKNOWN, node, f"{what}: not looked at, because {facts['error']}")


def these(names: Iterable[str]) -> str:
    """``a, b and c``."""
    found = list(names)
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def text(value: object, most: int = 300) -> str:
    """What another node told, as a line that may be shown: whatever it is, and never longer than ``most``."""
    plain = "".join(one if one.isprintable() else " " for one in str(value)[: most + 1])
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def number(value: object) -> float | None:
    """A number that another node told, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e18 or value != value:
        return None
    return float(value)


def mapping(value: object) -> Mapping[str, Any]:
    """An object that another node told, or an empty one."""
    return value if isinstance(value, dict) else {}
