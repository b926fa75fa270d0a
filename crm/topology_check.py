"""What a schema cannot say about a topology: references that lead nowhere, addresses used twice, nodes nobody can fence."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hafailover.crm import schema
from hafailover.crm.schema import Problem
from hafailover.crm.service import service_types
from hafailover.crm.yamldoc import Path_

if TYPE_CHECKING:
    from hafailover.crm.topology import Fence, Service, Topology

# Fence agents read a secret from the output of a program; under which parameter, is the agents' own convention.
FENCE_SECRETS = {
    "password": "password_script",
    "passwd": "passwd_script",
    "snmp_priv_passwd": "snmp_priv_passwd_script",
}
_LOOKS_SECRET = re.compile(r"pass|secret|token|private_key")
# A path that holds a secret is not one.
_NOT_SECRET = re.compile(r"_(script|file|path)$")


def problems(topology: Topology) -> Iterator[Problem]:
    """Everything wrong with ``topology``; its file has passed the schema."""
    yield from _nodes(topology)
    yield from _fencing(topology)
    yield from _quorum(topology)
    yield from _vips(topology)
    yield from _services(topology)
    yield from _names(topology)


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


def _fencing(topology: Topology) -> Iterator[Problem]:
    if topology.fencing:
        yield from _fence(("fencing",), topology.fencing)
    for node in topology.nodes.values():
        if node.fence:
            yield from _fence(("nodes", node.name, "fence"), node.fence)
        elif not topology.fencing and not topology.lab:
            yield Problem(
                ("nodes", node.name),
                f"nothing can switch {node.name} off: give it fence, or give fencing for all; "
                "without that a split cluster writes on both sides (lab: true is for throw-away clusters)",
            )


def _fence(path: tuple[str, ...], fence: Fence) -> Iterator[Problem]:
    for key, value in fence.parameters.items():
        if value.startswith("file:"):
            if key not in FENCE_SECRETS:
                known = ", ".join(FENCE_SECRETS)
                yield Problem((*path, key), f"cannot be read from a file; fence agents can do that with {known}")
            elif schema.problems(value, schema.secret("")):
                yield Problem((*path, key), "is not a reference to a file; write file:NAME")
        elif _LOOKS_SECRET.search(key) and not _NOT_SECRET.search(key):
            yield Problem((*path, key), "is written in plain; put it into a file in secrets_dir and write file:NAME")


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
    for service in topology.services.values():
        here = ("services", service.name)
        strangers = [node for node in service.nodes if node not in topology.nodes]
        for node in strangers:
            yield Problem((*here, "on"), schema.unknown("node", node, topology.nodes))
        kind = service_types()[service.type]
        for problem in kind.check(service, topology):
            yield Problem((*here, *problem.path), problem.message)
        yield from _references(topology, service)
        for what, value in kind.claims(service):
            owners = {node: claimed.setdefault((node, what, value), service.name) for node in service.nodes}
            shared = [node for node, owner in owners.items() if owner != service.name]
            if shared:
                yield Problem(
                    (*here, what), f"{value} is used by service {owners[shared[0]]} on {', '.join(shared)} too"
                )


def _references(topology: Topology, service: Service) -> Iterator[Problem]:
    """What is wrong with the keys ``after`` and ``with`` of a service."""
    here = ("services", service.name)
    for index, reference in enumerate(service.after):
        yield from _reference(topology, service, (*here, "after", index), reference)
        name, _, role = reference.partition(".")
        if name not in topology.services or not role or not service_types()[service.type].cloned(service):
            continue
        if not any(vip.follows == reference for vip in topology.vips.values()):
            yield Problem(
                (*here, "after", index),
                f"an instance on every node can only wait for an address that follows {reference}, and there is none; "
                f"add one to vips (follows: {reference})",
            )
    if service.beside:
        yield from _reference(topology, service, (*here, "with"), service.beside)


def _reference(topology: Topology, service: Service, here: Path_, reference: str) -> Iterator[Problem]:
    """What is wrong with one reference, which stands at ``here``."""
    problem, nodes = None, None
    if reference not in topology.vips or here[-1] == "with":
        problem, nodes = _follow(topology, reference)
    if problem:
        yield Problem(here, problem)
        return
    name, _, role = reference.partition(".")
    circle = _circle(topology, service.name, name)
    if circle:
        yield Problem(here, f"goes round in a circle, nothing could start first: {' after '.join(circle)}")
    absent = [node for node in service.nodes if node in topology.nodes and node not in (nodes or topology.nodes)]
    if here[-1] == "with" and len(absent) == len(service.nodes):
        yield Problem(here, f"{name} runs on none of {', '.join(service.nodes)}")
    elif here[-1] != "with" and not role and absent:
        # An instance without one of the other service on its own node would never start.
        yield Problem(here, f"{name} does not run on {', '.join(absent)}; name these in its on, or take it out here")


def _circle(topology: Topology, begin: str, other: str) -> list[str]:
    """The services and addresses from ``begin`` over ``other`` back to ``begin``, or an empty list."""
    waiting = [[begin, other]]
    seen: set[str] = set()
    while waiting:
        way = waiting.pop()
        if way[-1] == begin:
            return way
        if way[-1] in seen:
            continue
        seen.add(way[-1])
        waiting += [[*way, reference.partition(".")[0]] for reference in _needs(topology, way[-1])]
    return []


def _needs(topology: Topology, name: str) -> list[str]:
    """The references of a service or an address to what has to be there first."""
    if name in topology.vips:
        return [topology.vips[name].follows or ""]
    service = topology.services.get(name)
    return [*service.after, *([service.beside] if service.beside else [])] if service else []


def _names(topology: Topology) -> Iterator[Problem]:
    # Services, addresses and fence devices become resources side by side: one name, one resource.
    for name in topology.vips:
        if name in topology.services:
            yield Problem(("vips", name), f"{name} is the name of a service too; resources need different names")
    for kind in ("vips", "services"):
        for name in getattr(topology, kind):
            if name.startswith("fence-"):
                yield Problem((kind, name), "names that begin with fence- are kept for fence devices")
