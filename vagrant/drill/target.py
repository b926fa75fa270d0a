"""What a drill aims at: the lab's database service, its resources, and the address that clients use."""

from __future__ import annotations

from dataclasses import dataclass

from hafailover.crm import topology, yamldoc
from hafailover.crm.errors import UsageError
from hafailover.crm.topology import Topology
from hafailover.vagrant import state


@dataclass(frozen=True)
class Target:
    """Names of the cluster's resources and where the database listens. ``nodes`` maps each data node to its address."""

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


def topology_of(name: str) -> Topology:
    """What the lab ``name`` runs; UsageError if there is none."""
    found = state.read(name)
    if found is None:
        raise UsageError(f"there is no lab {name!r}; hafailover lab up makes one")
    return topology.parse(yamldoc.parse(found.topology, found.topology_file))


def of_lab(name: str) -> Target:
    """Find the target of the lab ``name``; UsageError if its topology has no database with an address."""
    wanted = topology_of(name)
    for service in wanted.services.values():
        for vip in wanted.vips.values():
            if service.type == "mariadb" and vip.follows == f"{service.name}.primary":
                return Target(
                    database=service.name,
                    clone=f"{service.name}-clone",
                    address=vip.name,
                    ip=str(vip.interface.ip),
                    prefix=vip.interface.network.prefixlen,
                    port=service.options["port"],
                    socket=service.options["socket"],
                    datadir=service.options["datadir"],
                    nodes={node: wanted.nodes[node].links[0] for node in service.nodes},
                )
    raise UsageError(
        f"{wanted.file}: has no mariadb service with an address that follows its primary; a drill needs both"
    )
