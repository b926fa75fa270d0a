"""How moving a stack ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from hafailover.crm.errors import DONE, FAILED, INCOMPLETE
from hafailover.crm.switchover_run import Outcome, Step


class Switched(NamedTuple):
    """A database whose role was moved, or not: its name, who was its primary, and how it ended."""

    name: str
    old: str
    outcome: Outcome


@dataclass(frozen=True)
class StackOutcome:
    """How it ended: ``done``, ``rolled back`` or ``incomplete``. ``places``: mover → where it is now, "" when that is not one node.

    ``databases``: how the switchovers to the node went. ``primaries``: database → who is its primary now, "" for nobody; {} when unknown.
    """

    result: str
    says: str
    left_to_do: tuple[str, ...]
    steps: tuple[Step, ...]
    places: Mapping[str, str]
    databases: tuple[Switched, ...]
    primaries: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """The code of crm/errors.py."""
        return {"done": DONE, "incomplete": INCOMPLETE}.get(self.result, FAILED)
