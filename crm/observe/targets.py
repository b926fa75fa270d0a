"""What to look at, as the file each node keeps of it: without secrets, and readable without loading a topology."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from hafailover.crm.external import External

PATH = "/etc/hafailover/external.json"
REDIS_PASSWORD = "/etc/hafailover/external-redis.cred"  # noqa: S105 (a path)


class Target(NamedTuple):
    """Something outside: its kind (a key of ``external``), (host, port, TLS) of each address, and what it is called there.

    name: MongoDB's replica set, or the sentinels' name of the primary; "" for a single server.
    """

    kind: str
    addresses: tuple[tuple[str, int, bool], ...]
    name: str = ""
    ca_file: str | None = None


def of(external: External) -> tuple[Target, ...]:
    """Everything that ``external`` names."""
    found = []
    if external.mongodb:
        one = external.mongodb
        addresses = tuple((host.name, host.port, one.tls) for host in (*one.hosts, *one.arbiters))
        found.append(Target("mongodb", addresses, one.replica_set or "", one.ca_file))
    if external.redis:
        addresses = tuple((host.name, host.port, external.redis.tls) for host in external.redis.hosts)
        found.append(Target("redis", addresses, external.redis.sentinel or ""))
    if external.rabbitmq:
        urls = dict.fromkeys((url.hosts[0], url.scheme == "amqps") for url, _ in external.rabbitmq.nodes)
        found.append(Target("rabbitmq", tuple((host.name, host.port, tls) for host, tls in urls)))
    for kind, host in (("mariadb", external.mariadb), ("storage", external.storage)):
        if host:
            found.append(Target(kind, ((host.name, host.port, False),)))
    return tuple(found)


def written(targets: tuple[Target, ...]) -> bytes:
    """The file's content, a line for each."""
    lines = ",\n ".join(json.dumps(target._asdict()) for target in targets)
    return f"[{lines}]\n".encode()


def read(content: str) -> tuple[Target, ...]:
    """The targets in a file's content; ValueError when it is not what :func:`written` made."""
    try:
        return tuple(_target(entry) for entry in json.loads(content))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"is not a list of targets ({error})") from error


def _target(entry: dict[str, Any]) -> Target:
    addresses = tuple((str(host), int(port), bool(tls)) for host, port, tls in entry["addresses"])
    ca_file = entry["ca_file"]
    return Target(str(entry["kind"]), addresses, str(entry["name"]), None if ca_file is None else str(ca_file))
