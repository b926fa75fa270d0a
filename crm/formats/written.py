"""What a format that cannot carry everything gives: its text, and what is not in it; and what such formats ask of an element."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hafailover.crm.model import (
    Attributes,
    AttributeSet,
    Clone,
    Configuration,
    Group,
    Operation,
    Pair,
    Primitive,
    Verbatim,
)

_WATCHDOG = "stonith-watchdog-timeout"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Written:
    """``text`` in the format, a sentence for each thing in ``unsaid`` that the format has no words for, and the ids of the fence
    devices among these."""

    text: str
    unsaid: tuple[str, ...] = ()
    unfenced: tuple[str, ...] = ()


def plain(found: AttributeSet, set_id: str) -> bool:
    """Whether ``found`` is only names with values, its ids those that every tool derives from ``set_id``."""
    names = [child.name if isinstance(child, Pair) else "" for child in found.children]
    return (
        found.id == set_id
        and not found.attributes
        and bool(names)
        and len(set(names)) == len(names)
        and all(
            isinstance(child, Pair)
            and child.value is not None
            and not child.attributes
            and _NAME.fullmatch(child.name) is not None
            and child.id == f"{set_id}-{child.name}"
            for child in found.children
        )
    )


def unfenced(configuration: Configuration, lost: set[str]) -> tuple[str, ...]:
    """The fence devices among the resources ``lost``, and the watchdog if the property that has nodes trust it is in a set among them."""
    if not lost:
        return ()
    found = [one for item in configuration.resources for one in _primitives(item)]
    templates = {one.id for one in found if one.template and one.agent[0] == "stonith"}
    return (
        *(
            one.id
            for one in found
            if one.id in lost
            and not one.template
            and (one.agent[0] == "stonith" or dict(one.attributes).get("template") in templates)
        ),
        *(
            _WATCHDOG
            for properties in configuration.properties
            if isinstance(properties, AttributeSet) and properties.id in lost
            for pair in properties.pairs
            if pair.name == _WATCHDOG
        ),
    )


def _primitives(item: Any) -> Iterator[Primitive]:
    if isinstance(item, Primitive):
        yield item
    elif isinstance(item, (Group, Clone)):
        for child in item.children:
            yield from _primitives(child)


def op_id(owner: str, op: Operation) -> str:
    """The id that crmsh derives."""
    return f"{owner}-{op.name}-{op.interval}"


def around(configuration: Configuration) -> Iterator[str]:
    """What no format but the CIB itself has words for: what stands around sections, and attributes that they have."""
    outside = configuration.surroundings
    for part in (*outside.before, *outside.head, *outside.tail, *outside.after):
        yield f"{described(part)} outside of the configuration"
    if configuration.attributes:
        yield f"the attributes of the configuration: {_listed(configuration.attributes)}"
    for section, attributes in configuration.section_attributes:
        yield f"the attributes of the section {section}: {_listed(attributes)}"
    for prefix, uri in configuration.namespaces:
        yield f"the namespace {prefix} ({uri})"


def described(part: Verbatim) -> str:
    """``part`` in a few words, on one line."""
    kind = {"<!--": "the comment ", "<?": "the instruction "}.get(part.xml[: 4 if part.xml.startswith("<!") else 2], "")
    if not kind and not part.tag:
        kind = "the text "
    start = " ".join(part.xml.split())
    return kind + (start if len(start) <= 70 else start[:67] + "…")


def _listed(attributes: Attributes) -> str:
    return " ".join(f"{key}={value!r}" for key, value in attributes)[:100]
