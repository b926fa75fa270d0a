"""The topology: what the user wants, read from one YAML file, checked, and typed."""

from __future__ import annotations

import copy
import dataclasses
import ipaddress
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hafailover.crm import (
    alerts_schema,
    external,
    external_schema,
    hooks_schema,
    sbd,
    schema,
    topology_check,
    topology_fencing,
    topology_hints,
    topology_schema,
    yamldoc,
)
from hafailover.crm.alerts_schema import Recipient
from hafailover.crm.errors import UsageError
from hafailover.crm.external import External
from hafailover.crm.hooks_schema import Hook
from hafailover.crm.pointing import Mistake, SourceError, Span
from hafailover.crm.sbd import Sbd
from hafailover.crm.schema import Problem, milliseconds
from hafailover.crm.service import service_types
from hafailover.crm.yamldoc import Path_


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
    sbd: Sbd | None = None
    alerts: Mapping[str, Recipient] = dataclasses.field(default_factory=dict)
    hooks: tuple[Hook, ...] = ()
    history_keep: int = 500

    @property
    def fenced(self) -> bool:
        """Whether every node can be switched off, or resets itself."""
        return self.sbd is not None or self.fencing is not None or all(node.fence for node in self.nodes.values())

    @property
    def longest_fencing_delay(self) -> int:
        """The longest time, in s, that a fence device may wait before it acts, without what priority-fencing-delay adds."""
        return topology_fencing.longest_delay(self)

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
    topology, found = examined(document)
    if topology is None:
        raise _error(document, topology_hints.improved(found, data))
    if found:
        raise _error(document, found)
    return topology


def examined(document: yamldoc.Document, most: int = schema.MAX_PROBLEMS) -> tuple[Topology | None, list[Problem]]:
    """The topology in a document whose data are a mapping, good or not, and about ``most`` of what is wrong with it.

    None where its keys and values do not allow to look any further.
    """
    found = structure_problems(document.data, most)
    if found:
        return None, found
    topology = _build(document)
    return topology, list(itertools.islice(topology_check.problems(topology), most))


def refusal(topology: Topology, found: list[Problem]) -> SourceError:
    """The error that shows ``found`` in the file of ``topology``, for what is looked at after it was loaded."""
    return _error(yamldoc.parse(topology.text, topology.file), found)


def structure_problems(data: Mapping[str, Any], most: int = schema.MAX_PROBLEMS) -> list[Problem]:
    """What is wrong with the keys and values of the mapping ``data``, each for itself; about ``most`` of it."""
    found = schema.problems(data, topology_schema.SCHEMA, most=most)
    wrong = {problem.path[:2] for problem in found} | {problem.path[:1] for problem in found if len(problem.path) == 1}
    found += _service_problems(data, wrong, most)
    if not any(path[:1] == ("external",) for path in wrong):
        found += external_schema.problems(data.get("external", {}))
    return found


def _service_problems(data: Mapping[str, Any], wrong: set[Path_], most: int) -> list[Problem]:
    """What is wrong with each service by its own type; those in ``wrong`` have no type to go by."""
    found: list[Problem] = []
    if ("services",) in wrong:
        return found
    for name, options in data.get("services", {}).items():
        if ("services", name) in wrong:
            continue
        kind = service_types().get(options["type"])
        if kind is None:
            message = schema.unknown("service type", options["type"], service_types())
            found.append(Problem(("services", name, "type"), message))
        else:
            found += schema.problems(options, topology_schema.service_schema(kind), ("services", name))
        if len(found) > most:
            break
    return found


def _error(document: yamldoc.Document, found: list[Problem]) -> SourceError:
    # Of what stands below an unknown key nobody knows what it is.
    hidden: list[Span] = [
        *document.secrets,
        *document.spans_below({one.path for one in found if one.at_key and one.secret}),
    ]
    mistakes = []
    for problem in found:
        place = document.value_place(problem.path)
        if problem.secret and place != document.place(problem.path):
            hidden.append((place.line, place.column, place.line, place.column + place.width))
        if problem.at_key or problem.secret:
            place = document.place(problem.path)
        mistakes.append(Mistake(place, yamldoc.dotted(problem.path), problem.message))
    return SourceError(document.file, document.text, mistakes, hidden)


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
    quorum = _quorum(data.get("quorum", {}), len(node_names))
    return Topology(
        name=cluster["name"],
        secrets_dir=Path(document.file).absolute().parent / cluster["secrets_dir"],
        authkey=None if cluster["encryption"] == "off" else cluster["authkey"],
        detection=_detection(cluster["detection"]),
        nodes={
            name: Node(name, node["id"], tuple(node["links"]), _fence(node.get("fence")))
            for name, node in data["nodes"].items()
        },
        fencing=_fencing(data.get("fencing"), quorum),
        quorum=quorum,
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
        sbd=_sbd(data.get("fencing"), quorum),
        alerts=alerts_schema.build(data["alerts"]),
        hooks=hooks_schema.build(data["hooks"]),
        history_keep=data["history"]["keep"],
    )


def _sbd(written: Mapping[str, Any] | None, quorum: Quorum) -> Sbd | None:
    if written is None or "sbd" not in written:
        return None
    return sbd.build(written["sbd"], quorum.device.sync_timeout if quorum.device else None, quorum.device is not None)


def _fencing(written: Mapping[str, Any] | None, quorum: Quorum) -> Fence | None:
    """The fence device for all nodes; with sbd the one that writes to its disks, None when it has none."""
    wanted = _sbd(written, quorum)
    if wanted is None or written is None:
        return _fence(written)
    delays = {key: written[key] for key in ("delay", "max_delay") if key in written}
    return _fence({"agent": wanted.agent, **sbd.parameters(wanted), **delays}) if wanted.devices else None


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


def _detection(written: Any) -> Detection:
    if isinstance(written, str):
        times = topology_schema.SCHEMA["properties"]["cluster"]["properties"]["detection"]
        written = schema.with_defaults(dict(topology_schema.DETECTION[written]), times)
    names = (field.name for field in dataclasses.fields(Detection))
    return Detection(**{name: milliseconds(written[name]) if name in written else None for name in names})  # type: ignore[arg-type]


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
