"""The CIB: Pacemaker's own XML, written from the model and read into it without loss.

Not kept: the status (it is not configuration: what is written has an empty one), white space between elements, and how a character,
an attribute's quotes or an empty element were written. docs/formats.md says it for people.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Callable
from xml.sax.saxutils import escape

from hafailover.crm.errors import UsageError
from hafailover.crm.formats import xml_input
from hafailover.crm.model import (
    VALIDATE_WITH,
    Attributes,
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
    Surroundings,
    Verbatim,
)
from lxml import etree

__all__ = [
    "VALIDATE_WITH",
    "Document",
    "children_text",
    "element",
    "element_text",
    "load",
    "parse",
    "read",
    "text",
    "tree",
]

_SETS = frozenset({"instance_attributes", "meta_attributes", "utilization", "cluster_property_set"})
_CONSTRAINTS = frozenset({"rsc_location", "rsc_colocation", "rsc_order", "rsc_ticket"})
_FIELDS = {
    "crm_config": "properties",
    "nodes": "nodes",
    "resources": "resources",
    "constraints": "constraints",
    "rsc_defaults": "rsc_defaults",
    "op_defaults": "op_defaults",
}
# A clone of a group of primitives with operations with sets is seven deep; what is deeper is kept as text, without recursion.
_DEEPEST = 12


@dataclass(frozen=True)
class Document:
    """A CIB that was read: where it came from, the element cib (with its status), and its configuration."""

    origin: str
    root: Any

    @cached_property
    def configuration(self) -> Configuration:
        """The configuration in it."""
        return read(self.root)


def load(path: str) -> Document:
    """The CIB in the file ``path`` ("-" is standard input), also as Pacemaker packs them (pe-input-1.bz2); UsageError."""
    origin = "standard input" if path == "-" else path
    return Document(origin, parse(xml_input.read_file(path), origin))


def text(configuration: Configuration) -> str:
    """The whole CIB as indented XML."""
    root = tree(configuration)
    etree.indent(root)
    around = configuration.surroundings
    parts = [*around.before, root, *around.after]
    return "\n".join(part.xml if isinstance(part, Verbatim) else str(_text(part)) for part in parts) + "\n"


def tree(configuration: Configuration) -> Any:
    """The whole CIB (element cib)."""
    around = configuration.surroundings
    namespaces: Any = {prefix or None: uri for prefix, uri in configuration.namespaces}
    root = etree.Element("cib", dict(configuration.cib_attributes), nsmap=namespaces)
    _append(root, around.head)
    top = etree.SubElement(root, "configuration", dict(configuration.attributes))
    others: dict[str, deque[str]] = defaultdict(deque)
    for name, xml in configuration.others:
        others[name].append(xml)
    attributes = dict(configuration.section_attributes)
    written = set()
    for section in configuration.sections:
        if section in _FIELDS and section not in written:
            written.add(section)
            element = etree.SubElement(top, section, dict(attributes.get(section, ())))
            _append(element, getattr(configuration, _FIELDS[section]))
        elif others[section]:
            _append(top, (Verbatim(others[section].popleft()),))
    _append(root, around.tail)
    etree.SubElement(root, "status")
    return root


def element(item: Any) -> Any:
    """One element of the model as XML."""
    return _write(item)


def element_text(item: Any) -> str:
    """One element of the model as XML text."""
    return str(etree.tostring(_write(item), encoding="unicode"))


def children_text(xml: str) -> list[str]:
    """Each child of the element in ``xml`` as XML text."""
    return [str(etree.tostring(child, encoding="unicode", with_tail=False)) for child in _from_text(xml)]


def _text(element: Any) -> Any:
    return etree.tostring(element, encoding="unicode", with_tail=False)


def _write(item: Any) -> Any:
    return _from_text(item.xml) if isinstance(item, Verbatim) else _WRITERS[type(item)](item)


def _from_text(xml: str) -> Any:
    # A comment is no document of its own, so everything is read inside a wrapper.
    return etree.fromstring(f"<x>{xml}</x>".encode(), xml_input.parser())[0]


def _append(parent: Any, children: Iterable[Any]) -> None:
    for child in children:
        if isinstance(child, Verbatim) and not child.xml.startswith("<"):
            _append_text(parent, etree.fromstring(f"<x>{child.xml}</x>".encode(), xml_input.parser()).text)
        else:
            parent.append(_write(child))


def _append_text(parent: Any, stray: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + stray
    else:
        parent.text = (parent.text or "") + stray


def _element(tag: str, fields: Mapping[str, str | None], attributes: Attributes, children: Iterable[Any] = ()) -> Any:
    element = etree.Element(tag)
    for key, value in (*fields.items(), *attributes):
        if value is not None:
            element.set(key, value)
    _append(element, children)
    return element


def _write_primitive(item: Primitive) -> Any:
    tag = "template" if item.template else "primitive"
    agent_class, provider, kind = item.agent
    fields = {"id": item.id, "class": agent_class or None, "provider": provider or None, "type": kind or None}
    return _element(tag, fields, item.attributes, item.children)


_WRITERS: dict[type, Callable[[Any], Any]] = {
    Pair: lambda item: _element(
        "nvpair", {"id": item.id or None, "name": item.name or None, "value": item.value}, item.attributes
    ),
    AttributeSet: lambda item: _element(item.kind, {"id": item.id or None}, item.attributes, item.children),
    Operation: lambda item: _element(
        "op", {"id": item.id, "name": item.name, "interval": item.interval}, item.attributes, item.children
    ),
    Operations: lambda item: _element("operations", {}, item.attributes, item.children),
    Primitive: _write_primitive,
    Group: lambda item: _element("group", {"id": item.id}, item.attributes, item.children),
    Clone: lambda item: _element("master" if item.legacy else "clone", {"id": item.id}, item.attributes, item.children),
    Constraint: lambda item: _element(item.kind, {"id": item.id}, item.attributes, item.children),
    Node: lambda item: _element("node", {"id": item.id, "uname": item.name}, item.attributes, item.children),
}


def parse(data: str | bytes, origin: str) -> Any:
    """The element cib in ``data``; UsageError names ``origin`` (a file, or the cluster)."""
    root = xml_input.parse(data, origin)
    if root.tag != "cib":
        hint = "; give the whole one (cibadmin --query)" if root.tag in (*_FIELDS, "configuration", "status") else ""
        raise UsageError(f"{origin}: is not a CIB: its first element is {str(root.tag)[:60]}, not cib{hint}")
    if root.find("configuration") is None:
        raise UsageError(f"{origin}: is not a CIB: it holds no configuration")
    return root


def read(root: Any) -> Configuration:
    """The configuration in the element cib ``root``; its status is left out, as it is not configuration."""
    top = root.find("configuration")
    fields: dict[str, tuple[Any, ...]] = {}
    others: list[tuple[str, str]] = []
    sections: list[str] = []
    attributes: list[tuple[str, Attributes]] = []
    for section in _contents(top):
        tag = section.tag if not isinstance(section, Verbatim) and isinstance(section.tag, str) else None
        if tag in _FIELDS and _FIELDS[tag] not in fields:
            fields[_FIELDS[tag]] = _children(section, 1)
            if section.attrib:
                attributes.append((tag, _rest(section)))
        else:
            tag = tag or f"#{len(others)}"
            others.append((tag, section.xml if isinstance(section, Verbatim) else _text(section)))
        sections.append(tag)
    return Configuration(
        **fields,
        others=tuple(others),
        sections=tuple(sections),
        cib_attributes=_rest(root),
        attributes=_rest(top),
        section_attributes=tuple(attributes),
        surroundings=_surroundings(root, top),
        namespaces=tuple((prefix or "", uri) for prefix, uri in root.nsmap.items()),
    )


def _surroundings(root: Any, top: Any) -> Surroundings:
    before = tuple(_verbatim(one) for one in reversed(list(root.itersiblings(preceding=True))))
    after = tuple(_verbatim(one) for one in root.itersiblings())
    head: list[Verbatim] = []
    tail: list[Verbatim] = []
    place = head
    for child in _contents(root):
        if child is top:
            place = tail
        elif isinstance(child, Verbatim):
            place.append(child)
        elif child.tag != "status":
            place.append(_verbatim(child))
    return Surroundings(before, tuple(head), tuple(tail), after)


def _contents(element: Any) -> Iterator[Any]:
    """The children of ``element``, and between them the text that is more than white space, as Verbatim."""
    if element.text and element.text.strip():
        yield Verbatim(escape(element.text))
    for child in element:
        yield child
        if child.tail and child.tail.strip():
            yield Verbatim(escape(child.tail))


def _verbatim(element: Any) -> Verbatim:
    return Verbatim(_text(element))


def _rest(element: Any, *known: str) -> Attributes:
    """The attributes without a field, and fields that are there and empty where the writer takes an empty one for absent."""
    return tuple(
        (str(key), str(value))
        for key, value in element.attrib.items()
        if key not in known or (not value and key in _ABSENT_WHEN_EMPTY.get(element.tag, ()))
    )


def _children(element: Any, depth: int) -> tuple[Any, ...]:
    return tuple(child if isinstance(child, Verbatim) else _read(child, depth) for child in _contents(element))


def _read(element: Any, depth: int) -> Any:
    reader = _READERS.get(element.tag) if isinstance(element.tag, str) else None
    if reader is None or depth > _DEEPEST:
        return _verbatim(element)
    # Pacemaker's schema forbids it; who has it anyway gets it back as it is.
    lacking = any(element.get(key) is None for key in _REQUIRED.get(element.tag, ("id",)))
    return _verbatim(element) if lacking else reader(element, depth + 1)


_ABSENT_WHEN_EMPTY: dict[str, tuple[str, ...]] = {
    "nvpair": ("id", "name"),
    **dict.fromkeys(_SETS, ("id",)),
    **dict.fromkeys(("primitive", "template"), ("class", "provider", "type")),
}
# What the model cannot do without (default: an id).
_REQUIRED: dict[str, tuple[str, ...]] = {
    "nvpair": (),
    "operations": (),
    **dict.fromkeys(_SETS, ()),
    "op": ("id", "name", "interval"),
    "node": ("id", "uname"),
}


def _read_set(element: Any, depth: int) -> AttributeSet:
    return AttributeSet(element.tag, element.get("id", ""), _children(element, depth), _rest(element, "id"))


def _read_primitive(element: Any, depth: int) -> Primitive:
    agent = (element.get("class", ""), element.get("provider", ""), element.get("type", ""))
    rest = _rest(element, "id", "class", "provider", "type")
    return Primitive(element.get("id", ""), agent, _children(element, depth), rest, element.tag == "template")


def _read_constraint(element: Any, depth: int) -> Constraint:
    children = tuple(child if isinstance(child, Verbatim) else _verbatim(child) for child in _contents(element))
    return Constraint(element.tag, element.get("id", ""), _rest(element, "id"), children)


_READERS: dict[str, Callable[[Any, int], Any]] = {
    "nvpair": lambda element, depth: (
        Pair(
            element.get("id", ""), element.get("name", ""), element.get("value"), _rest(element, "id", "name", "value")
        )
        if len(element) == 0 and not element.text
        else _verbatim(element)
    ),
    "op": lambda element, depth: Operation(
        element.get("id", ""),
        element.get("name", ""),
        element.get("interval", ""),
        _rest(element, "id", "name", "interval"),
        _children(element, depth),
    ),
    "operations": lambda element, depth: Operations(_children(element, depth), _rest(element)),
    "primitive": _read_primitive,
    "template": _read_primitive,
    "group": lambda element, depth: Group(element.get("id", ""), _children(element, depth), _rest(element, "id")),
    "clone": lambda element, depth: Clone(element.get("id", ""), _children(element, depth), _rest(element, "id")),
    "master": lambda element, depth: Clone(
        element.get("id", ""), _children(element, depth), _rest(element, "id"), legacy=True
    ),
    "node": lambda element, depth: Node(
        element.get("id", ""), element.get("uname", ""), _children(element, depth), _rest(element, "id", "uname")
    ),
    **dict.fromkeys(_SETS, _read_set),
    **dict.fromkeys(_CONSTRAINTS, _read_constraint),
}
