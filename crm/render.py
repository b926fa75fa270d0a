"""The files of a node: Corosync's, each service's, the topology itself, and what fence agents read their secrets from."""

from __future__ import annotations

import secrets as random
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

from hafailover.crm import (
    alerting,
    corosync,
    files,
    firewall,
    mod_jk,
    mongod_conf,
    promotion_hooks,
    sbd,
    st2_conf,
)
from hafailover.crm.edits import directives_off, hosts_set, ini_set, is_marked, yaml_set
from hafailover.crm.errors import UsageError
from hafailover.crm.files import FileEdit, RenderedFile
from hafailover.crm.generate import secret_script
from hafailover.crm.observe import targets
from hafailover.crm.schema import unknown
from hafailover.crm.service import ReadSecret, service_types
from hafailover.crm.services import memcached, tomcat
from hafailover.crm.topology import Topology
from hafailover.crm.yamldoc import Path_, dotted

__all__ = ["FileEdit", "RenderedFile", "create_secrets", "edits", "render", "secret_references"]

AUTHKEY_BYTES = range(128, 4097)
MAX_SECRET = 4096
TOPOLOGY_PATH = "/etc/hafailover/topology.yml"
HOSTS_PATH = "/etc/hafailover/hosts"
ETC_HOSTS = "/etc/hosts"
AUTHKEY_PATH = "/etc/corosync/authkey"


def render(topology: Topology, node: str, read: ReadSecret | None = None) -> list[RenderedFile]:
    """Every file of ``node`` in order of path; UsageError when there is no such node or a secret cannot be read.

    ``read`` reads the secrets in place of the topology's own.

    The quorum device's host, which is no node, has its firewall's fragment, and what its daemon needs.
    """
    if node == device_host(topology):
        fragment = RenderedFile(firewall.device_path(topology), firewall.device_fragment(topology).encode())
        return [fragment, *corosync.device_daemon(topology)]
    if node not in topology.nodes:
        raise UsageError(f"{topology.file}: {unknown('node', node, topology.nodes)}")
    read = read or _reader(topology)
    found = [
        RenderedFile("/etc/corosync/corosync.conf", corosync.text(topology).encode()),
        RenderedFile(HOSTS_PATH, _hosts(topology).encode()),
        RenderedFile(TOPOLOGY_PATH, topology.text.encode()),
        RenderedFile(firewall.PATH, firewall.fragment(topology, node).encode()),
    ]
    if topology.authkey:
        found.append(RenderedFile(AUTHKEY_PATH, _authkey(topology, read(topology.authkey)), 0o400, secret=True))
    for device, parameter, reference in _fence_secrets(topology):
        script = f"#!/bin/sh\nprintf '%s\\n' {shlex.quote(read(reference).decode())}\n"
        found.append(RenderedFile(secret_script(device, parameter), script.encode(), 0o700, secret=True))
    found += corosync.node_daemon(topology)
    found += sbd.files(topology)
    found += _external(topology, read)
    found += alerting.files(topology, node, read)
    found += promotion_hooks.files(topology)
    for service in topology.services.values():
        found += service_types()[service.type].files(service, topology, node, read)
    return sorted(found, key=lambda file: file.path)


def device_host(topology: Topology) -> str | None:
    """The machine that votes and is no node, as the topology names it."""
    return topology.quorum.device.host if topology.quorum.device else None


def _external(topology: Topology, read: ReadSecret) -> Iterator[RenderedFile]:
    """What status needs to look at services outside."""
    # Also when it is nothing: what was named before must not be looked at for ever.
    yield RenderedFile(targets.PATH, targets.written(targets.of(topology.external)))
    redis = topology.external.redis
    if redis and redis.password:
        yield RenderedFile(targets.REDIS_PASSWORD, read(redis.password) + b"\n", 0o600, secret=True)


def edits(topology: Topology, node: str) -> list[FileEdit]:
    """The changes to files of ``node`` that are not ours alone, in order of path; UsageError as with :func:`render`."""
    if node == device_host(topology):
        return []
    read = _reader(topology)
    links = {name: one.links for name, one in topology.nodes.items()}
    found = [FileEdit(ETC_HOSTS, lambda old: hosts_set(old, links, ETC_HOSTS)), *mongod_conf.edits(topology, node)]
    for service in topology.services.values():
        found += service_types()[service.type].edits(service, topology, node, read)
    there = {edit.path for edit in found}
    # What an earlier topology had changed in a file that this one has no business with.
    undo = {
        mod_jk.MODULE_CONFIG: lambda old: directives_off(old, (), mod_jk.MODULE_CONFIG),
        st2_conf.PATH: lambda old: ini_set(old, {}, st2_conf.PATH),
        mongod_conf.PATH: lambda old: yaml_set(old, {}, mongod_conf.PATH),
        memcached.PATH: memcached.undo,
    }
    found += [_undoing(path, edit) for path, edit in undo.items() if path not in there]
    return sorted(found, key=lambda edit: edit.path)


def _undoing(path: str, edit: Callable[[bytes], bytes]) -> FileEdit:
    return FileEdit(path, lambda old: edit(old) if is_marked(old) else old, secret=True, undo=True)


def notes(topology: Topology) -> list[str]:
    """What a person should know, of the services that were chosen and of files that are not ours, though it stops nothing."""
    return [*corosync.notes(topology), *service_notes(topology), *st2_conf.notes(topology), *tomcat.notes(topology)]


def service_notes(topology: Topology) -> list[str]:
    """What is allowed and has a price, of fencing and of services."""
    return [*sbd.notes(topology), *_of_services(topology)]


def _of_services(topology: Topology) -> list[str]:
    return [note for one in topology.services.values() for note in service_types()[one.type].notes(one, topology)]


def _reader(topology: Topology) -> ReadSecret:
    """What reads the secrets of ``topology``, and knows where each is named when it cannot be read."""
    places = {reference: path for path, reference in reversed(list(secret_references(topology)))}

    def read(reference: str) -> bytes:
        return _read_secret(topology, places.get(reference, ()), reference)

    return read


def secret_references(topology: Topology) -> Iterator[tuple[Path_, str]]:
    """Every secret the topology needs: its place in the topology and the ``file:`` reference."""
    if topology.authkey:
        yield ("cluster", "authkey"), topology.authkey
    for device, parameter, reference in _fence_secrets(topology):
        node = device[len("fence-") :]
        place: Path_ = ("nodes", node, "fence", parameter) if node in topology.nodes else ("fencing", parameter)
        yield place, reference
    for service in topology.services.values():
        for path, reference in service_types()[service.type].secrets(service):
            yield ("services", service.name, *path), reference
    yield from topology.external.secrets()
    yield from alerting.secrets(topology)


def create_secrets(topology: Topology) -> list[Path]:
    """Make the secrets that are missing and that nobody else must know; the new files' paths.

    Not those of fence devices and of services outside of the cluster, which know them already, nor StackStorm's API keys, which it makes.
    """
    return _create(topology, _ours_alone)


def _ours_alone(place: Path_) -> bool:
    """Whether only the cluster has to know the secret at this place of the topology."""
    return not {"fence", "deep_check"} & set(place) and place[0] not in ("fencing", "external", "alerts")


def create_outside_secrets(topology: Topology) -> list[Path]:
    """Make the missing secrets that others give, for a throw-away cluster whose services are made afterwards."""
    # Not an address: what is random leads nowhere.
    return _create(
        topology, lambda place: (place[0] in ("external", "alerts") and place[-1] != "url") or "deep_check" in place
    )


def _create(topology: Topology, wanted: Callable[[Path_], bool]) -> list[Path]:
    made = []
    for place, reference in secret_references(topology):
        path = secret_path(topology, reference)
        if wanted(place) and not _there(topology, place, reference):
            # Hexadecimal, because it goes into configuration files; twice 128 digits are a key for Corosync too.
            size = 128 if place[-1] == "authkey" else 24
            files.write(path, random.token_hex(size).encode() + b"\n" * (size != 128), 0o600)
            made.append(path)
    return made


def _there(topology: Topology, place: Path_, reference: str) -> bool:
    try:
        return secret_path(topology, reference).exists()
    except OSError as error:  # its directory is closed to this user
        raise UsageError(f"{_where(topology, place, reference)} cannot be read: {error.strerror}") from error


def _where(topology: Topology, place: Path_, reference: str) -> str:
    return f"{topology.file}: {dotted(place)}: {reference}: {secret_path(topology, reference)}"


def secret_path(topology: Topology, reference: str) -> Path:
    """The file a ``file:`` reference means."""
    return topology.secrets_dir / reference[len("file:") :]


def _fence_secrets(topology: Topology) -> Iterator[tuple[str, str, str]]:
    devices = [("fence-all", topology.fencing)]
    devices += [(f"fence-{node.name}", node.fence) for node in topology.nodes.values()]
    for name, fence in devices:
        for parameter, value in fence.parameters.items() if fence else ():
            if value.startswith("file:"):
                yield name, parameter, value


def _read_secret(topology: Topology, place: Path_, reference: str) -> bytes:
    path = secret_path(topology, reference)
    where = _where(topology, place, reference)
    try:
        with open(path, "rb") as stream:
            content = stream.read(MAX_SECRET + 1)
    except OSError as error:
        hint = ""
        if isinstance(error, FileNotFoundError):
            made = ", or let --create-secrets do it" if place and _ours_alone(place) else ""
            hint = f"; create it with mode 0600{made}"
        raise UsageError(f"{where} cannot be read: {error.strerror}{hint}") from error
    if len(content) > MAX_SECRET:
        raise UsageError(f"{where} is longer than {MAX_SECRET} bytes, which no secret is")
    if path.stat().st_mode & 0o077:
        raise UsageError(f"{where} can be read by others; chmod 0600 it")
    if place[-1:] == ("authkey",):
        return content
    secret = content.rstrip(b"\r\n")
    try:
        printable = secret.decode("utf-8").isprintable()
    except UnicodeDecodeError:
        printable = False
    if not secret or not printable:
        raise UsageError(f"{where} must hold one line of text")
    return secret


def _authkey(topology: Topology, key: bytes) -> bytes:
    if len(key) not in AUTHKEY_BYTES:
        low, high = AUTHKEY_BYTES[0], AUTHKEY_BYTES[-1]
        raise UsageError(
            f"{topology.file}: cluster.authkey: {topology.authkey} has {len(key)} bytes; Corosync wants {low} to {high} "
            "(corosync-keygen makes one)"
        )
    return key


def _hosts(topology: Topology) -> str:
    lines = [f"{node.links[0]}\t{node.name}" for node in topology.nodes.values()]
    return "\n".join(["# Nodes of the cluster, written by hafailover.", *lines]) + "\n"
