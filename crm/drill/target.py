"""What a drill aims at: the database service, its resources, and the address that clients use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """Names of the cluster's resources and where the database listens. ``nodes`` maps each data node to its address.

    ``datadir``: on every node, "" where nobody may look there.
    """

    database: str
    clone: str
    address: str
    ip: str
    prefix: int
    port: int
    socket: str
    nodes: dict[str, str]
    datadir: str = "/var/lib/mysql"

    @property
    def resources(self) -> dict[str, str]:
        """The resources as the timeline names them."""
        return {"database": self.database, "address": self.address}
