"""Where primitives are before and after: what is gone, what stays behind a fencing that cannot come, what is away from its primary."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hafailover.crm import values
from hafailover.crm.resolved import Resolved
from hafailover.crm.simulate_run import Step
from hafailover.crm.status_xml import Running

_PROMOTED = ("Promoted", "Master")


@dataclass(frozen=True)
class Place:
    """Where a primitive is: nodes on which it is promoted, and on which it runs otherwise."""

    promoted: tuple[str, ...]
    running: tuple[str, ...]

    @property
    def anywhere(self) -> bool:
        """Whether it runs at all."""
        return bool(self.promoted or self.running)


def places(instances: Mapping[str, Sequence[Running]], lost: Sequence[str]) -> dict[str, Place]:
    """Primitive → where it is, without the nodes ``lost`` and what has failed."""
    found_places = {}
    for name, found in instances.items():
        there = [one for one in found if one.node and one.node not in lost and one.active]
        promoted = tuple(dict.fromkeys(one.node for one in there if one.role in _PROMOTED and not one.failed))
        running = tuple(dict.fromkeys(one.node for one in there if one.node not in promoted and not one.failed))
        found_places[name] = Place(promoted, running)
    return found_places


def missing(
    before: Mapping[str, Place], after: Mapping[str, Place], left: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What ran and runs nowhere or has no primary now, and what has an instance less on one of the nodes ``left``; in sentences."""
    stopped, fewer = [], []
    for name, was in before.items():
        now = after.get(name, Place((), ()))
        if was.anywhere and not now.anywhere:
            stopped.append(f"{name} runs nowhere")
        elif was.promoted and not now.promoted:
            stopped.append(f"{name} has no primary")
        else:
            gone = [node for node in (*was.promoted, *was.running) if node in left]
            gone = [node for node in gone if node not in (*now.promoted, *now.running)]
            if gone and len(was.promoted + was.running) > len(now.promoted + now.running):
                fewer.append(f"{name} no longer runs on {', '.join(gone)}")
    return tuple(stopped), tuple(fewer)


def without(place: Place, node: str) -> Place:
    """The same without what is on ``node``."""
    return Place(
        tuple(one for one in place.promoted if one != node), tuple(one for one in place.running if one != node)
    )


def carried_out(place: Place, steps: Sequence[Step]) -> Place:
    """Where a primitive is when ``steps``, which are all about it, are done."""
    promoted, running = list(place.promoted), list(place.running)
    for step in steps:
        if step.failed:
            continue
        for nodes in (promoted, running):
            if step.node in nodes and step.action in (
                "start",
                "stop",
                "promote",
                "demote",
                "migrate_to",
                "migrate_from",
            ):
                nodes.remove(step.node)
        if step.action == "promote":
            promoted.append(step.node)
        elif step.action in ("start", "demote", "migrate_from"):
            running.append(step.node)
    return Place(tuple(promoted), tuple(running))


def held(steps: Sequence[Step], unfenced: Collection[str]) -> list[Step]:
    """The steps that never come when the nodes ``unfenced`` cannot be fenced: what waits for it, and what follows on the same resource."""
    found: list[Step] = []
    waiting: set[str] = set()
    for step in steps:
        if (unfenced and step.resource in waiting) or set(step.waits_for) & set(unfenced):
            waiting.add(step.resource)
            found.append(step)
    return found


def away(resolved: Resolved, after: Mapping[str, Place]) -> Iterator[str]:
    """A sentence for each resource that is not where the primary is that it belongs to."""
    nowhere = Place((), ())
    for one in resolved.colocations:
        if (
            one.with_role != values.PROMOTED
            or one.score <= 0
            or one.rsc_role not in ("", values.STARTED)
            or one.node_attribute
        ):
            continue
        primaries = {
            node for other in resolved.primitives_of(one.with_rsc) for node in after.get(other.id, nowhere).promoted
        }
        for rsc in resolved.primitives_of(one.rsc):
            there = [node for node in after.get(rsc.id, nowhere).running if node not in primaries]
            if there and primaries:
                yield f"{rsc.id} is on {', '.join(there)}, away from the primary of {one.with_rsc} on {', '.join(sorted(primaries))}"
