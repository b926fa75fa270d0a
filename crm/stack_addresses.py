"""Where an address really is: asked of this machine's own interfaces and of the network, not of Pacemaker."""

from __future__ import annotations

import ipaddress
import json
import socket
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Union

from hafailover.crm.errors import HafailoverError

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run

_Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
_WITHIN = 5.0  # seconds in which the network must have learned of a move
_LOOK = 0.3
_DISCARD = 9  # a port; what is sent only makes the kernel ask who has the address


def misplaced(run: Run, ip: str, node: str, here: str, links: Mapping[str, Sequence[str]]) -> str | None:
    """Why the address ``ip`` is not seen on ``node``, or None when it is, or when it cannot be told from this node, ``here``.

    ``links``: node → its own addresses. Another node's is found by its hardware address, which must be that of one of its links.
    """
    end = time.monotonic() + _WITHIN
    while True:
        why = _look(run, ip, node, here, links)
        if why is None or time.monotonic() > end:
            return why
        time.sleep(_LOOK)


def _look(run: Run, ip: str, node: str, here: str, links: Mapping[str, Sequence[str]]) -> str | None:
    mine = _own(run)
    if mine is None:
        return None
    if node == here:
        return None if ip in mine else f"Pacemaker says that {ip} is on {node}, but no interface here has it"
    if ip in mine:
        return f"an interface of {here} still has {ip}, which should be on {node} alone"
    wanted = ipaddress.ip_address(ip)
    if wanted.version != 4 or not any(wanted in network for network in mine.values()):
        return None  # it is not asked for by ARP from here
    run(["ip", "neigh", "flush", "to", ip], timeout=5)
    for address in (ip, *links.get(node, ())):
        _poke(address)
    time.sleep(_LOOK)
    known = _neighbours()
    holders = {known[address] for address in links.get(node, ()) if address in known}
    if not holders:
        return None  # it is behind a router, and its hardware address is not seen here
    found = known.get(ip)
    if found is None:
        return f"nobody answers for {ip} in the network"
    if found in holders:
        return None
    other = next((name for name, addresses in links.items() for one in addresses if known.get(one) == found), "")
    # One machine has several interfaces; only another node's is proof.
    return f"{other} answers for {ip}, which should be on {node}" if other and other != node else None


def _own(run: Run) -> Mapping[str, _Network] | None:
    """This machine's own addresses, each with its network; None when they cannot be had."""
    try:
        result = run(["ip", "-json", "address", "show"], timeout=5)
        told = json.loads(result.out) if result.rc == 0 else None
    except (HafailoverError, ValueError):
        return None
    if told is None:
        return None
    found = {}
    for one in (one for link in told for one in link.get("addr_info", ())):
        address = str(one.get("local"))
        found[address] = ipaddress.ip_interface(f"{address}/{one.get('prefixlen', 128)}").network
    return found


def _poke(address: str) -> None:
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(b"", (address, _DISCARD))
    except OSError:
        return  # there is no way to it; then nobody is found there


def _neighbours() -> dict[str, str]:
    """IPv4 address → hardware address, of those that have answered."""
    try:
        with open("/proc/net/arp", encoding="ascii") as file:
            rows = [line.split() for line in file.readlines()[1:]]
    except OSError:
        return {}
    return {row[0]: row[3] for row in rows if len(row) >= 4 and row[2] != "0x0" and row[3] != "00:00:00:00:00:00"}
