"""Constraints, and what groups mean, of two configurations side by side: each a sentence, equal where the meaning is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hafailover.crm.importing.difference_words import Difference
from hafailover.crm.importing.draft import Draft
from hafailover.crm.importing.findings import visible
from hafailover.crm.importing.hidden import may_show
from hafailover.crm.model import Constraint
from hafailover.crm.resolved import INFINITY, Resolved
from lxml import etree


def constraints(draft: Draft, result: Resolved) -> Iterator[Difference]:
    """The constraints that only the source has, and those that only ``result`` has."""
    return _Ties(draft, result).run()


class _Ties:
    def __init__(self, draft: Draft, result: Resolved) -> None:
        self._draft, self._source, self._result = draft, draft.resolved, result
        self._rules: dict[Resolved, dict[str, str]] = {}

    def run(self) -> Iterator[Difference]:
        old, new = self._ties(self._source, self._new_name), self._ties(self._result, self._top_of_result)
        for tie, name in old.items():
            if tie not in new:
                yield Difference("constraint", visible(name, 80), f"{tie} is not in the topology")
        yield from self._without_effect()
        for tie, name in new.items():
            if tie not in old:
                yield Difference("constraint", visible(name, 80), f"{tie} is added")

    def _without_effect(self) -> Iterator[Difference]:
        """Constraints that say nothing about any resource that is there: a pattern that none matches, a score of 0."""
        source = self._source
        told = (
            {one.id for one in source.orders}
            | {one.id for one in source.colocations}
            | {one.id for one in source.locations}
        )
        told |= {one.id for one in source.tickets} | {id for id, _ in source.dangling}
        for one in source.configuration.constraints:
            if isinstance(one, Constraint) and one.id not in told and not one.id.startswith("cli-"):
                kind = f"{one.kind} that ties nothing as it is"
                yield Difference("constraint", visible(one.id, 80), f"{kind} is not in the topology")

    def _new_name(self, id: str) -> str:
        """The outermost resource of the result that ``id`` of the source became, or a name that says that it became none."""
        target = self._draft.renames.get(id)
        if target is None and id in self._source.resources:
            inside = [self._draft.renames.get(one.id) for one in self._source.primitives_of(id)]
            target = next((one for one in inside if one is not None), None)
        if target is None:
            return f"{visible(id, 80)} (not in the topology)"
        return self._top_of_result(target)

    def _top_of_result(self, id: str) -> str:
        one = self._result.resources.get(id)
        return id if one is None else one.top

    def _ties(self, resolved: Resolved, name: Callable[[str], str]) -> dict[str, str]:
        """Every constraint, and what a group means, as a sentence → where it stands."""
        found: dict[str, str] = {}
        extra = _extras(resolved)

        def more(id: str) -> str:
            return extra.get(id, "")

        nodes = self._draft.node_names if resolved is self._source else {}
        for one in resolved.orders:
            first, then = name(one.first), name(one.then)
            if first != then:
                both = "" if one.symmetrical or one.kind == "Serialize" else ", in this direction alone"
                kind = {"Mandatory": "", "Optional": ", if both happen", "Serialize": ", never both at once"}[one.kind]
                enough = "" if one.require_all else ", any of several is enough"
                sentence = f"order: {then} {one.then_action} after {first} {one.first_action}{kind}{both}{enough}{more(one.id)}"
                found.setdefault(sentence, one.id)
        for tie in resolved.colocations:
            rsc, other = name(tie.rsc), name(tie.with_rsc)
            if rsc != other:
                score = "" if tie.score == INFINITY else f" (score {_score(tie.score)})"
                same = f", by {visible(tie.node_attribute, 60)}" if tie.node_attribute else ""
                roles = [f" {role}" if role else "" for role in (tie.rsc_role, tie.with_role)]
                found.setdefault(f"place: {rsc}{roles[0]} with {other}{roles[1]}{same}{score}{more(tie.id)}", tie.id)
        for place in resolved.locations:
            if place.id.startswith("cli-"):
                continue
            if place.node is None or place.conditional:
                sentence = f"place: {name(place.rsc)} by a rule {self._rule(resolved, place.id)}"
            else:
                node = nodes.get(place.node, visible(place.node, 80))
                word = "not on" if place.score <= -INFINITY else "rather on" if place.score > 0 else "rather not on"
                score = "" if place.score <= -INFINITY else f" (score {_score(place.score)})"
                role = f" {place.role}" if place.role else ""
                sentence = f"place: {name(place.rsc)}{role} {word} {node}{score}"
            found.setdefault(sentence + more(place.id), place.id)
        for ticket in resolved.tickets:
            found.setdefault(
                f"ticket: {name(ticket.rsc)} needs ticket {visible(ticket.ticket, 60)}{more(ticket.id)}", ticket.id
            )
        found.update(self._groups(resolved, name))
        return found

    def _groups(self, resolved: Resolved, name: Callable[[str], str]) -> dict[str, str]:
        """What the order of members in a group means, where they are resources of their own in the result."""
        found: dict[str, str] = {}
        for one in resolved.resources.values():
            if one.kind != "group":
                continue
            members = [name(child) for child in one.children]
            for before, after in zip(members, members[1:]):
                if before != after:
                    found.setdefault(f"order: {after} start after {before} start", one.id)
                    found.setdefault(f"place: {after} with {before}", one.id)
        return found

    def _rule(self, resolved: Resolved, id: str) -> str:
        if resolved not in self._rules:
            self._rules[resolved] = {
                one.id: " ".join(_without_ids(child.xml) for child in one.children)
                for one in resolved.configuration.constraints
                if isinstance(one, Constraint) and one.children
            }
        return visible(self._rules[resolved].get(id, ""), 300)


# What the pairs have of a constraint's attributes; and what stands for nothing, because Pacemaker takes it anyway.
_TAKEN = frozenset(
    {
        "id",
        "rsc",
        "rsc-role",
        "with-rsc",
        "with-rsc-role",
        "first",
        "first-action",
        "then",
        "then-action",
        "kind",
        "score",
        "symmetrical",
        "require-all",
        "node",
        "role",
        "node-attribute",
        "ticket",
    }
)
_USUAL = {("resource-discovery", "always"), ("influence", "true"), ("loss-policy", "stop")}


def _extras(resolved: Resolved) -> dict[str, str]:
    """Constraint → what it says besides what its pairs have, as the end of a sentence."""
    found: dict[str, str] = {}
    for one in resolved.configuration.constraints:
        if isinstance(one, Constraint):
            said = [
                f"{name}={value}"
                for name, value in one.attributes
                if name not in _TAKEN and (name, value) not in _USUAL
            ]
            said += [_without_ids(child.xml) for child in one.children if child.tag not in ("", "rule", "resource_set")]
            if said:
                found[one.id] = visible(f" ({', '.join(said)})", 300)
    return found


def _without_ids(xml: str) -> str:
    try:
        root = etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))
    except (etree.XMLSyntaxError, ValueError):
        return "(not XML)"
    for element in root.iter():
        if isinstance(element.tag, str):
            element.attrib.pop("id", "")
            value = element.get("value")
            if value is not None and not may_show(str(element.get("attribute", "")), value):
                element.set("value", "(not shown)")
    return " ".join(str(etree.tostring(root, encoding="unicode")).split())


def _score(score: int) -> str:
    return "INFINITY" if score >= INFINITY else "-INFINITY" if score <= -INFINITY else str(score)
