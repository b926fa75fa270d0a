"""Constraints as pcs commands, made of their XML."""

from __future__ import annotations

import re
from typing import Any

from hafailover.crm.formats.pcs_words import Unsayable, command, only, options

_OPERATIONS = ("lt", "gt", "lte", "gte", "eq", "ne")
# What separates its sets.
_SET_WORDS = frozenset({"set", "setoptions"})
_UNARY = ("defined", "not_defined")
_ROLES = ("Started", "Stopped", "Promoted", "Unpromoted", "Master", "Slave")
_ACTIONS = ("start", "stop", "promote", "demote")
_BOOLEANS = ("true", "false")
# What pcs takes for an attribute; at anything else it stops, or takes it for another word.
_VALUES = {
    "rsc-role": _ROLES,
    "with-rsc-role": _ROLES,
    "role": _ROLES,
    "action": _ACTIONS,
    "first-action": _ACTIONS,
    "then-action": _ACTIONS,
    "sequential": _BOOLEANS,
    "require-all": _BOOLEANS,
    "symmetrical": _BOOLEANS,
    "kind": ("Mandatory", "Optional", "Serialize"),
    "loss-policy": ("fence", "stop", "freeze", "demote"),
    "resource-discovery": ("always", "never", "exclusive"),
    "boolean-op": ("and", "or"),
}
_SCORE = re.compile(r"[+-]?(?:INFINITY|[0-9]+)")
# Words of its grammar for rules; a value that is one of them would be taken for it.
_GRAMMAR = frozenset(
    {"and", "or", "date", "date-spec", "to", "duration", "in_range", "string", "integer", "number", "version"}
    | {*_OPERATIONS, *_UNARY}
)


def about(root: Any) -> list[str]:
    """The resources that the constraint ``root`` is about, each as often as it is named."""
    if not isinstance(root.tag, str):
        return []
    names = [root.get(key) for key in ("rsc", "with-rsc", "first", "then")]
    return [str(name) for name in (*names, *(one.get("id") for one in root.iter("resource_ref"))) if name]


def placed(root: Any) -> tuple[str, str, str] | None:
    """The resource (or pattern) and the node of a location without rules, of which pcs keeps only the last."""
    if root.tag != "rsc_location" or len(root) or not root.get("node"):
        return None
    return root.get("rsc", ""), root.get("rsc-pattern", ""), root.get("node")


def say(root: Any) -> list[str]:
    """The commands for a constraint; Unsayable."""
    makers = {
        "rsc_location": _location,
        "rsc_colocation": _colocation,
        "rsc_order": _order,
        "rsc_ticket": _ticket,
    }
    maker = makers.get(root.tag)
    if maker is None or not root.get("id"):
        raise Unsayable("")
    for one in root.iter("*"):
        for key, value in one.attrib.items():
            if value not in _VALUES.get(key, (value,)):
                raise Unsayable(f"pcs takes no {key} like that")
        if not _SCORE.fullmatch(one.get("score", "0")):
            raise Unsayable("pcs takes no score like that")
    return maker(root)


def _location(root: Any) -> list[str]:
    if (root.get("rsc") is None) == (root.get("rsc-pattern") is None):
        raise Unsayable("pcs bans and prefers one resource, or a pattern of names")
    what = f"resource%{root.get('rsc')}" if root.get("rsc") else f"regexp%{root.get('rsc-pattern')}"
    discovery = options(root, "resource-discovery")
    if len(root):
        only(root, "id", "rsc", "rsc-pattern", "resource-discovery", children=("rule",))
        first, *more = [_rule(rule) for rule in root]
        head = ["constraint", "location", what, "rule", f"id={root[0].get('id')}", f"constraint-id={root.get('id')}"]
        # By force also for a member of a clone.
        lines = [command(*head, *discovery, *first, "--force")]
        lines += [
            command("constraint", "rule", "add", root.get("id"), f"id={rule.get('id')}", *words)
            for rule, words in zip(root[1:], more)
        ]
        return lines
    only(root, "id", "rsc", "rsc-pattern", "node", "score", "resource-discovery")
    if not root.get("node") or not root.get("score"):
        raise Unsayable("")
    return [
        command(
            "constraint",
            "location",
            "add",
            root.get("id"),
            what,
            root.get("node"),
            root.get("score"),
            *discovery,
            "--force",
        )
    ]


def _rule(rule: Any) -> list[str]:
    only(rule, "id", "role", "score", "score-attribute", "boolean-op", children=("expression",))
    if not rule.get("id") or not (rule.get("score") or rule.get("score-attribute")) or len(rule) == 0:
        raise Unsayable("")
    words = options(rule, "role", "score", "score-attribute")
    joint = rule.get("boolean-op", "and")
    for number, one in enumerate(rule):
        only(one, "id", "attribute", "operation", "type", "value")
        name, operation = one.get("attribute") or "", one.get("operation")
        words += [joint] if number else []
        if operation in _UNARY and one.get("value") is None:
            words += [operation, name]
        elif operation in _OPERATIONS and one.get("value"):
            words += [name, operation, *([one.get("type")] if one.get("type") else []), one.get("value")]
        else:
            raise Unsayable(f"a rule with {operation}")
        value = one.get("value", "")
        if {name, value} & _GRAMMAR or set("()") & set(value) or not re.fullmatch(r"[\w#.-]+", name):
            raise Unsayable("a word of the rule means something else to pcs")
    return words


def _colocation(root: Any) -> list[str]:
    if len(root):
        only(root, "id", "score", children=("resource_set",))
        return [
            command(
                "constraint",
                "colocation",
                *_sets(root, "role", "sequential"),
                "setoptions",
                *options(root, "id", "score"),
                "--force",
            )
        ]
    only(root, "id", "score", "rsc", "rsc-role", "with-rsc", "with-rsc-role")
    if not (root.get("rsc") and root.get("with-rsc") and root.get("score")):
        raise Unsayable("")
    if root.get("with-rsc") == "with":
        raise Unsayable("a name in it means something else to pcs")
    words = [*_role(root, "rsc-role"), root.get("rsc"), "with", *_role(root, "with-rsc-role"), root.get("with-rsc")]
    return [command("constraint", "colocation", "add", *words, root.get("score"), f"id={root.get('id')}", "--force")]


def _role(root: Any, key: str) -> list[str]:
    return [root.get(key)] if root.get(key) else []


def _order(root: Any) -> list[str]:
    if len(root):
        only(root, "id", "kind", "symmetrical", children=("resource_set",))
        words = _sets(root, "action", "sequential", "require-all")
        return [
            command("constraint", "order", *words, "setoptions", *options(root, "id", "kind", "symmetrical"), "--force")
        ]
    only(root, "id", "first", "first-action", "then", "then-action", "kind", "symmetrical", "require-all")
    if not (root.get("first") and root.get("then")):
        raise Unsayable("")
    # Its own default for the second action is start, Pacemaker's the first action.
    first = root.get("first-action", "start")
    words = [first, root.get("first"), "then", root.get("then-action", first), root.get("then")]
    return [
        command("constraint", "order", *words, *options(root, "kind", "symmetrical", "require-all", "id"), "--force")
    ]


def _ticket(root: Any) -> list[str]:
    if len(root):
        only(root, "id", "ticket", "loss-policy", children=("resource_set",))
        return [
            command(
                "constraint",
                "ticket",
                *_sets(root, "role"),
                "setoptions",
                *options(root, "id", "ticket", "loss-policy"),
                "--force",
            )
        ]
    only(root, "id", "rsc", "rsc-role", "ticket", "loss-policy")
    words = [
        root.get("ticket"),
        *_role(root, "rsc-role"),
        root.get("rsc"),
        *options(root, "loss-policy"),
        f"id={root.get('id')}",
    ]
    return [command("constraint", "ticket", "add", *words, "--force")]


def _sets(root: Any, *known: str) -> list[str]:
    words: list[str] = []
    for one in root:
        only(one, "id", *known, children=("resource_ref",))
        members = [str(member.get("id")) for member in one]
        if not members or one.get("id-ref"):
            raise Unsayable("")
        if _SET_WORDS & set(members) or any("=" in member for member in members):
            raise Unsayable("a name in the set means something else to pcs")
        words += ["set", *members, *options(one, *known)]
    return words
