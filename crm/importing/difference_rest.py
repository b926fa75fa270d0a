"""What no other comparison looks at: every attribute and element of both configurations that nothing else has taken: none is forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hafailover.crm.importing.cluster import is_ours
from hafailover.crm.importing.difference_words import Difference
from hafailover.crm.importing.draft import Draft
from hafailover.crm.importing.findings import visible
from hafailover.crm.importing.hidden import may_show
from hafailover.crm.model import (
    Attributes,
    AttributeSet,
    Clone,
    Configuration,
    Group,
    Node,
    Operation,
    Operations,
    Primitive,
    Verbatim,
)
from hafailover.crm.resolved import Resolved

# What the other comparisons take, by the element.
_SET = ("id", "id-ref", "score")
_PAIR = ("id", "id-ref")
_OP = ("id", "timeout", "role", "on-fail", "enabled")
_OP_SETS = ("timeout", "role", "on-fail", "enabled", "interval")
_VALUES = ("instance_attributes", "meta_attributes", "cluster_property_set")


def rest(draft: Draft, result: Resolved) -> Iterator[Difference]:
    """What only the source has, and what only ``result`` has, in the order of the source."""
    old, new = dict(_of_resources(draft.resolved)), dict(_of_resources(result))
    for id, tokens in old.items():
        target = draft.renames.get(id, "")
        if id in draft.resolved.resources and target not in result.resources:
            continue  # that it is not there at all is said elsewhere
        yield from _apart(visible(id, 80), tokens, new.get(target, []))
    yield from _templates(draft.resolved)
    yield from _nodes(draft)
    yield from _sections(draft.resolved.configuration, result.configuration)


def _apart(where: str, old: Iterable[str], new: Iterable[str]) -> Iterator[Difference]:
    before, after = dict.fromkeys(old), dict.fromkeys(new)
    yield from (Difference("attribute", where, f"{one} is not in the topology") for one in before if one not in after)
    yield from (Difference("attribute", where, f"{one} is added") for one in after if one not in before)


def _of_resources(resolved: Resolved) -> Iterator[tuple[str, list[str]]]:
    templates = {one.id: one for one in resolved.configuration.resources if isinstance(one, Primitive) and one.template}

    def walk(element: object) -> Iterator[tuple[str, list[str]]]:
        if isinstance(element, (Primitive, Group, Clone)) and not getattr(element, "template", False):
            tokens = list(_of_element(element))
            template = templates.get(dict(element.attributes).get("template", ""))
            yield element.id, tokens + (list(_of_element(template)) if template is not None else [])
            for child in element.children:
                yield from walk(child)

    for resource in resolved.configuration.resources:
        yield from walk(resource)


def _of_element(element: Primitive | Group | Clone) -> Iterator[str]:
    yield from _attributes("", element.attributes, ("template", "_kind", "_promotable"))
    for child in element.children:
        if isinstance(child, AttributeSet):
            yield from _of_set("", child)
        elif isinstance(child, Operations):
            yield from _attributes("operations: ", child.attributes, ("id", "id-ref"))
            for op in child.children:
                yield from _of_operation(op) if isinstance(op, Operation) else _verbatim("operations: ", op)
        elif isinstance(child, Verbatim):
            yield from _verbatim("", child)


def _of_operation(op: Operation) -> Iterator[str]:
    every = f" every {visible(op.interval, 20)}" if op.interval not in ("", "0", "0s") else ""
    where = f"operation {visible(op.name, 40)}{every}: "
    yield from _attributes(where, op.attributes, _OP)
    for child in op.children:
        if isinstance(child, AttributeSet):
            yield from _of_set(where, child, _OP_SETS)
        else:
            yield from _verbatim(where, child)


def _of_set(where: str, found: AttributeSet, taken: Iterable[str] | None = None) -> Iterator[str]:
    """``taken``: the only names that another comparison takes of this set; None for all of a kind that is compared."""
    yield from _attributes(f"{where}{found.kind}: ", found.attributes, _SET)
    ruled = any(isinstance(child, Verbatim) and child.tag == "rule" for child in found.children)
    for child in found.children:
        if isinstance(child, Verbatim):
            yield from () if child.tag == "rule" else _verbatim(where, child)
            continue
        yield from _attributes(f"{where}{visible(child.name, 60)}: ", child.attributes, _PAIR)
        known = found.kind in _VALUES if taken is None else found.kind == "meta_attributes" and child.name in taken
        if ruled:
            yield f"{where}{visible(child.name, 60)}, which a rule sets,"
        elif not known:
            kind = f"{found.kind} " if found.kind not in _VALUES else ""
            yield f"{where}{kind}{_pair(child.name, child.value or '')}"


def _attributes(where: str, attributes: Attributes, taken: Iterable[str]) -> Iterator[str]:
    yield from (f"{where}{_pair(name, value)}" for name, value in attributes if name not in tuple(taken))


def _pair(name: str, value: str) -> str:
    return f"{visible(name, 60)}={visible(value, 60) if may_show(name, value) else '(not shown)'}"


def _verbatim(where: str, found: object) -> Iterator[str]:
    if isinstance(found, Verbatim) and found.tag:
        yield f"{where}element {visible(found.tag, 60)}"


def _templates(resolved: Resolved) -> Iterator[Difference]:
    used = {one.template for one in resolved.resources.values()}
    for one in resolved.configuration.resources:
        if isinstance(one, Primitive) and one.template and one.id not in used:
            yield Difference("resource", visible(one.id, 80), "a template that no resource uses is not in the topology")
        elif isinstance(one, Verbatim) and one.tag not in ("", "bundle"):
            yield Difference("resource", "resources", f"element {visible(one.tag, 60)} is not in the topology")


def _nodes(draft: Draft) -> Iterator[Difference]:
    for node in draft.resolved.configuration.nodes:
        if not isinstance(node, Node):
            yield from _apart("nodes", _verbatim("", node), ())
            continue
        where = f"node {visible(node.name, 80)}"
        kind = dict(node.attributes).get("type", "member")
        if node.name not in draft.node_names:
            yield Difference("node", where, f"a node of type {visible(kind, 20)} is not in the topology")
            continue
        tokens = list(_attributes("", node.attributes, ("type",)))
        for child in node.children:
            if isinstance(child, AttributeSet) and child.kind == "instance_attributes" and not child.conditional:
                continue  # told as the node's attributes
            tokens += _of_set("", child) if isinstance(child, AttributeSet) else _verbatim("", child)
        yield from _apart(where, tokens, ())


def _sections(old: Configuration, new: Configuration) -> Iterator[Difference]:
    named = ("cluster property", "resource default", "operation default")
    for name, before, after in zip(
        named,
        (old.properties, old.rsc_defaults, old.op_defaults),
        (new.properties, new.rsc_defaults, new.op_defaults),
    ):
        yield from _apart(name, _of_sets(before), _of_sets(after))
    # Comments stand here, too, and have no tag.
    yield from _apart("constraints", (text for one in old.constraints for text in _verbatim("", one)), ())
    for section, attributes in old.section_attributes:
        yield from _apart(f"section {visible(section, 40)}", _attributes("", attributes, ("id",)), ())
    yield from _apart("configuration", _attributes("", old.attributes, ("id",)), ())


def _of_sets(found: Iterable[object]) -> Iterator[str]:
    for one in found:
        if isinstance(one, AttributeSet) and not is_ours(one.id):
            yield from _of_set("", one)
        else:
            yield from _verbatim("", one)
