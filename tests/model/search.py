"""Breadth first through all states, so that the first story that breaks an invariant is a shortest one.

``Search.run`` checks every state; ``settles`` lets the faults of a state heal and the cluster act fairly, to see where it ends.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from model import environment, invariants, procedures
from model.setup import Setup, Step
from model.starts import STARTS
from model.world import World, shifted

_SCHEDULES = 3000  # states that are searched for another schedule
_PATIENCE = 400  # steps in which a healthy cluster must have settled


class Result(NamedTuple):
    """``states``: how many were seen; ``deepest``: steps of the longest shortest path; ``complete``: nothing was left unexplored.

    ``violation``: the invariant that was broken, and how; ``story``: the steps to it. ``persons``: states → who needs a person.
    """

    states: int
    transitions: int
    deepest: int
    complete: bool
    violation: str | None
    story: tuple[str, ...]
    persons: int
    seconds: float


def following(setup: Setup, world: World) -> Iterator[Step]:
    yield from procedures.steps(setup, world)
    yield from environment.steps(setup, world)


class Search:
    """One search; keeps what it knows of states that settle."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._ends: dict[World, str | None] = {}
        self.persons = 0

    def run(self, limit: int = 10_000_000, liveness: bool = True, ignore: frozenset[str] = frozenset()) -> Result:
        """Search until the first violation, the end, or ``limit`` states. ``ignore``: invariants that are not asked for."""
        begin = time.process_time()
        first = STARTS[self.setup.start](self.setup)
        states = [first]
        came: list[tuple[int, str]] = [(-1, "")]
        depth = [0]
        seen = {first}
        transitions = 0
        at = 0

        def result(violation: str | None, story: tuple[str, ...], complete: bool) -> Result:
            took = time.process_time() - begin
            return Result(len(states), transitions, depth[-1], complete, violation, story, self.persons, took)

        def told(number: int) -> tuple[str, ...]:
            steps = []
            while number > 0:
                number, says = came[number]
                steps.append(says)
            return tuple(reversed(steps))

        while at < len(states):
            world = states[at]
            violation = invariants.broken(world)
            if violation and not any(violation.startswith(name) for name in ignore):
                return result(violation, told(at), False)
            if liveness:
                violation, end = self.settles(world)
                if violation and not any(violation.startswith(name) for name in ignore):
                    return result(violation, (*told(at), "-- from here on all faults heal --", *end), False)
            if len(states) > limit:
                return result(None, (), False)
            for step in following(self.setup, world):
                transitions += 1
                new = shifted(step.world)
                if new not in seen:
                    seen.add(new)
                    states.append(new)
                    came.append((at, step.says))
                    depth.append(depth[at] + 1)
            at += 1
        return result(None, (), True)

    def settles(self, world: World) -> tuple[str | None, tuple[str, ...]]:
        """What is wrong with where ``world`` ends when all faults heal and no more come, and the steps to there."""
        world = environment.heal(self.setup, world)
        path: list[World] = []
        says: list[str] = []
        verdict: str | None = None
        met = set()
        while True:
            if world in self._ends:
                verdict = self._ends[world]
                break
            if invariants.well(world):
                break
            met.add(world)
            path.append(world)
            step = self._fair(world, met)
            if step is None or len(path) > _PATIENCE:
                verdict = None if self._can_settle(path[0]) else self._verdict(world, step is None)
                break
            says.append(step.says)
            world = shifted(step.world)
        for passed in path:
            self._ends[passed] = verdict
        if verdict and verdict.startswith(invariants.NEEDLESS):
            self.persons += 1
        return verdict, tuple(says)

    def _can_settle(self, world: World) -> bool:
        """Whether some other schedule comes to a good end: the one that was tried is only the likeliest."""
        setup = self.setup._replace(writes=0)
        seen, queue = {world}, [world]
        for known in queue:
            if invariants.well(known):
                return True
            for step in following(setup, known):
                new = shifted(step.world)
                if step.kind != "fault" and new not in seen and len(seen) < _SCHEDULES:
                    seen.add(new)
                    queue.append(new)
        return False

    def _fair(self, world: World, met: set[World]) -> Step | None:
        """The step that comes first in a healthy cluster: the membership, then the databases, then the agents, each in its turn."""
        setup = self.setup._replace(writes=0)
        late = None
        for step in (*environment.steps(setup, world), *procedures.steps(setup, world)):
            if step.kind == "fault" or step.world in met:
                continue
            if step.kind == "go":
                return step
            late = late or step
        return late

    @staticmethod
    def _verdict(world: World, still: bool) -> str:
        who = invariants.for_a_person(world)
        if who:
            return f"{invariants.NEEDLESS}: {who} has diverged"
        return f"{invariants.PRIMARY}: {'nothing can happen any more' if still else 'it goes round and round'}"


def tell(result: Result) -> str:
    """The story of a counterexample, numbered."""
    lines = [f"{number:3}. {says}" for number, says in enumerate(result.story, 1)]
    return "\n".join([*lines, f"     => {result.violation}"])
