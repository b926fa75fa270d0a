"""When is a fault over? With a database the servers and the client say so; without one, Pacemaker."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from hafailover.crm.drill import database
from hafailover.crm.drill.ledger import CLIENT, Attempt, Ledger
from hafailover.crm.drill.place import Place
from hafailover.crm.drill.stacks import Stack
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import HafailoverError

_SERVING = 3.0  # seconds without an acknowledgement; more than the stall that a topology usually allows


class Conditions(Protocol):
    """What a scenario can wait for."""

    def taken_over(self, old: str) -> bool:
        """Whether another node than ``old`` serves clients."""

    def last_acknowledged(self) -> Attempt | None:
        """Return the client's latest attempt that was acknowledged; None also if there is no client."""

    def why_not_replica(self, node: str) -> str | None:
        """Return what keeps ``node`` from being a replica that may take over, or None."""

    def why_not_serving(self) -> str | None:
        """Return what keeps the client from being served, or None; also None if there is no client."""


class Written:
    """Conditions of a database that clients write to."""

    def __init__(
        self, place: Place, target: Target, stack: Stack, ledger: Ledger, server_ids: Mapping[str, int]
    ) -> None:
        self._place = place
        self._target = target
        self._stack = stack
        self._ledger = ledger
        self._server_ids = server_ids

    def taken_over(self, old: str) -> bool:
        """Whether the client's latest acknowledgement came from another server."""
        last = self._ledger.last_acknowledged(CLIENT)
        return last is not None and last.server != self._server_ids[old]

    def last_acknowledged(self) -> Attempt | None:
        """Ask the ledger."""
        return self._ledger.last_acknowledged(CLIENT)

    def why_not_replica(self, node: str) -> str | None:
        """Ask the server and Pacemaker."""
        try:
            return self._why_not_in_sync(node)
        except HafailoverError as error:
            return str(error)

    def why_not_serving(self) -> str | None:
        """Look when the client was last acknowledged a write: a server may look well and keep everybody waiting."""
        last = self._ledger.last_acknowledged(CLIENT)
        silence = 0.0 if last is None else time.time() - last.end
        return None if silence < _SERVING else f"no write was acknowledged for {silence:.0f} s"

    def _why_not_in_sync(self, node: str) -> str | None:
        seen = database.cluster(self._place, self._target)
        if len(seen.promoted) != 1:
            return f"Pacemaker has {len(seen.promoted)} promoted instances"
        if node not in seen.unpromoted:
            return "Pacemaker does not run it as a replica"
        server = database.health(self._place, node)
        if not server.read_only:
            return "it is writable"
        if not server.replicating:
            return f"its replication threads do not both run{f': {server.error}' if server.error else ''}"
        if server.lag != 0:
            return f"it is {server.lag} s behind"
        if not self._stack.trusts(seen.scores.get(node)):
            return f"its promotion score is {seen.scores.get(node)}"
        return None


class Unwritten:
    """Conditions of agents that do nothing."""

    def __init__(self, place: Place, target: Target) -> None:
        self._place = place
        self._target = target

    def taken_over(self, old: str) -> bool:
        """Whether the address runs where another node is promoted."""
        try:
            seen = database.cluster(self._place, self._target)
        except HafailoverError:
            return False
        return len(seen.promoted) == 1 and old not in seen.promoted and seen.address == seen.promoted[0]

    def last_acknowledged(self) -> Attempt | None:
        """There is no client."""
        return None

    def why_not_replica(self, node: str) -> str | None:
        """Ask Pacemaker."""
        try:
            seen = database.cluster(self._place, self._target)
        except HafailoverError as error:
            return str(error)
        if len(seen.promoted) != 1:
            return f"Pacemaker has {len(seen.promoted)} promoted instances"
        return None if node in seen.unpromoted else "Pacemaker does not run it as a replica"

    def why_not_serving(self) -> str | None:
        """There is no client."""
        return None
