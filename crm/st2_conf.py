"""What has to be in st2.conf of a node with StackStorm's services: where broker, database and coordination are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from hafailover.crm.edits import ini_set
from hafailover.crm.edits.ini import Values
from hafailover.crm.external import MongoDB, Redis
from hafailover.crm.files import FileEdit
from hafailover.crm.schema import Problem
from hafailover.crm.urls import Host

if TYPE_CHECKING:
    from hafailover.crm.service import ReadSecret
    from hafailover.crm.topology import Service, Topology

PATH = "/etc/st2/st2.conf"
_TYPE, _BROKER, _USER = "stackstorm", "rabbitmq", "st2"


class Broker(NamedTuple):
    """Where messages go: (host, virtual host, TLS) of each node, the account and the reference of its password."""

    nodes: tuple[tuple[Host, str, bool], ...]
    user: str
    password: str


def edits(service: Service, topology: Topology, node: str, read: ReadSecret) -> list[FileEdit]:
    """The change to st2.conf on ``node``: one, however many services of StackStorm run there."""
    here = _services(topology, node)
    if not here or here[0].name != service.name:
        return []
    values = settings(topology, here, read)
    return [FileEdit(PATH, lambda old: ini_set(old, values, PATH), 0o640, "root", "st2", secret=True)]


def settings(topology: Topology, services: list[Service], read: ReadSecret) -> Values:
    """Section → key → value for a node with these services of StackStorm; UsageError when a secret cannot be read."""
    values: dict[str, dict[str, str | None]] = {}
    broker = next((found for found in (_broker(service, topology) for service in services) if found), None)
    if broker:
        password = read(broker.password).decode()
        urls = [_amqp(host, vhost, tls, broker.user, password) for host, vhost, tls in broker.nodes]
        # With cluster_urls nothing reads url; left there it would tell people of a broker that is not used.
        values["messaging"] = {"cluster_urls": ",".join(urls), "url": None}
    if topology.external.mongodb:
        values["database"] = dict(_database(topology.external.mongodb, read))
    if topology.external.redis:
        values["coordination"] = {"url": _coordination(topology.external.redis, read)}
    return values


def problems(service: Service, topology: Topology) -> Iterator[Problem]:
    """What would leave this service without an account for its broker."""
    broker = _service_broker(service, topology)
    if broker and _account(broker) is None:
        yield Problem(
            ("after",),
            f"{broker.name} has no account for StackStorm: give it users: {{{_USER}: {{}}}} (of several, the one named {_USER} is used)",
        )


def notes(topology: Topology) -> list[str]:
    """What a person should know, though it stops nothing."""
    spread = [
        service.name
        for service in topology.services.values()
        if service.type == _TYPE and len(service.nodes) > 1 and service.options.get("units") != "singleton"
    ]
    found = []
    if spread and not topology.external.redis:
        found.append(
            f"{' and '.join(spread)}: StackStorm on several nodes needs a coordination service, or policies are applied once per node; "
            "give external.redis, or set url in [coordination] of st2.conf"
        )
    if spread and not topology.external.mongodb:
        found.append(
            f"{' and '.join(spread)}: every node needs the same MongoDB; give external.mongodb, or set host in [database] of st2.conf"
        )
    return found


def _services(topology: Topology, node: str) -> list[Service]:
    return [service for service in topology.services.values() if service.type == _TYPE and node in service.nodes]


def _service_broker(service: Service, topology: Topology) -> Service | None:
    """The broker in the cluster that ``service`` comes after or is with."""
    references = [*service.after, *([service.beside] if service.beside else [])]
    named = [topology.services.get(reference.partition(".")[0]) for reference in references]
    return next((found for found in named if found is not None and found.type == _BROKER), None)


def _broker(service: Service, topology: Topology) -> Broker | None:
    inside = _service_broker(service, topology)
    if inside is None:
        outside = topology.external.rabbitmq
        if outside is None:
            return None
        nodes = tuple((url.hosts[0], vhost, url.scheme == "amqps") for url, vhost in outside.nodes)
        return Broker(nodes, outside.user, outside.password)
    user = _account(inside)
    if user is None:
        return None
    about = inside.options["users"][user]
    vhost = str((about.get("vhosts") or inside.options.get("vhosts") or ["/"])[0])
    port = int(inside.options.get("port", 5672))
    return Broker(
        tuple((Host(topology.nodes[node].links[0], port), vhost, False) for node in inside.nodes),
        user,
        str(about.get("password", f"file:{inside.name}-{user}")),
    )


def _account(broker: Service) -> str | None:
    users = list(broker.options.get("users", {}))
    return _USER if _USER in users else users[0] if len(users) == 1 else None


def _amqp(host: Host, vhost: str, tls: bool, user: str, password: str) -> str:
    path = "" if vhost == "/" else quote(vhost, safe="")
    return f"amqp://{quote(user, safe='')}:{quote(password, safe='')}@{host.written}/{path}{'?ssl=true' if tls else ''}"


def _database(mongodb: MongoDB, read: ReadSecret) -> Iterator[tuple[str, str | None]]:
    single = mongodb.hosts[0] if len(mongodb.hosts) == 1 and mongodb.plain else None
    if single:
        yield "host", single.name
        yield "port", str(single.port)
    else:
        yield "host", _literal(mongodb.uri)
    if mongodb.user and mongodb.password:
        yield "username", _literal(mongodb.user)
        yield "password", _literal(read(mongodb.password).decode())


def _coordination(redis: Redis, read: ReadSecret) -> str:
    """The URL in the form of tooz, which StackStorm uses."""
    account = f":{quote(read(redis.password).decode(), safe='')}@" if redis.password else ""
    first, *others = redis.hosts
    options = []
    if redis.sentinel:
        options.append(f"sentinel={quote(redis.sentinel, safe='')}")
        options += [f"sentinel_fallback={host.written}" for host in others]
    if redis.database:
        options.append(f"db={redis.database}")
    if redis.tls:
        options.append("ssl=true")
    return f"redis://{account}{first.written}{'?' if options else ''}{'&'.join(options)}"


def _literal(value: str) -> str:
    """``value`` in a file in which $NAME means the value of another option."""
    return value.replace("$", "$$")
