"""Ask and tell the neighbours on an Ethernet whose an address is: ARP for IPv4, neighbour discovery for IPv6.

Both kinds of wire have the same four verbs: ``probe`` asks who has the address without claiming it, ``claimant`` waits
for another machine that says it has it, ``announce`` tells everybody that it is here, ``close``.
"""

from __future__ import annotations

import _socket as socket
import select
import struct
import time

from hafailover.agents.vip import netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    Wire = Union["Arp", "Nd"]

PROBES = 3  # sent evenly over the budget, for a lost frame must not make a duplicate look free

_ETH_P_ARP, _ETH_P_IP = 0x0806, 0x0800
_BROADCAST = b"\xff" * 6
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_REQUEST, _REPLY = 1, 2
_ALL_NODES = "ff02::1"
_SOLICITATION, _ADVERTISEMENT = 135, 136
_OVERRIDE = 0x20000000
_TARGET_LINK_LAYER = 2
# Constants that the socket module of Python 3.9 lacks, from linux/icmpv6.h and linux/in6.h.
_SOL_ICMPV6, _ICMPV6_FILTER, _IPV6_HDRINCL = 58, 1, 36


def open_wire(link: netlink.Link, ip: bytes) -> Wire:
    """The wire of ``link`` for the packed address ``ip``. OSError: EPERM without CAP_NET_RAW, ENODEV."""
    # Other interfaces of this machine may answer on the same Ethernet; none of them is another machine.
    own = {other.mac for other in netlink.links().values() if other.has_neighbours}
    return Arp(link, ip, own) if len(ip) == 4 else Nd(link, ip, own)


def other_claimant(wire: Wire, budget: float) -> bytes | None:
    """The hardware address of another machine that has the address, or None if none said so in ``budget`` seconds."""
    begun = time.monotonic()
    for number in range(1, PROBES + 1):
        wire.probe()
        mac = wire.claimant(begun + budget * number / PROBES - time.monotonic())
        if mac is not None:
            return mac
    return None


def mac_text(mac: bytes) -> str:
    """A hardware address as people write it."""
    return mac.hex(":")


def _readable(fd: int, timeout: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(timeout, 0.0) * 1000))


class Arp:
    """IPv4. The frames are those of RFC 5227."""

    def __init__(self, link: netlink.Link, ip: bytes, own: set[bytes]) -> None:
        self._link, self._ip, self._own = link, ip, own
        self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self._sock.bind((link.name, _ETH_P_ARP))
        self._sock.setblocking(False)

    def fileno(self) -> int:
        """What to poll for ``claimant``."""
        return self._sock.fileno()

    def probe(self) -> None:
        """Ask who has the address. The sender address is 0, so that nobody's cache learns anything from the question."""
        self._send(_REQUEST, b"\0" * 4, b"\0" * 6)

    def announce(self) -> None:
        """Gratuitous ARP, as a request and as a reply: there are devices that heed only one of the two."""
        self._send(_REQUEST, self._ip, b"\0" * 6)
        # Linux takes a reply for gratuitous, and overrides an entry younger than a second, only if target is sender.
        self._send(_REPLY, self._ip, self._link.mac)

    def claimant(self, timeout: float) -> bytes | None:
        """Wait for a frame in which another machine says that the address is its own.

        A mere question for it is none: monitoring and inventory tools ask with a sender address of 0 as well, and that
        no two nodes of the cluster start the address at once is Pacemaker's business.
        """
        end = time.monotonic() + timeout
        while _readable(self._sock.fileno(), end - time.monotonic()):
            try:
                frame = self._sock.recv(256)
            except BlockingIOError:
                continue
            if len(frame) >= _ARP.size:
                _, protocol, _, _, _, mac, ip, _, _ = _ARP.unpack_from(frame)
                if protocol == _ETH_P_IP and ip == self._ip and mac not in self._own:
                    return bytes(mac)
            if time.monotonic() >= end:
                break
        return None

    def close(self) -> None:
        """Stop listening."""
        self._sock.close()

    def _send(self, operation: int, sender: bytes, target_mac: bytes) -> None:
        frame = _ARP.pack(1, _ETH_P_IP, 6, 4, operation, self._link.mac, sender, target_mac, self._ip)
        self._sock.sendto(frame, (self._link.name, _ETH_P_ARP, 0, 0, _BROADCAST))


class Nd:
    """IPv6. The messages are those of RFC 4861 and RFC 4862."""

    def __init__(self, link: netlink.Link, ip: bytes, own: set[bytes]) -> None:
        self._link, self._ip, self._own = link, ip, own
        self._sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        # Blocked types are set bits, counted from the least significant bit of eight native words.
        types = [0xFFFFFFFF] * 8
        types[_ADVERTISEMENT // 32] &= ~(1 << _ADVERTISEMENT % 32)
        self._sock.setsockopt(_SOL_ICMPV6, _ICMPV6_FILTER, struct.pack("=8I", *types))
        self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, link.index)
        self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)  # anything less is discarded
        self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        self._sock.setblocking(False)

    def fileno(self) -> int:
        """What to poll for ``claimant``."""
        return self._sock.fileno()

    def probe(self) -> None:
        """Solicit the address from the unspecified one, as duplicate address detection does; whoever has it answers all."""
        group = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:0")[:13] + self._ip[13:]
        source = b"\0" * 16
        body = struct.pack("!BBHI16s", _SOLICITATION, 0, 0, 0, self._ip)
        check = _checksum(source + group + struct.pack("!II", len(body), 58) + body)
        header = struct.pack("!IHBB16s16s", 6 << 28, len(body), 58, 255, source, group)
        raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)  # the header is ours: source is ::
        try:
            raw.setsockopt(socket.IPPROTO_IPV6, _IPV6_HDRINCL, 1)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self._link.index)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
            to = (socket.inet_ntop(socket.AF_INET6, group), 0, 0, self._link.index)
            raw.sendto(header + body[:2] + struct.pack("!H", check) + body[4:], to)
        finally:
            raw.close()

    def announce(self) -> None:
        """Unsolicited neighbour advertisement to all nodes, to override what they have cached."""
        body = struct.pack(
            "!BBHI16sBB6s", _ADVERTISEMENT, 0, 0, _OVERRIDE, self._ip, _TARGET_LINK_LAYER, 1, self._link.mac
        )
        out = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)  # the kernel adds the checksum
        try:
            out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self._link.index)
            out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
            out.bind((netlink.text(self._ip), 0, 0, self._link.index))
            out.sendto(body, (_ALL_NODES, 0, 0, self._link.index))
        finally:
            out.close()

    def claimant(self, timeout: float) -> bytes | None:
        """Wait for an advertisement in which another machine says that the address is its own."""
        end = time.monotonic() + timeout
        while _readable(self._sock.fileno(), end - time.monotonic()):
            try:
                message, sender = self._sock.recvfrom(1500)
            except BlockingIOError:
                continue
            if sender[3] == self._link.index or not sender[3]:
                mac = _advertised(message, self._ip)
                if mac is not None and mac not in self._own:
                    return mac
            if time.monotonic() >= end:
                break
        return None

    def close(self) -> None:
        """Stop listening."""
        self._sock.close()


def _advertised(message: bytes, ip: bytes) -> bytes | None:
    """The hardware address that an advertisement gives for ``ip``: six zero bytes if it gives none; None if not for it."""
    if len(message) < 24 or message[0] != _ADVERTISEMENT or message[8:24] != ip:
        return None
    options = message[24:]
    while len(options) >= 8 and options[1]:
        if options[0] == _TARGET_LINK_LAYER:
            return options[2:8]
        options = options[options[1] * 8 :]
    return b"\0" * 6


def _checksum(data: bytes) -> int:
    """The Internet checksum of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
