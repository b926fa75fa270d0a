"""An entry of the history: its kind, what a person is told of it, and the steps that it is made of. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from hafailover.crm.history.words import Step

FAILOVER, SWITCHOVER, PROMOTION, RESTART = "failover", "switchover", "promotion", "recovery"
FENCING, NODE, DEGRADE, REJOIN, FAILURE = "fencing", "node", "degrade", "rejoin", "failure"
CLOCK, LOST, SERVICES, EVENT = "clock", "lost", "services", "event"
ACCEPT_LOSS = "accept-loss"
KINDS = (
    FAILOVER, SWITCHOVER, PROMOTION, RESTART, FENCING, NODE, DEGRADE, REJOIN, FAILURE, CLOCK, LOST, SERVICES, EVENT, ACCEPT_LOSS,
    "adopt", "alerts", "apply", "drill", "hooks", "undo",
)  # fmt: skip
"""Every kind of an entry; a command's is its name."""
DETAILS = (SERVICES, EVENT)
"""Kinds that are only shown when they are asked for."""


@dataclass
class Entry:
    """``kind`` as above or the command's name, ``id`` of the record it is made around, ``who`` asked, ``why``, and the ``outcome``."""

    id: str
    kind: str
    subject: str
    who: str
    why: str
    outcome: str
    steps: list[Step] = field(default_factory=list)

    @property
    def at(self) -> float:
        """Unix time of its beginning, in seconds, by the order of the records."""
        return self.steps[0].at

    @property
    def until(self) -> float:
        """Unix time of its last step."""
        return self.steps[-1].at

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes it is about."""
        return tuple(sorted({step.node for step in self.steps if step.node}))

    @property
    def skew(self) -> float:
        """Seconds by which a clock among its writers was at least behind another's, 0.0 when nothing shows it."""
        return max(step.skew for step in self.steps)
