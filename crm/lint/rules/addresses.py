"""Rules about virtual addresses themselves; where they have to be is about constraints."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from hafailover.crm.lint import ERROR, WARNING, Facts, Found, rule
from hafailover.crm.lint.about import IP, address, addresses, words
from hafailover.crm.lint.cluster import primitives
from hafailover.crm.lint.paste import Placeholder, command


@rule(
    "address-twice",
    ERROR,
    code="L16",
    needs=("resolved",),
    remedy="keep one of the resources, or give the other one an address of its own",
    why="both nodes answer for the address, connections end up at either, and each sees the other's as a conflict",
)
def address_twice(facts: Facts) -> Iterator[Found]:
    """Two resources bring up the same address, or one that a node has for itself."""
    owners: dict[IP, str] = {}
    if facts.corosync is not None:
        owners = {found: f"a link of {node}" for found, node in addresses(facts.corosync).items()}
    for one in primitives(facts.cluster):
        found = address(one)
        if found is None:
            continue
        other = owners.setdefault(found[0], f"resource {one.id}")
        if other != f"resource {one.id}":
            fix = command("crm", "resource", "param", one.id, "set", "ip", Placeholder("ANOTHER-ADDRESS"))
            yield Found(one.id, f"{found[0]} is the address of {other} too", fix)


@rule(
    "address-outside",
    WARNING,
    code="L16b",
    needs=("resolved", "corosync"),
    remedy="correct the address or its prefix, or name the interface (nic)",
    why="the agent finds the interface by the network of the address: it starts on no node, or comes up behind the wrong interface, where "
    "nobody reaches it",
)
def address_outside(facts: Facts) -> Iterator[Found]:
    """A virtual address lies in none of the nodes' networks, or is the network's own."""
    links = list(addresses(facts.corosync))
    for one in primitives(facts.cluster):
        found = address(one)
        if found is None or found[1] is None:
            continue
        where, prefix = found[0], found[1]
        network = ipaddress.ip_network(f"{where}/{prefix}", strict=False)
        alone = prefix >= network.max_prefixlen - 1
        fix = command("crm", "resource", "param", one.id, "set", "nic", Placeholder("INTERFACE"))
        if not alone and where == network.network_address:
            fix = command("crm", "resource", "param", one.id, "set", "ip", str(next(network.hosts())))
            yield Found(one.id, f"{where}/{prefix} is the network's own address, not one of a host", fix)
        elif not alone and where.version == 4 and where == network.broadcast_address:
            fix = command("crm", "resource", "param", one.id, "set", "ip", str(next(iter(network.hosts()))))
            yield Found(one.id, f"{where}/{prefix} is the network's broadcast address, not one of a host", fix)
        elif not one.params.get("nic") and links and not any(link in network for link in links):
            known = words(sorted({str(link) for link in links})[:4])
            yield Found(
                one.id,
                f"{network} has no link of any node in it (they are {known}{', …' if len(links) > 4 else ''})",
                fix,
            )
