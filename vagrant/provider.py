"""What a lab asks of the thing that runs its nodes. Containers are one answer; virtual machines may be another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, NamedTuple, Protocol

from hafailover.vagrant.plan import Plan

Progress = Callable[[str], None]


class NodeState(NamedTuple):
    """A node's power (off, booting, on), whether its cables are cut, and whether its power is held off."""

    power: str
    cut: bool
    held: bool
    boots: int


class PowerEvent(NamedTuple):
    """One entry of the power log, written when it was done.

    ``action`` is off, on, cut, heal or down (by itself); ``by`` is a node (fencing), lab (a person or a test) or itself;
    ``seconds`` is how long it took (None: not measured); ``refused`` is why it was not done, normally empty.
    """

    time: float
    node: str
    action: str
    by: str
    seconds: float | None
    refused: str


class Provider(Protocol):
    """Machines with power and cables. Errors are HafailoverError with a sentence for a person."""

    plan: Plan

    def create(self, progress: Progress) -> None:
        """Make networks and machines, all without power."""

    def destroy(self) -> None:
        """Remove everything :meth:`create` made, from any state, also after a crash half-way."""

    def alive(self) -> bool:
        """Whether what runs the machines is there and answers."""

    def states(self) -> dict[str, NodeState]:
        """The state of every node."""

    def power_on(self, node: str) -> None:
        """Give a node its power; it has not booted when this returns."""

    def power_off(self, node: str, *, hold: bool) -> None:
        """Take a node's power, at once; with ``hold`` only :meth:`power_on` brings it back, fencing does not."""

    def cut(self, node: str) -> None:
        """Pull all of a node's network cables."""

    def heal(self, node: str) -> None:
        """Put them back."""

    def command(self, node: str, argv: Sequence[str]) -> list[str]:
        """The command line for this machine that runs ``argv`` as root in a node, with its exit code and its streams."""

    def client_command(self, argv: Sequence[str]) -> list[str]:
        """The same on the lab's network but outside of every node."""

    def journal_command(self, node: str, options: Sequence[str]) -> list[str]:
        """The command line that runs journalctl on a node's journal, where possible also when the node is off."""

    def power_log(self) -> list[PowerEvent]:
        """What happened to power and cables, oldest first."""

    def details(self) -> dict[str, Any]:
        """What helps a person look around by hand: directories, addresses, processes."""
