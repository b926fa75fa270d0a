"""Replicated GlusterFS volumes over the service's nodes, mounted on each of them: service type ``glusterfs``.

Three layers of clones, tied for starts alone: the daemon, a volume each, the mounts. What ends below does not end what is above it: a
mount goes on with the bricks of other nodes when its own node's daemon or brick is restarted.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal

from hafailover.agents.gluster import layout
from hafailover.agents.nfsmount import decide, options
from hafailover.crm import model
from hafailover.crm.files import RenderedFile
from hafailover.crm.model import Constraint, Primitive
from hafailover.crm.nfs_names import mount_ordering_file
from hafailover.crm.schema import Problem, Schema, choice, duration, mapping, milliseconds, named, path, scalars, text
from hafailover.crm.service import (
    TIRELESS,
    Anchor,
    Part,
    Port,
    ReadSecret,
    ServiceType,
    clone_name,
    on_each_of_its_nodes,
)

if TYPE_CHECKING:
    from hafailover.crm.topology import Service, Topology

_PING = (2_000, 120_000)  # ms
_DAEMON_PORT = "24007"
_BRICK_PORTS = "49152-60999"  # glusterd gives each brick a random one of these (base-port and max-port in glusterd.vol)
# Decided here, and not to be set beside it.
_OURS = (
    "network.ping-timeout",
    "auth.allow",
    "cluster.quorum-type",
    "cluster.heal-timeout",
    "cluster.self-heal-daemon",
)


def _address() -> Schema:
    return text(
        "an address or a pattern such as 192.0.2.*",
        pattern=r"^[0-9.*]+$",
        expect="an address, such as 192.0.2.10 or 192.0.2.*",
    )


def _network(client: str) -> str | None:
    """The address or network that a pattern of clients stands for; None for one that is no network, such as 192.0.2.1*."""
    octets = client.split(".")
    fixed = list(takewhile(str.isdecimal, octets))
    if set(octets[len(fixed) :]) - {"*"} or not fixed or (len(octets) < 4 and octets[-1] != "*"):
        return None
    if len(fixed) == 4:
        return client
    return f"{'.'.join([*fixed, *['0'] * (4 - len(fixed))])}/{8 * len(fixed)}"


class GlusterFS(ServiceType):
    """Clones on the nodes of the service: glusterd, the volumes, their mounts."""

    name = "glusterfs"
    nearby = True
    summary = "GlusterFS volumes that form themselves over the service's nodes, with copies on different ones, mounted on each."
    schema = {
        "volumes": named(
            "The volumes by name.",
            mapping(
                "A volume.",
                {
                    "replica": {
                        "enum": [2, 3, layout.ARBITER],
                        "description": "copies of each file: 3, arbiter (two copies, and a third node that decides), or 2; "
                        "3 when not given, 2 on two nodes",
                        "expect": "3, arbiter or 2",
                    },
                    "brick": path("directory of each node's bricks; /srv/gluster/NAME when not given"),
                    "device": path("disk of each node's bricks, by a name that it has on each node; mounted at brick"),
                    "fstype": choice("file system that a blank device gets", ["xfs", "ext4"], default="xfs"),
                    "mount": path("where the volume is mounted on each node; nowhere when not given"),
                    "mount_options": text("further mount options", pattern=r"^[^\s]+$"),
                    "ping_timeout": duration(
                        "silence after which clients give a brick up; writes wait that long when a node loses its power",
                        default="10s",
                    ),
                    "clients": {
                        "type": "array",
                        "items": _address(),
                        "uniqueItems": True,
                        "default": [],
                        "description": "who may mount it besides the service's nodes",
                        "expect": "a list of addresses, such as [192.0.2.10, '198.51.100.*']",
                    },
                    "options": scalars("further options of the volume, as gluster volume set takes them", default={}),
                },
            ),
            minProperties=1,
        ),
    }
    required = ("volumes",)

    def cloned(self, service: Service) -> bool:
        """It has an instance on each of its nodes."""
        return True

    def check(self, service: Service, topology: Topology) -> Iterator[Problem]:
        """Enough nodes, places that do not lie in one another, addresses that bricks can be named by."""
        for node in service.nodes:
            link = topology.nodes[node].links[0] if node in topology.nodes else ""
            if ":" in link:
                yield Problem(
                    (), f"{node} has the IPv6 address {link} on the first link; bricks are named by IPv4 addresses only"
                )
        places: dict[str, str] = {}
        for name, volume in service.options["volumes"].items():
            here = ("volumes", name)
            reason = layout.refusal(len(service.nodes), _replica(service, volume))
            if reason:
                yield Problem((*here, "replica"), f"{reason}{_way_out(_replica(service, volume))}")
            low, high = _PING
            if not low <= milliseconds(volume["ping_timeout"]) <= high or milliseconds(volume["ping_timeout"]) % 1000:
                yield Problem(
                    (*here, "ping_timeout"), f"is {volume['ping_timeout']}; write whole seconds from 2s to 2m"
                )
            for option in volume["options"]:
                if option in _OURS:
                    yield Problem(
                        (*here, "options", option),
                        "is set by the service; it has keys of its own for what can be chosen",
                    )
            yield from _check_mount(here, volume)
            for key, place in (("brick", _brick(name, volume)), ("mount", volume.get("mount"))):
                if place is None:
                    continue
                for other, owner in places.items():
                    if (place + "/").startswith(other + "/") or (other + "/").startswith(place + "/"):
                        yield Problem((*here, key), f"{place} and {other}, {owner}, lie in one another")
                places[place] = f"{key} of {name}"

    def notes(self, service: Service, topology: Topology) -> Iterator[str]:
        """What two copies risk."""
        for name, volume in service.options["volumes"].items():
            if _replica(service, volume) == "2":
                yield (
                    f"{service.name}: volume {name} has two copies, and each goes on without the other. When one takes writes without "
                    "knowing the other's last ones, the files contradict each other, and a person must choose, file by file "
                    "(split-brain). To prevent that as far as it can, the cluster keeps a node that returns alone from serving until the "
                    "other one is there; a third node with replica: arbiter, which holds names and no contents, prevents it at any "
                    "moment and needs no such wait, and so does replica: 3"
                )

    def claims(self, service: Service) -> Iterator[tuple[str, str]]:
        """A node has one glusterd, and a directory is one service's."""
        yield "glusterd", "the unit glusterd.service"
        yield "port", _DAEMON_PORT
        for name, volume in service.options["volumes"].items():
            yield "volumes.brick", _brick(name, volume)
            if "mount" in volume:
                yield "to", volume["mount"]

    def ports(self, service: Service, topology: Topology) -> Iterator[Port]:
        """The daemon and the bricks. Clients talk to both."""
        outside = {client for volume in service.options["volumes"].values() for client in volume["clients"]}
        networks = [_network(client) for client in sorted(outside)]
        sources = () if None in networks else tuple(filter(None, networks))
        who: Literal["nodes", "clients"] = "clients" if outside else "nodes"
        yield Port(_DAEMON_PORT, "tcp", who, "GlusterFS management", sources=sources)
        yield Port(_BRICK_PORTS, "tcp", who, "GlusterFS bricks", sources=sources)

    def part(self, service: Service, topology: Topology) -> Part:
        """The clones and their order."""
        nodes = " ".join(f"{node}:{topology.nodes[node].links[0]}" for node in service.nodes)
        daemon = model.primitive(
            service.name,
            ("ocf", "hafailover", "glusterd"),
            {"nodes": nodes},
            (
                model.operation(service.name, "start", "0", timeout="120s"),
                model.operation(service.name, "stop", "0", timeout="60s"),
                model.operation(service.name, "monitor", "10s", timeout="60s"),
            ),
            TIRELESS,
        )
        parts = [on_each_of_its_nodes(service, topology, daemon)]
        constraints: list[Constraint] = []
        for name in service.options["volumes"]:
            resource = _resource(service, name)
            parts.append(on_each_of_its_nodes(service, topology, _volume(service, name, nodes), _TOGETHER, resource))
            constraints += _one_way(clone_name(service), f"{resource}-clone")
        previous = ""
        for name in _mounted(service):
            resource, mount = _resource(service, name), _mount(service, topology, name)
            parts.append(on_each_of_its_nodes(service, topology, mount, None, mount.id))
            clone = f"{mount.id}-clone"
            constraints += _one_way(f"{resource}-clone", clone)
            # The start of a volume's instance succeeds while it still waits for other nodes.
            constraints.append(model.where_defined(f"{clone}-where-{resource}", clone, f"{resource}-ready"))
            if previous:
                # The last one stands for all. No group: a volume that is added and not ready yet would have the others unmounted.
                constraints.append(model.colocation(f"{clone}-with-{previous}", clone, previous, None))
                constraints.append(model.order(f"{clone}-after-{previous}", previous, "start", clone, "start"))
            previous = clone
        return Part(
            tuple(resource for part in parts for resource in part.resources),
            (*(constraint for part in parts for constraint in part.constraints), *constraints),
        )

    def anchor(self, service: Service, role: str | None) -> Anchor:
        """All volumes are mounted; where none is, the last of them serves."""
        mounted = _mounted(service)
        name = (
            _mount_name(service, mounted[-1]) if mounted else _resource(service, list(service.options["volumes"])[-1])
        )
        return Anchor(f"{name}-clone", None, "start", service.nodes)

    def files(self, service: Service, topology: Topology, node: str, read: ReadSecret) -> list[RenderedFile]:
        """Shutdown stops Pacemaker before it takes mounts away."""
        return [mount_ordering_file(service)] if node in service.nodes else []


# A volume forms itself over all nodes: its instances must start together. Each is told when another one's node was fenced.
_TOGETHER = {"ordered": "false", "notify": "true"}


def _replica(service: Service, volume: dict[str, Any]) -> str:
    return str(volume.get("replica", 2 if len(service.nodes) == 2 else 3))


def _way_out(replica: str) -> str:
    return "; name more nodes in on, or choose replica: 2" if replica != "2" else "; name another node in on"


def _brick(name: str, volume: dict[str, Any]) -> str:
    place: str = volume.get("brick", f"/srv/gluster/{name}")
    return place


def _resource(service: Service, volume: str) -> str:
    return f"{service.name}-{volume}"


def _mounted(service: Service) -> list[str]:
    """The volumes that are mounted, in the order of their mounts."""
    return [name for name, volume in service.options["volumes"].items() if "mount" in volume]


def _mount_name(service: Service, volume: str) -> str:
    return f"{_resource(service, volume)}-mount"


def _check_mount(here: tuple[str, ...], volume: dict[str, Any]) -> Iterator[Problem]:
    if "mount" in volume:
        wrong = decide.unmountable(volume["mount"])
        if wrong:
            yield Problem((*here, "mount"), f"{volume['mount']} is {wrong}")
    elif "mount_options" in volume:
        yield Problem((*here, "mount_options"), "is for a mount, and there is none; give mount")
    reason = options.refusal(volume.get("mount_options", "").split(","))
    if reason:
        yield Problem((*here, "mount_options"), reason)


def _one_way(first: str, then: str) -> list[Constraint]:
    """``then`` begins after ``first`` and does not end with it; where both have to stop it goes first."""
    return [
        model.order(f"{then}-after-{first}", first, "start", then, "start", symmetrical=False),
        model.order(f"{then}-stops-before-{first}", then, "stop", first, "stop", kind="Optional", symmetrical=False),
    ]


def _volume(service: Service, name: str, nodes: str) -> Primitive:
    volume, resource = service.options["volumes"][name], _resource(service, name)
    params = {"volume": name, "nodes": nodes, "replica": _replica(service, volume), "brick": _brick(name, volume)}
    if "device" in volume:
        params["device"] = volume["device"]
        if volume["fstype"] != "xfs":
            params["fstype"] = volume["fstype"]
    params["options"] = " ".join(f"{key}={value}" for key, value in _options(service, volume, nodes).items())
    operations = (
        model.operation(resource, "start", "0", timeout="240s"),
        model.operation(resource, "stop", "0", timeout="90s"),
        model.operation(resource, "monitor", "10s", timeout="120s"),
        model.operation(resource, "notify", "0", timeout="20s"),
    )
    return model.primitive(resource, ("ocf", "hafailover", "glustervolume"), params, operations, TIRELESS)


def _options(service: Service, volume: dict[str, Any], nodes: str) -> dict[str, str]:
    own = [entry.partition(":")[2] for entry in nodes.split()]
    found = {
        "network.ping-timeout": str(milliseconds(volume["ping_timeout"]) // 1000),
        "auth.allow": ",".join([*own, "127.0.0.1", *volume["clients"]]),
        # With two of three bricks writes go on, with one they fail: two sides can never both be written. Two copies have no majority.
        "cluster.quorum-type": "none" if _replica(service, volume) == "2" else "auto",
        # A directory that is healed leaves its new files to the next round, which begins so many seconds later: by default, ten minutes in
        # which there is one copy less. A round that finds nothing costs next to nothing.
        "cluster.heal-timeout": "10",
        "cluster.self-heal-daemon": "on",
    }
    for key, value in volume["options"].items():
        found[key] = ("on" if value else "off") if isinstance(value, bool) else str(value)
    return found


def _mount(service: Service, topology: Topology, name: str) -> Primitive:
    volume, resource = service.options["volumes"][name], _mount_name(service, name)
    # Two are enough, and nodes that are added later do not change the mounts that are there.
    others = ":".join(topology.nodes[node].links[0] for node in service.nodes[:2])
    # From its own node's glusterd, which runs when this starts; the others are asked only when that is just being restarted. Files are
    # read and written on the bricks themselves, wherever the description of the volume came from.
    chosen = [f"backup-volfile-servers={others}", *filter(None, volume.get("mount_options", "").split(","))]
    params = {
        "server": "localhost",
        "export": f"/{name}",
        "directory": volume["mount"],
        "fstype": "glusterfs",
        "options": ",".join(chosen),
    }
    operations = (
        model.operation(resource, "start", "0", timeout="60s"),
        model.operation(resource, "stop", "0", timeout="60s"),
        model.operation(resource, "monitor", "10s", timeout="30s"),
    )
    return model.primitive(resource, ("ocf", "hafailover", "nfsmount"), params, operations)


SERVICE_TYPE = GlusterFS()
