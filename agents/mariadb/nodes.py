"""The parameter ``nodes``: which nodes hold the data, and where their servers listen."""

from __future__ import annotations

_PEER_OFFSET = 1138  # 3306 → 4444, the port of MariaDB's own state transfers


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


def peer_port(port: int, clone_port: int | None) -> int:
    """Where a node hears its peers: as configured, or the server's port plus 1138 (minus, where that would be above 65535)."""
    if clone_port:
        return clone_port
    return port + _PEER_OFFSET if port + _PEER_OFFSET <= 65535 else port - _PEER_OFFSET
