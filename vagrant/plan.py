"""What a lab consists of: its machines, their networks and addresses. Pure: nothing here touches the host."""

from __future__ import annotations

import hashlib
import ipaddress
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Union

from hafailover.crm.errors import UsageError
from hafailover.crm.urls import is_address

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

DATA, EXTRA, SPARE, QUORUM = "data", "extra", "spare", "quorum"

# A link's address comes without a prefix length in a topology; these are what a site network normally has.
_PREFIX = {4: 24, 6: 64}


@dataclass(frozen=True)
class Interface:
    """One network interface of a machine: the subnet it is plugged into (index), its address and prefix, its MAC."""

    subnet: int
    address: str
    mac: str


@dataclass(frozen=True)
class Machine:
    """One machine of the lab.

    ``role`` is data, extra (a full cluster node without data), spare (installed, and in no cluster) or quorum (qnetd only).
    """

    name: str
    role: str
    interfaces: tuple[Interface, ...]

    @property
    def address(self) -> str:
        """The address on the first link, without its prefix length."""
        return self.interfaces[0].address.partition("/")[0]


@dataclass(frozen=True)
class SharedDisk:
    """A block device that all data nodes see as ``device``, with an ext4 file system that has these ``directories`` in it."""

    device: str
    directories: tuple[str, ...] = ()
    mib: int = 256


@dataclass(frozen=True)
class OwnDisk:
    """A block device that each of ``nodes`` has as ``device``, every one its own, with nothing on it at first."""

    device: str
    nodes: tuple[str, ...]
    mib: int = 512


@dataclass(frozen=True)
class Plan:
    """All machines and subnets of a lab. ``client`` is the address, one per subnet, of the namespace outside the nodes.

    ``disks`` are directories of each data node that lie on a file system of their own, of ``disk_mib`` MiB each.
    """

    name: str
    subnets: tuple[str, ...]
    machines: tuple[Machine, ...]
    client: tuple[Interface, ...]
    image: str = ""
    checkout: str = ""
    shares: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()
    disk_mib: int = 0
    shared_disks: tuple[SharedDisk, ...] = ()
    own_disks: tuple[OwnDisk, ...] = ()

    def machine(self, name: str) -> Machine:
        """The machine called ``name``; UsageError with the names there are."""
        for machine in self.machines:
            if machine.name == name:
                return machine
        known = ", ".join(m.name for m in self.machines)
        raise UsageError(f"lab {self.name} has no node {name!r}; it has {known}.")

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data, for the lab's state file."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Plan:
        """The inverse of :meth:`to_json`."""
        return Plan(
            name=data["name"],
            subnets=tuple(data["subnets"]),
            machines=tuple(
                Machine(m["name"], m["role"], tuple(Interface(**i) for i in m["interfaces"])) for m in data["machines"]
            ),
            client=tuple(Interface(**i) for i in data["client"]),
            image=data["image"],
            checkout=data["checkout"],
            shares=tuple(data["shares"]),
            disks=tuple(data.get("disks", ())),  # a lab of an older version has none
            disk_mib=data.get("disk_mib", 0),
            shared_disks=tuple(
                SharedDisk(disk["device"], tuple(disk["directories"]), disk["mib"])
                for disk in data.get("shared_disks", ())
            ),
            own_disks=tuple(
                OwnDisk(disk["device"], tuple(disk["nodes"]), disk["mib"]) for disk in data.get("own_disks", ())
            ),
        )


@dataclass
class _Subnets:
    """Subnets in the order they are first seen, and the addresses taken in them."""

    hints: Sequence[Network]
    networks: list[Network] = field(default_factory=list)
    taken: set[Address] = field(default_factory=set)

    def find(self, address: Address) -> int | None:
        for index, network in enumerate(self.networks):
            if address in network:
                return index
        return None

    def add(self, text: str) -> tuple[int, str]:
        """Take the address ``text`` ("10.0.0.1" or "10.0.0.1/16"); return its subnet's index and address/prefix."""
        given = ipaddress.ip_interface(text)
        address = given.ip
        index = self.find(address)
        if index is None:
            if "/" in text:
                network: Network = given.network
            else:
                hint = next((h for h in self.hints if address in h), None)
                network = hint or ipaddress.ip_network(f"{address}/{_PREFIX[address.version]}", strict=False)
            self.networks.append(network)
            index = len(self.networks) - 1
        self.taken.add(address)
        return index, f"{address}/{self.networks[index].prefixlen}"

    def free(self, index: int) -> str:
        """A free address in subnet ``index``, from its upper end (people number from the lower one)."""
        network = self.networks[index]
        for offset in range(2, min(network.num_addresses, 4096)):
            address = network[network.num_addresses - offset]
            if address not in self.taken and address != network.network_address:
                self.taken.add(address)
                return f"{address}/{network.prefixlen}"
        raise UsageError(f"subnet {network} has no free address for the lab.")


def make(
    name: str,
    nodes: Mapping[str, Sequence[str]],
    *,
    quorum: str | None = None,
    vips: Iterable[str] = (),
    extra: int = 0,
    spares: Sequence[str] = (),
) -> Plan:
    """Plan a lab.

    ``nodes`` maps each data node to its link addresses ("10.0.0.1", or with a prefix length); ``quorum`` is the quorum
    device's host (an address or a host name) or None; ``vips`` are "address" or "address/prefix", their addresses are
    kept free and their prefix lengths tell how wide a subnet is; ``extra`` full cluster nodes are added as extra1, ...;
    ``spares`` names machines that are ready for the cluster and not in it, with as many links as the others.
    Raises UsageError for an address that is not one, a quorum host outside of every subnet, or a name used twice.
    """
    vips = list(vips)
    hints = [ipaddress.ip_interface(vip).network for vip in vips if "/" in vip]
    subnets = _Subnets(hints)
    subnets.taken.update(ipaddress.ip_interface(vip).ip for vip in vips)
    placed: list[tuple[str, str, list[tuple[int, str]]]] = []
    for node, links in nodes.items():
        placed.append((node, DATA, [subnets.add(link) for link in links]))
    width = max(len(links) for _, _, links in placed)
    quorum_host: list[tuple[int, str]] = []
    if quorum is not None:
        quorum_host = [_quorum_address(subnets, quorum)]
    others = [(f"extra{number}", EXTRA) for number in range(1, extra + 1)] + [(spare, SPARE) for spare in spares]
    for other, role in others:
        # These have the same links as the others, on the subnets of the first one.
        placed.append((other, role, [(index, subnets.free(index)) for index, _ in placed[0][2][:width]]))
    if quorum is not None:
        placed.append((_quorum_name(quorum, {*nodes, *spares}), QUORUM, quorum_host))
    twice = [node for node, count in Counter(node for node, _, _ in placed).items() if count > 1]
    if twice:
        raise UsageError(f"two machines of the lab would be named {', '.join(twice)}.")
    machines = tuple(
        Machine(
            node,
            role,
            tuple(Interface(index, address, _mac(name, node, link)) for link, (index, address) in enumerate(links)),
        )
        for node, role, links in placed
    )
    client = tuple(
        Interface(index, subnets.free(index), _mac(name, "client", index)) for index in range(len(subnets.networks))
    )
    return Plan(name, tuple(str(n) for n in subnets.networks), machines, client)


def _quorum_name(host: str, nodes: Collection[str]) -> str:
    name = "quorum" if is_address(host) else host.partition(".")[0]
    while name in nodes:
        name += "-device"
    return name


def _quorum_address(subnets: _Subnets, host: str) -> tuple[int, str]:
    if not is_address(host):
        return 0, subnets.free(0)
    if subnets.find(ipaddress.ip_address(host)) is None:
        networks = ", ".join(str(n) for n in subnets.networks)
        raise UsageError(
            f"quorum.device.host: {host} is in none of the nodes' subnets ({networks}); the lab has no router, "
            "so the quorum device must share a subnet with the nodes."
        )
    return subnets.add(host)


def _mac(*parts: object) -> str:
    """A locally administered MAC that stays the same over power cycles, as a real card's does."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))
