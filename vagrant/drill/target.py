"""What a drill aims at in a lab: found in the topology that it runs."""

from __future__ import annotations

from hafailover.crm import topology, yamldoc
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import UsageError
from hafailover.crm.topology import Topology
from hafailover.vagrant import state


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
