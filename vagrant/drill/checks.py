"""The steps that look: what a scenario can wait for, and what must stay so for a while."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Mapping

from hafailover.crm.errors import HafailoverError
from hafailover.vagrant import host
from hafailover.vagrant.drill import people, settled
from hafailover.vagrant.drill.actions import Step
from hafailover.vagrant.drill.stage import Act, Stage
from hafailover.vagrant.drill.timeline import Power, fenced_nodes

_POLL = 0.25
_OFTEN = 0.02  # seconds between two looks at what times are measured from
_REJOIN_WITHOUT_REPAIR = 60.0  # seconds; agents that cannot repair a replica have given up by then

Condition = Callable[[Stage, Step], "str | None"]
"""Say why it is not so, or None."""


def takeover(stage: Stage, step: Step) -> str | None:
    """Another node than the step's serves clients."""
    node = stage.node(step)
    return None if stage.conditions.taken_over(node) else f"no other node than {node} serves clients"


def fenced(stage: Stage, step: Step) -> str | None:
    """The node was fenced since the fault."""
    assert stage.fault is not None
    node, power = stage.node(step), [Power(*entry) for entry in stage.lab.fence_log()]
    return None if node in fenced_nodes(power, stage.fault) else f"{node} has not been fenced"


def rejoined(stage: Stage, step: Step) -> str | None:
    """The node is a replica in sync."""
    why = stage.conditions.why_not_replica(stage.node(step))
    return why and f"{stage.node(step)} is not a replica in sync ({why})"


def all_settled(stage: Stage, step: Step) -> str | None:
    """Every server is in its place and in sync, and the client is served."""
    seen = settled.look(stage.lab, stage.target, stage.conditions)
    return None if seen.primary else f"not all servers are in their places and in sync ({'; '.join(seen.why)})"


CONDITIONS: Mapping[str, Condition] = {
    "takeover": takeover,
    "fenced": fenced,
    "rejoined": rejoined,
    "settled": all_settled,
}


def wait(stage: Stage, step: Step) -> None:
    """Go on when the condition holds; HafailoverError says why it does not, when the time is up."""
    until, within = step.parameters["until"], step.seconds("within")
    if until == "rejoined" and not stage.stack.repairs:
        within = min(within, _REJOIN_WITHOUT_REPAIR)
    if until == "settled":
        # What was asked for may not have begun yet, and then nothing looks out of place.
        for process in stage.requests:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(people.REQUEST_TIMEOUT + 10)
    why: str | None = None

    def holds() -> bool | None:
        nonlocal why
        why = CONDITIONS[until](stage, step)
        return True if why is None else None

    try:
        host.wait(until, within, holds, _OFTEN if until == "takeover" else _POLL)
    except HafailoverError as error:
        raise HafailoverError(f"{why or error} within {within:g} s") from None
    if until in ("rejoined", "settled") and stage.rejoined is None:
        stage.rejoined = time.time()


TABLE: Mapping[str, Act] = {"wait": wait}
