"""Content on a shared disk, exported over NFS by whichever node has the disk: service type ``nfs-server``.

The stock agents in a group: the disk, the server, its exports; an address follows the group. What makes a client ride through a move
is that the next holder is the same server to it: the same file handles (fixed fsid), the same server scope, and the record of who had
what open, which lies on the disk itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hafailover.agents.nfsmount import decide
from hafailover.crm import model, nfs_server_files
from hafailover.crm.files import RenderedFile
from hafailover.crm.model import Primitive
from hafailover.crm.nfs_names import address_of, export_path, mount_ordering_file, server_scope
from hafailover.crm.schema import (
    Problem,
    boolean,
    choice,
    duration,
    is_network,
    mapping,
    milliseconds,
    named,
    number,
    path,
    text,
)
from hafailover.crm.service import Anchor, Part, Port, ReadSecret, ServiceType, on_its_nodes

if TYPE_CHECKING:
    from hafailover.crm.topology import Service, Topology

_HOST = r"^[A-Za-z0-9@*?.:/\[\]_-]+$"
_HOST_EXPECT = "an address, a network such as 192.168.0.0/24, a host name or @NETGROUP"
_LEASE = (10_000, 3_600_000)  # ms, what the kernel's server takes


class NfsServer(ServiceType):
    """A group on one node: disk, server, exports."""

    name = "nfs-server"
    summary = "Directories of a shared disk, exported over NFSv4 by the node that has the disk."
    schema = {
        "server": choice(
            "the kernel's NFS server, or Ganesha, which runs in user space", ["kernel", "ganesha"], default="kernel"
        ),
        "disk": mapping(
            "The disk that all nodes of the service can reach and one has mounted.",
            {
                "device": path("block device, by a name that is the same on each node, such as /dev/disk/by-id/…"),
                "mount": path("where it is mounted"),
                "fstype": text("type of its file system", default="ext4", pattern=r"^[a-z0-9]{1,20}$"),
                "options": text("mount options", default="noatime", pattern=r"^[^\s]+$"),
            },
            ["device", "mount"],
        ),
        "exports": named(
            "What is exported, by name.",
            mapping(
                "One exported directory.",
                {
                    "fsid": number("its number, the same on each node and never used for another", 1, 2147483647),
                    "path": path("the directory; its name below the disk's mount when not given"),
                    "read_only": boolean("whether clients may only read", default=False),
                },
                ["fsid"],
            ),
            minProperties=1,
        ),
        "clients": {
            "anyOf": [
                {"type": "string", "pattern": _HOST},
                {"type": "array", "items": {"type": "string", "pattern": _HOST}, "minItems": 1, "uniqueItems": True},
            ],
            "description": "who may mount it; the network of the address that follows the service when not given",
            "expect": f"{_HOST_EXPECT}, or a list of them",
        },
        "squash": choice(
            "whose requests become those of the anonymous user: root's, nobody's or all",
            ["root", "none", "all"],
            default="root",
        ),
        "anon_uid": number("uid of the anonymous user", 0, 4294967294, default=0),
        "anon_gid": number("gid of the anonymous user, such as that of st2packs", 0, 4294967294, default=0),
        "lease": duration("how long a client keeps what it has open without a sign of life", default="15s"),
        "grace": duration(
            "how long a new holder waits for clients to claim what they had open; opens wait that long after each move",
            default="15s",
        ),
        "threads": number("threads of the kernel's server", 1, 1024, default=16),
    }
    required = ("disk", "exports")

    def check(self, service: Service, topology: Topology) -> Iterator[Problem]:
        """Numbers that are used twice, paths outside of the disk, times that contradict each other, no address."""
        options = service.options
        refusal = decide.unmountable(options["disk"]["mount"])
        if refusal:
            yield Problem(("disk", "mount"), f"{options['disk']['mount']} is {refusal}")
        seen: dict[int, str] = {}
        for name, export in options["exports"].items():
            other = seen.setdefault(export["fsid"], name)
            if other != name:
                yield Problem(
                    ("exports", name, "fsid"),
                    f"{export['fsid']} is the fsid of {other} too; clients would take one for the other",
                )
            place = export_path(service, name)
            if not place.startswith(options["disk"]["mount"] + "/"):
                yield Problem(
                    ("exports", name, "path"),
                    f"{place} does not lie below {options['disk']['mount']}, and would not move with the disk",
                )
        low, high = _LEASE
        for key in ("lease", "grace"):
            if not low <= milliseconds(options[key]) <= high or milliseconds(options[key]) % 1000:
                yield Problem((key,), f"is {options[key]}; NFS servers take whole seconds from 10s to 1h")
        if milliseconds(options["grace"]) < milliseconds(options["lease"]):
            yield Problem(
                ("grace",),
                f"is shorter than the lease of {options['lease']}: a client may not yet know that its server moved",
            )
        if address_of(topology, service.name) is None:
            yield Problem(
                (),
                f"has no address that moves with it; add one to vips, such as: content-ip: {{ip: …, follows: {service.name}}}",
            )
        if len(service.nodes) < 2 and len(topology.nodes) > 1:
            yield Problem(("on",), "names a single node; without a second one there is nothing to fail over to")

    def claims(self, service: Service) -> Iterator[tuple[str, str]]:
        """One NFS server runs on a node, and a disk is mounted at one place."""
        yield "port", "2049"
        yield "disk.mount", service.options["disk"]["mount"]

    def ports(self, service: Service, topology: Topology) -> Iterator[Port]:
        """Version 4 needs no other. Who may mount it may come, where that is said in addresses."""
        allowed = nfs_server_files.clients(service, topology)
        sources = tuple(allowed) if all(map(is_network, allowed)) else ()
        yield Port("2049", "tcp", "clients", "NFS", sources=sources)

    def part(self, service: Service, topology: Topology) -> Part:
        """The group, and where it may not run."""
        members = [_disk(service)]
        if service.options["server"] == "kernel":
            members.append(_kernel(service, topology))
            members += _exports(service, topology)
        else:
            members.append(_ganesha(service))
        # What priority-fencing-delay weighs: the node that has the content survives a split.
        meta = {"priority": "10"} if topology.quorum.two_node else None
        return on_its_nodes(service, topology, model.group(service.name, members, meta))

    def anchor(self, service: Service, role: str | None) -> Anchor:
        """The whole group: its last export is the last to start."""
        return Anchor(service.name, None, "start", service.nodes)

    def files(self, service: Service, topology: Topology, node: str, read: ReadSecret) -> list[RenderedFile]:
        """The server's configuration."""
        if node not in service.nodes:
            return []
        if service.options["server"] == "kernel":
            return [mount_ordering_file(service), *nfs_server_files.kernel(service, topology)]
        return [mount_ordering_file(service), *nfs_server_files.ganesha(service, topology)]


def _disk(service: Service) -> Primitive:
    disk = service.options["disk"]
    name = f"{service.name}-disk"
    params = {
        "device": disk["device"],
        "directory": disk["mount"],
        "fstype": disk["fstype"],
        "options": disk["options"],
        # By default the agent calls fuser -m, which asks every open file of the machine and hangs with any hung mount;
        # this way it reads the links in /proc.
        "force_unmount": "safe",
    }
    monitor = model.operation(name, "monitor", "20s", timeout="40s")
    # The plain monitor only reads the table of mounts: a disk that is gone, or that the kernel made read-only after an
    # error, would be fine.
    deep = model.named_set("instance_attributes", f"{monitor.id}-instance_attributes", {"OCF_CHECK_LEVEL": "20"})
    operations = (
        model.operation(name, "start", "0", timeout="60s"),
        model.operation(name, "stop", "0", timeout="60s"),
        model.Operation(monitor.id, monitor.name, monitor.interval, monitor.attributes, (deep,)),
    )
    return model.primitive(name, ("ocf", "heartbeat", "Filesystem"), params, operations)


def _kernel(service: Service, topology: Topology) -> Primitive:
    name = f"{service.name}-server"
    # No nfs_shared_infodir: the agent binds all of /var/lib/nfs then, and on Debian its stop leaves nfsdcld and rpc.statd in it,
    # cannot unmount it, and fails: each planned move had the node fenced. nfsdcld is told its place on the disk instead.
    params = {
        "nfsv4_only": "true",
        "nfs_no_notify": "true",  # only clients of version 3 want to be told
        # A client reclaims what it had open only from a server of the same scope, which otherwise is the host's name.
        "nfs_server_scope": server_scope(service, topology),
    }
    return model.primitive(name, ("ocf", "heartbeat", "nfsserver"), params, _operations(name, "60s", "60s"))


def _exports(service: Service, topology: Topology) -> list[Primitive]:
    found = []
    for export, about in service.options["exports"].items():
        for index, client in enumerate(nfs_server_files.clients(service, topology)):
            name = f"{service.name}-{export}" + (f"-{index + 1}" if index else "")
            params = {
                "directory": export_path(service, export),
                "clientspec": client,
                "fsid": str(about["fsid"]),
                "options": nfs_server_files.kernel_options(service, about),
                # The server itself stops next, in the same group, and with it ends every lock, open and lease. Unlocking would
                # revoke what clients are to reclaim from the next holder, and waiting for the lease would add it to each move.
                "unlock_on_stop": "false",
                "wait_for_leasetime_on_stop": "false",
                "rmtab_backup": "none",  # a file in the export that only version 3 needs
            }
            stop = f"{max(120, milliseconds(service.options['lease']) // 1000 + 30)}s"
            found.append(
                model.primitive(name, ("ocf", "heartbeat", "exportfs"), params, _operations(name, "40s", stop))
            )
    return found


def _ganesha(service: Service) -> Primitive:
    name = f"{service.name}-server"
    return model.primitive(name, ("systemd", "", "nfs-ganesha"), {}, _operations(name, "100s", "100s"))


def _operations(name: str, start: str, stop: str) -> tuple[model.Operation, ...]:
    return (
        model.operation(name, "start", "0", timeout=start),
        model.operation(name, "stop", "0", timeout=stop),
        model.operation(name, "monitor", "10s", timeout="20s"),
    )


SERVICE_TYPE = NfsServer()
