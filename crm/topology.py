"""The topology: what the user wants, read from one YAML file, checked, and typed."""

from __future__ import annotations

import copy
import dataclasses
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hafailover.crm import external, external_schema, schema, topology_check, topology_schema, yamldoc
from hafailover.crm.errors import UsageError
from hafailover.crm.external import External
from hafailover.crm.schema import Problem, milliseconds
from hafailover.crm.service import service_types

MAX_PROBLEMS = 20


@dataclass(frozen=True)
class Fence:
    """A fence device: its agent and the agent's parameters, lists joined by commas, secrets still ``file:`` references."""

    agent: str
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class Node:
    """A cluster member; ``links`` are its addresses, the first one carries replication too."""

    name: str
    id: int
    links: tuple[str, ...]
    fence: Fence | None


@dataclass(frozen=True)
class Detection:
    """How soon a node counts as dead, in ms; None leaves Corosync's own default."""

    token: int
    token_coefficient: int | None
    consensus: int | None
    knet_ping_interval: int | None
    knet_ping_timeout: int | None


@dataclass(frozen=True)
class QuorumDevice:
    """The third voter; times in ms, None leaves the daemon's default."""

    host: str
    port: int | None
    algorithm: str
    tls: str
    tie_breaker: str | None
    timeout: int | None
    sync_timeout: int | None
    connect_timeout: int | None


@dataclass(frozen=True)
class Quorum:
    """Either two_node, or a device, or neither (three and more nodes)."""

    two_node: bool
    device: QuorumDevice | None


@dataclass(frozen=True)
class Vip:
    """A virtual address. ``follows`` is "service" or "service.role", or None for an address that may be anywhere.

    ``drain`` is how long, in ms, a planned stop waits for its connections to end.
    """

    name: str
    interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface
    nic: str | None
    follows: str | None
    drain: int = 0


@dataclass(frozen=True)
class Service:
    """A service; ``options`` have every default filled in, ``nodes`` are where it runs.

    ``after`` and ``beside`` (the key ``with``) are references as written: "service" or "service.role".
    """

    name: str
    type: str
    nodes: tuple[str, ...]
    options: Mapping[str, Any]
    after: tuple[str, ...] = ()
    beside: str | None = None


@dataclass(frozen=True)
class Topology:
    """A valid topology. ``data`` is its mapping as written, from which changed topologies are made."""

    name: str
    secrets_dir: Path
    authkey: str | None
    detection: Detection
    nodes: Mapping[str, Node]
    fencing: Fence | None
    quorum: Quorum
    vips: Mapping[str, Vip]
    services: Mapping[str, Service]
    external: External
    lab: bool
    file: str
    text: str
    data: Mapping[str, Any]

    def with_fencing(self, agent: str, parameters: Mapping[str, Mapping[str, Any]]) -> Topology:
        """The same topology, fenced by ``agent`` with these parameters for each node (node name → name → value)."""
        data = copy.deepcopy(dict(self.data))
        data.pop("fencing", None)
        for name, node in data["nodes"].items():
            if name not in parameters:
                raise UsageError(f"no fence parameters are given for node {name}")
            node["fence"] = {"agent": agent, **parameters[name]}
        return self._changed(data)

    def with_secrets_dir(self, directory: str | Path) -> Topology:
        """The same topology with its secrets in another directory."""
        data = copy.deepcopy(dict(self.data))
        data["cluster"]["secrets_dir"] = str(Path(directory).absolute())
        return self._changed(data)

    def _changed(self, data: dict[str, Any]) -> Topology:
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)
        return parse(yamldoc.parse(text, self.file))


def load(path: str | Path) -> Topology:
    """Read the topology at ``path``; UsageError lists everything wrong with it, each as "file:line: key: what"."""
    return parse(yamldoc.read(path))


def parse(document: yamldoc.Document) -> Topology:
    """The topology in a parsed document."""
    data = document.data
    if data is None:
        raise UsageError(f"{document.file}: is empty; a topology begins with: version: 1")
    if not isinstance(data, dict):
        raise UsageError(
            f"{document.file}:1: is {schema.shown(data)}; a topology is a mapping with the keys "
            f"{', '.join(topology_schema.SCHEMA['properties'])}"
        )
    found = schema.problems(data, topology_schema.SCHEMA) or [
        *_service_problems(data),
        *external_schema.problems(data.get("external", {})),
    ]
    if found:
        raise _error(document, found)
    topology = _build(document)
    found = list(topology_check.problems(topology))
    if found:
        raise _error(document, found)
    return topology


def _service_problems(data: Mapping[str, Any]) -> list[Problem]:
    found = []
    for name, options in data.get("services", {}).items():
        kind = service_types().get(options["type"])
        if kind is None:
            message = schema.unknown("service type", options["type"], service_types())
            found.append(Problem(("services", name, "type"), message))
        else:
            found += schema.problems(options, topology_schema.service_schema(kind), ("services", name))
    return found


def _error(document: yamldoc.Document, found: list[Problem]) -> UsageError:
    lines = sorted((*document.where(problem.path), yamldoc.dotted(problem.path), problem.message) for problem in found)
    sentences = [f"{document.file}:{line}: {key + ': ' if key else ''}{message}" for line, _, key, message in lines]
    if len(sentences) > MAX_PROBLEMS:
        sentences[MAX_PROBLEMS:] = [f"and {len(sentences) - MAX_PROBLEMS} more"]
    return UsageError("\n".join(sentences))


def _build(document: yamldoc.Document) -> Topology:
    data = schema.with_defaults(document.data, topology_schema.SCHEMA)
    cluster = data["cluster"]
    node_names = tuple(data["nodes"])
    services = {}
    for name, written in document.data.get("services", {}).items():
        kind = service_types()[written["type"]]
        options = schema.with_defaults(written, topology_schema.service_schema(kind))
        where = options.pop("on")
        services[name] = Service(
            name,
            options.pop("type"),
            node_names if where == "all" else tuple(where),
            options,
            after=tuple(options.pop("after")),
            beside=options.pop("with", None),
        )
    return Topology(
        name=cluster["name"],
        secrets_dir=Path(document.file).absolute().parent / cluster["secrets_dir"],
        authkey=None if cluster["encryption"] == "off" else cluster["authkey"],
        detection=_times(Detection, cluster["detection"]),
        nodes={
            name: Node(name, node["id"], tuple(node["links"]), _fence(node.get("fence")))
            for name, node in data["nodes"].items()
        },
        fencing=_fence(data.get("fencing")),
        quorum=_quorum(data.get("quorum", {}), len(node_names)),
        vips={
            name: Vip(
                name,
                ipaddress.ip_interface(vip["ip"]),
                vip.get("nic"),
                vip.get("follows"),
                milliseconds(vip.get("drain", "0s")),
            )
            for name, vip in data.get("vips", {}).items()
        },
        services=services,
        external=external.build(data.get("external", {})),
        lab=data["lab"],
        file=document.file,
        text=document.text,
        data=document.data,
    )


def _fence(written: Mapping[str, Any] | None) -> Fence | None:
    if written is None:
        return None
    parameters = {key: _plain(value) for key, value in written.items() if key not in ("agent", "delay", "max_delay")}
    for key, parameter in (("delay", "pcmk_delay_base"), ("max_delay", "pcmk_delay_max")):
        if key in written:
            parameters[parameter] = schema.seconds(written[key])
    return Fence(written["agent"], parameters)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(_plain(item) for item in value)
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _times(kind: type[Detection], written: Mapping[str, str]) -> Detection:
    names = (field.name for field in dataclasses.fields(kind))
    return kind(**{name: milliseconds(written[name]) if name in written else None for name in names})  # type: ignore[arg-type]


def _quorum(written: Mapping[str, Any], nodes: int) -> Quorum:
    device = written.get("device")
    if device is None:
        # Two nodes and no third voter: two_node is the only way for one of them to go on alone.
        return Quorum(written.get("two_node", nodes == 2), None)
    times = {
        key: milliseconds(device[key]) if key in device else None
        for key in ("timeout", "sync_timeout", "connect_timeout")
    }
    tie_breaker = device.get("tie_breaker")
    return Quorum(
        written.get("two_node", False),
        QuorumDevice(
            host=device["host"],
            port=device.get("port"),
            algorithm=device["algorithm"],
            tls=device["tls"],
            tie_breaker=None if tie_breaker is None else str(tie_breaker),
            **times,
        ),
    )
