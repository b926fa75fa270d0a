"""Directories of a file server, mounted on every node: service type ``nfs-mount``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hafailover.agents.nfsmount import decide
from hafailover.agents.nfsmount import options as mount_options
from hafailover.crm import model
from hafailover.crm.files import RenderedFile
from hafailover.crm.model import Constraint, Primitive
from hafailover.crm.nfs_names import address_of, export_path, mount_ordering_file
from hafailover.crm.schema import Problem, boolean, choice, duration, mapping, named, path, seconds, text, unknown
from hafailover.crm.service import Anchor, Part, Port, ReadSecret, ServiceType, clone_name, on_each_of_its_nodes

if TYPE_CHECKING:
    from hafailover.crm.topology import Service, Topology

RIDE_THROUGH, REMOUNT = "ride-through", "remount"
_SERVER = "nfs-server"


class NfsMount(ServiceType):
    """A clone with an instance on each node: a group of one mount per directory."""

    name = "nfs-mount"
    nearby = True
    summary = "Directories of a file server that may move, mounted on every node of the service."
    schema = {
        "from": text("the service of type nfs-server whose exports are mounted", pattern=r"^[A-Za-z][A-Za-z0-9_-]*$"),
        "server": text(
            "a file server outside of the cluster: its address, or what the file system's mount wants before the colon",
            pattern=r"^[^\s]+$",
        ),
        "fstype": text(
            "type of the file system",
            default="nfs4",
            pattern=r"^(nfs4|nfs|glusterfs|ceph|fuse\.[A-Za-z0-9_-]+)$",
            expect="nfs4, nfs, glusterfs, ceph or fuse.NAME",
        ),
        "to": named(
            "What is mounted where.",
            {
                "anyOf": [
                    path("where it is mounted"),
                    mapping(
                        "Another name on the server.",
                        {
                            "export": text(
                                "what is mounted: a directory of the server, or /VOLUME", pattern=r"^/[^\s]*$"
                            ),
                            "directory": path("where it is mounted"),
                        },
                        ["export", "directory"],
                    ),
                ],
                "expect": "a directory, or {export: …, directory: …}",
            },
            minProperties=1,
        ),
        "options": text("mount options; safe ones for the file system when not given", pattern=r"^[^\s]+$"),
        "on_server_move": choice(
            "ride-through: users of the mount wait while the server moves; remount: everything is mounted anew and its users "
            "restarted, and the serving node has the directories without NFS",
            [RIDE_THROUGH, REMOUNT],
            default=RIDE_THROUGH,
        ),
        "patience": duration("how long an answer may take before a mount counts as hung; 5 s when not given"),
        "ride_through": duration("how long a mount may hang before it is mounted anew; 2 min when not given"),
        "cover": boolean("whether a directory that is not empty may be mounted over", default=True),
    }
    required = ("to",)

    def cloned(self, service: Service) -> bool:
        """It has an instance on each of its nodes."""
        return True

    def check(self, service: Service, topology: Topology) -> Iterator[Problem]:
        """Where the directories come from, where they go to, and options that lose data."""
        options = service.options
        if ("from" in options) == ("server" in options):
            yield Problem(("from",), "give either from, a service of this cluster, or server, a server outside of it")
        if "from" in options:
            yield from _check_from(service, topology)
        elif options["on_server_move"] == REMOUNT:
            yield Problem(
                ("on_server_move",),
                "the cluster does not see a server outside of it move; only ride-through is possible",
            )
        reason = mount_options.refusal(options.get("options", "").split(","))
        if reason:
            yield Problem(("options",), reason)
        places = {name: _directory(entry) for name, entry in options["to"].items()}
        for name, directory in places.items():
            wrong = decide.unmountable(directory)
            if wrong:
                yield Problem(("to", name), f"{directory} is {wrong}")
            for other, outer in places.items():
                if other != name and (directory + "/").startswith(outer + "/"):
                    yield Problem(("to", name), f"{directory} lies in {outer}, where {other} is mounted")

    def claims(self, service: Service) -> Iterator[tuple[str, str]]:
        """A directory is one service's."""
        for entry in service.options["to"].values():
            yield "to", _directory(entry)

    def ports(self, service: Service, topology: Topology) -> Iterator[Port]:
        """None: a client connects, and nobody connects to it. Version 3 has its server call back; lint says so."""
        return iter(())

    def part(self, service: Service, topology: Topology) -> Part:
        """The clone, and its order with the server's address."""
        members = [_mount(service, topology, name) for name in service.options["to"]]
        part = on_each_of_its_nodes(service, topology, model.group(service.name, members))
        return Part(part.resources, (*part.constraints, *_orders(service, topology)))

    def anchor(self, service: Service, role: str | None) -> Anchor:
        """All its directories are mounted."""
        return Anchor(clone_name(service), None, "start", service.nodes)

    def files(self, service: Service, topology: Topology, node: str, read: ReadSecret) -> list[RenderedFile]:
        """Shutdown stops Pacemaker before it takes mounts away."""
        return [mount_ordering_file(service)] if node in service.nodes else []


def _check_from(service: Service, topology: Topology) -> Iterator[Problem]:
    source = service.options["from"]
    server = topology.services.get(source)
    names = [name for name, other in topology.services.items() if other.type == _SERVER]
    if server is None or server.type != _SERVER:
        yield Problem(("from",), unknown(f"service of type {_SERVER}", source, names))
        return
    if source in service.after:
        yield Problem(
            ("after",),
            f"names {source}, which from does already; after would restart every mount when the server moves, which is "
            f"what on_server_move: {REMOUNT} is for",
        )
    if address_of(topology, source) is None:
        return  # said about the server
    for name, entry in service.options["to"].items():
        if isinstance(entry, str) and name not in server.options["exports"]:
            yield Problem(("to", name), unknown(f"export of {source}", name, server.options["exports"]))
    if not service.options["fstype"].startswith(("nfs", "fuse.")):
        yield Problem(("fstype",), f"{source} serves NFS, which is not mounted as {service.options['fstype']}")


def _mount(service: Service, topology: Topology, name: str) -> Primitive:
    options, entry = service.options, service.options["to"][name]
    resource = f"{service.name}-{name}"
    params: dict[str, str] = {"directory": _directory(entry)}
    server = topology.services.get(options.get("from", ""))
    if server is not None:
        vip = address_of(topology, server.name)
        params["server"] = str(vip.interface.ip) if vip else ""
        params["export"] = export_path(server, name) if isinstance(entry, str) else entry["export"]
        if options["on_server_move"] == REMOUNT:
            params["serves"] = params["export"]
            params["disk"] = server.options["disk"]["mount"]
    else:
        params["server"] = options["server"]
        params["export"] = f"/{name}" if isinstance(entry, str) else entry["export"]
    if options["fstype"] != "nfs4":
        params["fstype"] = options["fstype"]
    if "options" in options:
        params["options"] = options["options"]
    for key in ("patience", "ride_through"):
        if key in options:
            params[key] = seconds(options[key])
    if not options["cover"]:
        params["cover"] = "false"
    operations = (
        model.operation(resource, "start", "0", timeout="60s"),
        model.operation(resource, "stop", "0", timeout="60s"),
        model.operation(resource, "monitor", "10s", timeout="30s"),
    )
    return model.primitive(resource, ("ocf", "hafailover", "nfsmount"), params, operations)


def _orders(service: Service, topology: Topology) -> list[Constraint]:
    vip = address_of(topology, service.options.get("from", ""))
    if vip is None:
        return []
    clone = clone_name(service)
    after = f"{clone}-after-{vip.name}"
    if service.options["on_server_move"] == REMOUNT:
        # Both ways: each node lets go of everything before the address moves. The serving node must: its bind mount would keep
        # the disk in use while the next holder mounts it.
        return [model.order(after, vip.name, "start", clone, "start")]
    return [
        # A mount begins when the server is there; it does not end when the server moves.
        model.order(after, vip.name, "start", clone, "start", symmetrical=False),
        # Where both have to stop, on a node that leaves, the mount goes while its server still answers.
        model.order(
            f"{clone}-stops-before-{vip.name}", clone, "stop", vip.name, "stop", kind="Optional", symmetrical=False
        ),
    ]


def _directory(entry: str | Mapping[str, Any]) -> str:
    directory: str = entry if isinstance(entry, str) else entry["directory"]
    return directory


SERVICE_TYPE = NfsMount()
