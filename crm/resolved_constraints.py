"""Constraints as pairs: sets, templates and tags are written out as Pacemaker 2.1 does it, for orders otherwise than for colocations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hafailover.crm import values
from hafailover.crm.errors import UsageError
from hafailover.crm.model import Configuration, Constraint
from hafailover.crm.resolved_xml import element

MAX_PAIRS = 1_000_000
# A pattern of a location is an extended regular expression; only what cannot take for ever is tried.
_HARMLESS = re.compile(r"\^?(?:[A-Za-z0-9_:@-]|\\?\.|\.\*){1,100}\$?")


@dataclass(frozen=True)
class Order:
    """``then`` does ``then_action`` after ``first`` has done ``first_action``. ``kind`` is Mandatory, Optional or Serialize.

    ``require_all`` False: ``first`` is one of several of which any is enough.
    """

    id: str
    first: str
    first_action: str
    then: str
    then_action: str
    kind: str
    symmetrical: bool
    require_all: bool = True


@dataclass(frozen=True)
class Colocation:
    """``rsc`` (in ``rsc_role``, "" for any) is placed by where ``with_rsc`` (in ``with_role``) is; ``score`` is never 0.

    ``node_attribute`` is "" or the attribute that has to be the same instead of the node.
    """

    id: str
    rsc: str
    rsc_role: str
    with_rsc: str
    with_role: str
    score: int
    node_attribute: str = ""


@dataclass(frozen=True)
class Location:
    """``rsc`` (in ``role``, "" for any) prefers ``node`` by ``score``; ``node`` None: a rule decides where, ``conditional``: and when.

    A rule that says no more than the name of a node is given as that node.
    """

    id: str
    rsc: str
    role: str
    node: str | None
    score: int
    conditional: bool


@dataclass(frozen=True)
class Ticket:
    """``rsc`` (in ``role``) may run only with ``ticket``; ``loss_policy`` is stop, demote, fence or freeze."""

    id: str
    ticket: str
    rsc: str
    role: str
    loss_policy: str


class Names:
    """What constraints may name: ``single`` resources by id → the one that is meant, and what stands for ``several``."""

    def __init__(self, single: Mapping[str, str], several: Mapping[str, Sequence[str]]) -> None:
        self.single, self._several = single, several

    def __contains__(self, name: str) -> bool:
        return name in self.single or name in self._several

    def __call__(self, name: str | None) -> list[str]:
        """The resources that ``name`` means, none when it means nothing."""
        if name is None:
            return []
        return [self.single[name]] if name in self.single else list(self._several.get(name, ()))


@dataclass(frozen=True)
class _Set:
    """A resource_set: what it names, and its own attributes."""

    members: tuple[str, ...]
    get: Mapping[str, str]

    @property
    def sequential(self) -> bool:
        return values.boolean(self.get.get("sequential")) is not False


def orders(configuration: Configuration, names: Names) -> Iterator[Order]:
    """Every order as pairs."""
    for one, sets in _constraints(configuration, "rsc_order", names):
        kind = _kind(one.get("kind"), one.get("score"), "Mandatory")
        if sets:
            yield from _set_orders(one, sets, kind)
            continue
        action = one.get("first-action") or "start"
        pairs = _product(names(one.get("first")), names(one.get("then")), one)
        symmetrical = _symmetrical(one.get("symmetrical"), kind)
        any_is_enough = values.boolean(one.get("require-all")) is False
        for first, then in pairs:
            then_action = one.get("then-action") or action
            yield Order(one.id, first, action, then, then_action, kind, symmetrical, not any_is_enough)


def _set_orders(one: Constraint, sets: Sequence[_Set], kind: str) -> Iterator[Order]:
    before: _Set | None = None
    for found in sets:
        own = _kind(found.get.get("kind"), None, kind)
        both_ways = _symmetrical(found.get.get("symmetrical") or one.get("symmetrical"), own)
        action = found.get.get("action") or "start"
        if found.sequential or own == "Serialize":
            for first, then in zip(found.members, found.members[1:]):
                yield Order(one.id, first, action, then, action, own, both_ways)
        if before is not None:
            all_of_them = values.boolean(before.get.get("require-all")) is not False
            firsts = before.members[-1:] if before.sequential and all_of_them else before.members
            thens = found.members[:1] if found.sequential and all_of_them else found.members
            earlier, between = before.get.get("action") or "start", _symmetrical(one.get("symmetrical"), kind)
            for first, then in _product(firsts, thens, one):
                yield Order(one.id, first, earlier, then, action, kind, between, all_of_them)
        before = found


def _kind(kind: str | None, score: str | None, default: str) -> str:
    if kind is None:
        return "Optional" if score is not None and values.score(score) == 0 else default
    return next((one for one in ("Optional", "Serialize") if one.lower() == kind.lower()), "Mandatory")


def _symmetrical(written: str | None, kind: str) -> bool:
    return kind != "Serialize" and (written is None or values.boolean(written) is True)


def colocations(configuration: Configuration, names: Names) -> Iterator[Colocation]:
    """Every colocation as pairs."""
    for one, sets in _constraints(configuration, "rsc_colocation", names):
        score = values.score(one.get("score"))
        if sets:
            yield from _set_colocations(one, sets, score)
            continue
        roles = _placed(one.get("rsc-role")), _placed(one.get("with-rsc-role"))
        attribute = one.get("node-attribute") or ""
        for rsc, with_rsc in _product(names(one.get("rsc")), names(one.get("with-rsc")), one) if score else ():
            yield Colocation(one.id, rsc, roles[0], with_rsc, roles[1], score, attribute)


def _set_colocations(one: Constraint, sets: Sequence[_Set], score: int) -> Iterator[Colocation]:
    before: _Set | None = None
    for found in sets:
        role = _placed(found.get.get("role"))
        own = values.score(found.get["score"]) if "score" in found.get else score
        if found.sequential and own:
            yield from _inside(one, found, role, own)
        if before is not None and score:
            # The earlier set depends on the later one: its first member is placed by the last of the other.
            rscs = before.members[:1] if before.sequential else before.members
            withs = found.members[-1:] if found.sequential else found.members
            for rsc, with_rsc in _product(rscs, withs, one):
                yield Colocation(one.id, rsc, _placed(before.get.get("role")), with_rsc, role, score)
        before = found


def _inside(one: Constraint, found: _Set, role: str, score: int) -> Iterator[Colocation]:
    members = found.members
    if score < 0:  # each keeps away from all before it
        _bounded(len(members) ** 2 // 2, one)
        pairs = [(rsc, other) for index, rsc in enumerate(members) for other in members[:index]]
    elif (found.get.get("ordering") or "group").lower() == "group":
        pairs = list(zip(members[1:], members))
    else:
        pairs = list(zip(members, members[1:]))
    for rsc, with_rsc in pairs:
        yield Colocation(one.id, rsc, role, with_rsc, role, score)


def _placed(role: str | None) -> str:
    """The role as a placement takes it: Started is any."""
    word = values.role(role)
    return "" if word == values.STARTED else word


def locations(configuration: Configuration, names: Names) -> Iterator[Location]:
    """Every location."""
    for one, sets in _constraints(configuration, "rsc_location", names):
        resources = [(name, found.get.get("role")) for found in sets for name in found.members]
        resources += [(name, None) for name in (*names(one.get("rsc")), *_matching(one.get("rsc-pattern"), names))]
        rules = [found for child in one.children if (found := element(child.xml)) is not None]
        limited = any(found.tag == "lifetime" for found in rules)
        rules = [found for found in rules if found.tag == "rule"]
        for rsc, role in resources:
            placed = _placed(role or one.get("role"))
            if one.get("node") is not None:
                yield Location(one.id, rsc, placed, one.get("node"), values.score(one.get("score")), limited)
            for rule in rules:
                node = _node(rule)
                ruled = _placed(rule.get("role")) or placed
                yield Location(one.id, rsc, ruled, node, values.score(rule.get("score")), limited or node is None)


def _node(rule: Any) -> str | None:
    """The node that a rule names, when that is all that it says."""
    if len(rule) != 1 or rule[0].tag != "expression":
        return None
    only = rule[0]
    return only.get("value") if (only.get("attribute"), only.get("operation")) == ("#uname", "eq") else None


def _matching(pattern: str | None, names: Names) -> list[str]:
    if pattern is None:
        return []
    inverted = pattern.startswith("!")
    pattern = pattern[inverted:]
    if not _HARMLESS.fullmatch(pattern) or pattern.count(".*") > 3:
        return []
    wanted = re.compile(pattern)
    outermost = dict.fromkeys(names.single.values())
    return [name for name in outermost if bool(wanted.search(name)) != inverted]


def tickets(configuration: Configuration, names: Names) -> Iterator[Ticket]:
    """Every ticket constraint."""
    for one, sets in _constraints(configuration, "rsc_ticket", names):
        resources = [(name, found.get.get("role")) for found in sets for name in found.members]
        resources += [(name, one.get("rsc-role")) for name in names(one.get("rsc"))]
        for rsc, role in resources:
            yield Ticket(one.id, one.get("ticket") or "", rsc, _placed(role), one.get("loss-policy") or "stop")


def dangling(configuration: Configuration, names: Names) -> Iterator[tuple[str, str]]:
    """(constraint, name) for each name in a constraint that means no resource, template or tag."""
    for one in configuration.constraints:
        if isinstance(one, Constraint):
            written = [one.get(key) for key in ("rsc", "with-rsc", "first", "then")]
            for found in _raw_sets(one):
                written += [ref.get("id") for ref in found if ref.tag == "resource_ref"]
            yield from ((one.id, name) for name in written if name is not None and name not in names)


def _constraints(configuration: Configuration, kind: str, names: Names) -> Iterator[tuple[Constraint, list[_Set]]]:
    by_id: dict[str, Any] = {}
    mine = [one for one in configuration.constraints if isinstance(one, Constraint)]
    sets = {id(one): _raw_sets(one) for one in mine if one.children}
    for found in (one for some in sets.values() for one in some):
        if found.get("id"):
            by_id.setdefault(found.get("id"), found)
    for one in mine:
        if one.kind == kind:
            raw = [by_id.get(found.get("id-ref"), found) for found in sets.get(id(one), ())]
            yield one, [_read(found, names) for found in raw]


def _raw_sets(one: Constraint) -> list[Any]:
    texts = (child.xml for child in one.children if child.xml.startswith("<resource_set"))
    return [found for xml in texts if (found := element(xml)) is not None]


def _read(found: Any, names: Names) -> _Set:
    refs = [ref.get("id") for ref in found if ref.tag == "resource_ref"]
    attributes = {str(key): str(value) for key, value in found.attrib.items()}
    if any(len(names(ref)) > 1 for ref in refs):
        attributes["sequential"] = "false"  # what a template or tag stands for has no order among itself
    return _Set(tuple(name for ref in refs for name in names(ref)), attributes)


def _product(left: Sequence[str], right: Sequence[str], one: Constraint) -> Iterator[tuple[str, str]]:
    _bounded(len(left) * len(right), one)
    return ((a, b) for a in left for b in right)


def _bounded(count: int, one: Constraint) -> None:
    if count > MAX_PAIRS:
        raise UsageError(
            f"constraint {one.id!r} ties {count} pairs of resources, more than a cluster can hold ({MAX_PAIRS})"
        )
