"""What crmsh's short forms say completely, ids and all; experiments with crmsh 4.4 decided."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hafailover.crm.formats.written import op_id, plain
from hafailover.crm.model import (
    AttributeSet,
    Clone,
    Group,
    Node,
    Operation,
    Operations,
    Primitive,
)

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

# Kinds of sets, and the words that crmsh has for them.
KINDS = {"instance_attributes": "params", "meta_attributes": "meta", "utilization": "utilization"}
OP_KINDS = {"instance_attributes": "op_params", "meta_attributes": "op_meta"}
_OP_ATTRIBUTES = frozenset({"timeout", "role", "on-fail", "start-delay", "record-pending", "enabled"})
_INTERVAL = re.compile(r"0|[1-9][0-9]*(?:s|ms|min|m|h)")
ID = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
# What it ends with a colon, as it does scores, must have no dot.
_SET_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
# It writes what it has read in its own words, to compare, and there puts no backslash before a backslash.
UNCLOSED = re.compile(r"(?<!\\)(?:\\\\)*\\(?:\"|$)")
# Among the members of a group these end the list, in any case.
_NO_MEMBERS = frozenset({"params", "meta"})
_AGENT = re.compile(r"[A-Za-z0-9_.@\\-]+(?::[A-Za-z0-9_.@\\-]+)*(?:/[A-Za-z0-9_.-]+)?")  # stonith:external/sbd


def _one_line(found: AttributeSet, set_id: str) -> bool:
    """Whether crmsh's words say a set: names with values, on one line, with the ids that it derives."""
    # A first word that ends with the only colon in it would be the score of the set.
    return plain(found, set_id) and all(
        _sayable(pair.value or "") and not (pair.value or "").endswith(":") for pair in found.pairs
    )


def _sayable(value: str) -> bool:
    return value.isprintable() and UNCLOSED.search(value) is None


def plain_named(found: Any) -> TypeGuard[AttributeSet]:
    """Whether a set of properties or defaults can be said with its id."""
    return isinstance(found, AttributeSet) and _SET_ID.fullmatch(found.id) is not None and _one_line(found, found.id)


def bare_node(node: Any) -> bool:
    """Whether a node says no more than that it is a member."""
    return (
        isinstance(node, Node)
        and not node.children
        and all(key == "type" and value == "member" for key, value in node.attributes)
    )


def short_container(item: Any) -> bool:
    """Whether crmsh's own words say all of a group or clone besides its members."""
    members = [child for child in item.children if isinstance(child, (Primitive, Group, Clone))]
    rest = [child for child in item.children if not isinstance(child, (Primitive, Group, Clone))]
    kinds = (Primitive,) if isinstance(item, Group) else (Primitive, Group)
    return (
        (len(members) >= 1 if isinstance(item, Group) else len(members) == 1)
        and all(isinstance(member, kinds) and ID.fullmatch(member.id) is not None for member in members)
        and not (isinstance(item, Group) and any(member.id.lower() in _NO_MEMBERS for member in members))
        and ID.fullmatch(item.id) is not None
        and not item.attributes
        and _short_sets(item.id, rest)
    )


def _short_sets(owner: str, children: Iterable[Any]) -> bool:
    sets = list(children)
    kinds = [child.kind if isinstance(child, AttributeSet) else "" for child in sets]
    return (
        len(set(kinds)) == len(kinds)
        and set(kinds) <= set(KINDS)
        and all(_one_line(child, f"{owner}-{child.kind}") for child in sets)
    )


def short_primitive(item: Primitive) -> bool:
    """Whether crmsh's own words say all of a primitive."""
    lists = [child for child in item.children if isinstance(child, Operations)]
    rest = [child for child in item.children if not isinstance(child, Operations)]
    if item.agent_name:
        whose = not item.attributes and _AGENT.fullmatch(item.agent_name) is not None
    else:
        template = dict(item.attributes).get("template", "")
        whose = not item.template and len(item.attributes) == 1 and ID.fullmatch(template) is not None
    return (
        whose
        and ID.fullmatch(item.id) is not None
        and len(lists) <= 1
        and all(_short_operations(item.id, found) for found in lists)
        and _short_sets(item.id, rest)
    )


def _short_operations(owner: str, found: Operations) -> bool:
    return (
        not found.attributes
        and bool(found.children)
        and all(
            isinstance(op, Operation)
            and op.id == op_id(owner, op)
            and _short_op_sets(op)
            and _INTERVAL.fullmatch(op.interval) is not None
            and {key for key, _ in op.attributes} <= _OP_ATTRIBUTES
            and ID.fullmatch(op.name) is not None
            and all(_sayable(value) for _, value in op.attributes)
            for op in found.children
        )
    )


def _short_op_sets(op: Operation) -> bool:
    kinds = [child.kind if isinstance(child, AttributeSet) else "" for child in op.children]
    return kinds in ([], *([kind] for kind in OP_KINDS), list(OP_KINDS)) and all(
        _one_line(child, f"{op.id}-{child.kind}") for child in op.children if isinstance(child, AttributeSet)
    )
