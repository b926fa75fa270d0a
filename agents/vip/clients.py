"""Whoever is connected to an address that goes is told so: the kernel resets each connection.

Once the address is gone nothing can be sent from it, not even that. A client whose statement was under way would wait for its answer
for ever, or until a limit of its own; one that sends the next statement repeats it for seconds before the address's new node refuses it.
Seen in a planned switchover of a busy machine: every connection without a limit hung for good, those with one of 30 s for 30 s. On one with
time to spare, where all were between two statements, they were refused by the new node after 3.5 s.

By the kernel's sock_diag interface, within the millisecond before the address goes. Whoever is reset connects again at once, and must not
meet this node any more: the address is deaf by then (``netlink.deafen``).
"""

from __future__ import annotations

import _socket as socket
import errno
import struct

from hafailover.agents import sockets
from hafailover.agents.vip import netlink

_SOCK_DIAG = 4  # the netlink protocol
_BY_FAMILY, _DESTROY = 20, 21
_BYTECODE = 1
_FROM = 7  # compares the local address
_ROUNDS = 3
_SYN_SENT, _NEW_SYN_RECV = 2, 12  # being opened by us, and by a peer as the kernel's list has it
_STATES = sum(1 << int(state, 16) for state in sockets.OPEN) | 1 << _SYN_SENT | 1 << _NEW_SYN_RECV


def reset(ip: bytes) -> int:
    """Reset every TCP connection to the packed address ``ip`` of this node; how many there were. OSError when the kernel cannot."""
    number = 0
    for _ in range(_ROUNDS):
        found = [(family, message) for family in _families(ip) for message in _connected(family, ip)]
        if not found:
            break
        number += sum(_destroy(family, message) for family, message in found)
    return number


def _families(ip: bytes) -> tuple[int, ...]:
    """A server that listens for IPv6 has its IPv4 clients on sockets of IPv6."""
    return (socket.AF_INET, socket.AF_INET6) if len(ip) == 4 else (socket.AF_INET6,)


def _connected(family: int, ip: bytes) -> list[bytes]:
    # The kernel compares: it may have ten thousand sockets. "yes" goes on behind the condition, "no" jumps behind the end.
    size = 4 + 8 + len(ip)
    condition = struct.pack("=BBHBBxxi", _FROM, size, size + 4, netlink.family(ip), len(ip) * 8, -1) + ip
    return netlink.ask(
        _BY_FAMILY, netlink.DUMP, _request(family, bytes(48)) + netlink.attribute(_BYTECODE, condition), _SOCK_DIAG
    )


def _destroy(family: int, message: bytes) -> bool:
    """Reset one; whether it was still there. OSError."""
    try:
        netlink.ask(_DESTROY, netlink.ACK, _request(family, message[4:52]), _SOCK_DIAG)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return False
    return True


def _request(family: int, name: bytes) -> bytes:
    """``name``: both ends and the kernel's own mark of a socket, 48 bytes."""
    return struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, _STATES) + name
