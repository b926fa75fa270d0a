"""Fencing levels, tags, ACLs and alerts as pcs commands, made of their XML."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hafailover.crm.formats import cib
from hafailover.crm.formats.pcs_words import Unsayable, command, only, options
from hafailover.crm.model import Verbatim

# What an alert is told that selects nothing.
_USUAL_EVENTS = {"select_fencing", "select_nodes", "select_resources"}


def _level(item: Verbatim) -> list[str]:
    root = cib.element(item)
    only(root, "id", "index", "devices", "target", "target-pattern", "target-attribute", "target-value")
    if root.get("target-attribute"):
        target = f"attrib%{root.get('target-attribute')}={root.get('target-value')}"
    else:
        target = f"regexp%{root.get('target-pattern')}" if root.get("target-pattern") else f"node%{root.get('target')}"
    return [command("stonith", "level", "add", root.get("index"), target, *root.get("devices").split(","), "--force")]


def _tag(item: Verbatim) -> list[str]:
    root = cib.element(item)
    only(root, "id", children=("obj_ref",))
    return [command("tag", "create", root.get("id"), *(one.get("id") for one in root))]


def _acl(item: Verbatim) -> list[str]:
    root = cib.element(item)
    name = root.get("name") or root.get("id")
    if root.tag in ("acl_target", "acl_group"):
        only(root, "id", "name", children=("role",))
        if root.get("name"):
            raise Unsayable("pcs makes the id of the name")
        kind = "user" if root.tag == "acl_target" else "group"
        return [command("acl", kind, "create", name, *(one.get("id") for one in root))]
    only(root, "id", "description", children=("acl_permission",))
    words = [f"description={root.get('description')}"] if root.get("description") else []
    for one in root:
        only(one, "id", "kind", "xpath", "reference")
        words += [one.get("kind"), "xpath" if one.get("xpath") else "id", one.get("xpath") or one.get("reference")]
    return [command("acl", "role", "create", root.get("id"), *words)]


def _alert(item: Verbatim) -> list[str]:
    root = cib.element(item)
    only(root, "id", "path", "description", children=("meta_attributes", "instance_attributes", "select", "recipient"))
    if not all(_usual(found) for found in root.iterfind("select")):
        raise Unsayable("pcs cannot make select here")
    owner = str(root.get("id"))
    lines = [command("alert", "create", *options(root, "path", "id", "description"), *_alert_sets(root, owner))]
    for one in root.iterfind("recipient"):
        only(one, "id", "value", "description", children=("meta_attributes", "instance_attributes"))
        words = options(one, "value", "id", "description")
        lines.append(
            command("alert", "recipient", "add", owner, *words, *_alert_sets(one, str(one.get("id"))), "--force")
        )
    return lines


def _usual(select: Any) -> bool:
    """Whether an alert is told the same without ``select``."""
    return (
        not select.attrib
        and {one.tag for one in select} == _USUAL_EVENTS
        and not any(one.attrib or len(one) for one in select)
    )


def _alert_sets(root: Any, owner: str) -> list[str]:
    words = []
    for kind, word in (("instance_attributes", "options"), ("meta_attributes", "meta")):
        sets = root.findall(kind)
        if len(sets) > 1:
            raise Unsayable("")
        for found in sets:
            only(found, "id", children=("nvpair",))
            values = [f"{pair.get('name')}={pair.get('value')}" for pair in found if pair.get("value")]
            names = [pair.get("name") or "" for pair in found]
            if len(values) != len(names) or not all(re.fullmatch(r"[\w.-]+", name) for name in names):
                raise Unsayable("")
            words += [word, *values]
    return words


SECTIONS: dict[str, Callable[[Any], list[str]]] = {
    "fencing-topology": _level,
    "tags": _tag,
    "acls": _acl,
    "alerts": _alert,
}
"""The section → the commands for one of its children; these raise Unsayable."""
