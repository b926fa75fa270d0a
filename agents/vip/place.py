"""Which address is wanted, and where on this node it belongs or is found."""

from __future__ import annotations

import _socket as socket

from hafailover.agents.ocf import ERR_CONFIGURED, ERR_INSTALLED, OcfError
from hafailover.agents.vip import netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def parse(value: str) -> tuple[bytes, int | None]:
    """The packed address of ``value`` and its prefix length, if given. ValueError with the reason."""
    host, slash, bits = value.partition("/")
    try:
        ip = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except OSError:
        raise ValueError("not an IPv4 or IPv6 address such as 192.0.2.10, 192.0.2.10/24 or 2001:db8::10/64") from None
    if not any(ip) or ip[0] == 0xFF or (len(ip) == 4 and ip[0] >= 224):
        raise ValueError("not the address of a single machine")
    if not slash:
        return ip, None
    if not bits.isdecimal() or not 1 <= int(bits) <= len(ip) * 8:
        raise ValueError(f"an address with an impossible prefix length; allowed: 1 to {len(ip) * 8}")
    return ip, int(bits)


def prefix_length(value: str) -> int:
    """The prefix length of ``24`` or ``255.255.255.0``. ValueError with the reason."""
    if value.isdecimal() and 1 <= int(value) <= 128:
        return int(value)
    try:
        mask = int.from_bytes(socket.inet_pton(socket.AF_INET, value), "big")
    except OSError:
        mask = 0
    ones = bin(mask).count("1")
    if not mask or mask != (0xFFFFFFFF << (32 - ones)) & 0xFFFFFFFF:
        raise ValueError("not a prefix length such as 24, nor a netmask such as 255.255.255.0")
    return ones


class Wanted:
    """The address as configured: packed ``ip``; ``prefix`` and ``nic`` are None where the node is to find them."""

    __slots__ = ("ip", "nic", "prefix")

    def __init__(self, params: dict[str, Any]) -> None:
        """From the agent's parameters. OcfError ERR_CONFIGURED if they contradict one another."""
        self.ip, self.prefix = parse(params["ip"])
        if self.prefix is None and params["cidr_netmask"] is not None:
            self.prefix = prefix_length(params["cidr_netmask"])
        self.nic: str | None = params["nic"]
        if self.prefix is not None and self.prefix > len(self.ip) * 8:
            raise OcfError(ERR_CONFIGURED, f"cidr_netmask {self.prefix} is too long for {self}")
        if self.nic is None and len(self.ip) == 16 and netlink.same_network(self.ip, b"\xfe\x80" + b"\0" * 14, 10):
            raise OcfError(ERR_CONFIGURED, f"{self} is a link-local address, which every interface can have; set nic")

    def __str__(self) -> str:
        return netlink.text(self.ip)

    def found(self) -> list[netlink.Address]:
        """Where this node has the address: on any interface, with any prefix length."""
        return [address for address in netlink.addresses(netlink.family(self.ip)) if address.ip == self.ip]

    def difference(self, found: list[netlink.Address]) -> str | None:
        """What is wrong with the places where the address was found, or None."""
        if len(found) > 1:
            return f"{self} is on this node {len(found)} times: {', '.join(map(where, found))}"
        if self.prefix is not None and found[0].prefix != self.prefix:
            return f"found {where(found[0])}, expected prefix length {self.prefix}"
        if self.nic is not None and netlink.link(found[0].index).name != self.nic:
            return f"found {where(found[0])}, expected it on {self.nic}"
        return None

    def place(self) -> tuple[netlink.Link, int]:
        """The interface it belongs to and its prefix length there. OcfError ERR_INSTALLED if this node has none.

        Not ERR_CONFIGURED, which would forbid every node: the other nodes may well have the interface.
        """
        links = netlink.links()
        if self.nic is not None and self.nic not in [link.name for link in links.values()]:
            names = ", ".join(link.name for link in links.values())
            raise OcfError(ERR_INSTALLED, f"nic {self.nic} does not exist on this node, which has {names}")
        others = [address for address in netlink.addresses(netlink.family(self.ip)) if address.ip != self.ip]
        fitting = [
            address
            for address in others
            if netlink.same_network(address.ip, self.ip, address.prefix)
            and self.nic in (None, links[address.index].name)
        ]
        if fitting:
            # The narrowest network; of several interfaces in it, one that works, then the first.
            best = max(fitting, key=lambda a: (a.prefix, links[a.index].fault is None, -a.index))
            return links[best.index], best.prefix if self.prefix is None else self.prefix
        if self.nic is None:
            known = ", ".join(f"{address} on {links[address.index].name}" for address in others) or "none at all"
            raise OcfError(
                ERR_INSTALLED, f"no interface of this node has a network that contains {self}; set nic (found: {known})"
            )
        link = next(link for link in links.values() if link.name == self.nic)
        return link, len(self.ip) * 8 if self.prefix is None else self.prefix


def where(address: netlink.Address) -> str:
    """An address and its interface, for people."""
    return f"{address} on {netlink.link(address.index).name}"
