"""crmsh text, for ``crm configure load update``; it loads to the same CIB as the format cib writes.

Nodes without attributes are left out: the cluster knows them from corosync.conf, and a node line would end a standby.
There are no comments in the text, because crmsh would put them into the CIB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib
from hafailover.crm.model import (
    AttributeSet,
    Clone,
    Configuration,
    Constraint,
    Group,
    Node,
    Operation,
    Operations,
    Pair,
    Primitive,
    Verbatim,
)

_KINDS = {"instance_attributes": "params", "meta_attributes": "meta", "utilization": "utilization"}
_BARE = re.compile(r"[A-Za-z0-9_.:/@%+,-]+")


def text(configuration: Configuration) -> str:
    """The whole configuration; elements without a crmsh form are written as crmsh's ``xml`` lines."""
    lines = [_node(node) for node in configuration.nodes if not isinstance(node, Node) or node.children]
    resources = configuration.resources
    # crmsh resolves references as it reads, so parts come before what is made of them.
    lines += [_resource(item) for resource in resources for item in _primitives(resource)]
    lines += [_group(item) for resource in resources for item in _groups(resource)]
    lines += [_clone(resource) for resource in resources if isinstance(resource, Clone)]
    lines += [_xml(resource) for resource in resources if isinstance(resource, Verbatim)]
    lines += [_constraint(constraint) for constraint in configuration.constraints]
    lines += _named_sets("property", configuration.properties)
    lines += _named_sets("rsc_defaults", configuration.rsc_defaults)
    lines += _named_sets("op_defaults", configuration.op_defaults)
    lines += [line for _, xml in configuration.others for line in _section(xml)]
    written = "\n".join(lines) + "\n"
    if not written.isascii():
        found = next(character for character in written if not character.isascii())
        raise UsageError(f"crmsh garbles what is not ASCII ({found!r}); write the configuration with --format cib")
    return written


def _primitives(resource: Any) -> Iterable[Primitive]:
    if isinstance(resource, Primitive):
        yield resource
    elif isinstance(resource, (Group, Clone)):
        for child in resource.children:
            yield from _primitives(child)


def _groups(resource: Any) -> Iterable[Group]:
    if isinstance(resource, Group):
        yield resource
    elif isinstance(resource, Clone) and isinstance(resource.member, Group):
        yield resource.member


def _join(head: str, parts: Iterable[str]) -> str:
    return " \\\n  ".join([head, *parts])


def _word(value: str) -> str:
    """A value as crmsh reads it back: bare when it cannot be misread, else in double quotes."""
    if _BARE.fullmatch(value):
        return value
    # crmsh splits like a shell: inside double quotes only these two are special.
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _pairs(pairs: Iterable[Pair]) -> str:
    return " ".join(f"{pair.name}={_word(pair.value or '')}" for pair in pairs)


def _sets(owner: str, children: Iterable[Any]) -> list[str]:
    parts = []
    for child in children:
        if isinstance(child, AttributeSet):
            name = "" if child.id == f"{owner}-{child.kind}" else f"$id={_word(child.id)} "
            parts.append(f"{_KINDS[child.kind]} {name}{_pairs(child.pairs)}".rstrip())
        elif isinstance(child, Operations):
            parts += [_operation(op) for op in child.children if isinstance(op, Operation)]
    return parts


def _operation(op: Operation) -> str:
    values = {"interval": op.interval, **dict(op.attributes)}
    words = [f"op {op.name}", *(f"{key}={_word(value)}" for key, value in values.items())]
    # crmsh derives the set's id; it has one kind of set for an operation's parameters, such as OCF_CHECK_LEVEL.
    words += [f"op_params {_pairs(found.pairs)}" for found in op.children if isinstance(found, AttributeSet)]
    return " ".join(words)


def _resource(item: Primitive) -> str:
    head = "rsc_template" if item.template else "primitive"
    agent = item.agent_name or "@" + dict(item.attributes).get("template", "")
    return _join(f"{head} {item.id} {agent}", _sets(item.id, item.children))


def _group(item: Group) -> str:
    members = " ".join(member.id for member in item.members)
    return _join(f"group {item.id} {members}", _sets(item.id, item.children))


def _clone(item: Clone) -> str:
    member = item.member
    if member is None:
        raise UsageError(f"clone {item.id} holds nothing that crmsh text can name")
    return _join(f"{'ms' if item.legacy else 'clone'} {item.id} {member.id}", _sets(item.id, item.children))


def _node(node: Any) -> str:
    if isinstance(node, Verbatim):
        return _xml(node)
    attributes = [
        f"{'attributes' if child.kind == 'instance_attributes' else child.kind} {_pairs(child.pairs)}"
        for child in node.children
        if isinstance(child, AttributeSet)
    ]
    return _join(f"node {node.id}: {node.name}", attributes)


def _score(constraint: Constraint) -> str:
    score = constraint.get("score") or "INFINITY"
    return {"INFINITY": "inf", "-INFINITY": "-inf"}.get(score, score)


def _with_role(resource: Any, role: Any) -> str:
    return f"{resource}:{role}" if role else str(resource)


def _constraint(item: Any) -> str:
    if isinstance(item, Verbatim):
        return _xml(item)
    writer = _CONSTRAINTS.get(item.kind)
    known, write = writer if writer else (frozenset(), None)
    # A set, a rule or an attribute without a short form is written as XML, which crmsh takes as it is.
    if write is None or item.children or not {key for key, _ in item.attributes} <= known:
        return _xml(item)
    return write(item)


def _location(item: Constraint) -> str:
    return f"location {item.id} {item.get('rsc')} {_score(item)}: {item.get('node')}"


def _colocation(item: Constraint) -> str:
    first = _with_role(item.get("rsc"), item.get("rsc-role"))
    second = _with_role(item.get("with-rsc"), item.get("with-rsc-role"))
    return f"colocation {item.id} {_score(item)}: {first} {second}"


def _order(item: Constraint) -> str:
    first = _with_role(item.get("first"), item.get("first-action"))
    then = _with_role(item.get("then"), item.get("then-action"))
    symmetrical = f" symmetrical={item.get('symmetrical')}" if item.get("symmetrical") else ""
    return f"order {item.id} {item.get('kind') or _score(item)}: {first} {then}{symmetrical}"


_CONSTRAINTS: dict[str, tuple[frozenset[str], Callable[[Constraint], str]]] = {
    "rsc_location": (frozenset({"rsc", "score", "node"}), _location),
    "rsc_colocation": (frozenset({"rsc", "rsc-role", "with-rsc", "with-rsc-role", "score"}), _colocation),
    "rsc_order": (
        frozenset({"first", "first-action", "then", "then-action", "kind", "score", "symmetrical"}),
        _order,
    ),
}


def _named_sets(head: str, sets: Iterable[Any]) -> list[str]:
    lines = []
    for found in sets:
        if isinstance(found, Verbatim):
            lines.append(_xml(found))
        else:
            lines.append(
                _join(f"{head} {found.id}:", [f"{pair.name}={_word(pair.value or '')}" for pair in found.pairs])
            )
    return lines


def _xml(item: Any) -> str:
    return "xml " + cib.element_text(item)


def _section(xml: str) -> list[str]:
    return ["xml " + part for part in cib.children_text(xml)]
