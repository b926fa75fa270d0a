"""Where resources were before each step, as far as their starts and stops were written down. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from hafailover.crm.history.words import Step

_AGAIN = 30.0  # seconds between two reports, agent's and Pacemaker's, of one start
_STARTS = ("services", "address")
_GONE = ("lost", "fence")


def arrivals(steps: Sequence[Step]) -> list[str | None]:
    """For each step that started something: the node on which that had run before, None where no earlier start is known.

    "" for all else: other steps, a start where it had run before, and what runs on several nodes at once or has a primary, such as a server
    that comes back as a replica: it has not moved.
    """
    several = _several(steps)
    last: dict[str, tuple[str, float, str | None]] = {}
    found: list[str | None] = []
    for step in steps:
        if step.name not in _STARTS or step.bad or not step.resource:
            found.append("")
            continue
        where, at, source = last.get(step.resource, ("", 0.0, None))
        if where == step.node and step.at - at > _AGAIN:
            source = ""
        elif where and where != step.node:
            source = where
        last[step.resource] = (step.node, step.at, source)
        found.append("" if step.resource in several else source)
    return found


def bereft(steps: Sequence[Step]) -> list[tuple[str, ...]]:
    """For each step that took a node away: the resources whose primary was there; () for all others."""
    primary: dict[str, str] = {}
    found: list[tuple[str, ...]] = []
    for step in steps:
        if step.name in _GONE and not step.bad:
            found.append(tuple(sorted(name for name, node in primary.items() if node == step.node)))
            continue
        found.append(())
        if step.bad or not step.resource:
            continue
        if step.name == "promote":
            primary[step.resource] = step.node
        elif step.name in ("demote", "stop") and primary.get(step.resource) == step.node:
            del primary[step.resource]
    return found


def _several(steps: Sequence[Step]) -> set[str]:
    """What ran on more than one node at a time, or was ever promoted."""
    runs: dict[str, set[str]] = defaultdict(set)
    found = set()
    for step in steps:
        if step.name in _GONE and not step.bad:
            for nodes in runs.values():
                nodes.discard(step.node)
        if step.bad or not step.resource:
            continue
        if step.name == "promote":
            found.add(step.resource)
        elif step.name in _STARTS:
            runs[step.resource].add(step.node)
        elif step.name == "stop":
            runs[step.resource].discard(step.node)
        if len(runs[step.resource]) > 1:
            found.add(step.resource)
    return found
