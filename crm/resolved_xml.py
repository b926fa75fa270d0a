"""What the model keeps as XML text and rules want to see: bundles, tags, resource sets and location rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hafailover.crm import values
from hafailover.crm.formats import cib
from hafailover.crm.model import Clone, Configuration, Verbatim
from lxml import etree


def element(xml: str) -> Any:
    """The element in ``xml``, or None for a comment or what cannot be read."""
    try:
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True)
        return etree.fromstring(xml, parser)
    except (etree.XMLSyntaxError, ValueError):
        return None


def bundles(configuration: Configuration) -> Iterator[Clone]:
    """Each bundle as a clone of its primitive, with the attributes _kind="bundle" and, when it has promoted replicas, _promotable."""
    for resource in configuration.resources:
        if isinstance(resource, Verbatim) and resource.xml.startswith("<bundle"):
            found = element(resource.xml)
            if found is not None and found.get("id"):
                yield _bundle(found)


def _bundle(found: Any) -> Clone:
    promoted = 0
    for child in found:
        if isinstance(child.tag, str) and child.tag in ("docker", "podman", "rkt"):
            promoted = max(promoted, values.score(child.get("promoted-max") or child.get("masters")))
    inside = [child for child in found if child.tag in ("primitive", "meta_attributes")]
    root = etree.Element("cib")
    resources = etree.SubElement(etree.SubElement(root, "configuration"), "resources")
    clone = etree.SubElement(resources, "clone", id=found.get("id"))
    clone.extend(inside)
    (read,) = cib.read(root).resources
    assert isinstance(read, Clone)
    attributes = (("_kind", "bundle"), *((("_promotable", "true"),) if promoted > 0 else ()))
    return Clone(read.id, read.children, attributes)


def tags(configuration: Configuration) -> Mapping[str, list[str]]:
    """The tags and what each stands for."""
    found: dict[str, list[str]] = {}
    for name, xml in configuration.others:
        section = element(xml) if name == "tags" else None
        for tag in section if section is not None else ():
            if tag.get("id"):
                found[tag.get("id")] = [ref.get("id") for ref in tag if ref.get("id")]
    return found


def levels(configuration: Configuration) -> list[tuple[str, str]]:
    """What the levels of the fencing topology are for: ("target", node), ("target-pattern", expression) or ("target-attribute", name)."""
    sections = [element(xml) for name, xml in configuration.others if name == "fencing-topology"]
    return [
        (kind, str(level.get(kind)))
        for section in sections
        if section is not None
        for level in section.iter("fencing-level")
        for kind in ("target", "target-pattern", "target-attribute")
        if level.get(kind) is not None
    ]
