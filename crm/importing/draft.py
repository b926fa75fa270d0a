"""The topology while it is being written: what has been recognised so far, and what became what."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hafailover.crm.corosync_conf import CorosyncConf
from hafailover.crm.importing import findings
from hafailover.crm.importing.findings import Notes
from hafailover.crm.importing.names import Names, is_text, plain
from hafailover.crm.model import AttributeSet
from hafailover.crm.resolved import Colocation, Location, Resolved, Resource

ADDRESSES = ("ocf:heartbeat:IPaddr2", "ocf:heartbeat:IPaddr", "ocf:hafailover:vip")
"""The agents of addresses that move."""


@dataclass(frozen=True)
class Replaced:
    """A resource that another agent takes over: which of its parameters the topology has in another form."""

    agent: str
    told: frozenset[str] = frozenset()


@dataclass
class Draft:
    """``head`` is everything but vips and services. ``renames``: id in the source → id in the result, resources and nodes apart.

    ``anchors``: id in the source → (kind, name) of the address or service that it became a part of; kind "vip" or "service".
    ``inside``: pairs of ids of the source whose order a service makes by itself.
    """

    resolved: Resolved
    corosync: CorosyncConf | None
    head: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    vips: dict[str, dict[str, Any]] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    node_names: dict[str, str] = field(default_factory=dict)
    renames: dict[str, str] = field(default_factory=dict)
    anchors: dict[str, tuple[str, str]] = field(default_factory=dict)
    replaced: dict[str, Replaced] = field(default_factory=dict)
    inside: set[tuple[str, str]] = field(default_factory=set)
    comments: dict[tuple[str, ...], list[str]] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)
    names: Names = field(default_factory=Names)

    def tops(self) -> Iterable[Resource]:
        """The outermost resources that have not become anything yet, in order."""
        return [one for one in self.resolved.resources.values() if one.parent is None and one.id not in self.anchors]

    def members(self, one: Resource) -> tuple[Resource, ...]:
        """The primitives in ``one``, in order; itself when it is one."""
        return self.resolved.primitives_of(one.id)

    def links(self, node: str) -> list[str]:
        """The addresses of a node, by its name in the topology; none when they are not known."""
        return list(self.nodes.get(node, {}).get("links", ()))

    def service(self, wanted: str, options: Mapping[str, Any], *parts: Resource, comment: str = "") -> str:
        """Add a service; every resource in ``parts`` becomes a part of it. Its name."""
        name = self.names.take(wanted)
        self.services[name] = dict(options)
        for part in parts:
            self._anchor(part, ("service", name))
        if comment:
            self.comment(("services", name), comment)
        return name

    def vip(self, wanted: str, options: Mapping[str, Any], part: Resource) -> str:
        """Add an address. Its name."""
        name = self.names.take(wanted)
        self.vips[name] = dict(options)
        self.anchors[part.id] = ("vip", name)
        self.renames[part.id] = name
        return name

    def _anchor(self, part: Resource, what: tuple[str, str]) -> None:
        self.anchors.setdefault(part.id, what)
        for child in part.children:
            self._anchor(self.resolved.resources[child], what)

    def rename_clone(self, name: str, top: Resource, *inside: str) -> None:
        """``top``, a clone or what becomes one, is NAME-clone in the result; its only member, or group, NAME."""
        if top.kind == "clone":
            self.renames[top.id] = f"{name}-clone"
            if top.children:
                self.renames[top.children[0]] = name
        else:
            self.renames[top.id] = name
        for id in inside:
            self.renames.setdefault(id, name)

    def becomes(self, one: Resource, agent: str, text: str, told: Iterable[str] = ()) -> None:
        """``one`` is taken over by another agent; ``text`` says what that changes."""
        self.replaced[one.id] = Replaced(agent, frozenset(told))
        where = f"{findings.visible(one.id, 80)} ({findings.visible(one.agent, 80)})"
        self.notes.add(findings.BECOMES, where, f"will become {agent}: {text}")

    def comment(self, path: tuple[str, ...], text: str) -> None:
        """A line above the entry at ``path``."""
        self.comments.setdefault(path, []).append(text)

    def secret(self, file: str, one: Resource, parameter: str, why: str) -> str:
        """The reference to the file NAME that a person has to make from a parameter of ``one``, whose value is not shown."""
        command = f"crm_resource --resource {shlex.quote(one.id)} --get-parameter {shlex.quote(parameter)}"
        target = f"{self.head.get('cluster', {}).get('secrets_dir', '/etc/hafailover/secrets')}/{file}"
        fix = ""
        if is_text(one.id) and is_text(parameter):
            fix = f"(umask 077; {command} > {shlex.quote(target)}) on a node of the cluster as it is"
        text = f"parameter {findings.visible(parameter)} holds {why}; its value is not shown: put it into the file {target}, mode 0600"
        self.notes.add(findings.SECRET, one.id, text, fix)
        return f"file:{file}"

    def banned(self, *ids: str) -> set[str]:
        """The nodes, by their names in the source, that none of the resources ``ids`` may run on."""
        return {one.node for one in self._locations(ids) if one.score <= -1_000_000 and one.node is not None}

    def _locations(self, ids: Iterable[str]) -> list[Location]:
        return [
            one
            for id in ids
            for one in self._by_resource.get(id, ())
            if not one.conditional and not one.role and not one.id.startswith("cli-")
        ]

    @cached_property
    def _by_resource(self) -> Mapping[str, list[Location]]:
        found: dict[str, list[Location]] = {}
        for one in self.resolved.locations:
            found.setdefault(one.rsc, []).append(one)
        return found

    @cached_property
    def addresses(self) -> Mapping[str, Resource]:
        """IP address → the resource that holds it."""
        every = self.resolved.resources.values()
        return {one.params["ip"]: one for one in every if one.agent in ADDRESSES and one.params.get("ip")}

    @cached_property
    def together(self) -> Mapping[str, list[Colocation]]:
        """Resource → the colocations that have it where another one is."""
        found: dict[str, list[Colocation]] = {}
        for one in self.resolved.colocations:
            if one.score > 0:
                found.setdefault(one.rsc, []).append(one)
        return found

    @cached_property
    def levels(self) -> Mapping[str, str]:
        """Id of an operation → its OCF_CHECK_LEVEL, where it has one."""
        found: dict[str, str] = {}
        for primitive in self.resolved.configuration.primitives():
            for op in primitive.operations:
                for child in op.children:
                    level = child.get("OCF_CHECK_LEVEL") if isinstance(child, AttributeSet) else None
                    if level is not None:
                        found[op.id] = level
        return found

    def where(self, *ids: str) -> list[str] | None:
        """The nodes that the resources ``ids`` may run on, by their names in the topology; None for all."""
        banned = self.banned(*ids)
        opt_in = self.resolved.property("symmetric-cluster")
        allowed = set(self.node_names)
        if opt_in is not None and opt_in.lower() in ("false", "off", "no", "n", "0"):
            allowed = {one.node for one in self._locations(ids) if one.score > 0 and one.node is not None}
        found = [name for node, name in self.node_names.items() if node not in banned and node in allowed]
        return None if len(found) == len(self.node_names) or not found else found


def taken(params: Mapping[str, str], keys: Mapping[str, str]) -> dict[str, Any]:
    """The options that are parameters under another name: ``keys`` maps the option to the parameter."""
    return {
        option: plain(params[parameter])
        for option, parameter in keys.items()
        if parameter in params and is_text(params[parameter])
    }
