"""What runs in the lab during a drill: our agents, or others on the same nodes for comparison."""

from __future__ import annotations

from typing import Protocol

from hafailover.crm.errors import HafailoverError
from hafailover.vagrant.drill.target import Target
from hafailover.vagrant.lab import Lab


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
        """Run ``hafailover promote`` on the next primary."""
        done = lab.exec(node, ["hafailover", "promote", node, "--yes"], timeout=within)
        if done.returncode != 0:
            said = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
            raise HafailoverError(f"hafailover promote {node}: exit code {done.returncode}: {said}")

    def trusts(self, score: int | None) -> bool:
        """Our score is positive exactly when the replica is recorded as in sync."""
        return score is not None and score > 0
