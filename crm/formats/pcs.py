"""pcs commands: a shell script that makes the configuration in a file, for ``pcs cluster cib-push``.

What pcs (0.11) has no words for is in ``Written.unsaid`` and in comments at the top of the script. What it makes up by itself and nothing
refers to (ids of rules' expressions, of resource sets, of fencing levels, of long properties) is its own, defaults of orders are written
out, each resource has a list of operations, if an empty one, and what changes nothing in a rule or alert is left out; else the result is
the CIB that the format cib writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from hafailover.crm.formats import cib, pcs_constraints, pcs_sections
from hafailover.crm.formats.pcs_words import Unsayable, command
from hafailover.crm.formats.written import Written, around, described, plain, unfenced
from hafailover.crm.model import (
    AttributeSet,
    Clone,
    Configuration,
    Constraint,
    Group,
    Node,
    Operation,
    Operations,
    Primitive,
    Verbatim,
)
from hafailover.crm.pacemaker_options import WRITTEN_BY_PACEMAKER
from lxml import etree

_HEAD = """\
#!/bin/sh
# Changes the file that is its argument; nothing else. Load it with:
#   pcs cluster cib cluster.xml; cp cluster.xml before.xml
#   sh THIS cluster.xml && pcs cluster cib-push cluster.xml diff-against=before.xml
"""
_OP_ATTRIBUTES = ("timeout", "role", "on-fail", "start-delay", "record-pending", "enabled", "description")
_MISSING = "it is about what is missing"
# What pcs calls a role, from the first schema that has the new words on and before it.
_NEW_ROLES = (3, 7)
_NEW_WORDS = {"Master": "Promoted", "Slave": "Unpromoted"}
_OLD_WORDS = {new: old for old, new in _NEW_WORDS.items()}
# What ends the words about a clone; an id that is one of them would be taken for it.
_CLONE_WORDS = frozenset({"op", "meta", "clone", "promotable", "master", "bundle"})
_DEFAULTS = {"rsc_defaults": ("resource", "defaults"), "op_defaults": ("resource", "op", "defaults")}


def text(configuration: Configuration) -> str:
    """The script; what it lacks is listed at its top (see :func:`write`)."""
    return write(configuration).text


def write(configuration: Configuration) -> Written:
    """The script, and what pcs cannot be told."""
    writer = _Writer(configuration, list(around(configuration)))
    lines = list(writer.lines(configuration))
    head = _HEAD
    if writer.unsaid:
        head += "#\n# INCOMPLETE. pcs has no words for:\n"
        # A line break in a comment would be the next command.
        head += "".join(f"#   {' '.join(_printable(one).split())}\n" for one in writer.unsaid)
    body = "".join(f"{line}\n" for line in lines)
    text = f"{head}set -eu\ncib=${{1:?the file to change}}\n{body}"
    return Written(text, tuple(writer.unsaid), unfenced(configuration, writer.lost))


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


class _Writer:
    def __init__(self, configuration: Configuration, unsaid: list[str]) -> None:
        self.unsaid = unsaid
        self.lost: set[str] = set()
        self._placed: set[tuple[str, str, str]] = set()
        schema = dict(configuration.cib_attributes).get("validate-with", "")
        self._renamed = _OLD_WORDS if _schema_number(schema) < _NEW_ROLES else _NEW_WORDS
        self._groups = {
            member.id: group.id
            for item in configuration.resources
            for group in _groups(item)
            for member in group.members
        }

    def lines(self, configuration: Configuration) -> Iterator[str]:
        yield from self._each(configuration.nodes, _node)
        yield from self._each(configuration.resources, _resource)
        yield from self._each(configuration.constraints, self._constraint)
        yield from self._each(configuration.properties, self._properties)
        yield from self._each(configuration.rsc_defaults, lambda found: _defaults("rsc_defaults", found))
        yield from self._each(configuration.op_defaults, lambda found: _defaults("op_defaults", found))
        for name, xml in configuration.others:
            say = pcs_sections.SECTIONS.get(name)
            parts = [Verbatim(part) for part in cib.children_text(xml)] if say else [Verbatim(xml)]
            # A user is made with roles that are there.
            parts.sort(key=lambda part: part.tag != "acl_role")
            yield from self._each(parts, self._whole(say) if say else _nothing)

    def _each(self, items: Iterable[Any], say: Callable[[Any], list[str]]) -> Iterator[str]:
        for item in items:
            try:
                if isinstance(item, Verbatim) and not item.tag:
                    raise Unsayable("")
                yield from say(self._described(item))
                self._roles(item)
            except Unsayable as reason:
                xml = cib.element_text(item) if not isinstance(item, Verbatim) else item.xml
                self.unsaid.append(described(Verbatim(xml)) + (f" ({reason})" if str(reason) else ""))
                if not isinstance(item, Constraint) and xml.startswith("<") and not xml.startswith(("<!", "<?")):
                    self.lost |= {
                        str(one.get("id")) for one in cib.element(item).iter(tag=etree.Element) if one.get("id")
                    }

    def _roles(self, item: Any) -> None:
        """Lists the roles that pcs calls otherwise."""
        root = cib.element(item)
        for one in root.iter(tag=etree.Element):
            for key in ("role", "rsc-role", "with-rsc-role"):
                new = self._renamed.get(one.get(key, ""))
                if new and one.tag != "nvpair":
                    whose = one.get("id") or root.get("id")
                    self.unsaid.append(f"the {key} {one.get(key)} of {whose}: pcs writes {new}, which means the same")

    def _whole(self, say: Callable[[Any], list[str]]) -> Callable[[Any], list[str]]:
        """``say``, refusing what refers to something that is missing."""

        def said(item: Verbatim) -> list[str]:
            root = cib.element(item)
            names = {one.get("id") for one in root.iter("role", "obj_ref")} | {
                one.get("reference") for one in root.iter()
            }
            if (names | set(root.get("devices", "").split(","))) & self.lost:
                raise Unsayable(_MISSING)
            return say(item)

        return said

    def _described(self, item: Any) -> Any:
        """``item`` without the descriptions of resources: these are only words, and must not take the resource with them."""
        if not isinstance(item, (Primitive, Group, Clone)):
            return item
        told = dict(item.attributes).get("description")
        if told is not None:
            self.unsaid.append(f"the description of {item.id}: {told}")
        rest = tuple((key, value) for key, value in item.attributes if key != "description")
        children: Any = tuple(self._described(child) for child in item.children)
        return replace(item, attributes=rest, children=children)

    def _properties(self, item: Any) -> list[str]:
        found = _known(item, AttributeSet)
        values = _pairs(found, "cib-bootstrap-options")
        own = [pair.name for pair in found.pairs if pair.name in WRITTEN_BY_PACEMAKER]
        self.unsaid += [f"the property {name}, which the cluster sets itself" for name in own]
        values = [value for value in values if value.partition("=")[0] not in WRITTEN_BY_PACEMAKER]
        return [command("property", "set", *values, "--force")] if values else []

    def _constraint(self, item: Any) -> list[str]:
        root = cib.element(item)
        about = pcs_constraints.about(root)
        if not self.lost.isdisjoint(about):
            raise Unsayable(_MISSING)
        if root.tag == "rsc_order":
            groups = [self._groups[name] for name in about if name in self._groups]
            if len(set(groups)) < len(groups):
                raise Unsayable("pcs orders no two members of one group")
        place = pcs_constraints.placed(root)
        if place in self._placed:
            raise Unsayable("pcs replaces the one before about the same resource and node")
        lines = pcs_constraints.say(root)
        if place:
            self._placed.add(place)
        return lines


def _groups(item: Any) -> list[Group]:
    if isinstance(item, Clone):
        return [item.member] if isinstance(item.member, Group) else []
    return [item] if isinstance(item, Group) else []


def _schema_number(name: str) -> tuple[int, ...]:
    found = re.fullmatch(r"pacemaker-(\d+)\.(\d+)", name)
    return (int(found[1]), int(found[2])) if found else _NEW_ROLES


def _nothing(item: Any) -> list[str]:
    raise Unsayable("")


def _known(item: Any, kind: Any) -> Any:
    """``item``, which must be of the type ``kind``."""
    if not isinstance(item, kind):
        raise Unsayable("")
    return item


def _pairs(found: AttributeSet, set_id: str) -> list[str]:
    """name=value for each pair of a set that has nothing else, and the ids that pcs derives."""
    if not plain(found, set_id):
        raise Unsayable(f"of {found.kind} pcs writes one set of names with values, under the id {set_id}")
    # pcs takes an empty value for the wish to remove one.
    if any(not pair.value for pair in found.pairs):
        raise Unsayable("pcs sets no empty value")
    return [f"{pair.name}={pair.value}" for pair in found.pairs]


def _integers(found: AttributeSet) -> None:
    if not all(re.fullmatch(r"-?[0-9]+", pair.value or "") for pair in found.pairs):
        raise Unsayable("pcs sets only whole numbers as utilization")


def _node(item: Any) -> list[str]:
    node = _known(item, Node)
    if any(key != "type" or value != "member" for key, value in node.attributes):
        raise Unsayable("pcs makes no nodes: pcs cluster node add, or add-remote")
    lines = []
    for child in node.children:
        kind = _known(child, AttributeSet).kind
        words = {"instance_attributes": "attribute", "utilization": "utilization"}[kind]
        suffix = "-utilization" if kind == "utilization" else ""
        values = _pairs(child, f"nodes-{node.id}{suffix}")
        if kind == "utilization":
            _integers(child)
        elif not all(value.isascii() for value in values):
            raise Unsayable("pcs sets no attribute of a node that is not ASCII")
        lines.append(command("node", words, node.name, *values))
    return lines


def _resource(item: Any) -> list[str]:
    if isinstance(item, Primitive):
        return _primitive(item)
    if isinstance(item, Group):
        return _group(item)
    clone = _known(item, Clone)
    if clone.id in _CLONE_WORDS:
        raise Unsayable("its name means something else to pcs")
    if clone.legacy:
        raise Unsayable("pcs makes no master, only a promotable clone")
    member = clone.member
    if member is None:
        raise Unsayable("")
    if isinstance(member, Group):
        return [*_group(member), command("resource", "clone", member.id, clone.id, "--force"), *_meta(clone, (Group,))]
    # In one command: cloning a primitive that is there needs its agent, whatever is forced.
    return _primitive(member, ("clone", clone.id, *_meta_words(clone, (Primitive,))))


def _group(item: Group) -> list[str]:
    inner = [line for member in item.members for line in _primitive(member)]
    names = [member.id for member in item.members]
    if not names:
        raise Unsayable("")
    return [*inner, command("resource", "group", "add", item.id, *names), *_meta(item, (Primitive,))]


def _meta(item: Any, members: tuple[type, ...]) -> list[str]:
    words = _meta_words(item, members)
    return [command("resource", "meta", item.id, *words, "--force")] if words else []


def _meta_words(item: Any, members: tuple[type, ...]) -> list[str]:
    if item.attributes:
        raise Unsayable(f"pcs cannot set {item.attributes[0][0]}")
    sets = [_known(child, AttributeSet) for child in item.children if not isinstance(child, members)]
    if not sets:
        return []
    if len(sets) > 1 or sets[0].kind != "meta_attributes":
        raise Unsayable("pcs sets only meta attributes here")
    return _pairs(sets[0], f"{item.id}-meta_attributes")


def _primitive(item: Primitive, clone: tuple[str, ...] = ()) -> list[str]:
    if item.template or not item.agent_name:
        raise Unsayable("pcs knows no templates")
    if item.attributes:
        raise Unsayable(f"pcs cannot set {item.attributes[0][0]}")
    parts: dict[str, list[str]] = {}
    operations: list[str] = []
    names: set[str] = set()
    for child in item.children:
        kind = child.kind if isinstance(child, AttributeSet) else "operations"
        if kind in parts:
            raise Unsayable(f"pcs writes only one {kind}")
        if isinstance(child, AttributeSet):
            parts[kind] = _pairs(child, f"{item.id}-{kind}")
            if kind == "utilization":
                _integers(child)
        else:
            parts[kind] = []
            listed = _known(child, Operations)
            for op in listed.children:
                operations += _operation(op)
                names.add(op.name)
            if listed.attributes:
                raise Unsayable("pcs sets nothing of operations themselves")
    fencing = item.agent[0] == "stonith"
    agent = item.agent[2] if fencing else item.agent_name
    params, meta = parts.get("instance_attributes", []), parts.get("meta_attributes", [])
    words = [item.id, agent, *params, *operations, *(["meta", *meta] if meta else []), *clone, "--force"]
    lines = [
        command("stonith" if fencing else "resource", "create", *words, *([] if fencing else ["--no-default-ops"]))
    ]
    if "monitor" not in names:
        # It always adds one.
        lines.append(command("stonith" if fencing else "resource", "op", "delete", item.id, "monitor"))
    if "utilization" in parts:
        lines.append(command("resource", "utilization", item.id, *parts["utilization"]))
    return lines


def _operation(op: Any) -> list[str]:
    found = _known(op, Operation)
    if any(key not in _OP_ATTRIBUTES for key, _ in found.attributes) or not found.interval:
        raise Unsayable(f"an operation with {found.attributes}")
    if not all(value for _, value in found.attributes):
        raise Unsayable("pcs sets no empty value")
    words = ["op", found.name, f"interval={found.interval}", *(f"{key}={value}" for key, value in found.attributes)]
    for child in found.children:
        level = _known(child, AttributeSet)
        if level.kind != "instance_attributes" or [pair.name for pair in level.pairs] != ["OCF_CHECK_LEVEL"]:
            raise Unsayable("of an operation's own attributes pcs knows only OCF_CHECK_LEVEL")
        words += _pairs(level, level.id)
    return [*words, f"id={found.id}"]


def _defaults(section: str, item: Any) -> list[str]:
    found = _known(item, AttributeSet)
    score = dict(found.attributes).get("score")
    if found.kind != "meta_attributes" or any(key != "score" for key, _ in found.attributes):
        raise Unsayable("")
    bare = AttributeSet(found.kind, found.id, found.children)
    words = [f"id={found.id}", *([f"score={score}"] if score else []), "meta", *_pairs(bare, found.id)]
    return [command(*_DEFAULTS[section], "set", "create", *words, "--force")]
