"""The few shapes of Pacemaker's XML that every reader of the status needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from hafailover.crm.errors import HafailoverError


class Running(NamedTuple):
    """One instance of a primitive as ``crm_mon`` shows it.

    node: "" when it runs nowhere, and, in 2.1.5, while it is being demoted. role: never one of the passing ones; those are ``pending``, in
    lower case, or ``lost`` on a node whose state nobody knows. parents: clone, then group.
    """

    id: str
    agent: str
    parents: tuple[str, ...]
    role: str
    pending: str
    node: str
    active: bool
    managed: bool
    failed: bool
    blocked: bool
    orphaned: bool


LOST = "lost"
TRUE = ("true", "yes", "on", "y", "1")
"""What Pacemaker takes for true, in lower case."""
# What crm_mon calls a role while an action is under way → the role that is sure to be left when that is over.
_PASSING = {"Starting": "Stopped", "Stopping": "Stopped", "Promoting": "Unpromoted", "Demoting": "Unpromoted"}


def parse(text: str) -> Element:
    """The root element; HafailoverError when it is not XML."""
    try:
        return ElementTree.fromstring(text)  # noqa: S314  Pacemaker's own tools printed it, or wrote it for root alone
    except ElementTree.ParseError as error:
        raise HafailoverError(f"Pacemaker's tools printed something that is not XML: {error}") from None


def flag(element: Element | None, name: str) -> bool:
    """Whether the XML attribute ``name`` is true."""
    return element is not None and element.get(name) == "true"


def pairs(element: Element | None) -> dict[str, str]:
    """The nvpairs directly below an attribute set."""
    if element is None:
        return {}
    return {pair.get("name", ""): pair.get("value", "") for pair in element.iterfind("nvpair")}


def instances(mon: Element) -> dict[str, list[Running]]:
    """Every primitive that ``crm_mon`` lists: id (without the instance's number) → its instances, in order."""
    found: dict[str, list[Running]] = {}
    listed = mon.find("resources")
    lost = frozenset(
        node.get("name", "") for node in mon.iterfind("nodes/node") if flag(node, "unclean") or not flag(node, "online")
    )
    if listed is not None:
        for one in _walk(listed, (), lost):
            found.setdefault(one.id, []).append(one)
    return found


def _walk(element: Element, parents: tuple[str, ...], lost: frozenset[str]) -> Iterator[Running]:
    for child in element:
        if child.tag == "resource":
            role = child.get("role", "")
            pending = role if role in _PASSING else child.get("pending", "")
            for node in [node.get("name", "") for node in child.iterfind("node")] or [""]:
                yield Running(
                    id=child.get("id", "").split(":")[0],
                    agent=child.get("resource_agent", ""),
                    parents=parents,
                    role="Stopped" if node in lost else _PASSING.get(role, role),
                    # A monitor that has just begun changes nothing and says nothing.
                    pending=LOST if node in lost else "" if pending == "Monitoring" else pending.lower(),
                    node=node,
                    active=flag(child, "active") and node not in lost,
                    managed=flag(child, "managed"),
                    failed=flag(child, "failed"),
                    blocked=flag(child, "blocked"),
                    orphaned=flag(child, "orphaned"),
                )
        elif child.tag in ("clone", "group", "bundle"):
            name = child.get("id", "")
            # crm_mon numbers a cloned group ("g:0"); the configuration does not.
            yield from _walk(child, (*parents, name.split(":")[0]), lost)
        elif child.tag == "replica":
            yield from _walk(child, parents, lost)
