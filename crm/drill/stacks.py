"""What runs on the nodes during a drill: our agents, or others on the same nodes for comparison."""

from __future__ import annotations

import json
import time
from typing import Protocol

from hafailover.crm import waiting
from hafailover.crm.drill.place import Place
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import REFUSED, HafailoverError
from hafailover.crm.status import NOTE, OK

_SETTLED_WITHIN = 20.0
_ASK_AGAIN = 20.0  # seconds; a switchover may be refused over a replica's lag that is gone a moment later


class Stack(Protocol):
    """A set of agents.

    ``writable`` is False if there is no database to write to; ``repairs`` says that a replica whose replication has
    stopped with an error may come back without a person, so that waiting for it makes sense.
    """

    name: str
    writable: bool
    repairs: bool

    def install(self, place: Place, target: Target) -> Target:
        """Configure the cluster with these agents and return what to aim at; the cluster need not be healthy yet."""

    def renew(self, place: Place) -> None:
        """After a run that was not ok, begin anew, where that is allowed: one run must not spoil the next."""

    def remove(self, place: Place) -> None:
        """Bring the cluster back to our agents, as far as :meth:`install` has got."""

    def switchover(self, place: Place, target: Target, node: str, within: float) -> None:
        """Move the primary role to ``node`` as a person would; return when done. HafailoverError after ``within`` s."""

    def trusts(self, score: int | None) -> bool:
        """Whether a replica with this promotion score counts as one that may take over."""

    def complaints(self, place: Place) -> list[str]:
        """Return what the stack itself finds wrong at the end of a run, after a fair time to settle."""


class Hafailover:
    """Our own agents, as the cluster comes with them. ``accepted``: problems of its status that were there before, and agreed to."""

    name = "hafailover"
    writable = True
    repairs = True

    def __init__(self, accepted: frozenset[str] = frozenset()) -> None:
        self._accepted = accepted

    def install(self, place: Place, target: Target) -> Target:
        """Nothing to do: the cluster runs them."""
        return target

    def renew(self, place: Place) -> None:
        """Never: our agents have to recover by themselves."""

    def remove(self, place: Place) -> None:
        """Nothing to do."""

    def switchover(self, place: Place, target: Target, node: str, within: float) -> None:
        """Run ``hafailover promote`` on the next primary; a refusal changes nothing, and a person would ask again a little later."""
        end = time.monotonic() + min(within, _ASK_AGAIN)
        while True:
            where = node if node in place.data_nodes else place.data_nodes[0]
            done = place.exec(where, ["hafailover", "promote", node, "--yes"], timeout=within)
            if done.returncode != REFUSED or time.monotonic() > end:
                break
            time.sleep(1)
        if done.returncode != 0:
            said = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
            raise HafailoverError(f"hafailover promote {node}: exit code {done.returncode}: {said}")

    def trusts(self, score: int | None) -> bool:
        """Our score is positive exactly when the replica is recorded as in sync."""
        return score is not None and score > 0

    def complaints(self, place: Place) -> list[str]:
        """Ask ``hafailover status``: at the end of a run its verdict must be OK, or what was agreed to."""
        said = [""]

        def content() -> bool | None:
            answer = place.exec(min(place.data_nodes), ["hafailover", "status", "-o", "json"], timeout=30)
            try:
                status = json.loads(answer.stdout)
                bad = [one["what"] for one in status["problems"] if one["severity"] != NOTE]
                said[0] = f"hafailover status says {status['verdict']}: {status['reason']}"
            except (ValueError, KeyError):
                said[0] = f"hafailover status cannot be read: {(answer.stderr or answer.stdout).strip()[-200:]}"
                return None
            # With nothing else to say than what was agreed to it says no more than before.
            as_before = bool(bad) and self._accepted.issuperset(bad)
            return True if status["verdict"] == OK or as_before else None

        try:
            waiting.wait("hafailover status", _SETTLED_WITHIN, content, 0.5)
        except HafailoverError:
            return said
        return []
