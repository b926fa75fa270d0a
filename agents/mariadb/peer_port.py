"""The port on which a node hears its peers, for cloning and rejoining."""

from __future__ import annotations

_PEER_OFFSET = 1138  # 3306 → 4444, the port of MariaDB's own state transfers


def peer_port(port: int, clone_port: int | None) -> int:
    """Where a node hears its peers: as configured, or the server's port plus 1138 (minus, where that would be above 65535)."""
    if clone_port:
        return clone_port
    return port + _PEER_OFFSET if port + _PEER_OFFSET <= 65535 else port - _PEER_OFFSET
