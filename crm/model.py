"""The one model of a cluster configuration: what a topology becomes, what a CIB is read into, what every format is written from.

Each element keeps its children in the order they have in the CIB and every XML attribute it has no field for; an element
the model has no type for is kept as text (Verbatim). So reading and writing loses nothing, whoever made the CIB.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Union

_TAG = re.compile(r"<([^\s<>/!?]+)")

Attributes = tuple[tuple[str, str], ...]
"""XML attributes that have no field of their own, in document order."""


@dataclass(frozen=True)
class Verbatim:
    """What the model has no type for, as XML text: an element, a comment, a processing instruction, or stray text (escaped)."""

    xml: str

    @property
    def tag(self) -> str:
        """The element's tag; "" for a comment, an instruction or text."""
        found = _TAG.match(self.xml)
        return found.group(1) if found else ""


@dataclass(frozen=True)
class Pair:
    """An nvpair. ``value`` is None for a reference (id-ref) or a pair without value."""

    id: str
    name: str
    value: str | None
    attributes: Attributes = ()


@dataclass(frozen=True)
class AttributeSet:
    """instance_attributes, meta_attributes, utilization or cluster_property_set (``kind`` is the tag)."""

    kind: str
    id: str
    children: tuple[Pair | Verbatim, ...] = ()
    attributes: Attributes = ()

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The set's nvpairs."""
        return tuple(child for child in self.children if isinstance(child, Pair))

    def get(self, name: str) -> str | None:
        """Value of ``name``, or None."""
        return next((pair.value for pair in self.pairs if pair.name == name), None)

    @property
    def conditional(self) -> bool:
        """Whether a rule decides when its values hold, or they are another set's (id-ref)."""
        ruled = any(isinstance(child, Verbatim) and child.tag == "rule" for child in self.children)
        return ruled or any(key == "id-ref" for key, _ in self.attributes)

    @property
    def score(self) -> int:
        """Of several sets with a value the one with the highest score decides; 0 when not given or not understood."""
        return _score(dict(self.attributes).get("score", "0"))


def _score(text: str) -> int:
    sign, digits = (-1, text[1:]) if text[:1] == "-" else (1, text[text[:1] == "+" :])
    if digits.upper() == "INFINITY":
        return sign * 1000000
    # Longer ones are infinite, too; a number of a million digits would take hours.
    return sign * min(int(digits[:9]), 1000000) if digits.isascii() and digits.isdigit() else 0


def _deciding(sets: Iterable[AttributeSet], name: str) -> str | None:
    """The value of ``name`` that holds among ``sets``: the highest score's, of equal ones the last's, as in Pacemaker 2.1.5."""
    ranked = sorted((found for found in reversed(tuple(sets)) if not found.conditional), key=lambda found: -found.score)
    values = (found.get(name) for found in ranked)
    return next((value for value in values if value is not None), None)


@dataclass(frozen=True)
class Operation:
    """An op of a resource; ``interval`` and ``attributes`` (timeout, role, on-fail …) as written."""

    id: str
    name: str
    interval: str
    attributes: Attributes = ()
    children: tuple[AttributeSet | Verbatim, ...] = ()

    def get(self, name: str) -> str | None:
        """Value of the XML attribute ``name``, or None."""
        return dict(self.attributes).get(name)


@dataclass(frozen=True)
class Operations:
    """The operations element of a resource."""

    children: tuple[Operation | Verbatim, ...] = ()
    attributes: Attributes = ()


class _WithSets:
    """Looks into the attribute sets of a resource."""

    children: tuple[object, ...]

    def sets(self, kind: str) -> Iterator[AttributeSet]:
        """The sets of one kind, in order."""
        return (child for child in self.children if isinstance(child, AttributeSet) and child.kind == kind)

    def _get(self, kind: str, name: str) -> str | None:
        return _deciding(self.sets(kind), name)

    def meta(self, name: str) -> str | None:
        """Meta attribute ``name`` set here (not inherited), or None."""
        return self._get("meta_attributes", name)

    def param(self, name: str) -> str | None:
        """Instance attribute ``name``, or None."""
        return self._get("instance_attributes", name)


@dataclass(frozen=True)
class Primitive(_WithSets):
    """A resource (or, as ``template``, a resource template). ``agent`` is (class, provider or "", type)."""

    id: str
    agent: tuple[str, str, str]
    children: tuple[AttributeSet | Operations | Verbatim, ...] = ()
    attributes: Attributes = ()
    template: bool = False

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All its ops."""
        return tuple(
            op
            for child in self.children
            if isinstance(child, Operations)
            for op in child.children
            if isinstance(op, Operation)
        )

    @property
    def agent_name(self) -> str:
        """``ocf:hafailover:mariadb``, ``systemd:memcached``."""
        return ":".join(part for part in self.agent if part)


@dataclass(frozen=True)
class Group(_WithSets):
    """Resources kept together and started in order; the members stand among ``children``."""

    id: str
    children: tuple[AttributeSet | Primitive | Verbatim, ...] = ()
    attributes: Attributes = ()

    @property
    def members(self) -> tuple[Primitive, ...]:
        """The group's resources in order."""
        return tuple(child for child in self.children if isinstance(child, Primitive))


@dataclass(frozen=True)
class Clone(_WithSets):
    """A clone of a primitive or group; ``legacy`` when written as the deprecated master element."""

    id: str
    children: tuple[AttributeSet | Primitive | Group | Verbatim, ...] = ()
    attributes: Attributes = ()
    legacy: bool = False

    @property
    def member(self) -> Primitive | Group | None:
        """What is cloned."""
        return next((child for child in self.children if isinstance(child, (Primitive, Group))), None)

    @property
    def promotable(self) -> bool:
        """Whether instances can be promoted."""
        return self.legacy or (self.meta("promotable") or "").lower() in ("true", "on", "yes", "y", "1")


@dataclass(frozen=True)
class Constraint:
    """rsc_location, rsc_colocation, rsc_order or rsc_ticket (``kind`` is the tag), its XML attributes and children."""

    kind: str
    id: str
    attributes: Attributes = ()
    children: tuple[Verbatim, ...] = ()

    def get(self, name: str) -> str | None:
        """Value of the XML attribute ``name``, or None."""
        return dict(self.attributes).get(name)


@dataclass(frozen=True)
class Node:
    """A node as the CIB has it."""

    id: str
    name: str
    children: tuple[AttributeSet | Verbatim, ...] = ()
    attributes: Attributes = ()


Resource = Union[Primitive, Group, Clone]

SECTIONS = ("crm_config", "nodes", "resources", "constraints")
"""The sections every CIB has."""

# The oldest schema that knows the roles Promoted and Unpromoted (Pacemaker 2.1.0), so that no newer cluster refuses it.
VALIDATE_WITH = "pacemaker-3.7"
NEW: Attributes = (("validate-with", VALIDATE_WITH), ("epoch", "0"), ("num_updates", "0"), ("admin_epoch", "0"))
"""The attributes of a CIB that nobody has had yet."""


@dataclass(frozen=True)
class Surroundings:
    """What stands around the configuration, comments mostly: before and after the element cib, and in it on either side."""

    before: tuple[Verbatim, ...] = ()
    head: tuple[Verbatim, ...] = ()
    tail: tuple[Verbatim, ...] = ()
    after: tuple[Verbatim, ...] = ()


@dataclass(frozen=True)
class Configuration:
    """A whole configuration.

    ``sections`` names the sections in order, because a section may be absent, present and empty, or unknown here;
    those without a field are in ``others`` as (name, XML text), in the same order, and so are a second section of a name that has a
    field (Pacemaker knows only the first) and what is no element ("#1", …). ``section_attributes`` has those of sections with a
    field, ``namespaces`` the prefixes that the element cib declares.
    """

    properties: tuple[AttributeSet | Verbatim, ...] = ()
    nodes: tuple[Node | Verbatim, ...] = ()
    resources: tuple[Resource | Verbatim, ...] = ()
    constraints: tuple[Constraint | Verbatim, ...] = ()
    rsc_defaults: tuple[AttributeSet | Verbatim, ...] = ()
    op_defaults: tuple[AttributeSet | Verbatim, ...] = ()
    others: tuple[tuple[str, str], ...] = ()
    sections: tuple[str, ...] = SECTIONS
    cib_attributes: Attributes = NEW
    attributes: Attributes = ()
    section_attributes: tuple[tuple[str, Attributes], ...] = ()
    surroundings: Surroundings = Surroundings()
    namespaces: Attributes = ()

    def primitives(self) -> Iterator[Primitive]:
        """Every resource, also inside groups and clones."""
        for resource in self.resources:
            yield from _primitives(resource)

    def property(self, name: str) -> str | None:
        """Value of a cluster property, or None when it is left at its default."""
        sets = [found for found in self.properties if isinstance(found, AttributeSet)]
        # Pacemaker asks the set of this name first, whatever its score.
        sets.sort(key=lambda found: found.id != "cib-bootstrap-options")
        first = _deciding(sets[:1], name) if sets and sets[0].id == "cib-bootstrap-options" else None
        return first if first is not None else _deciding(sets, name)


def _primitives(element: object) -> Iterator[Primitive]:
    if isinstance(element, Primitive):
        yield element
    elif isinstance(element, (Group, Clone)):
        for child in element.children:
            yield from _primitives(child)


# Builders. The ids are those crmsh derives, so that its text and ours load to the same CIB.
def attribute_set(kind: str, owner: str, values: Mapping[str, str]) -> AttributeSet:
    """The set of ``kind`` that belongs to the resource ``owner``."""
    return named_set(kind, f"{owner}-{kind}", values)


def named_set(kind: str, set_id: str, values: Mapping[str, str]) -> AttributeSet:
    """A set with its own id."""
    return AttributeSet(kind, set_id, tuple(Pair(f"{set_id}-{name}", name, value) for name, value in values.items()))


def operation(owner: str, name: str, interval: str, **attributes: str) -> Operation:
    """An op of ``owner``; underscores in names stand for hyphens (on_fail)."""
    named = tuple((key.replace("_", "-"), value) for key, value in attributes.items())
    return Operation(f"{owner}-{name}-{interval}", name, interval, named)


def primitive(
    name: str,
    agent: tuple[str, str, str],
    params: Mapping[str, str],
    operations: tuple[Operation, ...],
    meta: Mapping[str, str] | None = None,
) -> Primitive:
    """A primitive with one set of each kind that is not empty."""
    children: list[AttributeSet | Operations | Verbatim] = []
    if params:
        children.append(attribute_set("instance_attributes", name, params))
    if meta:
        children.append(attribute_set("meta_attributes", name, meta))
    children.append(Operations(operations))
    return Primitive(name, agent, tuple(children))


def clone(name: str, member: Primitive | Group, meta: Mapping[str, str]) -> Clone:
    """A clone of ``member``."""
    return Clone(name, (attribute_set("meta_attributes", name, meta), member))


def group(name: str, members: Sequence[Primitive], meta: Mapping[str, str] | None = None) -> Group:
    """``members`` together on one node, started in this order and stopped in reverse."""
    sets = (attribute_set("meta_attributes", name, meta),) if meta else ()
    return Group(name, (*sets, *members))


def location(name: str, resource: str, node: str, score: str) -> Constraint:
    """``resource`` prefers or avoids ``node``."""
    return Constraint("rsc_location", name, (("rsc", resource), ("score", score), ("node", node)))


def where_defined(name: str, resource: str, attribute: str) -> Constraint:
    """``resource`` runs only on nodes that have the node attribute ``attribute``."""
    rule = (
        f'<rule id="{name}-rule" score="-INFINITY" boolean-op="and">'
        f'<expression id="{name}-expression" attribute="{attribute}" operation="not_defined"/></rule>'
    )
    return Constraint("rsc_location", name, (("rsc", resource),), (Verbatim(rule),))


def colocation(name: str, resource: str, with_resource: str, with_role: str | None) -> Constraint:
    """``resource`` runs only where ``with_resource`` does (in ``with_role``)."""
    role = (("with-rsc-role", with_role),) if with_role else ()
    return Constraint(
        "rsc_colocation", name, (("score", "INFINITY"), ("rsc", resource), ("with-rsc", with_resource), *role)
    )


def order(
    name: str,
    first: str,
    first_action: str,
    then: str,
    then_action: str,
    *,
    kind: str = "Mandatory",
    symmetrical: bool = True,
) -> Constraint:
    """``then`` acts after ``first``; the opposite actions come in reverse order if ``symmetrical``.

    ``kind`` is Mandatory, Optional (only when both act in the same transition) or Serialize.
    """
    one_way = () if symmetrical else (("symmetrical", "false"),)
    return Constraint(
        "rsc_order",
        name,
        (
            ("kind", kind),
            *one_way,
            ("first", first),
            ("first-action", first_action),
            ("then", then),
            ("then-action", then_action),
        ),
    )
