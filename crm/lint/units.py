"""Which units of systemd a resource is, and which systemd starts at boot: told by files, because a systemd that hangs does not answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hafailover.agents.st2.names import Wanted

if TYPE_CHECKING:
    from hafailover.crm.lint.node_files import NodeFiles
    from hafailover.crm.resolved import Resource

DIRECTORIES = (
    "/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
    "/run/systemd/generator", "/run/systemd/generator.late",
)  # fmt: skip
_KINDS = ("wants", "requires", "upholds")
# What a boot reaches; a target that one of them pulls in is reached, too.
_AT_BOOT = (
    "default", "multi-user", "graphical", "basic", "sysinit", "local-fs", "remote-fs", "network", "network-online", "network-pre",
    "sockets", "timers", "paths", "nfs-client", "resource-agents-deps", "getty", "cloud-init",
)  # fmt: skip
_DATABASE = ("mariadb", "mysql", "mysqld")
# Units that distributions have for what an agent starts by itself.
_OF_AGENTS: dict[str, tuple[str, ...]] = {
    "ocf:heartbeat:mysql": _DATABASE,
    "ocf:heartbeat:mariadb": _DATABASE,
    "ocf:heartbeat:galera": _DATABASE,
    "ocf:hafailover:mariadb": _DATABASE,
    "ocf:percona:mysql": _DATABASE,
    "ocf:heartbeat:apache": ("apache2", "httpd"),
    "ocf:hafailover:apache": ("apache2",),
    "ocf:heartbeat:nginx": ("nginx",),
    "ocf:heartbeat:nfsserver": ("nfs-server", "nfs-kernel-server"),
    "ocf:heartbeat:rabbitmq-cluster": ("rabbitmq-server",),
    "ocf:rabbitmq:rabbitmq-server-ha": ("rabbitmq-server",),
    "ocf:hafailover:rabbitmq": ("rabbitmq-server",),
    "ocf:hafailover:memcached": ("memcached",),
    "ocf:hafailover:glusterd": ("glusterd",),
    "ocf:heartbeat:redis": ("redis-server", "redis"),
    "ocf:heartbeat:haproxy": ("haproxy",),
    "ocf:heartbeat:named": ("named", "bind9"),
    "ocf:heartbeat:dhcpd": ("isc-dhcp-server", "dhcpd"),
    "ocf:heartbeat:dovecot": ("dovecot",),
    "ocf:heartbeat:postfix": ("postfix",),
    "ocf:heartbeat:slapd": ("slapd",),
    "ocf:heartbeat:Squid": ("squid",),
    "ocf:heartbeat:tomcat": ("tomcat", "tomcat9", "tomcat10"),
    "ocf:hafailover:tomcat": ("tomcat10",),
    "ocf:heartbeat:CTDB": ("ctdb",),
    "ocf:linbit:drbd": ("drbd",),
}


def of(resource: Resource) -> tuple[str, ...]:
    """The units that a resource starts and stops, such as mariadb.service; any of them, where distributions call it differently."""
    if resource.agent.startswith(("systemd:", "service:")):
        return (_unit(resource.agent.partition(":")[2]),)
    if resource.agent == "ocf:hafailover:st2":
        try:
            return tuple(_unit(name) for name in Wanted(resource.params.get("units", "")).names)
        except ValueError:
            return ()
    written = resource.params.get("unit", "").strip()
    if written:
        return (_unit(written),)
    if "catalina_home" in resource.params and resource.agent == "ocf:hafailover:tomcat":
        return ()
    return tuple(map(_unit, _OF_AGENTS.get(resource.agent, ())))


def _unit(name: str) -> str:
    return name if re.search(r"\.(service|socket|mount|target|timer|path)$", name) else f"{name}.service"


def enabled(files: NodeFiles) -> dict[str, str]:
    """Every unit that something starts at boot → the link that says so; names that are aliases are given as what they stand for."""
    found: dict[str, str] = {}
    waiting, seen = [f"{name}.target" for name in _AT_BOOT], set[str]()
    while waiting:
        target = waiting.pop(0)
        if target in seen:
            continue
        seen.add(target)
        for unit, link in _pulled_in(files, target):
            name = canonical(files, unit)
            if not is_masked(files, name):
                found.setdefault(name, link)
                if name.endswith(".target"):
                    waiting.append(name)
    return found


def _pulled_in(files: NodeFiles, target: str) -> Iterator[tuple[str, str]]:
    """Each unit that a target wants, with the link that says so."""
    for directory in DIRECTORIES:
        for kind in _KINDS:
            for unit in files.names(f"{directory}/{target}.{kind}"):
                yield unit, f"{directory}/{target}.{kind}/{unit}"


def canonical(files: NodeFiles, unit: str) -> str:
    """The unit that an alias stands for: mysql.service → mariadb.service."""
    for directory in DIRECTORIES:
        target = files.link(f"{directory}/{unit}")
        if target is not None and target != "/dev/null":
            name = target.rpartition("/")[2]
            # A unit that only lies elsewhere has the same name.
            return name if name.rpartition(".")[2] == unit.rpartition(".")[2] else unit
        if target is not None or files.is_there(f"{directory}/{unit}"):
            return unit
    return unit


def is_masked(files: NodeFiles, unit: str) -> bool:
    """Whether nobody can start it."""
    return any(
        files.link(f"{directory}/{unit}") == "/dev/null" for directory in ("/etc/systemd/system", "/run/systemd/system")
    )


def mount_points(units: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The directories of mount and automount units among ``units``, with the unit."""
    for unit in units:
        name, dot, suffix = unit.rpartition(".")
        if dot and suffix in ("mount", "automount"):
            yield unescaped(name), unit


def unescaped(name: str) -> str:
    r"""The path that the name of a mount unit stands for: srv-my\x2ddata → /srv/my-data."""
    plain = name.replace("-", "/")
    return "/" + re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), plain).lstrip("/")
