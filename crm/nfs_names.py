"""Names that the service types ``nfs-server`` and ``nfs-mount`` have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hafailover.crm.files import RenderedFile

if TYPE_CHECKING:
    from hafailover.crm.topology import Service, Topology, Vip

# Mounts that Pacemaker makes are units of systemd, too, which takes network ones away at shutdown when remote-fs.target stops:
# under the feet of what uses them, unless Pacemaker, which comes after this target of resource-agents, is stopped before.
_DEPENDENCIES = "/etc/systemd/system/resource-agents-deps.target.d"


def address_of(topology: Topology, service: str) -> Vip | None:
    """The address that follows ``service``, or None."""
    return next((vip for vip in topology.vips.values() if vip.follows == service), None)


def export_path(service: Service, export: str) -> str:
    """The directory of an export of an nfs-server, on the node that has the disk."""
    path: str = service.options["exports"][export].get("path", f"{service.options['disk']['mount']}/{export}")
    return path


def state_dir(service: Service) -> str:
    """Where on the disk the server keeps who had what open."""
    return f"{service.options['disk']['mount']}/.nfs-state"


def server_scope(service: Service, topology: Topology) -> str:
    """What the server calls itself to its clients, on whichever node it runs."""
    return f"{topology.name}-{service.name}"


def mount_ordering_file(service: Service) -> RenderedFile:
    """Has systemd stop Pacemaker before it takes mounts of the network away."""
    text = f"# Written by hafailover for {service.name}.\n[Unit]\nAfter=remote-fs.target\n"
    return RenderedFile(f"{_DEPENDENCIES}/hafailover-{service.name}.conf", text.encode())
