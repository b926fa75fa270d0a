"""Interfaces and addresses, asked for and changed through the kernel's rtnetlink socket.

One dump of the addresses costs 0.1 ms; one run of ``ip`` costs 2 ms and its text would have to be parsed.
``_socket`` is used because importing ``socket`` costs 9 ms, as much as the interpreter's own start.
"""

from __future__ import annotations

import _socket as socket
import os
import struct

IFF_UP, IFF_LOOPBACK, IFF_RUNNING, IFF_NOARP = 0x1, 0x8, 0x40, 0x80
IFA_F_SECONDARY, IFA_F_NODAD, IFA_F_DADFAILED, IFA_F_TENTATIVE = 0x01, 0x02, 0x08, 0x40

ACK, DUMP = 4, 0x300
_NLM_F_REQUEST, _NLM_F_DUMP_INTR, _NLM_F_EXCL, _NLM_F_CREATE = 1, 16, 0x200, 0x400
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RTM_GETLINK, _RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR, _RTM_DELROUTE = 18, 20, 21, 22, 25
_RT_TABLE_LOCAL, _RT_SCOPE_HOST, _RTN_LOCAL = 255, 254, 2
_RTA_DST, _RTA_OIF = 1, 4
_IFLA_ADDRESS, _IFLA_IFNAME = 1, 3
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO, _IFA_FLAGS = 1, 2, 6, 8
_FOREVER = 0xFFFFFFFF
_TIMEOUT = 2.0  # seconds; the kernel answers within a millisecond, unless it is in serious trouble


class Link:
    """A network interface: ``index``, ``name``, ``flags`` (IFF_*), ``mac`` (bytes, may be empty)."""

    __slots__ = ("flags", "index", "mac", "name")

    def __init__(self, index: int, name: str, flags: int, mac: bytes) -> None:
        self.index, self.name, self.flags, self.mac = index, name, flags, mac

    @property
    def fault(self) -> str | None:
        """Why nothing can be sent or received through it, or None."""
        if not self.flags & IFF_UP:
            return f"interface {self.name} is down"
        if not self.flags & IFF_RUNNING:
            return f"interface {self.name} has no link (cable, switch port or peer is down)"
        return None

    @property
    def has_neighbours(self) -> bool:
        """Addresses on it are resolved to Ethernet addresses."""
        return len(self.mac) == 6 and not self.flags & (IFF_LOOPBACK | IFF_NOARP)


class Address:
    """An address of an interface: ``index`` of the interface, packed ``ip``, ``prefix`` length, ``flags`` (IFA_F_*)."""

    __slots__ = ("flags", "index", "ip", "prefix")

    def __init__(self, index: int, ip: bytes, prefix: int, flags: int) -> None:
        self.index, self.ip, self.prefix, self.flags = index, ip, prefix, flags

    def __str__(self) -> str:
        return f"{text(self.ip)}/{self.prefix}"


def family(ip: bytes) -> int:
    """The address family of a packed address."""
    return socket.AF_INET if len(ip) == 4 else socket.AF_INET6


def text(ip: bytes) -> str:
    """A packed address as people write it."""
    return socket.inet_ntop(family(ip), ip)


def same_network(one: bytes, other: bytes, prefix: int) -> bool:
    """Two packed addresses agree in their first ``prefix`` bits."""
    shift = len(one) * 8 - prefix
    return len(one) == len(other) and int.from_bytes(one, "big") >> shift == int.from_bytes(other, "big") >> shift


def links() -> dict[int, Link]:
    """Every interface by index."""
    found = (_link(payload) for payload in ask(_RTM_GETLINK, DUMP, struct.pack("=BxHiII", 0, 0, 0, 0, 0)))
    return {link.index: link for link in found}


def link(index: int) -> Link:
    """One interface. OSError (ENODEV) if it is gone."""
    return _link(ask(_RTM_GETLINK, ACK, struct.pack("=BxHiII", 0, 0, index, 0, 0))[0])


def addresses(family: int) -> list[Address]:
    """Every address of one family on this machine."""
    found = []
    for payload in ask(_RTM_GETADDR, DUMP, struct.pack("=BBBBi", family, 0, 0, 0, 0)):
        _, prefix, flags, _, index = struct.unpack_from("=BBBBi", payload)
        attributes = _attributes(payload[8:])
        if _IFA_FLAGS in attributes:  # the wider form; the one in the header has eight bits
            (flags,) = struct.unpack("=I", attributes[_IFA_FLAGS])
        # IFA_ADDRESS is the far end of a point-to-point link; IPv6 without a far end has no IFA_LOCAL.
        ip = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS, b""))
        found.append(Address(index, ip, prefix, flags))
    return found


def add(index: int, ip: bytes, prefix: int) -> None:
    """Give an interface an address. OSError: EEXIST if it has it already, EPERM, ENODEV."""
    attributes = attribute(_IFA_LOCAL, ip) + attribute(_IFA_ADDRESS, ip)
    if family(ip) == socket.AF_INET6:
        # We have asked the neighbours ourselves, in milliseconds; the kernel would take a second or two.
        # Deprecated from the start: connections that this node opens (replication, backups) must not come from an
        # address that another node may hold a moment later. IPv4 has the same by the address being a secondary one.
        attributes += attribute(_IFA_FLAGS, struct.pack("=I", IFA_F_NODAD))
        attributes += attribute(_IFA_CACHEINFO, struct.pack("=IIII", 0, _FOREVER, 0, 0))
    _change(_RTM_NEWADDR, _NLM_F_CREATE | _NLM_F_EXCL, index, ip, prefix, attributes)


def delete(address: Address) -> None:
    """Take an address from its interface. OSError: EADDRNOTAVAIL if it has gone already, EPERM."""
    if len(address.ip) == 4 and not address.flags & IFA_F_SECONDARY:
        _let_secondaries_survive(link(address.index).name)
    _change(_RTM_DELADDR, 0, address.index, address.ip, address.prefix, attribute(_IFA_LOCAL, address.ip))


def deafen(address: Address) -> None:
    """Have the kernel drop what comes for an address, which it still has and may send from. OSError.

    By the route that makes what comes its own. It is not put back, for the kernel takes the next one for a route of somebody else's: the
    address has to go, and to be added anew.
    """
    bits, table = len(address.ip) * 8, _RT_TABLE_LOCAL
    scope = _RT_SCOPE_HOST if bits == 32 else 0  # IPv6 has none
    header = struct.pack("=BBBBBBBBI", family(address.ip), bits, 0, 0, table, 0, scope, _RTN_LOCAL, 0)
    route = attribute(_RTA_DST, address.ip) + attribute(_RTA_OIF, struct.pack("=I", address.index))
    try:
        ask(_RTM_DELROUTE, ACK, header + route)
    except ProcessLookupError:  # ESRCH, no such route: a stop that was ended half way has done it
        return


def _let_secondaries_survive(nic: str) -> None:
    """Have the kernel promote, not delete, the other addresses of a network with its first one.

    Ours is the first one after the node's own was taken away and given back (a network restart, a DHCP server's
    change). systemd sets this for every interface; where it has not, our stop would cut the node off.
    """
    try:
        with open(f"/proc/sys/net/ipv4/conf/{nic}/promote_secondaries", "w") as file:
            file.write("1")
    except OSError:  # read-only in some containers; without other addresses in the network it does not matter
        return


def _change(kind: int, flags: int, index: int, ip: bytes, prefix: int, attributes: bytes) -> None:
    header = struct.pack("=BBBBi", family(ip), prefix, 0, 0, index)
    ask(kind, flags | ACK, header + attributes)


def ask(kind: int, flags: int, payload: bytes, protocol: int = socket.NETLINK_ROUTE) -> list[bytes]:
    """The payload of each message that answers one request. OSError as the kernel gives it, or TimeoutError."""
    while True:
        answers = _ask_once(kind, flags, payload, protocol)
        # None: addresses changed while they were listed, so one may be missing. A monitor that trusted that
        # would report a lost address and move it for nothing.
        if answers is not None:
            return answers


def _ask_once(kind: int, flags: int, payload: bytes, protocol: int) -> list[bytes] | None:
    found: list[bytes] = []
    consistent = True
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    try:
        sock.settimeout(_TIMEOUT)
        sock.send(struct.pack("=IHHII", 16 + len(payload), kind, flags | _NLM_F_REQUEST, 1, 0) + payload)
        while True:
            data = sock.recv(1 << 18)
            while len(data) >= 16:
                length, answer, answer_flags, _, _ = struct.unpack_from("=IHHII", data)
                body, data = data[16:length], data[(length + 3) & ~3 :]
                consistent = consistent and not answer_flags & _NLM_F_DUMP_INTR
                if answer == _NLMSG_DONE:
                    return found if consistent else None
                if answer == _NLMSG_ERROR:
                    (error,) = struct.unpack_from("=i", body)
                    if error:
                        raise OSError(-error, os.strerror(-error))
                    return found
                found.append(body)
    finally:
        sock.close()


def _link(payload: bytes) -> Link:
    _, _, index, flags, _ = struct.unpack_from("=BxHiII", payload)
    attributes = _attributes(payload[16:])
    name = attributes[_IFLA_IFNAME].rstrip(b"\0").decode()
    return Link(index, name, flags, attributes.get(_IFLA_ADDRESS, b""))


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute of a request, padded."""
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found
