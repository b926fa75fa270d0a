"""A parameter ``nodes``: which nodes have an instance, and the address of each."""

from __future__ import annotations


def addresses(nodes: str) -> dict[str, str]:
    """Parse ``"db1:10.0.0.1 db2:[fd00::2]"`` into node → address, in order; ValueError names the bad entry."""
    found = {}
    for entry in nodes.split():
        name, _, address = entry.partition(":")
        address = address.strip("[]")
        if not name or not address:
            raise ValueError(f"{entry!r} is not name:address")
        if name in found:
            raise ValueError(f"{name} is listed twice")
        found[name] = address
    return found
