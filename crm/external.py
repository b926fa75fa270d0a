"""What a topology says of services that run elsewhere: they are observed and used, never started or stopped."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hafailover.crm.urls import BadUrl, Host, Url, one_host, parse_host, parse_url
from hafailover.crm.yamldoc import Path_

if TYPE_CHECKING:
    from hafailover.crm.topology import Topology


@dataclass(frozen=True)
class MongoDB:
    """``uri`` is as it was written; ``replica_set`` is None for a single server; passwords are ``file:`` references.

    plain: the URI says nothing but where a server is.
    """

    uri: str
    hosts: tuple[Host, ...]
    arbiters: tuple[Host, ...]
    replica_set: str | None
    plain: bool
    tls: bool
    ca_file: str | None
    user: str | None
    password: str | None


@dataclass(frozen=True)
class Redis:
    """One server, or sentinels that know one by the name ``sentinel``."""

    hosts: tuple[Host, ...]
    sentinel: str | None
    database: int
    tls: bool
    password: str | None


@dataclass(frozen=True)
class RabbitMQ:
    """The nodes of a broker, each with its virtual host: (URL, virtual host)."""

    nodes: tuple[tuple[Url, str], ...]
    user: str
    password: str


@dataclass(frozen=True)
class External:
    """Everything outside; None for what is not named."""

    mongodb: MongoDB | None = None
    redis: Redis | None = None
    rabbitmq: RabbitMQ | None = None
    mariadb: Host | None = None
    storage: Host | None = None

    def secrets(self) -> Iterator[tuple[Path_, str]]:
        """The place of each secret in the topology, and its reference."""
        for name in ("mongodb", "redis", "rabbitmq"):
            password = getattr(getattr(self, name), "password", None)
            if password is not None:
                yield ("external", name, "password"), password


def mongodb_url(uri: str) -> Url:
    """The members and options in ``uri``; BadUrl."""
    if uri.startswith("mongodb+srv://"):
        raise BadUrl(
            "leaves its members to the DNS, which may fail when they are needed; write mongodb://HOST,HOST,HOST/"
        )
    url = parse_url(uri, {"mongodb": 27017})
    if any("password" in name for name in url.options):
        raise BadUrl("holds a password among its options; use a file that the account of the service can read")
    if url.options.get("replicaset") == "":
        raise BadUrl("has an empty replicaSet; name the set")
    return url


def redis_hosts(written: Mapping[str, Any]) -> Url:
    """The server or the sentinels that the key ``redis`` names; BadUrl."""
    if "url" not in written:
        return Url("redis", tuple(parse_host(host, 26379) for host in written["hosts"]), "", {})
    url = parse_url(written["url"], {"redis": 6379, "rediss": 6379})
    one_host(url, "redis://HOST:PORT/DATABASE")
    if url.options:
        raise BadUrl("has options, which are not known here; hosts and sentinel are keys of their own")
    if url.path and not re.fullmatch(r"\d{1,4}", url.path):
        raise BadUrl("must end with the number of a database, or after the port")
    return url


def build(written: Mapping[str, Any]) -> External:
    """The typed form of the mapping ``external``, which has no problems."""
    return External(
        mongodb=_mongodb(written["mongodb"]) if "mongodb" in written else None,
        redis=_redis(written["redis"]) if "redis" in written else None,
        rabbitmq=_rabbitmq(written["rabbitmq"]) if "rabbitmq" in written else None,
        mariadb=_plain(written.get("mariadb")),
        storage=_plain(written.get("storage")),
    )


def _mongodb(written: Mapping[str, Any]) -> MongoDB:
    url = mongodb_url(written["uri"])
    return MongoDB(
        uri=written["uri"],
        hosts=url.hosts,
        arbiters=tuple(parse_host(host, 27017) for host in written.get("arbiters", ())),
        replica_set=url.options.get("replicaset"),
        plain=not url.options and not url.path,
        tls="true" in (url.options.get("tls"), url.options.get("ssl")),
        ca_file=url.options.get("tlscafile") or url.options.get("ssl_ca_certs"),
        user=written.get("user"),
        password=written.get("password"),
    )


def _redis(written: Mapping[str, Any]) -> Redis:
    url = redis_hosts(written)
    return Redis(
        url.hosts, written.get("sentinel"), int(url.path or 0), url.scheme == "rediss", written.get("password")
    )


def _rabbitmq(written: Mapping[str, Any]) -> RabbitMQ:
    urls = [parse_url(url, {"amqp": 5672, "amqps": 5671}) for url in written["urls"]]
    return RabbitMQ(tuple((url, url.path or "/") for url in urls), written["user"], written["password"])


def _plain(written: Mapping[str, Any] | None) -> Host | None:
    return None if written is None else parse_host(written["host"], written["port"])


def mongodb_members(topology: Topology) -> Mapping[str, str]:
    """The nodes that are members of the external MongoDB: node → the address of it that the others use."""
    if topology.external.mongodb is None:
        return {}
    named = [host.name for host in (*topology.external.mongodb.hosts, *topology.external.mongodb.arbiters)]
    found = {}
    for node in topology.nodes.values():
        links = {str(ipaddress.ip_address(link)): link for link in node.links}
        address = node.links[0] if node.name in named else next((links[name] for name in named if name in links), None)
        if address is not None:
            found[node.name] = address
    return found
