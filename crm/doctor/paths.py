"""Paths between the nodes: whether the largest packets of each link get through, unbroken."""

from __future__ import annotations

import fcntl
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

from hafailover.crm.doctor import FAIL, OK, UNKNOWN, WARN, Result, Seen, mapping, number, text
from hafailover.crm.doctor.here import CannotLook, Here

TITLE = "Paths between the nodes"
_HEADERS = {4: 28, 6: 48}  # bytes of IP and ICMP around what ping sends
_SIOCGIFMTU = 0x8921  # linux/sockios.h
_LIMIT = 6.0  # seconds for one ping, which itself waits 1 s for an answer
_WHY = (
    "small packets pass and large ones vanish: the cluster looks well until it has much to say, and then links fail, replication stalls "
    "and clones hang"
)


def read(here: Here) -> dict[str, Any]:
    """``mtus``: link → bytes of its interface's largest packet; ``peers``: node → link → ``large``, ``small``: whether it came back."""
    own = here.nodes.get(here.node, ())
    if not own:
        raise CannotLook("corosync.conf does not name this node's addresses")
    mtus = {str(link): mtu for link, address in enumerate(own) if (mtu := _mtu(address)) is not None}
    peers: dict[str, dict[str, Any]] = {}
    threads = []
    for node, links in here.nodes.items():
        if node != here.node:
            peers[node] = {}
            for link, address in enumerate(links):
                if str(link) in mtus:
                    threads.append(
                        threading.Thread(
                            target=_try,
                            args=(here, own[link], address, mtus[str(link)], peers[node], str(link)),
                            daemon=True,
                        )
                    )
    for thread in threads:
        thread.start()
    end = time.monotonic() + 2 * _LIMIT  # for all of them
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return {"mtus": mtus, "peers": {node: dict(found) for node, found in peers.items()}}


def _mtu(address: str) -> int | None:
    """The largest packet of the interface that has ``address``, in bytes."""
    from hafailover.agents.vip import netlink, place

    try:
        packed, _ = place.parse(address)
        index = next(one.index for one in netlink.addresses(netlink.family(packed)) if one.ip == packed)
        # Not from /sys, which in a container may show another machine's interfaces.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            asked = struct.pack("16sI20x", netlink.link(index).name.encode(), 0)
            return int(struct.unpack("16sI20x", fcntl.ioctl(sock, _SIOCGIFMTU, asked))[1])
    except (ValueError, OSError, StopIteration):
        return None


def _try(here: Here, own: str, address: str, mtu: int, found: dict[str, Any], link: str) -> None:
    try:
        large = _ping(here, own, address, mtu - _HEADERS[6 if ":" in address else 4])
        small = large or _ping(here, own, address, 56)
        found[link] = {"large": large, "small": small}
    except CannotLook as error:
        found[link] = {"error": str(error)}


def _ping(here: Here, own: str, address: str, size: int) -> bool:
    """Whether one of two pings of ``size`` bytes, which nobody may break into pieces, came back."""
    argv = ["ping", "-n", "-q", "-c", "2", "-i", "0.2", "-W", "1", "-M", "do", "-s", str(size), "-I", own, address]
    done = here.ask(*argv, timeout=_LIMIT)
    said = f"{done.out}\n{done.err}"
    if done.rc not in (0, 1) and "too long" not in said and "too large" not in said:
        raise CannotLook(
            f"ping failed with {done.rc}: {(done.err or done.out).strip().splitlines()[-1:] or ['no message']}"
        )
    return done.rc == 0


def judge(seen: Seen) -> Iterator[Result]:
    """A result for each way from a node to another over a link, and for each link whose ends differ."""
    yield from seen.untold("paths", "path-mtu", "the paths to the others")
    told = seen.told("paths")
    for node, facts in told.items():
        mtus, well = mapping(facts.get("mtus")), []
        for peer, links in mapping(facts.get("peers")).items():
            for link, found in mapping(links).items():
                mtu = number(mtus.get(link)) or 0
                result = _path(node, text(peer, 80), text(link, 10), int(mtu), mapping(found))
                if result is None:
                    well.append(f"{text(peer, 80)} on link {text(link, 10)} ({mtu:.0f})")
                else:
                    yield result
        if well:
            yield Result("path-mtu", OK, node, f"the largest packets (bytes) get to {', '.join(well)}")
    yield from _ends(told)


def _path(node: str, peer: str, link: str, mtu: int, found: Any) -> Result | None:
    way = f"to {peer} on link {link}"
    if "error" in found:
        return Result("path-mtu", UNKNOWN, node, f"{way}: not looked at, because {text(found['error'])}")
    if found.get("large"):
        return None
    if found.get("small"):
        fix = f"find what takes less on the way: tracepath -n ADDRESS; or on both ends: ip link set dev INTERFACE mtu {_smaller(mtu)}"
        return Result("path-mtu", FAIL, node, f"{way} packets of {mtu} bytes get lost, smaller ones do not", _WHY, fix)
    return Result(
        "path-mtu",
        UNKNOWN,
        node,
        f"{way}: not looked at, because no ping comes back (is the link cut, or ICMP dropped?)",
    )


def _smaller(mtu: int) -> int:
    return 1500 if mtu > 1500 else 1400


def _ends(told: Any) -> Iterator[Result]:
    links: dict[str, dict[int, list[str]]] = {}
    for node, facts in told.items():
        for link, mtu in mapping(facts.get("mtus")).items():
            links.setdefault(text(link, 10), {}).setdefault(int(number(mtu) or 0), []).append(node)
    for link, found in links.items():
        if len(found) > 1:
            ends = ", ".join(f"{mtu} on {' and '.join(nodes)}" for mtu, nodes in sorted(found.items()))
            fix = (
                f"on every node: ip link set dev INTERFACE mtu {min(found)}, and the same in its network configuration"
            )
            yield Result("link-mtu", WARN, "", f"link {link} has ends of different size: {ends}", _WHY, fix)
