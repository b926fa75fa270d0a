"""What a schema cannot say about a topology: references that lead nowhere, addresses used twice, services that wait for each other."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from hafailover.crm import alerts_schema, hooks_schema, schema, secret_names, topology_fencing
from hafailover.crm.knots import knots
from hafailover.crm.schema import Problem
from hafailover.crm.service import service_types
from hafailover.crm.yamldoc import Path_

if TYPE_CHECKING:
    from hafailover.crm.topology import Service, Topology

_MANY = 8  # names of a circle that are shown
_WAYS = 100  # circles of which the names are shown: each is looked for in the whole topology
# 8, 0.5, 64M: no secret, whatever the name.
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?[A-Za-z]?")


def problems(topology: Topology) -> Iterator[Problem]:
    """Everything wrong with ``topology``; its file has passed the schema."""
    yield from _nodes(topology)
    yield from topology_fencing.problems(topology)
    yield from _quorum(topology)
    yield from _vips(topology)
    yield from _services(topology)
    yield from _names(topology)
    yield from alerts_schema.problems(topology.alerts)
    yield from hooks_schema.problems(topology)


def _nodes(topology: Topology) -> Iterator[Problem]:
    ids: dict[int, str] = {}
    addresses: dict[str, str] = {}
    first = next(iter(topology.nodes.values()))
    for node in topology.nodes.values():
        other = ids.setdefault(node.id, node.name)
        if other != node.name:
            yield Problem(("nodes", node.name, "id"), f"{node.id} is the id of {other} too; every node needs its own")
        for index, link in enumerate(node.links):
            here = ("nodes", node.name, "links", index)
            owner = addresses.setdefault(str(ipaddress.ip_address(link)), node.name)
            if owner != node.name:
                yield Problem(here, f"{link} is an address of {owner} too")
            if index < len(first.links) and _version(link) != _version(first.links[index]):
                yield Problem(
                    here,
                    f"{link} and {first.links[index]} of {first.name} are the same link, "
                    "so both must be IPv4 or both IPv6",
                )
        if len(node.links) != len(first.links):
            counts = f"{len(node.links)} here, {len(first.links)} for {first.name}"
            yield Problem(("nodes", node.name, "links"), f"every node needs the same number of links: {counts}")


def _version(link: str) -> int:
    return ipaddress.ip_address(link).version


def _quorum(topology: Topology) -> Iterator[Problem]:
    quorum, count = topology.quorum, len(topology.nodes)
    if quorum.two_node and quorum.device:
        yield Problem(
            ("quorum", "two_node"), "cannot be combined with a quorum device, which is the third voter; remove it"
        )
    elif quorum.two_node and count != 2:
        yield Problem(("quorum", "two_node"), f"is for exactly two nodes, and there are {count}")
    elif count == 2 and not quorum.two_node and not quorum.device:
        yield Problem(("quorum", "two_node"), "without it, or a device, two nodes both stop when one of them dies")
    if not quorum.device:
        return
    host = quorum.device.host
    for node in topology.nodes.values():
        if host in (node.name, *node.links):
            yield Problem(
                ("quorum", "device", "host"),
                f"{host} is node {node.name}; a device inside the cluster dies with its node",
            )
    if quorum.device.algorithm == "ffsplit" and count % 2:
        yield Problem(
            ("quorum", "device", "algorithm"), f"ffsplit is for an even number of nodes, and there are {count}; use lms"
        )
    breaker = quorum.device.tie_breaker
    if breaker and breaker.isdigit() and int(breaker) not in {node.id for node in topology.nodes.values()}:
        yield Problem(("quorum", "device", "tie_breaker"), f"no node has the id {breaker}")


def _vips(topology: Topology) -> Iterator[Problem]:
    used = {
        str(ipaddress.ip_address(link)): f"node {node.name}" for node in topology.nodes.values() for link in node.links
    }
    if topology.quorum.device:
        used.setdefault(topology.quorum.device.host, "the quorum device")
    links = {name: [ipaddress.ip_address(link) for link in node.links] for name, node in topology.nodes.items()}
    for vip in topology.vips.values():
        here = ("vips", vip.name)
        address = str(vip.interface.ip)
        owner = used.setdefault(address, f"vip {vip.name}")
        if owner != f"vip {vip.name}":
            yield Problem((*here, "ip"), f"{address} is the address of {owner} too")
        nodes: tuple[str, ...] | None = tuple(topology.nodes)
        if vip.follows:
            problem, nodes = _follow(topology, vip.follows)
            if problem:
                yield Problem((*here, "follows"), problem)
        network = vip.interface.network
        if vip.interface.ip == network.network_address and network.prefixlen < network.max_prefixlen - 1:
            yield Problem((*here, "ip"), f"{address} is the network's own address, not one of a host")
        outside = [] if vip.nic else [name for name in nodes or () if not any(link in network for link in links[name])]
        if outside:
            yield Problem(
                (*here, "ip"),
                f"no link of {', '.join(outside)} is in {network}, so the interface cannot be found there; "
                "correct the address or its prefix, or give nic",
            )


def _follow(topology: Topology, follows: str) -> tuple[str | None, tuple[str, ...] | None]:
    name, _, role = follows.partition(".")
    service = topology.services.get(name)
    if service is None:
        return schema.unknown("service", name, topology.services), None
    roles = service_types()[service.type].roles
    if role and role not in roles:
        return schema.unknown("role", role, roles) + f" (of {service.type})", None
    known = tuple(node for node in service.nodes if node in topology.nodes)
    return None, known


def _services(topology: Topology) -> Iterator[Problem]:
    claimed: dict[tuple[str, str, str], str] = {}
    ties = _Ties(topology)
    for service in topology.services.values():
        here = ("services", service.name)
        strangers = [node for node in service.nodes if node not in topology.nodes]
        for node in strangers:
            yield Problem((*here, "on"), schema.unknown("node", node, topology.nodes))
        kind = service_types()[service.type]
        for problem in kind.check(service, topology):
            yield Problem((*here, *problem.path), problem.message)
        yield from _references(topology, service, ties)
        yield from _plain_secrets(service.options, here)
        for what, value in kind.claims(service):
            owners = {node: claimed.setdefault((node, what, value), service.name) for node in service.nodes}
            shared = [node for node, owner in owners.items() if owner != service.name]
            if shared:
                yield Problem(
                    (*here, what), f"{value} is used by service {owners[shared[0]]} on {', '.join(shared)} too"
                )


def _plain_secrets(options: object, here: Path_) -> Iterator[Problem]:
    """Secrets among options that are handed on as they are; what a service knows as a secret, its schema has seen to."""
    if isinstance(options, dict):
        for key, value in options.items():
            if isinstance(value, str) and not _NUMBER.fullmatch(value) and secret_names.is_inline(str(key), value):
                yield Problem(
                    (*here, key),
                    "is a secret in plain, and everybody may read the topology; set it where only the server can read it "
                    "(a file of its own configuration with mode 0600), and not here",
                    secret=True,
                )
            yield from _plain_secrets(value, (*here, key))


class _Ties:
    """What is looked up for each reference: components of services that need each other, and what addresses follow."""

    def __init__(self, topology: Topology) -> None:
        self._topology, self._shown = topology, 0
        self._components = knots((*topology.services, *topology.vips), partial(_needs, topology))
        self.followed = {vip.follows for vip in topology.vips.values()}

    def circle(self, begin: str, other: str) -> str | None:
        """The circle from ``begin`` over ``other`` in words, None when there is none."""
        if self._components.get(begin) != self._components.get(other):
            return None
        self._shown += 1
        if self._shown > _WAYS:
            return f"{begin} after {other} and so on"
        circle = _circle(self._topology, begin, other)
        if len(circle) > _MANY:
            circle = [*circle[: _MANY - 2], f"({len(circle) - _MANY} more)", *circle[-2:]]
        return " after ".join(circle)


def _references(topology: Topology, service: Service, ties: _Ties) -> Iterator[Problem]:
    """What is wrong with the keys ``after`` and ``with`` of a service."""
    here = ("services", service.name)
    for index, reference in enumerate(service.after):
        yield from _reference(topology, service, (*here, "after", index), reference, ties)
        name, _, role = reference.partition(".")
        if name not in topology.services or not role or not service_types()[service.type].cloned(service):
            continue
        if reference not in ties.followed:
            yield Problem(
                (*here, "after", index),
                f"an instance on every node can only wait for an address that follows {reference}, and there is none; "
                f"add one to vips (follows: {reference})",
            )
    if service.beside:
        yield from _reference(topology, service, (*here, "with"), service.beside, ties)


def _reference(topology: Topology, service: Service, here: Path_, reference: str, ties: _Ties) -> Iterator[Problem]:
    """What is wrong with one reference, which stands at ``here``."""
    problem, nodes = None, None
    if reference not in topology.vips or here[-1] == "with":
        problem, nodes = _follow(topology, reference)
    if problem:
        yield Problem(here, problem)
        return
    name, _, role = reference.partition(".")
    circle = ties.circle(service.name, name)
    if circle is not None:
        yield Problem(here, f"goes round in a circle, nothing could start first: {circle}")
    absent = [node for node in service.nodes if node in topology.nodes and node not in (nodes or topology.nodes)]
    if here[-1] == "with" and len(absent) == len(service.nodes):
        yield Problem(here, f"{name} runs on none of {', '.join(service.nodes)}")
    elif here[-1] != "with" and not role and absent:
        # An instance without one of the other service on its own node would never start.
        yield Problem(here, f"{name} does not run on {', '.join(absent)}; name these in its on, or take it out here")


def _circle(topology: Topology, begin: str, other: str) -> list[str]:
    """The services and addresses from ``begin`` over ``other`` back to ``begin``, of which it is known that there are some."""
    came_from = {other: begin}
    waiting = [other]
    while waiting and begin not in came_from:
        here = waiting.pop()
        for name in _needs(topology, here):
            if name not in came_from:
                came_from[name] = here
                waiting.append(name)
    way = [begin, came_from[begin]]
    while way[-1] != begin:
        way.append(came_from[way[-1]])
    return way[::-1]


def _needs(topology: Topology, name: str) -> list[str]:
    """What has to be there before a service or an address; names that are neither need nothing."""
    references = [topology.vips[name].follows or ""] if name in topology.vips else []
    if not references and name in topology.services:
        service = topology.services[name]
        references = [*service.after, *([service.beside] if service.beside else [])]
    return [reference.partition(".")[0] for reference in references]


def _names(topology: Topology) -> Iterator[Problem]:
    # Services, addresses and fence devices become resources side by side: one name, one resource.
    for name in topology.vips:
        if name in topology.services:
            yield Problem(("vips", name), f"{name} is the name of a service too; resources need different names")
    for kind in ("vips", "services"):
        for name in getattr(topology, kind):
            if name.startswith("fence-"):
                yield Problem((kind, name), "names that begin with fence- are kept for fence devices")
