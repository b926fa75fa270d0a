"""What runs in the lab during a drill: our agents, or others on the same nodes for comparison."""

from __future__ import annotations

import json
import time
from typing import Protocol

from hafailover.crm.errors import REFUSED, HafailoverError
from hafailover.vagrant import host
from hafailover.vagrant.drill.target import Target
from hafailover.vagrant.lab import Lab

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

    def install(self, lab: Lab, target: Target) -> Target:
        """Configure the cluster with these agents and return what to aim at; the lab need not be healthy yet."""

    def renew(self, lab: Lab) -> None:
        """After a run that was not ok, begin anew, where that is allowed: one run must not spoil the next."""

    def remove(self, lab: Lab) -> None:
        """Bring the lab back to our agents, as far as :meth:`install` has got."""

    def switchover(self, lab: Lab, target: Target, node: str, within: float) -> None:
        """Move the primary role to ``node`` as a person would; return when done. HafailoverError after ``within`` s."""

    def trusts(self, score: int | None) -> bool:
        """Whether a replica with this promotion score counts as one that may take over."""

    def complaints(self, lab: Lab) -> list[str]:
        """Return what the stack itself finds wrong at the end of a run, after a fair time to settle."""


class Hafailover:
    """Our own agents, as the lab comes with them."""

    name = "hafailover"
    writable = True
    repairs = True

    def install(self, lab: Lab, target: Target) -> Target:
        """Nothing to do: the lab runs them."""
        return target

    def renew(self, lab: Lab) -> None:
        """Never: our agents have to recover by themselves."""

    def remove(self, lab: Lab) -> None:
        """Nothing to do."""

    def switchover(self, lab: Lab, target: Target, node: str, within: float) -> None:
        """Run ``hafailover promote`` on the next primary; a refusal changes nothing, and a person would ask again a little later."""
        end = time.monotonic() + min(within, _ASK_AGAIN)
        while True:
            done = lab.exec(node, ["hafailover", "promote", node, "--yes"], timeout=within)
            if done.returncode != REFUSED or time.monotonic() > end:
                break
            time.sleep(1)
        if done.returncode != 0:
            said = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
            raise HafailoverError(f"hafailover promote {node}: exit code {done.returncode}: {said}")

    def trusts(self, score: int | None) -> bool:
        """Our score is positive exactly when the replica is recorded as in sync."""
        return score is not None and score > 0

    def complaints(self, lab: Lab) -> list[str]:
        """Ask ``hafailover status``: at the end of a run its verdict must be OK."""
        said = [""]

        def content() -> bool | None:
            answer = lab.exec(min(lab.data_nodes), ["hafailover", "status", "-o", "json"], timeout=30)
            try:
                status = json.loads(answer.stdout)
                said[0] = f"hafailover status says {status['verdict']}: {status['reason']}"
            except (ValueError, KeyError):
                said[0] = f"hafailover status cannot be read: {(answer.stderr or answer.stdout).strip()[-200:]}"
                return None
            return True if status["verdict"] == "OK" else None

        try:
            host.wait("hafailover status", _SETTLED_WITHIN, content, 0.5)
        except HafailoverError:
            return said
        return []
