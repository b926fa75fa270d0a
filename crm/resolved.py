"""What a configuration means: templates, id-refs, defaults and resource sets applied as Pacemaker 2.1 does it. Pure, built in linear time.

What a rule decides (business hours, one node only) is not known here: its names are in ``uncertain``, its values count for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from hafailover.crm import resolved_constraints as constraints
from hafailover.crm import values
from hafailover.crm.model import (
    AttributeSet,
    Clone,
    Configuration,
    Group,
    Node,
    Operation,
    Operations,
    Pair,
    Primitive,
    Verbatim,
)
from hafailover.crm.resolved_constraints import Colocation, Location, Order, Ticket
from hafailover.crm.resolved_xml import bundles, tags
from hafailover.crm.values import INFINITY

__all__ = ["INFINITY", "Colocation", "Location", "Op", "Order", "Resolved", "Resource", "Ticket"]

_FIRST = "cib-bootstrap-options"  # the set of properties that wins over every other


@dataclass(frozen=True)
class Op:
    """An operation: ``interval`` and ``timeout`` in ms (timeout with op_defaults; None: nothing is said, Pacemaker waits 20 s).

    ``role`` is "", Promoted, Unpromoted, Started or Stopped, never the old words. ``values`` is everything that is said, by name, with
    op_defaults; ``own`` are the names that the operation itself says.
    """

    id: str
    name: str
    interval: int
    role: str
    timeout: int | None
    on_fail: str | None
    enabled: bool
    values: Mapping[str, str]
    own: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Resource:
    """A primitive, group, clone or bundle. ``agent`` is "ocf:hafailover:mariadb", "" for what has none.

    ``params`` and ``meta`` are effective: own, the template's, the parents', and for ``meta`` rsc_defaults. ``uncertain`` are names that a
    rule sets sometimes. ``top`` is the id of the outermost; ``promotable`` holds for everything in a promotable clone or bundle.
    """

    id: str
    kind: str
    agent: str
    parent: str | None
    children: tuple[str, ...]
    top: str
    params: Mapping[str, str]
    meta: Mapping[str, str]
    operations: tuple[Op, ...]
    promotable: bool
    uncertain: frozenset[str] = frozenset()
    template: str | None = None
    legacy: bool = False

    def monitors(self) -> tuple[Op, ...]:
        """Its monitors that recur and are not switched off."""
        return tuple(op for op in self.operations if op.name == "monitor" and op.enabled and op.interval > 0)


@dataclass(frozen=True)
class _Values:
    """What attribute sets say: the effective values, and the names that a rule sets sometimes."""

    certain: Mapping[str, str]
    uncertain: frozenset[str]


class Resolved:
    """A Configuration as rules want to see it. Looking is free of charge and free of errors, whatever the configuration refers to."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self._sets: dict[str, AttributeSet] = {}
        self._pairs: dict[str, Pair] = {}
        self._operations: dict[str, Operations] = {}
        self._templates: dict[str, Primitive] = {}
        self._outer = [*configuration.resources, *bundles(configuration)]
        for found in (*configuration.properties, *configuration.rsc_defaults, *configuration.op_defaults):
            self._index(found)
        for resource in self._outer:
            self._index(resource)

    def _index(self, element: object) -> None:
        """Remember what an id-ref may name."""
        if isinstance(element, AttributeSet):
            if element.id:
                self._sets.setdefault(element.id, element)
            self._pairs.update((pair.id, pair) for pair in element.pairs if pair.id and pair.value is not None)
        elif isinstance(element, Primitive) and element.template:
            self._templates.setdefault(element.id, element)
        elif isinstance(element, Operations) and dict(element.attributes).get("id"):
            self._operations.setdefault(dict(element.attributes)["id"], element)
        for child in getattr(element, "children", ()):
            self._index(child)

    # -- cluster -----------------------------------------------------------------------------------------------------------------

    @cached_property
    def properties(self) -> Mapping[str, str]:
        """The effective cluster properties that are set, by name."""
        return self._effective(self.configuration.properties, first=_FIRST).certain

    @cached_property
    def uncertain_properties(self) -> frozenset[str]:
        """Cluster properties that a rule sets sometimes."""
        return self._effective(self.configuration.properties).uncertain

    def property(self, name: str) -> str | None:
        """A cluster property as it is in force, None when it is left at its default. Sets with rules don't count."""
        return self.properties.get(name)

    @cached_property
    def rsc_defaults(self) -> Mapping[str, str]:
        """The meta attributes that hold for every resource that does not set them."""
        return self._effective(self.configuration.rsc_defaults, "meta_attributes").certain

    @cached_property
    def op_defaults(self) -> Mapping[str, str]:
        """What holds for every operation that does not say it: timeout, on-fail …"""
        return self._effective(self.configuration.op_defaults, "meta_attributes").certain

    @cached_property
    def uncertain_op_defaults(self) -> frozenset[str]:
        """What a rule of op_defaults says sometimes, or for some operations only."""
        return self._effective(self.configuration.op_defaults, "meta_attributes").uncertain

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """The nodes that the configuration lists, by name."""
        return {node.name: node for node in self.configuration.nodes if isinstance(node, Node)}

    @cached_property
    def node_names(self) -> frozenset[str]:
        """Every name that means a node: those that are listed, remote nodes and guests."""
        guests = {one.meta["remote-node"] for one in self.resources.values() if "remote-node" in one.meta}
        remote = {one.id for one in self.resources.values() if one.agent == "ocf:pacemaker:remote"}
        return frozenset({*self.nodes, *guests, *remote})

    # -- resources ---------------------------------------------------------------------------------------------------------------

    @cached_property
    def resources(self) -> Mapping[str, Resource]:
        """Every primitive, group, clone and bundle by id; templates are applied, not listed."""
        found: dict[str, Resource] = {}
        for element in self._outer:
            self._add(element, (), False, found)
        return found

    def effective_id(self, id: str) -> str:
        """The resource that a constraint means by ``id``: of what is inside a clone or bundle, the clone or bundle."""
        one = self.resources.get(id)
        if one is None or one.parent is None:
            return id
        return one.top if self.resources[one.top].kind in ("clone", "bundle") else id

    def primitives_of(self, id: str) -> tuple[Resource, ...]:
        """The primitives that are ``id`` or inside it, in order."""
        one = self.resources.get(id)
        if one is None:
            return ()
        if one.kind == "primitive":
            return (one,)
        return tuple(found for child in one.children for found in self.primitives_of(child))

    def _add(
        self, element: object, parents: tuple[_Element, ...], promotable: bool, found: dict[str, Resource]
    ) -> str | None:
        kind = _KINDS.get(type(element).__name__)
        if kind is None or not isinstance(element, (Primitive, Group, Clone)) or element.id in found:
            return None
        if isinstance(element, Primitive) and element.template:
            return None
        here = _Element(element.id, tuple(child for child in element.children if isinstance(child, AttributeSet)))
        template = self._template(element)
        own = [*(template.children if template else ()), *element.children]
        params = self._layers([own, *(one.children for one in reversed(parents))], "instance_attributes", ())
        meta = self._layers(
            [own, *(one.children for one in reversed(parents))], "meta_attributes", self.configuration.rsc_defaults
        )
        legacy, bundle = False, False
        if isinstance(element, Clone):
            legacy, bundle = element.legacy, dict(element.attributes).get("_kind") == "bundle"
            said = values.boolean(meta.certain.get("promotable"))
            promotable = legacy or bool(dict(element.attributes).get("_promotable")) if bundle else legacy or bool(said)
        found[element.id] = Resource(element.id, kind, "", None, (), element.id, {}, {}, (), False)  # keeps the order
        children = tuple(
            id
            for child in element.children
            if (id := self._add(child, (*parents, here), promotable, found)) is not None
        )
        agent = template.agent if template is not None else getattr(element, "agent", ("", "", ""))
        found[element.id] = Resource(
            id=element.id,
            kind="bundle" if bundle else kind,
            agent=":".join(part for part in agent if part),
            parent=parents[-1].id if parents else None,
            children=children,
            top=parents[0].id if parents else element.id,
            params=params.certain,
            meta=meta.certain,
            operations=tuple(self._ops(element, template)) if isinstance(element, Primitive) else (),
            promotable=promotable,
            uncertain=params.uncertain | meta.uncertain,
            template=template.id if template else None,
            legacy=legacy,
        )
        return element.id

    def _template(self, element: object) -> Primitive | None:
        return (
            self._templates.get(dict(element.attributes).get("template", ""))
            if isinstance(element, Primitive)
            else None
        )

    def _layers(self, layers: Iterable[Iterable[object]], kind: str, defaults: Sequence[object]) -> _Values:
        """The effective values of ``kind``: a layer wins over those after it."""
        certain: dict[str, str] = {}
        uncertain: set[str] = set()
        for layer in (*layers, defaults):
            one = self._effective(layer, kind, certain)
            uncertain |= one.uncertain
        return _Values(certain, frozenset(uncertain))

    def _effective(
        self,
        elements: Iterable[object],
        kind: str | None = None,
        into: dict[str, str] | None = None,
        first: str | None = None,
    ) -> _Values:
        """What the sets among ``elements`` say. The highest score wins, and of equal ones the last that is written."""
        certain = {} if into is None else into
        uncertain: set[str] = set()
        sets = [self._set(one) for one in elements if isinstance(one, AttributeSet) and kind in (None, one.kind)]
        sets.reverse()
        for found in sorted(sets, key=lambda one: (one.id != first, -_score(one))):
            by_rule = any(isinstance(child, Verbatim) and child.xml.startswith("<rule") for child in found.children)
            for name, value in self._said(found):
                if by_rule:
                    uncertain.add(name)
                elif value == "#default":
                    certain.pop(name, None)
                else:
                    certain.setdefault(name, value)
        return _Values(certain, frozenset(uncertain))

    def _set(self, found: AttributeSet) -> AttributeSet:
        return self._sets.get(dict(found.attributes).get("id-ref", ""), found)

    def _said(self, found: AttributeSet) -> Iterator[tuple[str, str]]:
        for pair in found.pairs:
            named = self._pairs.get(dict(pair.attributes).get("id-ref", ""), pair)
            value = pair.value if pair.value is not None else named.value
            if value is not None:
                yield pair.name or named.name, value

    # -- operations --------------------------------------------------------------------------------------------------------------

    def _ops(self, element: Primitive, template: Primitive | None) -> Iterator[Op]:
        own = self._written(element)
        said = {(op.name, _same_role(op)) for op in own}
        inherited = [
            op for op in (self._written(template) if template else ()) if (op.name, _same_role(op)) not in said
        ]
        for op in (*own, *inherited):
            found = dict(self._effective(op.children, "meta_attributes").certain)
            found.update(op.attributes)
            effective = {**self.op_defaults, **found}
            yield Op(
                id=op.id,
                name=op.name,
                interval=values.milliseconds(op.interval) or 0,
                role=values.role(effective.get("role")),
                timeout=values.milliseconds(effective.get("timeout")),
                on_fail=effective.get("on-fail"),
                enabled=values.boolean(effective.get("enabled")) is not False,
                values=effective,
                own=frozenset(found),
            )

    def _written(self, element: Primitive) -> list[Operation]:
        found: list[Operation] = []
        for child in element.children:
            if isinstance(child, Operations):
                named = self._operations.get(dict(child.attributes).get("id-ref", ""), child)
                found += [op for op in named.children if isinstance(op, Operation)]
        return found

    # -- constraints -------------------------------------------------------------------------------------------------------------

    @cached_property
    def _names(self) -> constraints.Names:
        """What a constraint may name: resources, and templates and tags, which stand for several."""
        several: dict[str, list[str]] = {name: [] for name in self._templates}
        for one in self.resources.values():
            if one.template:
                several[one.template].append(self.effective_id(one.id))
        several.update(
            (tag, [self.effective_id(id) for id in ids if id in self.resources])
            for tag, ids in tags(self.configuration).items()
            if tag not in self.resources
        )
        return constraints.Names({id: self.effective_id(id) for id in self.resources}, several)

    @cached_property
    def orders(self) -> tuple[Order, ...]:
        """Every order as pairs, in the order of the file; constraints about what is not there are left out, as Pacemaker does."""
        return tuple(constraints.orders(self.configuration, self._names))

    @cached_property
    def colocations(self) -> tuple[Colocation, ...]:
        """Every colocation as pairs; a score of 0 has no effect and is left out."""
        return tuple(constraints.colocations(self.configuration, self._names))

    @cached_property
    def locations(self) -> tuple[Location, ...]:
        """Every location, one for each resource and rule."""
        return tuple(constraints.locations(self.configuration, self._names))

    @cached_property
    def next_to(self) -> Mapping[str, frozenset[tuple[str, str]]]:
        """resource → (other, role) of what it is wanted together with."""
        found: dict[str, set[tuple[str, str]]] = {}
        for one in self.colocations:
            if one.score > 0:
                found.setdefault(one.rsc, set()).add((one.with_rsc, one.with_role))
        return {name: frozenset(others) for name, others in found.items()}

    @cached_property
    def started_after(self) -> Mapping[str, frozenset[tuple[str, str]]]:
        """resource → (other, "start" or "promote") of what its start or promotion waits for."""
        found: dict[str, set[tuple[str, str]]] = {}
        for one in self.orders:
            waits = one.kind != "Serialize" and one.then_action in ("start", "promote")
            if waits and one.first_action in ("start", "promote"):
                found.setdefault(one.then, set()).add((one.first, one.first_action))
        return {name: frozenset(others) for name, others in found.items()}

    @cached_property
    def tickets(self) -> tuple[Ticket, ...]:
        """Every ticket constraint, one for each resource."""
        return tuple(constraints.tickets(self.configuration, self._names))

    @cached_property
    def dangling(self) -> tuple[tuple[str, str], ...]:
        """Constraints that name what is not there: (constraint, name)."""
        return tuple(constraints.dangling(self.configuration, self._names))


@dataclass(frozen=True)
class _Element:
    """A parent on the way down: its id, and what its children inherit from."""

    id: str
    children: tuple[AttributeSet, ...]


_KINDS = {"Primitive": "primitive", "Group": "group", "Clone": "clone"}


def _score(found: AttributeSet) -> int:
    return values.score(dict(found.attributes).get("score"))


def _same_role(op: Operation) -> str:
    """Whose place an op of a resource takes: of its template's, the one of the same name and role."""
    role = values.role(op.get("role"))
    return "" if role in (values.STARTED, values.UNPROMOTED) else role
