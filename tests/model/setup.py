"""What is searched: how many nodes, which faults and how many, and which rule or step is left out to see what it is for."""

from __future__ import annotations

from typing import NamedTuple

from model.world import World

BOTH_NOTICE = "both sides notice"
PROMOTES_IN_TIME = "promotes in time"
FAULTS = ("cut", "crash", "off", "agent", "switch", "errant", "threads", "device", "swing", "ban")


class Setup(NamedTuple):
    """One search. ``start``: name of the first state; ``faults``: kind → how many; ``total``: of all kinds; ``writes``: by clients.

    ``without``: rules and steps that are left out. ``assume``: what is taken for granted about the world (``BOTH_NOTICE``: both
    sides of a cut notice it before either acts on it; ``PROMOTES_IN_TIME``: Pacemaker promotes an heir that it can promote before a dead
    primary has lost patience with it). ``fence_first``: the agent's parameter.
    """

    nodes: int = 2
    start: str = "in sync"
    faults: tuple[tuple[str, int], ...] = ()
    total: int = 2
    writes: int = 2
    two_node: bool = False
    fence_first: bool = False
    without: frozenset[str] = frozenset()
    assume: frozenset[str] = frozenset()

    def budget(self) -> tuple[int, ...]:
        allowed = dict(self.faults)
        assert set(allowed) <= set(FAULTS), allowed
        return (*(allowed.get(kind, 0) for kind in FAULTS), self.total)


def may(world: World, kind: str) -> bool:
    """Whether a fault of this kind is left."""
    return world.budget[-1] > 0 and world.budget[FAULTS.index(kind)] > 0


def spend(world: World, kind: str) -> World:
    """The world with one such fault less."""
    at = FAULTS.index(kind)
    left = tuple(count - (number in (at, len(FAULTS))) for number, count in enumerate(world.budget))
    return world._replace(budget=left)


class Step(NamedTuple):
    """One atomic step. ``kind``: ``go`` (happens if nothing prevents it), ``fault``, ``late`` (gives up, or would rarely come)."""

    says: str
    world: World
    kind: str = "go"
