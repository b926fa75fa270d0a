"""ocf:hafailover:vip, a virtual address that moves with a service.

``start`` asks the neighbours whether anybody else has the address before it takes it, and tells them at once that it
is here; ``monitor`` looks at the address, at the link under it and for a second owner. See the modules beside this one:
``place`` (what is wanted and where), ``netlink`` (the kernel), ``neighbours`` (ARP and neighbour discovery),
``announcer`` (what goes on after start).
"""

from __future__ import annotations

import os

from hafailover.agents import RUN_DIR, checks, web
from hafailover.agents.ocf import (
    DEGRADED,
    ERR_GENERIC,
    ERR_PERM,
    NOT_RUNNING,
    SUCCESS,
    Agent,
    Context,
    OcfError,
)
from hafailover.agents.vip import netlink
from hafailover.agents.vip.place import Wanted, parse, prefix_length, where

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from hafailover.agents.vip.neighbours import Wire

_EPERM, _EADDRNOTAVAIL = 1, 99
_WATCH = 0.005  # seconds a monitor listens after its question; an answer on an Ethernet takes far less than one ms
_MOST_DAD = 0.05

agent = Agent(
    "vip",
    shortdesc="A virtual IPv4 or IPv6 address",
    longdesc="""
An address that clients connect to, which moves with a service between the nodes of the cluster.

Before taking the address, start asks the neighbours whether another machine has it (duplicate address detection by ARP
or neighbour solicitation) and refuses with that machine's hardware address if so. Then it tells all neighbours at once
that the address is here, and again in growing intervals, so that their caches point to this node immediately.

The monitor checks that the address is on the interface, that the interface has a link, and that no other machine
answers for the address. A second owner makes the resource degraded (exit code 190), not failed: moving the address
would not end the conflict.

When the address goes, what is still connected to it is reset, so that no client waits for an answer that cannot come.

IPv6 addresses are added as deprecated, so that connections opened by this node do not start from them.
""",
)


agent.parameter(
    "ip",
    required=True,
    unique=True,
    shortdesc="Address",
    longdesc="The IPv4 or IPv6 address, optionally with its prefix length: 192.0.2.10, 192.0.2.10/24, 2001:db8::10/64.",
    check=checks.parsed_by(parse),
)
agent.parameter(
    "cidr_netmask",
    shortdesc="Prefix length",
    longdesc="""
Length of the network prefix (24), or an IPv4 netmask (255.255.255.0). Not needed if it is written with the address.
Default: that of the interface's network which contains the address, or a host address (32 or 128) if none does.
""",
    check=checks.parsed_by(prefix_length),
)
agent.parameter(
    "nic",
    shortdesc="Interface",
    longdesc="The network interface. Default: the one that has an address in the same network.",
)
agent.parameter(
    "dad",
    type="time",
    default="20ms",
    shortdesc="Time for duplicate address detection",
    longdesc="""
How long start waits for another machine to say that it has the address: three questions are spread over this time,
which adds to every failover and is at most 50ms. 0 takes the address without asking.
""",
    check=checks.within(0, _MOST_DAD, "0 to 50ms"),
)
agent.parameter(
    "repeats",
    type="integer",
    default=6,
    shortdesc="Repeated announcements",
    longdesc="""
How often the neighbours are told again after the announcement that start itself makes: after 0.1, 0.3, 0.7, 1.5, 3.1
and 6.3 seconds, and so on. As long as that lasts, a second owner is noticed at once.
""",
    check=checks.within(0, 10, "0 to 10"),
)
agent.parameter(
    "watch",
    type="boolean",
    default=True,
    shortdesc="Look for a second owner",
    longdesc="Whether each recurring monitor asks the neighbours if another machine has the address, too.",
)
agent.parameter(
    "drain",
    type="time",
    default="0s",
    shortdesc="Time for connections to end",
    longdesc="""
How long a planned stop waits for connections to the address to end before it takes the address away. Meanwhile new ones are
dropped in silence, so that clients repeat their attempt a second later by themselves and meet the next node. For addresses whose
connections are short, such as a web server's; 0 takes the address away at once. Needs nft.
""",
    check=checks.within(0, 3600, "0 to 1h"),
)
agent.parameter(
    "drain_reload",
    shortdesc="Units to reload while draining",
    longdesc="""
systemd units, such as apache2.service, whose reload is graceful: it ends kept connections as soon as no request is under
way on them. Without that a busy browser keeps its connection until drain is over, and may lose a request then.
""",
)
agent.parameter(
    "drain_url",
    shortdesc="URL of the service behind the address",
    longdesc="""
An HTTP URL on this node, such as http://127.0.0.1/. When it is not answered, the service is dead or hangs, and nothing is waited
for: a failover must not take as long as a planned stop.
""",
    check=checks.parsed_by(web.parse),
)


@agent.action("monitor", timeout="20s", interval="10s")
def monitor(ctx: Context) -> int:
    """SUCCESS, NOT_RUNNING, ERR_GENERIC if nobody can reach the address, DEGRADED if another machine has it, too."""
    wanted = Wanted(ctx.params)
    _undrain(ctx)
    found = wanted.found()
    if not found:
        return NOT_RUNNING
    link = netlink.link(found[0].index)
    fault = wanted.difference(found) or link.fault or _left_deaf(ctx, wanted)
    if fault is None and found[0].flags & netlink.IFA_F_DADFAILED:
        fault = f"the kernel has disabled {wanted} because another machine has it (duplicate address detection)"
    if fault:
        raise OcfError(ERR_GENERIC, fault)
    if ctx.params["watch"] and not ctx.is_probe and link.has_neighbours:
        _watch(ctx, link, found[0])
    return SUCCESS


def _watch(ctx: Context, link: netlink.Link, address: netlink.Address) -> None:
    """Raise OcfError DEGRADED if another machine answers for our address, after claiming it again for ourselves."""
    from hafailover.agents.vip import neighbours
    from hafailover.agents.vip.announcer import conflict

    try:
        wire = neighbours.open_wire(link, address.ip)
        wire.probe()
        mac = wire.claimant(_WATCH)
        if mac is None:
            return
        wire.announce()
    except OSError as error:
        _explain(error, f"cannot ask the neighbours for {address} on {link.name}")
    conflict(ctx, address, mac)
    other = neighbours.mac_text(mac)
    raise OcfError(DEGRADED, f"another machine, {other}, also has {address} on {link.name}; take it away there")


@agent.action("start", timeout="20s")
def start(ctx: Context) -> int:
    """Take the address unless another machine has it, and tell the neighbours."""
    wanted = Wanted(ctx.params)
    _undrain(ctx)
    link, prefix = wanted.place()
    if link.fault:
        raise OcfError(ERR_GENERIC, f"cannot take {wanted}: {link.fault}")
    found = wanted.found()
    difference = wanted.difference(found) or _left_deaf(ctx, wanted) if found else None
    if difference:
        ctx.log("warning", f"{difference}; moving it to {link.name}")
        _remove(wanted)
        found = []
    _forget_leaving(ctx)
    try:
        if link.has_neighbours:
            asked = _take_from_wire(ctx, wanted, link, prefix, found)
        else:
            asked = 0.0
            if not found:
                netlink.add(link.index, wanted.ip, prefix)
    except OSError as error:
        _explain(error, f"cannot put {wanted}/{prefix} on {link.name}")
    ctx.event(
        "vip.up",
        f"{wanted}/{prefix} is on {link.name}" + (", as it was already" if found else ""),
        address=str(wanted),
        nic=link.name,
        dad_ms=round(asked * 1000, 1),
    )
    return SUCCESS


def _take_from_wire(
    ctx: Context, wanted: Wanted, link: netlink.Link, prefix: int, found: list[netlink.Address]
) -> float:
    """Take the address on an interface that has neighbours; the seconds spent asking them. OSError; OcfError."""
    from hafailover.agents.vip import announcer, neighbours

    announcer.stop(ctx.instance)
    wire = neighbours.open_wire(link, wanted.ip)
    asked = 0.0
    if not found:
        asked = _refuse_duplicate(ctx, wire, wanted, link)
        netlink.add(link.index, wanted.ip, prefix)
    wire.announce()
    if ctx.params["repeats"]:
        # The child keeps the wire. Closing a packet socket takes 8 to 26 ms, which start need not wait for.
        address = netlink.Address(link.index, wanted.ip, prefix, 0)
        announcer.begin(ctx, wire, address, ctx.params["repeats"])
    return asked


def _refuse_duplicate(ctx: Context, wire: Wire, wanted: Wanted, link: netlink.Link) -> float:
    """The seconds that the question took. OcfError with the hardware address of another machine that has the address."""
    import time

    from hafailover.agents.vip import neighbours

    if not ctx.params["dad"]:
        return 0.0
    begun = time.monotonic()
    mac = neighbours.other_claimant(wire, ctx.params["dad"])
    if mac is not None:
        other = neighbours.mac_text(mac)
        reason = f"{wanted} is already in use on the network of {link.name}, by {other}; end that, then clean up"
        ctx.event("vip.duplicate", reason, level="error", address=str(wanted), nic=link.name, mac=other)
        raise OcfError(ERR_GENERIC, reason)
    return time.monotonic() - begun


@agent.action("stop", timeout="20s")
def stop(ctx: Context) -> int:
    """Take the address away from wherever this node has it, after draining it, and end what announces it."""
    wanted = Wanted(ctx.params)
    if ctx.params["drain"] and wanted.found():
        from hafailover.agents.vip import drain

        places = drain.drained(ctx, wanted, lambda: _take_away(ctx, wanted))
    else:
        _undrain(ctx)
        places = _take_away(ctx, wanted)
    if places:
        ctx.event("vip.down", f"removed {', '.join(places)}", address=str(wanted))
    return SUCCESS


def _take_away(ctx: Context, wanted: Wanted) -> list[str]:
    """End the announcing and remove the address; where it was. OcfError."""
    from hafailover.agents.vip import announcer

    announcer.stop(ctx.instance)
    found = wanted.found()
    if found:
        _reset(ctx, wanted, found)
    places = _remove(wanted)
    _forget_leaving(ctx)
    return places


def _reset(ctx: Context, wanted: Wanted, found: list[netlink.Address]) -> None:
    """Tell whoever is connected that the address goes. Never an error: without it they find out later."""
    from hafailover.agents.vip import clients

    try:
        # First, and noted: whoever is reset connects again at once, and would be taken by the kernel while the address is still here.
        os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
        with open(_leaving(ctx), "w"):
            pass
        for address in found:
            netlink.deafen(address)
        number = clients.reset(wanted.ip)
    except OSError as error:
        ctx.log("info", f"clients of {wanted} are not told that it moves: {error.strerror or error}")
    else:
        if number:
            ctx.log("info", f"{number} connections to {wanted} were reset")


def _leaving(ctx: Context) -> str:
    return f"{RUN_DIR}/{ctx.instance}.leaving"


def _left_deaf(ctx: Context, wanted: Wanted) -> str | None:
    """Say that a stop was ended between the clients' connections and the address, or None."""
    if not os.path.exists(_leaving(ctx)):
        return None
    return f"a stop of {wanted} was not finished: nothing that comes for it is taken"


def _forget_leaving(ctx: Context) -> None:
    try:
        os.unlink(_leaving(ctx))
    except FileNotFoundError:
        return


def _undrain(ctx: Context) -> None:
    """A stop that was killed half way must not leave the address deaf."""
    if os.path.exists(f"{RUN_DIR}/{ctx.instance}.draining"):
        from hafailover.agents.vip import drain

        drain.undo(ctx)


def _remove(wanted: Wanted) -> list[str]:
    """Remove the address; where it was. OcfError."""
    places = []
    for address in wanted.found():
        place = where(address)
        try:
            netlink.delete(address)
        except OSError as error:
            if error.errno != _EADDRNOTAVAIL:  # gone in the meantime, which is what we want
                _explain(error, f"cannot remove {place}")
        places.append(place)
    return places


@agent.action("validate-all", timeout="20s")
def validate_all(ctx: Context) -> int:
    """Whether the parameters agree with one another and with this node."""
    Wanted(ctx.params).place()
    if ctx.params["drain"]:
        ctx.require("nft")
    return SUCCESS


def _explain(error: OSError, what: str) -> NoReturn:
    if error.errno == _EPERM:
        raise OcfError(ERR_PERM, f"{what}: not permitted; the agent must run as root") from error
    raise OcfError(ERR_GENERIC, f"{what}: {error.strerror or error}") from error
