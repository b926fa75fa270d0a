"""Rules about what happens after a failure: bans that never end, starts before the data is there, mounts that hide the software."""

from __future__ import annotations

from collections.abc import Iterator

from hafailover.crm import values
from hafailover.crm.lint import ERROR, WARNING, Facts, Found, rule
from hafailover.crm.lint.about import is_data, mount_point, snippet, words
from hafailover.crm.lint.cluster import is_address, is_fence_device, primitives, starts_after_promotion
from hafailover.crm.lint.paste import Placeholder, command, modify
from hafailover.crm.resolved import INFINITY, Colocation, Order, Resolved, Resource

_SHOWN = 5
# What a package has in these is needed to run at all; a mount is for what lies below.
_SOFTWARE = {
    "/opt/stackstorm": "StackStorm's programs (/opt/stackstorm/st2)",
    "/opt/stackstorm/st2": "StackStorm's programs",
    "/opt": "what is installed there, such as /opt/stackstorm",
    "/etc": "the node's configuration",
    "/usr": "the node's programs",
    "/usr/lib": "the node's programs",
    "/var": "what every service of the node writes",
    "/var/lib": "what every service of the node writes, Pacemaker's CIB among it",
    "/": "the whole node",
}


@rule(
    "ban-for-ever",
    WARNING,
    code="L23",
    needs=("resolved",),
    remedy="give failure-timeout, such as 60s or 10min",
    why="three failures in three years, each well recovered, ban the resource from the node until somebody cleans up, and the next "
    "failover has nowhere to go",
)
def ban_for_ever(facts: Facts) -> Iterator[Found]:
    """migration-threshold counts failures that are never forgotten: there is no failure-timeout."""
    by_default = []
    for one in primitives(facts.cluster):
        threshold = one.meta.get("migration-threshold")
        if threshold is None or not 0 < values.score(threshold) < INFINITY or "failure-timeout" in one.uncertain:
            continue
        if values.milliseconds(one.meta.get("failure-timeout")):
            continue
        if facts.cluster.rsc_defaults.get("migration-threshold") == threshold and "failure-timeout" not in one.meta:
            by_default.append(one.id)
        else:
            fix = command("crm", "resource", "meta", one.id, "set", "failure-timeout", "60s")
            yield Found(one.id, f"after {threshold} failures, however long ago, it is banned from the node", fix)
    if by_default:
        shown = words(
            by_default if len(by_default) <= _SHOWN else [*by_default[:_SHOWN], f"{len(by_default) - _SHOWN} more"]
        )
        threshold = facts.cluster.rsc_defaults["migration-threshold"]
        yield Found(
            "rsc_defaults",
            f"after {threshold} failures, however long ago, {shown} {'are' if len(by_default) > 1 else 'is'} banned from a node",
            "crm configure rsc_defaults failure-timeout=60s",
        )


@rule(
    "before-its-data",
    ERROR,
    code="L24",
    needs=("resolved",),
    remedy="order it after what it is placed with",
    why="a colocation says where and not when: on the survivor the service starts while the file system is not mounted yet, and writes "
    "into the empty directory below it, or gives up",
)
def before_its_data(facts: Facts) -> Iterator[Found]:
    """A service is placed with a file system or database but not ordered after it."""
    starts = _starts(facts.cluster)
    seen: set[tuple[str, str]] = set()
    for colocation in facts.cluster.colocations:
        if colocation.score < INFINITY or colocation.node_attribute:
            continue
        mine, data = _top(facts.cluster, colocation.rsc), _top(facts.cluster, colocation.with_rsc)
        if mine == data or (mine, data) in seen or not _runs_once(facts.cluster, mine):
            continue
        holders = [one for one in facts.cluster.primitives_of(colocation.with_rsc) if is_data(one)]
        # Rule L01 is about addresses, and in a clone each instance finds its own.
        users = [
            one
            for one in facts.cluster.primitives_of(colocation.rsc)
            if not is_address(one) and not is_fence_device(one)
        ]
        if not holders or not users or _after(facts.cluster, starts, colocation, mine, data):
            continue
        seen.add((mine, data))
        role = "promote" if colocation.with_role == values.PROMOTED else "start"
        name = f"{mine}-after-{data}"
        direct = next((one.id for one in _direct(facts.cluster, data, mine)), None) if role == "promote" else None
        if direct is not None:
            text = f"{mine} runs where {data} ({holders[0].agent}) is promoted, and waits only until it is started ({direct})"
            fix = modify("rsc_order", direct, first_action="promote", then_action="start")
            yield Found(colocation.id, text, fix)
            continue
        yield Found(
            colocation.id,
            f"{mine} runs where {data} ({holders[0].agent}) does, and may start before it",
            command("crm", "configure", "order", name, "Mandatory:", f"{data}:{role}", f"{mine}:start"),
        )


def _after(here: Resolved, starts: tuple[_Graph, _Graph], one: Colocation, mine: str, data: str) -> bool:
    """Whether the service starts when its data is there: where it follows a promoted instance, not before the promotion."""
    if one.with_role != values.PROMOTED:
        return _leads(starts, data, mine)
    return any(
        starts_after_promotion(here, user, source) for user in {one.rsc, mine} for source in {one.with_rsc, data}
    )


def _direct(here: Resolved, data: str, mine: str) -> Iterator[Order]:
    """Orders that let the service wait until its data is started."""
    for one in here.orders:
        if (_top(here, one.first), _top(here, one.then), one.first_action) == (data, mine, "start"):
            yield one


_Graph = dict[str, set[str]]


def _starts(resolved: Resolved) -> tuple[_Graph, _Graph]:
    """Outermost resource → those that are started after it; and → those before it."""
    after: _Graph = {}
    before: _Graph = {}
    for order in resolved.orders:
        both = {order.first_action, order.then_action}
        if order.kind != "Serialize" and both <= {"start", "promote"}:
            first, then = _top(resolved, order.first), _top(resolved, order.then)
            after.setdefault(first, set()).add(then)
            before.setdefault(then, set()).add(first)
    return after, before


def _leads(starts: tuple[_Graph, _Graph], begin: str, end: str) -> bool:
    """Whether one is started after the other, directly or not: looked for from both ends, as one of them mostly has few neighbours."""
    seen = ({begin}, {end})
    edges = ([begin], [end])
    while edges[0] and edges[1]:
        side = 0 if len(seen[0]) <= len(seen[1]) else 1
        for one in starts[side].get(edges[side].pop(), ()):
            if one in seen[1 - side]:
                return True
            if one not in seen[side]:
                seen[side].add(one)
                edges[side].append(one)
    return False


def _top(resolved: Resolved, id: str) -> str:
    one = resolved.resources.get(id)
    return id if one is None else one.top


def _runs_once(resolved: Resolved, id: str) -> bool:
    one: Resource | None = resolved.resources.get(id)
    return one is not None and one.kind in ("primitive", "group")


@rule(
    "mount-hides-software",
    ERROR,
    code="L31",
    needs=("resolved",),
    remedy="mount what is shared below it, such as /opt/stackstorm/packs and /opt/stackstorm/virtualenvs",
    why="what the package installed there is invisible from then on: the services start on the node where it is not mounted, and nowhere "
    "else",
)
def mount_hides_software(facts: Facts) -> Iterator[Found]:
    """Something is mounted over the directory of the software itself, such as /opt/stackstorm."""
    for one in primitives(facts.cluster):
        place = mount_point(one)
        if place in _SOFTWARE:
            below = (
                "/opt/stackstorm/packs"
                if place.startswith("/opt/stackstorm")
                else Placeholder("DIRECTORY", f"{place.rstrip('/')}/")
            )
            yield Found(
                one.id,
                f"is mounted at {place} and hides {_SOFTWARE[place]}",
                snippet(
                    facts,
                    command("crm", "resource", "param", one.id, "set", "directory", below),
                    f"to: {{<NAME>: {below}}}",
                ),
            )
