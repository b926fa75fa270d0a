"""Is everything in its place? One primary, every replica in sync, every machine and resource as the lab wants it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hafailover.crm.errors import HafailoverError
from hafailover.vagrant.drill import database
from hafailover.vagrant.drill.conditions import Conditions
from hafailover.vagrant.drill.target import Target
from hafailover.vagrant.lab import Lab


class Look(NamedTuple):
    """The primary's node if all is well; else None, and why."""

    primary: str | None
    why: Sequence[str] = ()


def look(lab: Lab, target: Target, conditions: Conditions) -> Look:
    """Look once. A tool that does not answer is a reason, too."""
    try:
        why = lab.problems()
        if why:
            return Look(None, why)
        promoted = database.cluster(lab, target).promoted
    except HafailoverError as error:
        return Look(None, [str(error)])
    if len(promoted) != 1:
        return Look(None, [f"{len(promoted)} promoted instances"])
    replicas = [node for node in target.nodes if node != promoted[0]]
    why = [f"{node}: {reason}" for node in replicas if (reason := conditions.why_not_replica(node))]
    if not why and (silent := conditions.why_not_serving()):
        why = [silent]
    return Look(None, why) if why else Look(promoted[0])
