"""Is everything in its place? One primary, every replica in sync, every machine and resource as it should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hafailover.crm.drill import database
from hafailover.crm.drill.conditions import Conditions
from hafailover.crm.drill.place import Place
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import HafailoverError


class Look(NamedTuple):
    """The primary's node if all is well; else None, and why."""

    primary: str | None
    why: Sequence[str] = ()


def look(place: Place, target: Target, conditions: Conditions) -> Look:
    """Look once. A tool that does not answer is a reason, too."""
    try:
        why = place.problems()
        if why:
            return Look(None, why)
        promoted = database.cluster(place, target).promoted
    except HafailoverError as error:
        return Look(None, [str(error)])
    if len(promoted) != 1:
        return Look(None, [f"{len(promoted)} promoted instances"])
    replicas = [node for node in target.nodes if node != promoted[0]]
    why = [f"{node}: {reason}" for node in replicas if (reason := conditions.why_not_replica(node))]
    if not why and (silent := conditions.why_not_serving()):
        why = [silent]
    return Look(None, why) if why else Look(promoted[0])
