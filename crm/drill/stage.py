"""What every step of a run works on: the cluster, who is who in it, and what will have to be taken back."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from hafailover.crm import waiting
from hafailover.crm.drill.actions import FAULTS, Step
from hafailover.crm.drill.breakage import Breakage
from hafailover.crm.drill.conditions import Conditions
from hafailover.crm.drill.crew import Crew
from hafailover.crm.drill.place import Place
from hafailover.crm.drill.stacks import Stack
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import HafailoverError

_IN_SYNC_WITHIN = 120.0
_POLL = 0.25
_ROLE = re.compile(r"\{(\w+)\}")


class Restore(NamedTuple):
    """How to take back what a step did inside ``node`` ("": in none): a name for people, and what to call."""

    what: str
    node: str
    call: Callable[[], None]


class Stage:
    """One run's surroundings. ``roles`` maps primary, replica and quorum to nodes as they were before the first step.

    ``fault`` is the Unix time of the first step that disturbs the service, ``rejoined`` that of the first successful
    wait for "rejoined" or "settled"; None until then. ``notes`` says what could not be done and need not be. ``began`` is when the
    present step began. ``crew`` are the
    writers, None where there is no database. ``restores`` grows with every step that changed something in a node, ``requests`` with
    every switchover that was asked for and not waited for, ``sessions`` (by node) with every program that holds some open.
    """

    def __init__(
        self,
        place: Place,
        target: Target,
        stack: Stack,
        conditions: Conditions,
        roles: Mapping[str, str],
        crew: Crew | None = None,
    ) -> None:
        self.fault: float | None = None
        self.fault_action = ""
        self.rejoined: float | None = None
        self.notes: list[str] = []
        self.restores: list[Restore] = []
        self.requests: list[subprocess.Popen[str]] = []
        self.sessions: dict[str, list[subprocess.Popen[str]]] = {}
        self.place = place
        self.target = target
        self.stack = stack
        self.conditions = conditions
        self.roles = roles
        self.crew = crew
        self.breakage = Breakage(place, target)
        self.began = time.time()
        self._first: Step | None = None

    def begins(self, step: Step) -> None:
        """A step begins; the first fault of the run is the moment that all times count from."""
        self.began = time.time()
        if step.action in FAULTS and self.fault is None:
            self.fault, self.fault_action, self._first = time.time(), step.action, step

    def await_in_sync(self) -> None:
        """Wait until every replica is in sync: on a busy machine one may have lost touch since the run began.

        HafailoverError if one does not regain it. A fault that met it stale would be another scenario.
        """
        for role, node in self.roles.items():
            if role.startswith("replica"):
                self._await_replica(node)

    def _await_replica(self, node: str) -> None:
        why: str | None = None

        def in_sync() -> bool | None:
            nonlocal why
            why = self.conditions.why_not_replica(node)
            return True if why is None else None

        try:
            waiting.wait("in sync", _IN_SYNC_WITHIN, in_sync, _POLL)
        except HafailoverError:
            raise HafailoverError(f"{node} is not a replica in sync before the fault: {why}") from None

    def strikes(self, step: Step, when: float) -> None:
        """The first fault's time is when it took effect, not when it was ordered."""
        if step is self._first:
            self.fault = when

    def node(self, step: Step) -> str:
        """Return the node that a step is about; HafailoverError if there is none of that name or role."""
        name = str(step.parameters["node"])
        node = self.roles.get(name, name)
        if node not in self.place.nodes:
            raise HafailoverError(f"{step.action}: there is no node or role {name!r} in this cluster")
        return node

    def words(self, text: str) -> str:
        """Return ``text`` with the nodes' names in place of {primary} and the other roles; other braces stay."""
        return _ROLE.sub(lambda match: self.roles.get(match[1], match[0]), text)

    def take_back(self) -> None:
        """Undo what :attr:`restores` holds, the last first; HafailoverError with the first thing that did not work."""
        failed = []
        while self.restores:
            restore = self.restores.pop()
            try:
                if restore.node and self.place.states()[restore.node].power == "off":
                    self.place.power_on(restore.node)
                if restore.node:
                    self.place.await_boot(restore.node)
                restore.call()
            except HafailoverError as error:
                failed.append(f"{restore.what}: {error}")
        if failed:
            raise HafailoverError(failed[0])


Act = Callable[[Stage, Step], None]
"""Carries out one step; HafailoverError says what did not happen, or not in time."""
