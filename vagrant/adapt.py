"""A topology made fit for the lab: the lab's own power switch, no certificates, extra nodes. Pure."""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from hafailover.crm import nfs_names, yamldoc
from hafailover.crm import topology as topologies
from hafailover.crm.topology import Topology
from hafailover.vagrant import plan as plans
from hafailover.vagrant.plan import EXTRA, OwnDisk, Plan, SharedDisk
from hafailover.vagrant.standins import test_application

FENCE_AGENT = "fence_lab"
STAND_IN = "fuse.labnfs"


def plan(name: str, topology: Topology, extra: int = 0, spares: Sequence[str] = ()) -> Plan:
    """The machines and networks that a lab of ``topology`` needs, with ``extra`` full cluster nodes without data.

    ``spares`` are machines that are in no cluster.
    """
    device = topology.quorum.device
    return plans.make(
        name,
        {node.name: node.links for node in topology.nodes.values()},
        quorum=device.host if device else None,
        vips=[str(vip.interface) for vip in topology.vips.values()],
        extra=extra,
        spares=spares,
    )


def datadirs(topology: Topology) -> tuple[str, ...]:
    """The directories in which the topology's databases keep their data."""
    return tuple(sorted({str(s.options["datadir"]) for s in topology.services.values() if s.type == "mariadb"}))


def standins(topology: Topology) -> str | None:
    """The address of the database that stand-ins for StackStorm use, None when the topology has no use for stand-ins."""
    if not any(service.type == "stackstorm" for service in topology.services.values()):
        return None
    return database(topology)


def database(topology: Topology) -> str:
    """The address at which applications of the lab find their database."""
    databases = {service.name for service in topology.services.values() if service.type == "mariadb"}
    for vip in topology.vips.values():
        name, _, role = (vip.follows or "").partition(".")
        if name in databases and role == "primary":
            return str(vip.interface.ip)
    return topology.external.mariadb.name if topology.external.mariadb else "127.0.0.1"


def shared_disks(topology: Topology) -> tuple[SharedDisk, ...]:
    """The disks that the topology's file servers hand from node to node."""
    found = []
    for service in topology.services.values():
        if service.type == "nfs-server":
            mount = service.options["disk"]["mount"]
            inner = (nfs_names.export_path(service, name)[len(mount) :] for name in service.options["exports"])
            found.append(SharedDisk(service.options["disk"]["device"], tuple(path.strip("/") for path in inner)))
    return tuple(found)


def own_disks(topology: Topology) -> tuple[OwnDisk, ...]:
    """The disks that each node of the topology's GlusterFS services has for itself."""
    return tuple(
        OwnDisk(volume["device"], service.nodes)
        for service in topology.services.values()
        if service.type == "glusterfs"
        for volume in service.options["volumes"].values()
        if "device" in volume
    )


def adapt(topology: Topology, lab: Plan) -> tuple[Topology, list[str]]:
    """Return ``topology`` as the lab runs it and sentences that tell what was changed and why."""
    data: dict[str, Any] = copy.deepcopy(dict(topology.data))
    notes = []
    data["lab"] = True
    if topology.fencing or any(node.fence for node in topology.nodes.values()):
        notes.append(
            f"fencing: the topology's fence devices are replaced by the lab's own power switch ({FENCE_AGENT})"
        )
    else:
        notes.append(f"fencing: by the lab's own power switch ({FENCE_AGENT})")
    if topology.quorum.device and topology.quorum.device.tls != "off":
        notes.append("quorum device: without TLS, because the lab has no certificates")
        data["quorum"]["device"]["tls"] = "off"
    _add_nodes(data, topology, lab)
    device = data.get("quorum", {}).get("device", {})
    if topology.quorum.device and len(data["nodes"]) % 2 and topology.quorum.device.algorithm == "ffsplit":
        device["algorithm"] = "lms"
        notes.append(f"quorum device: algorithm lms, because ffsplit cannot count {len(data['nodes'])} nodes")
    if standins(topology) is not None:
        notes.append(
            "StackStorm: stand-ins with its unit names and paths, because its packages cannot be had; they keep executions "
            "in MariaDB instead of MongoDB"
        )
    if any(service.type == "tomcat" for service in topology.services.values()):
        notes.append(
            f"Tomcat: a test application is deployed at /{test_application.CONTEXT}, because CloudStack cannot be had"
        )
    notes += _user_space_nfs(data, topology)
    _own_secrets(data)
    changed = topologies.parse(yamldoc.parse(_dump(data), topology.file))
    return changed.with_fencing(FENCE_AGENT, {name: {"plug": name} for name in changed.nodes}), notes


def _dump(data: Mapping[str, Any]) -> str:
    # PyYAML reads and writes YAML 1.1, where an unquoted off is a boolean; safe_dump quotes it as needed.
    return yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=120)


def _add_nodes(data: dict[str, Any], topology: Topology, lab: Plan) -> None:
    extra = [machine for machine in lab.machines if machine.role == EXTRA]
    if not extra:
        return
    # Three and more nodes cannot be a two_node cluster, and no service that says "all" means the lab's extra nodes.
    data.get("quorum", {}).pop("two_node", None)
    for service in data.get("services", {}).values():
        if service.get("on", "all") == "all":
            service["on"] = list(topology.nodes)
    number = max(node.id for node in topology.nodes.values())
    for machine in extra:
        number += 1
        data["nodes"][machine.name] = {
            "id": number,
            "links": [str(ipaddress.ip_interface(interface.address).ip) for interface in machine.interfaces],
        }


def _user_space_nfs(data: dict[str, Any], topology: Topology) -> list[str]:
    """The kernel of this machine is everybody's: no node of the lab can load its NFS server or client."""
    notes = []
    for service in topology.services.values():
        options = data["services"][service.name]
        if service.type == "nfs-server":
            disk = service.options["disk"]
            notes.append(f"{service.name}: {disk['device']} is a loop device of this machine that all nodes see")
            if service.options["server"] == "kernel":
                options["server"] = "ganesha"
                notes.append(f"{service.name}: served by Ganesha, because a container has no kernel NFS server")
            # A file system that is not ext4 would need another mkfs on this machine.
            options["disk"].pop("fstype", None)
        elif service.type == "nfs-mount" and service.options["fstype"].startswith("nfs"):
            options["fstype"] = STAND_IN
            options.pop("options", None)
            notes.append(
                f"{service.name}: mounted by {STAND_IN}, test equipment that stands in for the kernel's NFS client"
            )
    return notes


def _own_secrets(data: Any) -> None:
    """Turn references to secrets elsewhere on this machine into names in the lab's own directory, where it makes them."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in list(items):
        if isinstance(value, str) and value.startswith("file:/"):
            data[key] = "file:" + value[len("file:/") :].replace("/", "-")
        else:
            _own_secrets(value)
