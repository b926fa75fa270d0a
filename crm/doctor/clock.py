"""Clocks: whether each is kept right by somebody, and how far they are apart."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

from hafailover.crm.doctor import FAIL, OK, UNKNOWN, WARN, Result, Seen, number
from hafailover.crm.doctor.here import CannotLook, Here

TITLE = "Clocks"
_WARN, _FAIL = 0.5, 5.0  # seconds apart
_DAY = 86400.0
_STAMP, _STAMP_REPLY = 13, 14  # ICMP: everybody's kernel answers with its milliseconds since midnight UTC
_STA_UNSYNC = 0x40
_WHY = (
    "logs and the history of several nodes cannot be put in order, certificates are refused, and applications write "
    "times that go back at a failover"
)


def read(_here: Here) -> dict[str, Any]:
    """``synchronised``: whether the kernel says that somebody keeps its clock right."""
    buffer = (ctypes.c_long * 64)()  # struct timex, with modes 0: nothing is set
    if ctypes.CDLL(None, use_errno=True).adjtimex(buffer) < 0:
        raise CannotLook(f"the kernel does not tell: {os.strerror(ctypes.get_errno())}")
    return {"synchronised": not _status(buffer) & _STA_UNSYNC}


def _status(buffer: Any) -> int:
    # modes (and its padding), offset, freq, maxerror, esterror, status: longs, of which status is an int
    return int(ctypes.cast(buffer, ctypes.POINTER(ctypes.c_int))[5 * ctypes.sizeof(ctypes.c_long) // 4])


def ask(address: str, seconds: float) -> dict[str, Any]:
    """How far the clock of the machine at an IPv4 address is ahead of this one's: ``ahead`` and ``within`` in s, or ``error``.

    By ICMP's question for the time, which Linux answers by itself; of several answers the one that took least counts.
    """
    if ":" in address:
        return {"error": "IPv6 has no question for the time"}
    try:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    except OSError as error:
        return {"error": f"it cannot be asked: {error.strerror}"}
    with sock:
        try:
            return _ask(sock, address, time.monotonic() + seconds)
        except OSError as error:
            return {"error": f"it cannot be asked: {error.strerror}"}


def _ask(sock: socket.socket, address: str, end: float) -> dict[str, Any]:
    sock.setblocking(False)
    best: tuple[float, float] | None = None
    mark = os.getpid() & 0xFFFF
    for sequence in range(3):
        begun, clock = time.monotonic(), time.time()
        body = struct.pack("!HHIII", mark, sequence, 0, 0, 0)
        head = struct.pack("!BBH", _STAMP, 0, 0)
        sock.sendto(head[:2] + struct.pack("!H", _checksum(head + body)) + body, (address, 0))
        until = min(end, begun + max(0.1, (end - begun) / (3 - sequence)))
        while (left := until - time.monotonic()) > 0 and select.select([sock], [], [], left)[0]:
            packet, sender = sock.recvfrom(256)
            took = time.monotonic() - begun
            answer = packet[(packet[0] & 15) * 4 :]
            if sender[0] != address or len(answer) < 20 or answer[0] != _STAMP_REPLY:
                continue
            got, number_, _, received, _ = struct.unpack("!HHIII", answer[4:20])
            if (got, number_) == (mark, sequence) and not received >> 31:  # the highest bit: not a time of day
                ahead = (received / 1000 - (clock + took / 2) % _DAY + _DAY / 2) % _DAY - _DAY / 2
                best = min(best or (took, ahead), (took, ahead))
                break
    if best is None:
        return {"error": "it does not answer ICMP's question for the time"}
    return {"ahead": best[1], "within": best[0] / 2 + 0.001}


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def judge(seen: Seen) -> Iterator[Result]:
    """A result for each clock, and for each distance from this node's."""
    yield from seen.untold("clock", "clock-kept", "its clock")
    for node, facts in seen.told("clock").items():
        if facts.get("synchronised"):
            yield Result("clock-kept", OK, node, "its clock is kept right (the kernel says so)")
        else:
            yield Result(
                "clock-kept", WARN, node, "nobody keeps its clock right, says its kernel", _WHY,
                "apt install chrony; chronyc tracking",
            )  # fmt: skip
    for node in seen.nodes:
        if node != seen.here and node not in seen.missing:
            yield _distance(seen, node)


def _distance(seen: Seen, node: str) -> Result:
    asked = seen.asked.get(node, {})
    ahead, within = number(asked.get("ahead")), number(asked.get("within"))
    if ahead is None or within is None:
        # A letter that was written before it came has at least the time that its node's clock had then.
        letter = seen.letters.get(node)
        if letter is not None and letter.at - seen.now > _WARN:
            ahead, within = letter.at - seen.now, 0.0
        else:
            why = asked.get("error", "it was not asked")
            return Result("clock-skew", UNKNOWN, node, f"how far it is from {seen.here}: not looked at, because {why}")
    far = max(0.0, abs(ahead) - within)
    words = f"its clock is {_far(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} {seen.here}'s"
    if far < _WARN:
        return Result("clock-skew", OK, node, words)
    fix = f"on both: chronyc tracking; on the wrong one ({node}: date -u): chronyc makestep"
    return Result("clock-skew", FAIL if far >= _FAIL else WARN, node, words, _WHY, fix)


def _far(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
