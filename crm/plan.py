"""What an apply or an undo would do, told by resource: what changes, what the cluster does about it, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hafailover.crm import lint, members, members_run
from hafailover.crm.apply import Plan
from hafailover.crm.change import Change
from hafailover.crm.errors import RefusedError
from hafailover.crm.lint import ignores, sources
from hafailover.crm.members import Steps
from hafailover.crm.simulate import Effect
from hafailover.crm.topology import Topology

MANY = 12  # findings that are listed in a refusal


@dataclass(frozen=True)
class Consequence:
    """One thing the cluster would do: ``action`` on ``resource`` at ``places`` (nodes, or "n1 to n2" for a move), whether that
    ``interrupts`` its users or ``takes_primary``, the changes it comes of (none: it follows from another one), and ``when``
    ("": at once)."""

    action: str
    resource: str
    places: tuple[str, ...]
    interrupts: bool
    takes_primary: bool
    because: tuple[str, ...]
    when: str = ""

    def __str__(self) -> str:
        where = (
            f" on {', '.join(self.places)}" if self.resource and self.places else f" {', '.join(self.places)}".rstrip()
        )
        if self.action == "move":
            where = f" from {', '.join(self.places)}"
        when = f"{self.when}: " if self.when else ""
        return f"{when}{self.action}{' ' + self.resource if self.resource else ''}{where}"


def consequences(plan: Plan) -> tuple[Consequence, ...]:
    """What the cluster would do, in crm_simulate's order; the same action on several nodes is one."""
    groups: dict[tuple[str, str, str], list[Effect]] = {}
    for effect in (*plan.effects, *plan.later):
        groups.setdefault((effect.action, effect.resource, effect.when), []).append(effect)
    holders = _holders(plan)
    reasons: dict[str, list[str]] = {}
    for change in plan.changes:
        reasons.setdefault(change.resource, []).append(str(change))
    return tuple(
        Consequence(
            action,
            resource,
            tuple(
                f"{one.source} to {one.node}" if one.source and one.source != one.node else one.node for one in effects
            ),
            any(one.disruptive for one in effects),
            any(one.takes_primary for one in effects),
            tuple(
                reason for one in sorted(holders.get(resource, {resource})) if one for reason in reasons.get(one, ())
            ),
            when,
        )
        for (action, resource, when), effects in groups.items()
    )


def _holders(plan: Plan) -> dict[str, set[str]]:
    """Primitive → itself and what it is in, before or after: what is said of a clone or group holds for what is in it."""
    found: dict[str, set[str]] = {}
    for tree in (plan.live, plan.tree):
        for primitive in tree.iterfind("configuration/resources//primitive"):
            around = {one.get("id") for one in primitive.iterancestors("group", "clone", "master", "bundle")}
            found.setdefault(primitive.get("id"), set()).update({primitive.get("id"), *around})
    return found


def membership(wanted: Topology, live: Any) -> Steps:
    """What has to be done about the nodes of the cluster with the element cib ``live``; RefusedError when it must not be done now."""
    asked, facts = members_run.wanted(wanted), members_run.look(wanted, live)
    todo = members.steps(asked, facts)
    reason = members.refusal(asked, facts, todo) or members_run.still_needed(wanted, todo.removed)
    if reason:
        raise RefusedError(f"{reason}. Nothing was changed")
    return todo


def needs_yes(plan: Plan | None, leaving: Sequence[str], errors: Sequence[str]) -> list[str]:
    """What ``apply`` does only with --yes (or, but for a primary and lint, when somebody at a terminal agrees), in sentences."""
    said = [f"takes the primary away: {effect}" for effect in plan.primaries] if plan else []
    said += [f"interrupts: {one}" for one in plan.disruptive if not one.takes_primary] if plan else []
    said += [f"removes the node {name}" for name in leaving]
    return [*said, *(f"lint: {error}" for error in errors)]


UNKNOWN: dict[str, Any] = {
    "needed": None,
    "interrupts": None,
    "takes_primary": None,
    "changes": [],
    "consequences": None,
    "effects": None,
}
"""The keys of :func:`as_dict` where nobody knows what the cluster would do."""


def as_dict(plan: Plan) -> dict[str, Any]:
    """For JSON; the keys of ``apply``'s report and ``consequences``, ``needed``, ``interrupts``, ``takes_primary``."""
    return {
        "needed": plan.needed,
        "interrupts": bool(plan.disruptive),
        "takes_primary": bool(plan.primaries),
        "changes": [change.as_dict() for change in plan.changes],
        "consequences": [asdict(one) for one in consequences(plan)],
        "effects": [effect.as_dict() for effect in (*plan.effects, *plan.later)],
        "notes": list(plan.notes),
    }


def lines(plan: Plan) -> Iterator[str]:
    """For a person: the changes by resource, then what the cluster would do about them."""
    if not plan.needed:
        yield "nothing to do: the cluster has this configuration already"
        return
    grouped: dict[str, list[Change]] = {}
    for change in plan.changes:
        grouped.setdefault(change.resource, []).append(change)
    for resource, changes in sorted(grouped.items(), key=lambda item: item[0] == ""):
        yield f"{resource or 'cluster-wide'}:"
        yield from (f"  {change}" for change in changes)
    if not plan.changes:
        yield "no change in the configuration; only the record of what hafailover has set is brought up to date"
    yield ""
    found = consequences(plan)
    yield (
        "the cluster would then:"
        if found
        else "the cluster would do nothing about it: nothing is stopped, moved or restarted"
    )
    for one in found:
        yield f"  {one!s:<40} {_remark(one)}".rstrip()


def _remark(one: Consequence) -> str:
    if one.takes_primary:
        return "TAKES THE PRIMARY AWAY for a while"
    if one.interrupts:
        return "interrupts it"
    return "its users notice nothing" if one.action.startswith("reload") else ""


def absent(nodes: Sequence[Any]) -> Iterator[str]:
    """A sentence for each node (simulate.Node) that is not there to take part."""
    for node in nodes:
        if node.unclean:
            yield f"{node.name} is lost and not known to be off; the cluster waits for its fencing before it touches what ran there"
        elif not node.online:
            yield f"{node.name} is not online: it gets the change when it is back"


def lint_errors(topology: Topology) -> list[str]:
    """What lint finds in ``topology`` that is an error and not ignored there, each as a sentence with its rule and remedy."""
    own = (topology.data.get("lint") or {}).get("ignore") or {}
    listed = ignores.collect(lint.known(), (), None, own, topology.file)
    left, _ = ignores.apply(listed, lint.check(sources.of_topology(topology)))
    return [f"{one.rule}: {one.where}: {one.text} ({one.remedy})" for one in left if one.severity == lint.ERROR]
