"""What a node, and the quorum device's host, must let in, and the nftables fragment that says so."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Union

from hafailover.crm.external import mongodb_members
from hafailover.crm.service import Port, service_types
from hafailover.crm.topology import Topology
from hafailover.crm.urls import is_address

PATH = "/etc/hafailover/firewall.nft"
CHAIN = "hafailover"
_KNET = 5405  # of link 0; each further link has the next one
_QNETD = 5403


_Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


class Opening(NamedTuple):
    """A port that a node must let in: whose it is, and the addresses and networks that may come (none named: any)."""

    owner: str
    port: Port
    sources: tuple[str, ...]

    @property
    def first(self) -> int:
        """The lowest port of the range."""
        return int(self.port.number.partition("-")[0])

    @property
    def last(self) -> int:
        """The highest port of the range."""
        return int(self.port.number.rpartition("-")[2])

    def __str__(self) -> str:
        return f"{self.port.protocol} {self.port.number} ({self.owner}: {self.port.what})"


def openings(topology: Topology, node: str) -> list[Opening]:
    """All that ``node`` must let in: the cluster's own, then each service's, in the topology's order."""
    return [*_corosync(topology), *_own(topology, node, node_addresses(topology))]


def all_openings(topology: Topology) -> dict[str, list[Opening]]:
    """What every node must let in: node → openings."""
    addresses, cluster = node_addresses(topology), list(_corosync(topology))
    return {node: [*cluster, *_own(topology, node, addresses)] for node in topology.nodes}


def _own(topology: Topology, node: str, addresses: tuple[str, ...]) -> Iterator[Opening]:
    yield from _services(topology, node, addresses)
    yield from _mongodb(topology, node, addresses)


def node_addresses(topology: Topology) -> tuple[str, ...]:
    """Where the nodes may speak from: every link, and the virtual addresses, which the node that holds one may use as its own."""
    links = [link for node in topology.nodes.values() for link in node.links]
    return _in_order([*links, *(str(vip.interface.ip) for vip in topology.vips.values())])


def _corosync(topology: Topology) -> Iterator[Opening]:
    count = len(next(iter(topology.nodes.values())).links)
    for link in range(count):
        port = Port(str(_KNET + link), "udp", "nodes", f"link {link} of the cluster")
        yield Opening("corosync", port, _in_order([node.links[link] for node in topology.nodes.values()]))


def _services(topology: Topology, node: str, nodes: tuple[str, ...]) -> Iterator[Opening]:
    for service in topology.services.values():
        if node in service.nodes:
            for port in service_types()[service.type].ports(service, topology):
                # A node is a client, too, of what runs on another one.
                sources = nodes if port.who == "nodes" else port.sources and _in_order([*port.sources, *nodes])
                yield Opening(service.name, port, sources)


def _mongodb(topology: Topology, node: str, nodes: tuple[str, ...]) -> Iterator[Opening]:
    """A member of the external MongoDB that lives on a node: its peers may be other machines, whose names say nothing here."""
    mongodb, members = topology.external.mongodb, mongodb_members(topology)
    if mongodb is None or node not in members:
        return
    mine = {node, *topology.nodes[node].links}
    numbers = {host.port for host in (*mongodb.hosts, *mongodb.arbiters) if host.name in mine}
    outside = [host.name for host in (*mongodb.hosts, *mongodb.arbiters) if is_address(host.name)]
    for number in sorted(numbers):
        port = Port(str(number), "tcp", "nodes", "MongoDB's members and StackStorm")
        yield Opening("external.mongodb", port, _in_order([*nodes, *outside]))


def _in_order(addresses: Sequence[str]) -> tuple[str, ...]:
    """Each address or network once, and none that lies in another one; IPv4 before IPv6, ascending."""
    parsed = {ipaddress.ip_network(address, strict=False) for address in addresses}
    kept: list[_Network] = []
    # Sorted so, a network stands right before what lies in it.
    for one in sorted(parsed, key=lambda one: (one.version, int(one.network_address), one.prefixlen)):
        if not kept or not _within(one, kept[-1]):
            kept.append(one)
    return tuple(str(one.network_address if one.num_addresses == 1 else one) for one in kept)


def _within(one: _Network, other: _Network) -> bool:
    return one.version == other.version and one.subnet_of(other)  # type: ignore[arg-type]


def _version(source: str) -> int:
    return ipaddress.ip_network(source).version


def device_openings(topology: Topology) -> list[Opening]:
    """What the quorum device's host must let in of this cluster; nothing without a device."""
    device = topology.quorum.device
    if device is None:
        return []
    port = Port(str(device.port or _QNETD), "tcp", "nodes", f"votes of the cluster {topology.name}")
    return [Opening("corosync-qnetd", port, node_addresses(topology))]


def goes_out(topology: Topology) -> Iterator[str]:
    """What the nodes themselves connect to outside of the cluster, for who filters that, too."""
    device = topology.quorum.device
    if device:
        yield f"tcp {device.port or _QNETD} of {device.host} (the quorum device)"
    for name in ("mongodb", "redis", "mariadb", "storage"):
        found = getattr(topology.external, name)
        for host in getattr(found, "hosts", (found,) if found else ()):
            yield f"tcp {host.port} of {host.name} (external.{name})"
    for url, _ in topology.external.rabbitmq.nodes if topology.external.rabbitmq else ():
        for host in url.hosts:
            yield f"tcp {host.port} of {host.name} (external.rabbitmq)"


def fragment(topology: Topology, node: str) -> str:
    """The file for ``node``: sets and a chain, to be included in a table of the inet family."""
    return _fragment(topology, _head(node, PATH, list(goes_out(topology))), openings(topology, node))


def device_path(topology: Topology) -> str:
    """Where the quorum device's host has its fragment: it may serve several clusters, each with one of its own."""
    return f"/etc/hafailover/firewall-{topology.name}.nft"


def device_fragment(topology: Topology) -> str:
    """The same for the quorum device's host. Several of them add up in one table: nftables merges chains and sets of one name."""
    return _fragment(topology, _head("the quorum device's host", device_path(topology), []), device_openings(topology))


def _fragment(topology: Topology, head: Sequence[str], found: Sequence[Opening]) -> str:
    lines = [*head]
    for version in (4, 6):
        addresses = [one for one in node_addresses(topology) if _version(one) == version]
        if addresses:
            lines += _set(version, addresses)
    lines += [f"chain {CHAIN} {{"]
    for opening in found:
        lines += [f"    {rule}" for rule in _rules(opening, node_addresses(topology))]
    return "\n".join([*lines, "}", ""])


def _head(whose: str, path: str, out: Sequence[str]) -> list[str]:
    text = [
        f"Written by hafailover from the topology: what {whose} must let in. It filters nothing by itself. Include it in",
        "your own table, and jump to it before what drops the rest:",
        "",
        "    table inet filter {",
        f'        include "{path}"',
        "        chain input {",
        "            type filter hook input priority filter; policy drop;",
        "            ct state established,related accept",
        "            iif lo accept",
        "            meta l4proto { 1, 58 } accept  # ICMP and ICMPv6",
        f"            jump {CHAIN}",
        "        }",
        "    }",
        "",
        'What else you need, such as ssh, is yours to add. "Nodes" are the nodes\' addresses and the virtual ones.',
    ]
    if out:
        text += ["This node itself connects to:", *(f"    {line}" for line in out)]
    return [f"# {line}".rstrip() for line in text] + [""]


def _set(version: int, addresses: Sequence[str]) -> list[str]:
    elements = ",\n".join(f"        {address}" for address in addresses)
    return [
        f"set {_set_name(version)} {{",
        f"    type ipv{version}_addr",
        f"    elements = {{\n{elements}\n    }}",
        "}",
        "",
    ]


def _set_name(version: int) -> str:
    return "hafailover_nodes" if version == 4 else "hafailover_nodes6"


def _rules(opening: Opening, nodes: Sequence[str]) -> Iterator[str]:
    to = f'{opening.port.protocol} dport {opening.port.number} accept comment "{opening.owner}: {opening.port.what}"'
    if not opening.sources:
        yield to
    for version, word in ((4, "ip"), (6, "ip6")):
        mine = [one for one in opening.sources if _version(one) == version]
        if mine:
            # By name where it is all of them, so that the rules stay readable.
            named = tuple(opening.sources) == tuple(nodes)
            yield f"{word} saddr {'@' + _set_name(version) if named else '{ ' + ', '.join(mine) + ' }'} {to}"
