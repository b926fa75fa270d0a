"""Rules about memcached, which asks nobody for a password: who reaches it reads and writes what it holds."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from hafailover.crm.lint import WARNING, Facts, Found, rule
from hafailover.crm.lint.paste import render
from hafailover.crm.topology import Service


@rule(
    "cache-open",
    WARNING,
    code="L40",
    why="memcached has no accounts: whoever reaches it reads sessions and tokens, and floods others through it",
    remedy="name the hosts or networks of its clients, such as clients: [192.0.2.0/24]; the nodes are let in as well",
)
def cache_open(facts: Facts) -> Iterator[Found]:
    """A memcached, which asks for no password, is open to everybody."""
    for service in _caches(facts):
        if "clients" not in service.options:
            port = service.options["port"]
            yield Found(
                f"services.{service.name}.clients",
                f"anybody may read and write the cache on tcp {port}: none are named",
                "clients: [<NETWORK>]",
            )


@rule(
    "cache-wide",
    WARNING,
    code="L41",
    why="bound to every address it answers on networks that nobody thought of",
    remedy="hafailover render --install writes -l into its configuration; restart it then, on one node after the other",
    on_node=True,
)
def cache_wide(facts: Facts) -> Iterator[Found]:
    """A memcached listens on every address of the node, and the topology says one."""
    assert facts.node is not None
    for service in _caches(facts):
        if facts.node.name in service.nodes and service.options["listen"] == "node":
            for one in facts.node.listeners:
                place = ipaddress.ip_address(one.address.partition("%")[0])
                if (one.protocol, one.port) == ("tcp", service.options["port"]) and place.is_unspecified:
                    yield Found(
                        facts.node.name,
                        f"tcp {one.port} ({service.name}: memcached) listens on {one.address}, every address",
                        render(facts.wanted.file),
                    )


def _caches(facts: Facts) -> Iterator[Service]:
    return (service for service in facts.wanted.services.values() if service.type == "memcached")
