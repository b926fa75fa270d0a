"""Where the virtual addresses really are: on this node by its kernel, elsewhere by who answers for them on the network.

What the cluster believes may be wrong: somebody gave a machine the address by hand, or a node that was taken for dead still has it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from xml.etree.ElementTree import Element

from hafailover.crm import corosync_glance
from hafailover.crm.status import Address, Status
from hafailover.crm.status_read import ADDRESS_AGENTS, agent_of
from hafailover.crm.status_xml import pairs

_LISTEN = 0.08  # seconds for all who have an address to say so; other questions to the cluster take longer
_GRACE = 0.5  # seconds; for a machine that is busy


class Seen(NamedTuple):
    """An address: whether this machine has it, and who else (hardware addresses) says that it does; None: the network was not asked."""

    here: bool
    others: tuple[bytes, ...] | None


class Look:
    """A look at the addresses of ``cib`` that has begun. ``may_ask``: whether this user may put questions on the network."""

    def __init__(self, cib: Element, may_ask: bool, conf: str = corosync_glance.CONF) -> None:
        self._end = time.monotonic() + _LISTEN + _GRACE
        self._found: dict[str, Seen] = {}
        self._nodes: dict[str, str] = {}
        self._may_ask = may_ask
        wanted = {_plain(pairs(one.find("instance_attributes")).get("ip", "")) for one in address_resources(cib)}
        if wanted and may_ask:
            self._nodes = dict(corosync_glance.link_addresses(_content(conf)))
        self._threads = [
            threading.Thread(target=self._look, args=(ip,), daemon=True) for ip in sorted(wanted | set(self._nodes))
        ]
        for thread in self._threads:
            thread.start()

    def _look(self, ip: str) -> None:
        try:
            self._found[ip] = _seen(ip, self._may_ask)
        except (OSError, ValueError):
            return  # an address that is none, or a link that has just gone: nothing was seen

    def finish(self, status: Status) -> Status:
        """``status`` with what was seen."""
        for thread in self._threads:
            thread.join(max(0.0, self._end - time.monotonic()))
        found = dict(self._found)
        macs = {mac: node for ip, node in self._nodes.items() if ip in found for mac in found[ip].others or ()}
        return status._replace(addresses=tuple(_address(one, status.seen_by, found, macs) for one in status.addresses))


def _address(address: Address, here: str, found: Mapping[str, Seen], macs: Mapping[bytes, str]) -> Address:
    seen = found.get(_plain(address.ip))
    if seen is None:
        return address
    own = (here,) if seen.here else ()
    if seen.others is not None:
        others = tuple(macs.get(mac, mac.hex(":")) for mac in seen.others)
        strangers = [other for other in others if other not in macs.values()]
        if len(others) == len(strangers) == len(address.nodes) == 1 and not own and here not in address.nodes:
            # A node may have it on an interface besides those that corosync.conf names; nothing speaks against that.
            others = address.nodes
        return address._replace(seen=tuple(dict.fromkeys([*own, *others])))
    # Only this machine was looked at: that says something when it has the address, or is thought to.
    return address._replace(seen=own) if own or here in address.nodes else address


def _seen(ip: str, may_ask: bool) -> Seen:
    from hafailover.agents.vip import neighbours, netlink, place

    packed, _ = place.parse(ip)
    there = netlink.addresses(netlink.family(packed))
    here = any(one.ip == packed for one in there)
    near = [one for one in there if one.ip != packed and netlink.same_network(one.ip, packed, one.prefix)]
    if not may_ask or not near:
        return Seen(here, None)
    link = netlink.link(max(near, key=lambda one: one.prefix).index)
    if not link.has_neighbours or link.fault:
        return Seen(here, None)
    wire = neighbours.open_wire(link, packed)
    found = []
    try:
        end = time.monotonic() + _LISTEN
        for number in range(neighbours.PROBES):
            wire.probe()
            until = end - _LISTEN * (neighbours.PROBES - 1 - number) / neighbours.PROBES
            while (left := until - time.monotonic()) > 0:
                mac = wire.claimant(left)
                if mac is not None and mac not in found:
                    found.append(mac)
    finally:
        wire.close()
    return Seen(here, tuple(found))


def address_resources(cib: Element) -> Iterator[Element]:
    """The primitives that are virtual addresses."""
    return (one for one in cib.iter("primitive") if agent_of(one) in ADDRESS_AGENTS)


def _plain(ip: str) -> str:
    return ip.partition("/")[0].strip()


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
