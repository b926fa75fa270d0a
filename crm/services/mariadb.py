"""MariaDB with one primary and replicas: resources, constraints and files of the service type ``mariadb``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hafailover.agents.mariadb import journal
from hafailover.agents.mariadb.decide import unsupported_version
from hafailover.agents.mariadb.peer_port import peer_port
from hafailover.crm import mariadb_options, model
from hafailover.crm.files import RenderedFile
from hafailover.crm.schema import (
    Problem,
    address,
    boolean,
    duration,
    mapping,
    milliseconds,
    number,
    path,
    scalars,
    seconds,
    secret,
    text,
    unknown,
)
from hafailover.crm.service import (
    Anchor,
    Part,
    Port,
    ReadProperty,
    ReadSecret,
    ServiceType,
    clone_name,
    on_each_of_its_nodes,
)

if TYPE_CHECKING:
    from hafailover.crm.topology import Service, Topology


class MariaDB(ServiceType):
    """A promotable clone, one instance on each node of the service."""

    name = "mariadb"
    summary = "MariaDB, one primary and replicas that miss no acknowledged write."
    roles = ("primary", "replica")
    schema = {
        "version": {
            "type": ["string", "integer"],
            "pattern": r"^\d+(\.\d+){0,2}$",
            "minimum": 0,
            "description": "the server's version, checked before anything is installed",
            "expect": "a version such as 10.11",
        },
        "replication": mapping(
            "The account replicas use.",
            {
                "user": text("its name", default="hafailover_repl", pattern=r"^[A-Za-z0-9_.-]{1,80}$"),
                "password": secret("its password; file:SERVICE-replication when not given"),
            },
            default={},
        ),
        "port": number("TCP port", 1, 65535, default=3306),
        "bind_address": address("address it listens on; every address when not given"),
        "datadir": path("data directory", default="/var/lib/mysql"),
        "socket": path("unix socket", default="/run/mysqld/mysqld.sock"),
        "binary": path("the server program; /usr/sbin/mariadbd when not given"),
        "user": text("system user the server runs as", default="mysql", pattern=r"^[a-z_][a-z0-9_-]{0,31}$"),
        "stall": duration(
            "how long a commit may wait for a replica before the replica is given up; 1 s when not given"
        ),
        "patience": duration(
            "how long the server may take to answer one look before it counts as hung; 5 s when not given"
        ),
        "server_ids": {
            "type": "object",
            "description": "node → server_id, for servers that had one before they came into the cluster; the node's id when not given",
            "additionalProperties": number("server_id", 1, 4294967295),
            "expect": "a mapping of nodes to server_ids",
            "default": {},
        },
        "clone_port": number(
            "TCP port on which a node hears its peers, for cloning; port plus 1138 (3306: 4444) when not given",
            1,
            65535,
        ),
        "clone_rate": number("how many MiB per second a clone may take, 0 for no limit; 50 when not given", 0, 100000),
        "reclone": text(
            "automatic: a replica that cannot follow, and would lose nothing, is cloned without a person; never when not given",
            pattern=r"^(never|automatic)$",
        ),
        "fence_first": boolean(
            "true: when a node is lost, commits wait until it is known to be off, however long fencing takes; false when not given"
        ),
        "options": scalars("further server options, as in my.cnf", default={}),
    }

    def cloned(self, service: Service) -> bool:
        """A primary here, replicas there."""
        return True

    def check(self, service: Service, topology: Topology) -> Iterator[Problem]:
        """Version, options that would break the promise, and the number of replicas."""
        version = service.options.get("version")
        if version is not None:
            refused = unsupported_version(tuple(int(part) for part in (f"{version}.0").split(".")[:3]))
            if refused:
                yield Problem(("version",), refused)
        for key in ("stall", "patience"):
            if key in service.options and milliseconds(service.options[key]) == 0:
                yield Problem((key,), "must be longer than nothing")
        if service.options.get("clone_port") == service.options["port"]:
            yield Problem(("clone_port",), "is the server's own port")
        if len(service.nodes) < 2 and len(topology.nodes) > 1:
            yield Problem(("on",), "names a single node; without a second one there is nothing to fail over to")
        yield from _server_ids(service, topology)
        for name, value in service.options["options"].items():
            reason = mariadb_options.refusal(name, value)
            if reason:
                yield Problem(("options", name), reason)

    def claims(self, service: Service) -> Iterator[tuple[str, str]]:
        """A port, a data directory and a socket belong to one server."""
        for key in ("port", "datadir", "socket"):
            yield key, str(service.options[key])
        # One name for both, so that one service's clones and another's clients cannot meet on a port.
        yield "port", str(peer_port(service.options["port"], service.options.get("clone_port")))

    def ports(self, service: Service, topology: Topology) -> Iterator[Port]:
        """Clients and replicas on one port, clones on another."""
        yield Port(str(service.options["port"]), "tcp", "clients", "MariaDB")
        clones = peer_port(service.options["port"], service.options.get("clone_port"))
        yield Port(str(clones), "tcp", "nodes", "clones of the database")

    def secrets(self, service: Service) -> Iterator[tuple[tuple[str, ...], str]]:
        """The replication password."""
        yield ("replication", "password"), _password(service)

    def still_needed(self, service: Service, node: str, read: ReadProperty) -> str | None:
        """The server that was primary last may hold writes that nobody else has."""
        try:
            entry = journal.read(read(f"hafailover-{service.name}", "journal") or "")
        except journal.JournalError as error:
            return f"who was the last primary of {service.name} cannot be told: {error}"
        if entry.primary == node:
            return (
                f"{node} was the last primary of {service.name} and may hold what nobody else has: start it again, "
                "hafailover promote another node, and stop it then"
            )
        return None

    def part(self, service: Service, topology: Topology) -> Part:
        """The clone; the agent sets the promotion scores, so nothing here prefers a node."""
        name, options = service.name, service.options
        params = {
            "nodes": " ".join(f"{node}:{topology.nodes[node].links[0]}" for node in service.nodes),
            "config": _config_path(service),
            "credentials": _credentials_path(service),
        }
        for key in ("binary", "datadir", "socket", "user", "port"):
            if key in options and options[key] != self.schema[key].get("default"):
                params[key] = str(options[key])
        if "socket" in params:
            params["pid_file"] = mariadb_options.pid_file(options["socket"])
        for key in ("stall", "patience"):
            if key in options:
                params[key] = seconds(options[key])
        if mariadb_options.runs_events(options["options"]):
            params["events"] = "true"
        for key in ("clone_port", "clone_rate", "reclone"):
            if key in options:
                params[key] = str(options[key])
        if "fence_first" in options:
            params["fence_first"] = "true" if options["fence_first"] else "false"
        operations = (
            model.operation(name, "start", "0", timeout="300s"),
            model.operation(name, "stop", "0", timeout="120s"),
            # A promotion that was refused or reached its deadline leaves a healthy replica. Restarting it would end the one life of the
            # server that was proved in sync.
            model.operation(name, "promote", "0", timeout="120s", on_fail="demote"),
            model.operation(name, "demote", "0", timeout="60s"),
            model.operation(name, "notify", "0", timeout="60s"),
            # Two intervals, because Pacemaker tells recurring monitors apart by interval alone.
            model.operation(name, "monitor", "2s", timeout="20s", role="Promoted"),
            model.operation(name, "monitor", "3s", timeout="20s", role="Unpromoted"),
        )
        meta = {
            # No number of failures bans a node. A server that died is reported by lowering its promotion score: the peer
            # is promoted at once, and the next unpromoted monitor, which counts as a failure, restarts the dead one as a
            # replica. A threshold would turn repeated deaths into a node without a replica, and, when the peer is not
            # in sync, ban the only good copy. A server that cannot even start is held off for failure-timeout, because
            # a failed start counts as infinitely many failures.
            "migration-threshold": "INFINITY",
            "failure-timeout": "60s",
        }
        if topology.quorum.two_node:
            # What priority-fencing-delay weighs: the node with the primary survives a split.
            meta["priority"] = "10"
        instance = model.primitive(name, ("ocf", "hafailover", "mariadb"), params, operations, meta)
        promotable = {"promotable": "true", "promoted-max": "1", "promoted-node-max": "1", "notify": "true"}
        return on_each_of_its_nodes(service, topology, instance, promotable)

    def anchor(self, service: Service, role: str | None) -> Anchor:
        """``primary`` comes after promote; ``replica`` and no role after start."""
        roles = {"primary": ("Promoted", "promote"), "replica": ("Unpromoted", "start"), None: (None, "start")}
        promoted, action = roles[role]
        return Anchor(clone_name(service), promoted, action, service.nodes)

    def files(self, service: Service, topology: Topology, node: str, read: ReadSecret) -> list[RenderedFile]:
        """The server's defaults-file and the replication account."""
        if node not in service.nodes:
            return []
        password = read(_password(service)).decode("utf-8", "strict")
        account = f"[replication]\nuser={service.options['replication']['user']}\npassword={password}\n"
        return [
            RenderedFile(_config_path(service), mariadb_options.defaults_file(service, topology.nodes[node]).encode()),
            RenderedFile(_credentials_path(service), account.encode(), 0o600, secret=True),
        ]


def _server_ids(service: Service, topology: Topology) -> Iterator[Problem]:
    given = service.options["server_ids"]
    used: dict[int, str] = {}
    for node in given:
        if node not in service.nodes:
            yield Problem(("server_ids", node), unknown("node", node, service.nodes))
    for node in service.nodes:
        if node not in topology.nodes:
            continue  # which is said elsewhere
        number_ = mariadb_options.server_id(service, topology.nodes[node])
        if number_ in used:
            yield Problem(("server_ids",), f"gives {used[number_]} and {node} the same server_id {number_}")
        used[number_] = node


def _config_path(service: Service) -> str:
    return f"/etc/mysql/hafailover-{service.name}.cnf"


def _credentials_path(service: Service) -> str:
    return f"/etc/hafailover/{service.name}.cred"


def _password(service: Service) -> str:
    reference: str = service.options["replication"].get("password", f"file:{service.name}-replication")
    return reference


SERVICE_TYPE = MariaDB()
