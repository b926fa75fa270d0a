"""What is wrong with fencing, how bad, what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from hafailover.crm import status_leftovers
from hafailover.crm.status import DEGRADED, Problem, Status
from hafailover.crm.status_fencing import FenceDevice, FenceEvent


def problems(status: Status) -> Iterator[Problem]:
    """Everything wrong with fencing."""
    fencing = status.fencing
    if not fencing.enabled:
        yield Problem(
            DEGRADED,
            "fencing is switched off",
            "a node that hangs may go on writing",
            "crm_attribute -t crm_config -n stonith-enabled -v true",
        )
        return
    for node in status.nodes:
        if node.kind == "member" and not fencing.watchdog and not fencing.covering(node.name):
            yield Problem(DEGRADED, f"no fencing device covers {node.name}", "", "add one to the topology and apply it")
    for device in status.broken_fences():
        yield from _fence_device(status, device)
    for event in fencing.events:
        target = status.node(event.target)
        if event.status == "pending" and not (target and target.unclean):  # that it is unclean is told, with this
            yield Problem(
                DEGRADED,
                f"{event.target} is being fenced",
                "nothing of it is started elsewhere before that is over",
                f"if that takes longer than a minute or two: make sure by hand that it is off, then stonith_admin --confirm {event.target}",
            )
    for event in failed_fencing(fencing.events):
        yield Problem(
            DEGRADED,
            f"fencing of {event.target} failed",
            event.reason,
            f"make sure by hand that it is off, then stonith_admin --confirm {event.target}; "
            f"stonith_admin --cleanup --history {event.target} removes the entry",
        )


def being_fenced(status: Status, node: str) -> bool:
    """Whether fencing of ``node`` is under way."""
    return any(event.status == "pending" and event.target == node for event in status.fencing.events)


def _fence_device(status: Status, device: FenceDevice) -> Iterator[Problem]:
    name = f"the fencing device {device.id}"
    if not device.wanted:
        todo = f"crm_resource -r {device.id} --meta -d target-role"
        yield Problem(DEGRADED, f"{name} is {status_leftovers.DISABLED}", "no node can be fenced with it", todo)
    elif device.failed or device.blocked:
        todo = f"once it can be reached: crm_resource --cleanup -r {device.id}"
        why = "" if device.checked == "ok" else device.checked
        yield Problem(DEGRADED, f"{name} has failed", why, todo)
    elif all(node.usable for node in status.nodes):
        todo = f"crm_resource --why -r {device.id}"
        yield Problem(DEGRADED, f"{name} is not monitored", "it runs on no node", todo)


def failed_fencing(events: tuple[FenceEvent, ...]) -> Iterator[FenceEvent]:
    """Failures that no later success of the same target has made good."""
    good: dict[str, float] = {}
    for event in events:
        if event.status == "success" and event.at is not None:
            good[event.target] = max(good.get(event.target, 0.0), event.at)
    for event in events:
        if event.status == "failed" and (event.at is None or event.at > good.get(event.target, 0.0)):
            yield event
