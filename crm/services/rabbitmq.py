"""A RabbitMQ cluster: resources, constraints and files of the service type ``rabbitmq``."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING

from hafailover.crm import model, rabbitmq_options
from hafailover.crm.edits import block
from hafailover.crm.files import FileEdit, RenderedFile
from hafailover.crm.schema import (
    Problem,
    Schema,
    boolean,
    choice,
    duration,
    mapping,
    milliseconds,
    named,
    number,
    path,
    scalars,
    seconds,
    secret,
    text,
)
from hafailover.crm.service import Anchor, Part, Port, ReadSecret, ServiceType, clone_name, on_each_of_its_nodes

if TYPE_CHECKING:
    from hafailover.crm.topology import Service, Topology

COOKIE_PATH = "/var/lib/rabbitmq/.erlang.cookie"
CONFIG_PATH = "/etc/rabbitmq/conf.d/90-hafailover.conf"
ENV_PATH = "/etc/rabbitmq/rabbitmq-env.conf"
_DATA = "/var/lib/rabbitmq/mnesia"
_LISTENERS = {
    "listeners.ssl.default": "AMQP with TLS",
    "management.tcp.port": "management",
    "management.ssl.port": "management with TLS",
    "prometheus.tcp.port": "metrics",
}


def _user() -> Schema:
    return mapping(
        "An account.",
        {
            "password": secret("its password; file:SERVICE-USER when not given"),
            "tags": {
                "type": "array",
                "items": choice("a tag", ["administrator", "monitoring", "policymaker", "management", "impersonator"]),
                "default": [],
                "description": "what it may see and do in RabbitMQ's management",
                "expect": "a list of tags",
            },
            "vhosts": {
                "type": "array",
                "items": text("a virtual host"),
                "description": "the virtual hosts that it may use; all of the service when not given",
                "expect": "a list of virtual hosts",
            },
            "configure": text("the names it may make and delete, a regular expression", default=".*"),
            "write": text("the names it may publish to", default=".*"),
            "read": text("the names it may consume from", default=".*"),
        },
        default={},
    )


class RabbitMQ(ServiceType):
    """A clone, one broker on each node of the service, all in one cluster."""

    name = "rabbitmq"
    summary = "RabbitMQ, brokers that form one cluster by themselves."
    schema = {
        "version": {
            "type": ["string", "integer"],
            "pattern": r"^\d+(\.\d+){0,2}$",
            "minimum": 0,
            "description": "the brokers' version, which decides what queues can be replicated; 3.10 when not given",
            "expect": "a version such as 3.10",
        },
        "queues": choice(
            "mirrored: classic queues have a copy on every node (until 3.13); quorum: quorum queues, on three and more nodes; "
            "single: no copies. Mirrored below version 4, quorum from 4 on, when not given",
            ["mirrored", "quorum", "single"],
        ),
        "promote_unsynced": boolean(
            "true: when the node with a queue's newest copy is lost, an older copy serves, without the messages that it lacks",
            default=False,
        ),
        "partition": choice(
            "what RabbitMQ itself does about a partition; pause_minority needs three nodes",
            ["autoheal", "pause_minority", "ignore"],
            default="autoheal",
        ),
        "port": number("TCP port for clients", 1, 65535, default=5672),
        "detect": duration("silence after which brokers take one another for dead", default="10s"),
        "patience": duration("how long a broker may not pass on a message before it is restarted; 60 s when not given"),
        "partition_patience": duration(
            "how long a partition may last before the losing side is restarted; 60 s when not given"
        ),
        "cookie": secret("the Erlang cookie; file:SERVICE-cookie when not given"),
        "monitor_password": secret("password of the health check's account; file:SERVICE-monitor when not given"),
        "vhosts": {
            "type": "array",
            "items": text("a virtual host", pattern=r"^[^\x00-\x1f\x7f]{1,120}$"),
            "minItems": 1,
            "uniqueItems": True,
            "default": ["/"],
            "description": "virtual hosts",
            "expect": "a list of virtual hosts",
        },
        "users": named("Accounts by name.", _user(), default={}),
        "policies": named(
            "Further policies by name; one with a priority above 0 takes the place of the service's own.",
            mapping(
                "A policy.",
                {
                    "pattern": text("the names it is about, a regular expression"),
                    "vhost": text("its virtual host; all of the service when not given"),
                    "apply_to": choice("what it is about", ["queues", "exchanges", "all"], default="queues"),
                    "priority": number("which policy wins", 0, 1000000, default=1),
                    "definition": scalars("RabbitMQ's own keys and values"),
                },
                ["pattern", "definition"],
            ),
            default={},
        ),
        "data": path("directory of the brokers' data", default=_DATA),
        "options": scalars("further lines of rabbitmq.conf", default={}),
    }

    def check(self, service: Service, topology: Topology) -> Iterator[Problem]:
        """Version, queues and partition handling by the number of nodes; options that are decided here."""
        yield from rabbitmq_options.problems(service)
        for key in ("patience", "partition_patience", "detect"):
            if key in service.options and milliseconds(service.options[key]) < 1000:
                yield Problem((key,), "must be at least a second")

    def claims(self, service: Service) -> Iterator[tuple[str, str]]:
        """A node has one broker: its port, and the names and files that a distribution has one of."""
        yield "port", str(service.options["port"])
        yield "rabbitmq-server", "the unit rabbitmq-server.service"

    def ports(self, service: Service, topology: Topology) -> Iterator[Port]:
        """Clients; between the nodes Erlang's name server, the brokers, and the tools that ask a broker on another node."""
        yield Port(str(service.options["port"]), "tcp", "clients", "AMQP")
        for key, what in _LISTENERS.items():
            number = str(service.options["options"].get(key, ""))
            if number.isdecimal():
                yield Port(number, "tcp", "clients", what)
        yield Port("4369", "tcp", "nodes", "epmd, which tells a broker's port")
        yield Port("25672", "tcp", "nodes", "between brokers")
        yield Port("35672-35682", "tcp", "nodes", "tools of the brokers", listens=False)

    def secrets(self, service: Service) -> Iterator[tuple[tuple[str, ...], str]]:
        """The cookie and every password."""
        yield ("cookie",), _cookie(service)
        yield ("monitor_password",), _monitor(service)
        for name in service.options["users"]:
            yield ("users", name, "password"), _password(service, name)

    def part(self, service: Service, topology: Topology) -> Part:
        """The clone: instances start in any order, and at once."""
        name, options = service.name, service.options
        params = {
            "nodes": " ".join(f"{node}:{topology.nodes[node].links[0]}" for node in service.nodes),
            "credentials": _credentials_path(service),
            "definitions": _definitions_path(service),
            "version": rabbitmq_options.version_text(service),
        }
        if options["port"] != 5672:
            params["port"] = str(options["port"])
        if options["data"] != _DATA:
            params["data"] = options["data"]
        for key in ("patience", "partition_patience"):
            if key in options:
                params[key] = seconds(options[key])
        deep = model.operation(name, "monitor", "300s", timeout="120s")
        level = model.named_set("instance_attributes", f"{deep.id}-instance_attributes", {"OCF_CHECK_LEVEL": "10"})
        operations = (
            model.operation(name, "start", "0", timeout="240s"),
            model.operation(name, "stop", "0", timeout="120s"),
            model.operation(name, "monitor", "10s", timeout="60s"),
            model.Operation(deep.id, deep.name, deep.interval, deep.attributes, (level,)),
        )
        meta = {
            # No number of failures bans a node for good: a broker that was killed has data that the others may need. One that
            # cannot start is held off for failure-timeout, because a failed start counts as infinitely many failures.
            "migration-threshold": "INFINITY",
            "failure-timeout": "60s",
        }
        instance = model.primitive(name, ("ocf", "hafailover", "rabbitmq"), params, operations, meta)
        # After a total stop one instance may wait for data that another one has: they must start together.
        return on_each_of_its_nodes(service, topology, instance, {"ordered": "false"})

    def anchor(self, service: Service, role: str | None) -> Anchor:
        """Followers come after the broker on their own node."""
        return Anchor(clone_name(service), None, "start", service.nodes)

    def files(self, service: Service, topology: Topology, node: str, read: ReadSecret) -> list[RenderedFile]:
        """The configuration, the cookie, the health check's account, and the definitions."""
        if node not in service.nodes:
            return []
        cookie = read(_cookie(service))
        password = read(_monitor(service)).decode()
        passwords = {name: read(_password(service, name)).decode() for name in service.options["users"]}
        credentials = (
            f"user={rabbitmq_options.MONITOR}\npassword={password}\nvhost={rabbitmq_options.MONITOR}\n"
            f"cookie={sha256(cookie).hexdigest()}\n"
        )
        definitions = rabbitmq_options.definitions(service, password, passwords)
        return [
            RenderedFile(CONFIG_PATH, rabbitmq_options.config(service, topology.nodes[node]).encode()),
            RenderedFile(COOKIE_PATH, cookie, 0o400, "rabbitmq", "rabbitmq", secret=True),
            RenderedFile(_credentials_path(service), credentials.encode(), 0o600, secret=True),
            RenderedFile(_definitions_path(service), definitions.encode(), 0o600, secret=True),
        ]

    def edits(self, service: Service, topology: Topology, node: str, read: ReadSecret) -> list[FileEdit]:
        """The broker's name is the node's, whatever the machine calls itself."""
        if node not in service.nodes:
            return []
        return [FileEdit(ENV_PATH, lambda old: block(old, "", [f"NODENAME=rabbit@{node}"], ENV_PATH))]


def _credentials_path(service: Service) -> str:
    return f"/etc/hafailover/{service.name}.cred"


def _definitions_path(service: Service) -> str:
    return f"/etc/hafailover/{service.name}-definitions.cred"


def _cookie(service: Service) -> str:
    return str(service.options.get("cookie", f"file:{service.name}-cookie"))


def _monitor(service: Service) -> str:
    return str(service.options.get("monitor_password", f"file:{service.name}-monitor"))


def _password(service: Service, user: str) -> str:
    return str(service.options["users"][user].get("password", f"file:{service.name}-{user}"))


SERVICE_TYPE = RabbitMQ()
