"""What one resource, or corosync.conf, says in words of its own: the address and its prefix, a mount's directory, whether it holds data.

How resources stand to each other is asked in crm/lint/cluster.py.
"""

from __future__ import annotations

import ipaddress
import posixpath
from collections.abc import Iterable
from typing import TYPE_CHECKING, Union

from hafailover.crm.lint.cluster import ADDRESSES

if TYPE_CHECKING:
    from hafailover.crm.corosync_conf import CorosyncConf
    from hafailover.crm.lint import Facts
    from hafailover.crm.resolved import Resource

IP = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

_MOUNTS = {
    "ocf:heartbeat:Filesystem": "directory",
    "ocf:hafailover:nfsmount": "directory",
    "ocf:hafailover:glustervolume": "mount",
}
_DATA = frozenset(
    {"Filesystem", "nfsmount", "drbd", "LVM", "LVM-activate", "ZFS", "mdraid", "Raid1", "glustervolume", "exportfs", "mariadb", "mysql",
     "galera", "pgsql", "pgsqlms", "redis", "oracle", "db2", "sapdb", "iscsi", "rbd.in"}
)  # fmt: skip
_LOCAL_NAMES = frozenset({"localhost", "ip6-localhost", "ip6-loopback", "localhost.localdomain"})


def kind(resource: Resource) -> str:
    """The last word of its agent: IPaddr2, mariadb; "" for a group or clone."""
    return resource.agent.rpartition(":")[2]


def address(resource: Resource) -> tuple[IP, int | None] | None:
    """The address that a resource brings up, and its prefix when that is said; None for what is no address."""
    written = resource.params.get(ADDRESSES.get(resource.agent, ""))
    if written is None:
        return None
    plain, _, prefix = written.strip().partition("/")
    try:
        found = ipaddress.ip_address(plain)
    except ValueError:
        return None
    mask = prefix or resource.params.get("cidr_netmask", "")
    return found, _prefix(found, mask)


def _prefix(found: IP, mask: str) -> int | None:
    try:
        # Also the old form, 255.255.255.0.
        return ipaddress.ip_network(f"{'0.0.0.0' if found.version == 4 else '::'}/{mask}").prefixlen if mask else None  # noqa: S104
    except ValueError:
        return None


def mount_point(resource: Resource) -> str | None:
    """The directory that a resource mounts something at, without superfluous parts; None for what mounts nothing."""
    written = resource.params.get(_MOUNTS.get(resource.agent, ""))
    if not written or not written.startswith("/"):
        return None
    return plain_path(written)


def plain_path(path: str) -> str:
    """``//srv/./x/`` → ``/srv/x``."""
    return "/" + posixpath.normpath(path).lstrip("/")


def is_data(resource: Resource) -> bool:
    """Whether others find their data with it: a file system, a database."""
    return kind(resource) in _DATA


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own, which nobody else can reach."""
    plain = host.strip().strip("[]").lower()
    if plain in _LOCAL_NAMES:
        return True
    try:
        found = ipaddress.ip_address(plain.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def addresses(conf: CorosyncConf) -> dict[IP, str]:
    """The addresses of the nodes' links, each with the node that has it; names of hosts are left out."""
    found: dict[IP, str] = {}
    for node in conf.nodes:
        for link in node.links.values():
            try:
                found.setdefault(ipaddress.ip_address(link), node.called)
            except ValueError:
                continue
    return found


def node_count(facts: Facts) -> int:
    """How many nodes the cluster has, as far as that is known; 0 when it is not."""
    if facts.corosync is not None and facts.corosync.nodes:
        return len(facts.corosync.nodes)
    return len(facts.resolved.nodes) if facts.resolved is not None else 0


def words(values: Iterable[str]) -> str:
    """``a, b and c``."""
    found = list(values)
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def snippet(facts: Facts, crm: str, yaml: str) -> str:
    """What to paste: into the topology, where there is one, else for crmsh."""
    return crm if facts.topology is None else yaml
