"""memcached on every node: resources and files of the service type ``memcached``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hafailover.crm import model
from hafailover.crm.edits import flags_set
from hafailover.crm.files import FileEdit, RenderedFile
from hafailover.crm.schema import Problem, choice, duration, milliseconds, number, seconds
from hafailover.crm.service import (
    TIRELESS,
    Anchor,
    Part,
    Port,
    ReadSecret,
    ServiceType,
    clone_name,
    on_each_of_its_nodes,
)

if TYPE_CHECKING:
    from hafailover.crm.topology import Node, Service, Topology

PATH = "/etc/memcached.conf"
DROP_IN = "/etc/systemd/system/memcached.service.d/hafailover.conf"
_PORT = 11211
# memcached sets its limit of open files to -c exactly, and its own (24 with four threads) come out of that: with -c 64 the 40th client is
# turned away.
_OWN_FILES = 128
_LONG = {
    "--listen": "-l", "--port": "-p", "--udp-port": "-U", "--conn-limit": "-c", "--memory-limit": "-m", "--unix-socket": "-s",
}  # fmt: skip
_TAKEN = {
    "-l": "write listen beside options",
    "-p": "write port beside options",
    "-c": "write connections beside options",
    "-m": "write memory beside options",
    "-U": "UDP stays off: anybody who forges a sender's address could flood others with its answers",
    "-s": "clients on the other node could not reach it",
    "-d": "systemd would lose sight of it",
    "-P": "systemd knows the process",
    "-u": "the distribution's file says as whom it runs",
    "-h": "it would not run",
    "-V": "it would not run",
}


class Memcached(ServiceType):
    """A clone, one cache on each node of the service; clients spread their keys over all."""

    name = "memcached"
    summary = "memcached, a cache on each node that clients hash over."
    schema = {
        "memory": number("MiB that a cache may hold", 8, 1048576, default=64),
        "connections": number("how many clients may be connected to a cache", 16, 500000, default=4096),
        "port": number("TCP port", 1, 65535, default=_PORT),
        "listen": choice(
            "node: on the node's first link and 127.0.0.1; all: on every address", ["node", "all"], default="node"
        ),
        "clients": {
            "type": "array",
            "items": {"type": "string", "format": "network", "expect": "an address, or a network such as 192.0.2.0/24"},
            "minItems": 1,
            "description": "who may connect, for the firewall fragment: memcached asks for no password; everybody when not given",
            "expect": "a list of addresses and networks such as [192.0.2.0/24]",
        },
        "patience": duration("how long it may take to answer one look; 3 s when not given"),
        "options": {
            "type": "array",
            # Debian's wrapper hands the lines to a shell.
            "items": {
                "type": "string",
                "pattern": r"^-[A-Za-z-][A-Za-z0-9 =,.:/_-]*$",
                "expect": "an option such as '-I 4m'",
            },
            "default": [],
            "description": "further options of memcached, such as '-I 4m'",
            "expect": "a list of options such as '-I 4m'",
        },
    }

    def cloned(self, service: Service) -> bool:
        """It has an instance on each of its nodes."""
        return True

    def check(self, service: Service, topology: Topology) -> Iterator[Problem]:
        """Options that are decided here, and the bounds of the agent."""
        for index, option in enumerate(service.options["options"]):
            name = re.split("[ =]", option)[0]
            flag = _LONG.get(name, name if name.startswith("--") else name[:2])
            if flag in _TAKEN:
                yield Problem(("options", index), f"{flag} cannot be set here: {_TAKEN[flag]}")
        if "patience" in service.options and not 500 <= milliseconds(service.options["patience"]) <= 10_000:
            yield Problem(("patience",), "must be between 500ms and 10s")

    def claims(self, service: Service) -> Iterator[tuple[str, str]]:
        """A node has one of the distribution's unit."""
        yield "port", str(service.options["port"])
        yield "memcached", "the unit memcached.service"

    def ports(self, service: Service, topology: Topology) -> Iterator[Port]:
        """Clients speak to every cache."""
        sources = tuple(service.options.get("clients", ()))
        yield Port(str(service.options["port"]), "tcp", "clients", "memcached", sources=sources)

    def part(self, service: Service, topology: Topology) -> Part:
        """The clone. Nothing it does can move or fence anything."""
        name, options = service.name, service.options
        params = {"nodes": " ".join(f"{node}:{topology.nodes[node].links[0]}" for node in service.nodes)}
        if options["port"] != _PORT:
            params["port"] = str(options["port"])
        if "patience" in options:
            params["patience"] = seconds(options["patience"])
        operations = (
            model.operation(name, "start", "0", timeout="30s"),
            # The agent's stop never fails. What is left is one that cannot even be run, on a node with worse troubles than its cache:
            # fencing it for this would cost the database's clients an outage, and a cache that is left costs nobody anything.
            model.operation(name, "stop", "0", timeout="30s", on_fail="ignore"),
            model.operation(name, "monitor", "10s", timeout="20s"),
        )
        return on_each_of_its_nodes(
            service, topology, model.primitive(name, ("ocf", "hafailover", "memcached"), params, operations, TIRELESS)
        )

    def anchor(self, service: Service, role: str | None) -> Anchor:
        """Followers come after the cache on their own node."""
        return Anchor(clone_name(service), None, "start", service.nodes)

    def files(self, service: Service, topology: Topology, node: str, read: ReadSecret) -> list[RenderedFile]:
        """What systemd allows the unit: without the right to raise its own limit memcached ends at its start."""
        if node not in service.nodes:
            return []
        text = (
            "# Written by hafailover from the topology: its connections, and what memcached opens for itself.\n"
            f"[Service]\nLimitNOFILE={_files(service)}\n"
        )
        return [RenderedFile(DROP_IN, text.encode())]

    def edits(self, service: Service, topology: Topology, node: str, read: ReadSecret) -> list[FileEdit]:
        """The distribution's file of options."""
        if node not in service.nodes:
            return []
        wanted = _flags(service, topology.nodes[node])
        return [FileEdit(PATH, lambda old: flags_set(old, wanted, _LONG, PATH))]


def undo(old: bytes) -> bytes:
    """The file without what a service had changed in it."""
    return flags_set(old, {}, _LONG, PATH)


def _files(service: Service) -> int:
    return int(service.options["connections"]) + _OWN_FILES


def _flags(service: Service, node: Node) -> dict[str, str | None]:
    options = service.options
    address = ipaddress.ip_address(node.links[0])
    link = f"[{address}]" if address.version == 6 else str(address)
    flags: dict[str, str | None] = {
        # Several -l add up, so the package's own 127.0.0.1 has to go even where every address is wanted.
        "-l": f"{link},127.0.0.1" if options["listen"] == "node" else None,
        "-p": str(options["port"]),
        "-U": "0",
        "-c": str(_files(service)),
        "-m": str(options["memory"]),
        "-s": None,
    }
    for option in options["options"]:
        name, _, value = option.replace("=", " ", 1).partition(" ")
        flags[name] = value.strip()
    return flags


SERVICE_TYPE = Memcached()
