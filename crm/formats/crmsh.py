"""crmsh text, for ``crm configure load update``; it loads to the same CIB as the format cib writes.

An element that crmsh's short form says completely (ids and all) is written so; any other as crmsh's ``xml`` line, in which a member is
named by ``crmsh-ref``. Experiments with crmsh 4.4 decided what is which: its short forms count scores of orders as kinds, derive ids, and
forget references and empty elements. What it takes in no form is in ``Written.unsaid``: notes between elements, line breaks in values,
scores of properties and defaults, lifetimes, podman, stray text, unknown sections.

Nodes without attributes are left out: the cluster knows them from corosync.conf, and a node line would end a standby.
There are no comments in the text, because crmsh would put them into the CIB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib
from hafailover.crm.formats.crmsh_short import (
    ID,
    KINDS,
    OP_KINDS,
    UNCLOSED,
    bare_node,
    plain_named,
    short_container,
    short_primitive,
)
from hafailover.crm.formats.written import Written, around, described, unfenced
from hafailover.crm.model import (
    AttributeSet,
    Clone,
    Configuration,
    Constraint,
    Group,
    Operation,
    Operations,
    Pair,
    Primitive,
    Verbatim,
)
from lxml import etree

if TYPE_CHECKING:
    from typing_extensions import TypeGuard
_BARE = re.compile(r"[A-Za-z0-9_.:/@%+,-]+")
_NODE = re.compile(r"[A-Za-z0-9_.-]+")
# In a note it keeps only single spaces.
_TORN = re.compile(r"\s\s|[^\S ]")
# Sections whose children crmsh takes one by one, and those it takes whole.
_BY_CHILD = frozenset({"acls", "tags", "alerts"})
_WHOLE = frozenset({"fencing-topology"})
_RESOURCES = ("primitive", "group", "clone", "master", "bundle", "template")


def text(configuration: Configuration) -> str:
    """The whole configuration; UsageError with a list when there is something that crmsh cannot be told."""
    written = write(configuration)
    if written.unsaid:
        raise UsageError(f"crmsh cannot be told everything; write it with --format cib: {'; '.join(written.unsaid)}")
    return written.text


def write(configuration: Configuration) -> Written:
    """What crmsh can be told of the configuration, and what not; UsageError for what it garbles."""
    unsaid = list(around(configuration))
    xml = _Xml(unsaid)
    lines = list(_lines(configuration, xml, unsaid))
    written = "".join(f"{line}\n" for line in lines)
    if not written.isascii():
        found = next(character for character in written if not character.isascii())
        raise UsageError(f"crmsh garbles what is not ASCII ({found!r}); write the configuration with --format cib")
    return Written(written, tuple(unsaid), unfenced(configuration, xml.lost))


def _lines(configuration: Configuration, xml: _Xml, unsaid: list[str]) -> Iterator[str]:
    for node in configuration.nodes:
        if not bare_node(node):
            # Its own words for a node make up the ids of its sets.
            yield from xml.of(node)
    # crmsh resolves references as it reads, so parts come before what is made of them.
    resources = [one for one in configuration.resources if not xml.lacks(one)]
    for item in (item for resource in resources for item in _primitives(resource)):
        yield from [_resource(item)] if short_primitive(item) else xml.of(item)
    for group in (item for resource in resources for item in _groups(resource)):
        yield from [_group(group)] if short_container(group) else xml.of(group)
    for resource in resources:
        if isinstance(resource, Clone):
            yield from [_clone(resource)] if short_container(resource) else xml.of(resource)
        elif isinstance(resource, Verbatim):
            yield from xml.of(resource)
    for constraint in configuration.constraints:
        if xml.lost and xml.lost & _referenced(constraint):
            unsaid.append(f"{described(Verbatim(cib.element_text(constraint)))} (it is about what is missing)")
        else:
            yield from [_constraint(constraint)] if _short_constraint(constraint) else xml.of(constraint)
    for found in configuration.properties:
        yield from [_named_set("property", found)] if plain_named(found) else xml.of(found)
    for head, sets in (("rsc_defaults", configuration.rsc_defaults), ("op_defaults", configuration.op_defaults)):
        for found in sets:
            # An XML set alone would not say whose default it is.
            yield from [_named_set(head, found)] if plain_named(found) else xml.of(found, head)
    for name, section in configuration.others:
        if name in _BY_CHILD:
            # Whether a role is missing is known before whoever has it.
            for part in sorted(map(Verbatim, cib.children_text(section)), key=lambda part: part.tag != "acl_role"):
                if xml.lost and part.tag and xml.lost & _named(part):
                    unsaid.append(f"{described(part)} (it is about what is missing)")
                    xml.lost.add(cib.element(part).get("id", ""))
                else:
                    yield from xml.of(part)
        elif name in _WHOLE:
            yield from xml.of(Verbatim(section))
        else:
            unsaid.append(described(Verbatim(section)))


class _Xml:
    """Writes what has no short form, and lists what has no form."""

    def __init__(self, unsaid: list[str]) -> None:
        self._unsaid = unsaid
        self.lost: set[str] = set()

    def lacks(self, item: Any) -> bool:
        """Whether ``item`` is a group or clone that has no form, or a part of it has none: no part may run without the whole."""
        if not isinstance(item, (Group, Clone)):
            return False
        root = cib.element(item)
        for note in _torn_notes(root):
            note.getparent().remove(note)
        reason = _no_form(root)
        if reason:
            self._leave_out(root, item, reason)
        return bool(reason)

    def of(self, item: Any, around: str = "") -> Iterator[str]:
        """The lines for ``item``, which may be none, inside an element ``around`` if one is given."""
        if isinstance(item, Verbatim) and not item.tag:
            self._unsaid.append(described(item))
            return
        root = cib.element(item)
        self._drop_long_notes(root)
        reason = _no_form(root)
        if reason:
            self._leave_out(root, item, reason)
            return
        if root.tag in ("group", "clone", "master", "bundle"):
            for member in [child for child in root if child.tag in ("primitive", "group")]:
                if root.tag == "bundle":
                    yield _xml_line(member)
                root.replace(member, etree.Element("crmsh-ref", id=member.get("id", "")))
        if around:
            outer = etree.Element(around)
            outer.append(root)
            root = outer
        yield _xml_line(root)

    def _leave_out(self, root: Any, item: Any, reason: str) -> None:
        self.lost |= {one.get("id", "") for one in root.iter(*_RESOURCES, "cluster_property_set", "acl_role")}
        self._unsaid.append(f"{described(Verbatim(cib.element_text(item)))} ({reason})")

    def _drop_long_notes(self, root: Any) -> None:
        for note in _torn_notes(root):
            self._unsaid.append(
                f"{described(Verbatim(str(etree.tostring(note, encoding='unicode', with_tail=False))))}"
            )
            note.getparent().remove(note)


def _torn_notes(root: Any) -> list[Any]:
    return [one for one in root.iter() if not isinstance(one.tag, str) and _TORN.search(one.text or "")]


def _xml_line(root: Any) -> str:
    text: str = etree.tostring(root, encoding="unicode", with_tail=False)
    # It makes one space of many, also inside of values.
    while "  " in text:
        text = text.replace("  ", " &#32;")
    return f"xml {text}"


def _referenced(item: Any) -> set[str]:
    """The resources that a constraint is about."""
    root = cib.element(item)
    names = {root.get(key) for key in ("rsc", "with-rsc", "first", "then")} if isinstance(root.tag, str) else set()
    return {str(name) for name in names | {one.get("id") for one in root.iter("resource_ref")} if name}


def _named(part: Verbatim) -> set[str]:
    """What an ACL or a tag refers to."""
    root = cib.element(part)
    return {one.get(key, "") for one in root.iter("acl_permission", "obj_ref", "role") for key in ("reference", "id")}


def _no_form(root: Any) -> str:
    """Why crmsh has no form for the element, or ""."""
    if root.tag == "bundle" and root.find("docker") is None:
        return "crmsh 4 knows only bundles of docker"
    if root.tag in ("cluster_property_set", "meta_attributes") and root.get("score") is not None:
        return "crmsh drops the score of such a set"
    if root.find("lifetime") is not None:
        return "crmsh cannot load a lifetime"
    text = etree.tostring(root, encoding="unicode")
    if "&#" in text:
        return "crmsh takes a line break or tab in a value for the end of the line"
    if any(UNCLOSED.search(value) for one in root.iter(tag=etree.Element) for value in one.attrib.values()):
        return "crmsh cannot read its own words for a backslash at the end of a value or before a quote"
    if "\n" in text or any(
        (one.text or "").strip() or (one.tail or "").strip() for one in root.iter(tag=etree.Element)
    ):
        return "it holds text"
    return ""


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


def _sets(children: Iterable[Any]) -> list[str]:
    parts = []
    for child in children:
        if isinstance(child, AttributeSet):
            parts.append(f"{KINDS[child.kind]} {_pairs(child.pairs)}")
        elif isinstance(child, Operations):
            parts += [_operation(op) for op in child.children if isinstance(op, Operation)]
    return parts


def _operation(op: Operation) -> str:
    values = {"interval": op.interval, **dict(op.attributes)}
    words = [f"op {op.name}", *(f"{key}={_word(value)}" for key, value in values.items())]
    words += [
        f"{OP_KINDS[child.kind]} {_pairs(child.pairs)}" for child in op.children if isinstance(child, AttributeSet)
    ]
    return " ".join(words)


def _resource(item: Primitive) -> str:
    head = "rsc_template" if item.template else "primitive"
    agent = item.agent_name or "@" + dict(item.attributes).get("template", "")
    return _join(f"{head} {item.id} {agent}", _sets(item.children))


def _group(item: Group) -> str:
    members = " ".join(member.id for member in item.members)
    return _join(f"group {item.id} {members}", _sets(item.children))


def _clone(item: Clone) -> str:
    member = item.member
    assert member is not None
    return _join(f"{'ms' if item.legacy else 'clone'} {item.id} {member.id}", _sets(item.children))


def _score(constraint: Constraint) -> str:
    score = constraint.get("score") or "INFINITY"
    return {"INFINITY": "inf", "-INFINITY": "-inf"}.get(score, score)


def _with_role(resource: Any, role: Any) -> str:
    return f"{resource}:{role}" if role else str(resource)


def _short_constraint(item: Any) -> TypeGuard[Constraint]:
    """Whether crmsh's own words say all of a constraint; a set, a rule or an attribute without a short form they do not."""
    if not isinstance(item, Constraint) or item.kind not in _CONSTRAINTS or item.children:
        return False
    keys = {key for key, _ in item.attributes}
    clear = all((_NODE if key == "node" else ID).fullmatch(value) for key, value in item.attributes if key != "score")
    known, needed, _ = _CONSTRAINTS[item.kind]
    return (
        needed <= keys <= known
        and clear
        and ID.fullmatch(item.id) is not None
        and re.fullmatch(r"[+-]?(?:INFINITY|\d+)", dict(item.attributes).get("score", "0")) is not None
        and item.get("symmetrical") in (None, "true", "false")
    )


def _constraint(item: Constraint) -> str:
    return _CONSTRAINTS[item.kind][2](item)


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
    return f"order {item.id} {item.get('kind')}: {first} {then}{symmetrical}"


_CONSTRAINTS: dict[str, tuple[frozenset[str], frozenset[str], Callable[[Constraint], str]]] = {
    # kind: (attributes with words, those without which the words do not hold, the words)
    "rsc_location": (frozenset({"rsc", "score", "node"}), frozenset({"rsc", "score", "node"}), _location),
    "rsc_colocation": (
        frozenset({"rsc", "rsc-role", "with-rsc", "with-rsc-role", "score"}),
        frozenset({"rsc", "with-rsc", "score"}),
        _colocation,
    ),
    "rsc_order": (
        frozenset({"first", "first-action", "then", "then-action", "kind", "symmetrical"}),
        frozenset({"first", "then", "kind"}),
        _order,
    ),
}


def _named_set(head: str, found: AttributeSet) -> str:
    return _join(f"{head} {found.id}:", [f"{pair.name}={_word(pair.value or '')}" for pair in found.pairs])
