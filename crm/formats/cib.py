"""The CIB: Pacemaker's own XML, written from the model and read into it without loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Callable

from hafailover.crm.errors import UsageError
from hafailover.crm.model import (
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
    Verbatim,
)
from lxml import etree

# The oldest schema that knows the roles Promoted and Unpromoted (Pacemaker 2.1.0), so that no newer cluster refuses it.
VALIDATE_WITH = "pacemaker-3.7"
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
MAX_BYTES = 64 * 1024 * 1024


def text(configuration: Configuration) -> str:
    """The whole CIB as indented XML."""
    root = tree(configuration)
    etree.indent(root)
    return str(etree.tostring(root, encoding="unicode", pretty_print=True))


def tree(configuration: Configuration) -> Any:
    """The whole CIB (element cib)."""
    default = (("validate-with", VALIDATE_WITH), ("epoch", "0"), ("num_updates", "0"), ("admin_epoch", "0"))
    root = etree.Element("cib", dict(configuration.cib_attributes or default))
    top = etree.SubElement(root, "configuration", dict(configuration.attributes))
    others = dict(configuration.others)
    for section in configuration.sections:
        if section in others:
            top.append(_from_text(others[section]))
        elif section in _FIELDS:
            element = etree.SubElement(top, section)
            element.extend([_write(item) for item in getattr(configuration, _FIELDS[section])])
    etree.SubElement(root, "status")
    return root


def element_text(item: Any) -> str:
    """One element of the model as XML text."""
    return str(etree.tostring(_write(item), encoding="unicode"))


def children_text(xml: str) -> list[str]:
    """Each child of the element in ``xml`` as XML text."""
    return [str(etree.tostring(child, encoding="unicode", with_tail=False)) for child in _from_text(xml)]


def _write(item: Any) -> Any:
    return _from_text(item.xml) if isinstance(item, Verbatim) else _WRITERS[type(item)](item)


def _from_text(xml: str) -> Any:
    # A comment is no document of its own, so everything is read inside a wrapper.
    return etree.fromstring(f"<x>{xml}</x>", _parser())[0]


def _element(tag: str, fields: Mapping[str, str | None], attributes: Attributes, children: Iterable[Any] = ()) -> Any:
    element = etree.Element(tag)
    for key, value in (*fields.items(), *attributes):
        if value is not None:
            element.set(key, value)
    element.extend([_write(child) for child in children])
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


def _parser() -> Any:
    # A CIB needs no entities and no network; without this a file of a few lines could fill the memory.
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_blank_text=True, huge_tree=False
    )


def parse(data: str | bytes, origin: str) -> Any:
    """The element cib in ``data``; UsageError names ``origin`` (a file, or the cluster)."""
    raw = data.encode() if isinstance(data, str) else data
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{origin}: is larger than {MAX_BYTES // 1024 // 1024} MiB, which no CIB is")
    try:
        root = etree.fromstring(raw, _parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UsageError(f"{origin}: is not well-formed XML: {error}") from error
    if root.getroottree().docinfo.doctype:
        raise UsageError(f"{origin}: has a document type declaration, which no CIB has")
    if root.tag != "cib" or root.find("configuration") is None:
        raise UsageError(f"{origin}: is not a CIB: its first element must be cib and hold a configuration")
    return root


def read(root: Any) -> Configuration:
    """The configuration in the element cib ``root``; its status is left out, as it is not configuration."""
    top = root.find("configuration")
    fields: dict[str, tuple[Any, ...]] = {}
    others: list[tuple[str, str]] = []
    for section in top:
        if section.tag in _FIELDS and not section.attrib:
            fields[_FIELDS[section.tag]] = tuple(_read(child) for child in section)
        else:
            others.append((section.tag if isinstance(section.tag, str) else f"#{len(others)}", _verbatim(section).xml))
    kept = iter(others)
    sections = tuple(section.tag if section.tag in _FIELDS and not section.attrib else next(kept)[0] for section in top)
    return Configuration(
        **fields,
        others=tuple(others),
        sections=sections,
        cib_attributes=tuple((str(key), str(value)) for key, value in root.attrib.items()),
        attributes=tuple((str(key), str(value)) for key, value in top.attrib.items()),
    )


def _verbatim(element: Any) -> Verbatim:
    return Verbatim(etree.tostring(element, encoding="unicode", with_tail=False))


def _rest(element: Any, *known: str) -> Attributes:
    return tuple((str(key), str(value)) for key, value in element.attrib.items() if key not in known)


def _children(element: Any) -> tuple[Any, ...]:
    return tuple(_read(child) for child in element)


def _read(element: Any) -> Any:
    reader = _READERS.get(element.tag) if isinstance(element.tag, str) else None
    if reader is None:
        return _verbatim(element)
    # Pacemaker's schema forbids both; who has them anyway gets them back as they are.
    lacking = [key for key in _REQUIRED.get(element.tag, ("id",)) if not element.get(key)]
    empty = [key for key in _FIELD_ATTRIBUTES if element.get(key) == ""]
    return _verbatim(element) if lacking or empty else reader(element)


# What the model has a field for, and what it cannot do without (default: an id).
_FIELD_ATTRIBUTES = ("id", "name", "interval", "class", "provider", "type", "uname")
_REQUIRED: dict[str, tuple[str, ...]] = {
    "nvpair": (),
    "operations": (),
    **dict.fromkeys(_SETS, ()),
    "op": ("id", "name", "interval"),
    "node": ("id", "uname"),
}


def _read_set(element: Any) -> AttributeSet:
    return AttributeSet(element.tag, element.get("id", ""), _children(element), _rest(element, "id"))


def _read_primitive(element: Any) -> Primitive:
    agent = (element.get("class", ""), element.get("provider", ""), element.get("type", ""))
    rest = _rest(element, "id", "class", "provider", "type")
    return Primitive(element.get("id", ""), agent, _children(element), rest, element.tag == "template")


def _read_constraint(element: Any) -> Constraint:
    children = tuple(_verbatim(child) for child in element)
    return Constraint(element.tag, element.get("id", ""), _rest(element, "id"), children)


_READERS: dict[str, Callable[[Any], Any]] = {
    "nvpair": lambda element: (
        Pair(
            element.get("id", ""), element.get("name", ""), element.get("value"), _rest(element, "id", "name", "value")
        )
        if len(element) == 0
        else _verbatim(element)
    ),
    "op": lambda element: Operation(
        element.get("id", ""),
        element.get("name", ""),
        element.get("interval", ""),
        _rest(element, "id", "name", "interval"),
        _children(element),
    ),
    "operations": lambda element: Operations(_children(element), _rest(element)),
    "primitive": _read_primitive,
    "template": _read_primitive,
    "group": lambda element: Group(element.get("id", ""), _children(element), _rest(element, "id")),
    "clone": lambda element: Clone(element.get("id", ""), _children(element), _rest(element, "id")),
    "master": lambda element: Clone(element.get("id", ""), _children(element), _rest(element, "id"), legacy=True),
    "node": lambda element: Node(
        element.get("id", ""), element.get("uname", ""), _children(element), _rest(element, "id", "uname")
    ),
    **dict.fromkeys(_SETS, _read_set),
    **dict.fromkeys(_CONSTRAINTS, _read_constraint),
}
