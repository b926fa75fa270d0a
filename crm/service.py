"""What a service type is: a fragment of schema, its part of the configuration, and the files it needs on a node.

A module in crm/services/ that has a ``SERVICE_TYPE`` is a service type; nothing else names it.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Callable, Literal

from hafailover.crm import model, services
from hafailover.crm.files import FileEdit, RenderedFile
from hafailover.crm.model import Constraint, Resource
from hafailover.crm.schema import Problem, Schema

if TYPE_CHECKING:
    from hafailover.crm.model import Group, Primitive
    from hafailover.crm.topology import Service, Topology

ReadSecret = Callable[[str], bytes]
"""Returns the content of a ``file:`` reference, or raises UsageError."""

ReadProperty = Callable[[str, str], "str | None"]
"""Returns a cluster property by its set's id and its name, or None."""


@dataclass(frozen=True)
class Anchor:
    """Where something that follows a service is tied: the resource, its role (or None) and the action to come after."""

    resource: str
    role: str | None
    action: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """A service's share of the configuration."""

    resources: tuple[Resource, ...]
    constraints: tuple[Constraint, ...] = ()


@dataclass(frozen=True)
class Port:
    """A port that must be reachable on the service's nodes: ``number`` (or first-last), ``protocol`` tcp or udp, from whom and what for.

    ``listens``: whether something does so as long as the service runs on the node, or only now and then. ``sources``: the addresses
    and networks that clients come from, none named: any.
    """

    number: str
    protocol: str
    who: Literal["nodes", "clients"]
    what: str
    listens: bool = True
    sources: tuple[str, ...] = ()


def clone_name(service: Service) -> str:
    """The id of the clone that has an instance of the service on each of its nodes."""
    return f"{service.name}-clone"


TIRELESS = {"migration-threshold": "INFINITY", "failure-timeout": "60s"}
"""Meta attributes of an instance that has no better node: no number of failures bans it from its own, and one that could not be
started is tried again after failure-timeout."""


def on_its_nodes(service: Service, topology: Topology, resource: Resource, name: str = "") -> Part:
    """A service that is one resource, with what keeps it away from nodes that are not the service's.

    A service of several resources gives each a ``name``, for the names of its constraints.
    """
    elsewhere = [node for node in topology.nodes if node not in service.nodes]
    away = [
        model.location(f"{name or service.name}-not-on-{node}", resource.id, node, "-INFINITY") for node in elsewhere
    ]
    return Part((resource,), tuple(away))


def on_each_of_its_nodes(
    service: Service,
    topology: Topology,
    instance: Primitive | Group,
    meta: Mapping[str, str] | None = None,
    name: str = "",
) -> Part:
    """A service that has an instance on each of its nodes; ``meta`` are more attributes of the interleaved clone.

    A service of several clones gives each of the others a ``name``: NAME-clone.
    """
    size = {"clone-max": str(len(service.nodes)), "clone-node-max": "1", "interleave": "true"}
    clone = f"{name}-clone" if name else clone_name(service)
    return on_its_nodes(service, topology, model.clone(clone, instance, {**size, **(meta or {})}), name)


class ServiceType(ABC):
    """One kind of service. ``options`` of a Service have passed ``schema`` and hold every default."""

    name: str
    summary: str
    roles: tuple[str, ...] = ()
    schema: Mapping[str, Schema]
    required: tuple[str, ...] = ()
    nearby = False
    """Whether its users need an instance on their own node, as with a mount, and not only one that can be reached."""

    def cloned(self, service: Service) -> bool:
        """Whether the service has an instance on each of its nodes (an interleaved clone), not one in the cluster."""
        return False

    def check(self, service: Service, topology: Topology) -> Iterator[Problem]:
        """What the schema cannot say; paths are relative to the service."""
        return iter(())

    def notes(self, service: Service, topology: Topology) -> Iterator[str]:
        """What is allowed and has a price that whoever chose it should know: sentences."""
        return iter(())

    def claims(self, service: Service) -> Iterator[tuple[str, str]]:
        """Things of a node that only one service can have, as (what, value): a port, a directory, a socket."""
        return iter(())

    def ports(self, service: Service, topology: Topology) -> Iterator[Port]:
        """What a firewall on the service's nodes must let in."""
        return iter(())

    def secrets(self, service: Service) -> Iterator[tuple[tuple[str, ...], str]]:
        """Every secret reference of the service with its path below the service."""
        return iter(())

    @abstractmethod
    def part(self, service: Service, topology: Topology) -> Part:
        """Resources and constraints of the service."""

    @abstractmethod
    def anchor(self, service: Service, role: str | None) -> Anchor:
        """Where a follower of ``service`` or of ``service.role`` is tied; ``role`` is one of ``roles`` or None."""

    @abstractmethod
    def files(self, service: Service, topology: Topology, node: str, read: ReadSecret) -> list[RenderedFile]:
        """The files of the service on ``node``."""

    def still_needed(self, service: Service, node: str, read: ReadProperty) -> str | None:
        """Why the cluster cannot do without ``node``, which the topology no longer has, or None."""
        return None

    def edits(self, service: Service, topology: Topology, node: str, read: ReadSecret) -> list[FileEdit]:
        """Changes to files on ``node`` that others write, too."""
        return []


@cache
def service_types() -> Mapping[str, ServiceType]:
    """Every service type by name, from the modules of crm/services/."""
    found: dict[str, ServiceType] = {}
    for module in pkgutil.iter_modules(services.__path__):
        kind = getattr(importlib.import_module(f"{services.__name__}.{module.name}"), "SERVICE_TYPE", None)
        if kind is not None:
            found[kind.name] = kind
    return dict(sorted(found.items()))
