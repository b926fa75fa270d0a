"""Rules about databases and caches: servers that are numbered alike, where they listen, who may replicate, how many vote in MongoDB."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hafailover.crm.edits import yaml_data
from hafailover.crm.errors import UsageError
from hafailover.crm.external import mongodb_url
from hafailover.crm.lint import ERROR, WARNING, Facts, Found, option_files, rule
from hafailover.crm.lint.about import addresses, is_loopback, kind, words
from hafailover.crm.lint.cluster import primitives
from hafailover.crm.lint.paste import command
from hafailover.crm.mariadb_options import server_id
from hafailover.crm.service import service_types
from hafailover.crm.urls import BadUrl

if TYPE_CHECKING:
    from hafailover.crm.lint.node_files import NodeFiles
    from hafailover.crm.resolved import Resource

_SERVERS = frozenset({"mysql", "mariadb", "galera"})
_SERVER_ID_WHY = (
    "a replica skips events that carry its own number: it says that it is up to date, and misses every write"
)
_LOOPBACK_WHY = "after a failover nobody on another node reaches it, and the cluster says that it is well: the monitor is on the node too"
_PAIR = 2


def _databases(facts: Facts) -> Iterator[Resource]:
    """What runs MariaDB or MySQL."""
    return (one for one in primitives(facts.cluster) if kind(one) in _SERVERS and one.agent.startswith("ocf:"))


def _config(one: Resource) -> str | None:
    """The defaults-file that a database is started with, None for the usual ones."""
    written = one.params.get("config", "")
    return written if written.startswith("/") and written.endswith(".cnf") else None


# -- server_id -------------------------------------------------------------------------------------------------------------------


@rule(
    "server-id-shared",
    ERROR,
    code="L29",
    needs=("resolved",),
    remedy="let each node's option file say server_id; a parameter of the cluster is the same on every node",
    why=_SERVER_ID_WHY,
)
def server_id_shared(facts: Facts) -> Iterator[Found]:
    """All servers of a replicated database get the same server_id, by a parameter of the cluster."""
    for one in _databases(facts):
        given = option_files.flags(one.params.get("additional_parameters", "")).get("server_id")
        # Galera's servers may be numbered alike: what they replicate carries the cluster's name.
        if given is not None and facts.cluster.resources[one.top].kind == "clone" and kind(one) != "galera":
            alone = all(
                re.match(r"--(loose[-_])?server[-_]id=", word) for word in one.params["additional_parameters"].split()
            )
            # The other parameters are not repeated: a password may be among them.
            fix = (
                command("crm", "resource", "param", one.id, "delete", "additional_parameters")
                if alone
                else f"# take --server-id out of additional_parameters:\n{command('crm', 'configure', 'edit', one.id)}"
            )
            yield Found(one.id, f"additional_parameters gives every instance the server_id {given[:20]}", fix)


@rule(
    "server-id-here",
    ERROR,
    code="L29b",
    needs=("resolved", "node"),
    remedy="give each server a server_id of its own, such as its node's number",
    why=_SERVER_ID_WHY,
)
def server_id_here(facts: Facts) -> Iterator[Found]:
    """This node's server has no server_id, or that of another node."""
    assert facts.node is not None
    files: NodeFiles | None = facts.node.files
    if files is None:
        return
    for one in _databases(facts):
        path = _config(one)
        said = option_files.server_options(files, path)
        if (
            not said
            or not one.promotable
            or kind(one) == "galera"
            or "server_id" in option_files.flags(one.params.get("additional_parameters", ""))
        ):
            continue
        found = said.get("server_id")
        if found is None:
            place = path or next(
                (one for one in option_files.MAIN if files.text(one) is not None), option_files.MAIN[0]
            )
            text = f"{one.id} has no server_id here, so it is 1, as on every server that has none"
            yield Found(
                f"{facts.node.name}: {place}",
                text,
                f"[mysqld]\nserver_id = {_number(facts) or '<NUMBER-OF-THIS-NODE>'}",
            )
            continue
        other = _numbered(facts, one.id).get(found.value)
        if other is not None and other != facts.node.name:
            text = f"{one.id} has the server_id {found.value[:20]} here, which is that of {other}"
            yield Found(
                f"{facts.node.name}: {found.place}", text, f"server_id = {_wanted(facts, one.id) or '<ANOTHER-NUMBER>'}"
            )


def _numbered(facts: Facts, resource: str) -> dict[str, str]:
    """server_id → node, by the topology."""
    service = facts.topology.services.get(resource) if facts.topology is not None else None
    if facts.topology is None or service is None or service.type != "mariadb":
        return {}
    nodes = facts.topology.nodes
    return {str(server_id(service, nodes[name])): name for name in service.nodes if name in nodes}


def _wanted(facts: Facts, resource: str) -> str | None:
    assert facts.node is not None
    return next((number for number, name in _numbered(facts, resource).items() if name == facts.node.name), None)


def _number(facts: Facts) -> int | None:
    """This node's number in the cluster."""
    assert facts.node is not None
    if facts.topology is not None and facts.node.name in facts.topology.nodes:
        return facts.topology.nodes[facts.node.name].id
    nodes = facts.corosync.nodes if facts.corosync is not None else ()
    return next((one.id for one in nodes if one.name == facts.node.name), None)


# -- where they listen -----------------------------------------------------------------------------------------------------------


@rule(
    "bound-to-loopback",
    ERROR,
    code="L29c",
    needs=("resolved",),
    remedy="let it listen on every address, or on the node's link",
    why=_LOOPBACK_WHY,
)
def bound_to_loopback(facts: Facts) -> Iterator[Found]:
    """A database or cache is told to listen on 127.0.0.1 alone, by the topology or a parameter of the cluster."""
    for service in facts.topology.services.values() if facts.topology is not None else ():
        written = service.options.get("bind_address")
        if isinstance(written, str) and is_loopback(written) and _has_ports(service.type):
            text = f"{service.type} listens on {written} alone, where no other node and no client reaches it"
            yield Found(
                f"services.{service.name}.bind_address", text, f"bind_address: {_first_link(facts, service.nodes)}"
            )
    for one in primitives(facts.cluster):
        given = option_files.flags(one.params.get("additional_parameters", "")).get("bind_address")
        if given and is_loopback(given):
            text = f"additional_parameters lets it listen on {given[:40]} alone, where no other node reaches it"
            yield Found(one.id, text, command("crm", "resource", "param", one.id, "show", "additional_parameters"))


def _has_ports(kind_: str) -> bool:
    return kind_ in service_types()


def _first_link(facts: Facts, nodes: tuple[str, ...]) -> str:
    first = facts.wanted.nodes[nodes[0]].links[0]
    return "'::'" if ":" in first else "0.0.0.0"  # noqa: S104


@rule(
    "bound-to-loopback-here",
    ERROR,
    code="L29d",
    needs=("resolved", "node"),
    remedy="let it listen on every address, or on the node's link, and restart it",
    why=_LOOPBACK_WHY,
)
def bound_to_loopback_here(facts: Facts) -> Iterator[Found]:
    """This node's configuration lets a database or cache listen on 127.0.0.1 alone."""
    assert facts.node is not None
    files: NodeFiles | None = facts.node.files
    if files is None:
        return
    for one in primitives(facts.cluster):
        for place, written, fix in _bound(files, one):
            hosts = [host for host in re.split(r"[,\s]+", written) if host]
            if hosts and all(is_loopback(_host(host)) for host in hosts):
                text = (
                    f"{one.id} ({one.agent}) listens on {words(hosts[:3])[:80]} alone, where no other node reaches it"
                )
                yield Found(f"{facts.node.name}: {place}", text, fix)


def _bound(files: NodeFiles, one: Resource) -> Iterator[tuple[str, str, str]]:
    """Where a file of a daemon says on which addresses it listens: the place, the addresses, and what to write."""
    name = kind(one)
    if one.agent.startswith("ocf:") and name in _SERVERS:
        if "bind_address" in option_files.flags(one.params.get("additional_parameters", "")):
            return
        found = option_files.server_options(files, _config(one)).get("bind_address")
        if found:
            yield found.place, found.value, "bind_address = 0.0.0.0"
    elif name.startswith("memcached"):
        listening = list(_lines(files, "/etc/memcached.conf", r"\s*(?:-l|--listen[= ])\s*(\S+)"))
        if listening:
            yield listening[0][0], ",".join(value for _, value in listening), "-l <ADDRESS-OF-THIS-NODE>"
    elif name in ("redis", "redis-server"):
        for path in (one.params.get("config", ""), "/etc/redis/redis.conf", "/etc/redis.conf"):
            listening = list(_lines(files, path, r"bind\s+(.+)")) if path.startswith("/") else []
            if listening:
                yield listening[-1][0], listening[-1][1].replace(" -", " ").lstrip("-"), "bind 0.0.0.0"
                return
    elif name in ("mongod", "mongodb"):
        mongod = _mongod(files)
        if mongod:
            yield "/etc/mongod.conf", mongod, "net:\n  bindIp: 0.0.0.0"
    elif "rabbitmq" in one.agent:
        for path in ("/etc/rabbitmq/rabbitmq.conf", *files.matching("/etc/rabbitmq/conf.d/*.conf")):
            for place, value in _lines(files, path, r"\s*listeners\.tcp\.\w+\s*=\s*(\S+:\d+)\s*$"):
                yield place, value, "listeners.tcp.default = 5672"


def _lines(files: NodeFiles, path: str, pattern: str) -> Iterator[tuple[str, str]]:
    """Each line of a file that begins as wanted: where, and what its group says."""
    for number, line in enumerate((files.text(path) or "").splitlines(), 1):
        found = re.match(pattern, line[:1000])
        if found:
            yield f"{path}:{number}", found[1].strip()


def _host(written: str) -> str:
    """``[::1]:11211`` → ``::1``; ``127.0.0.1:5672`` → ``127.0.0.1``."""
    if written.startswith("["):
        return written[1:].partition("]")[0]
    host, _, port = written.rpartition(":")
    return host if host and ":" not in host and port.isdigit() else written


def _mongod(files: NodeFiles) -> str:
    """Where this node's mongod listens: "" when that is not said, or everywhere."""
    content = files.content("/etc/mongod.conf")
    try:
        data: Any = yaml_data(content, "/etc/mongod.conf") if content else None
    except UsageError:
        return ""
    net = data.get("net") if isinstance(data, dict) else None
    if not isinstance(net, dict) or net.get("bindIpAll") is True:
        return ""
    return str(net.get("bindIp") or "127.0.0.1")


# -- replication -----------------------------------------------------------------------------------------------------------------


@rule(
    "replication-one-way",
    ERROR,
    code="L29e",
    needs=("corosync", "node"),
    remedy="grant REPLICATION SLAVE to the account from every node, in both directions",
    why="it works as long as nothing happens: after the first failover the old primary may not log in at the new one and stays behind",
)
def replication_one_way(facts: Facts) -> Iterator[Found]:
    """An account for replication may come from some of the nodes and not from others."""
    assert facts.node is not None
    granted = facts.node.replication_accounts
    peers = {where: name for where, name in addresses(facts.corosync).items() if name != facts.node.name}
    for user in dict.fromkeys(user for user, _ in granted):
        hosts = [host for name, host in granted if name == user]
        allowed = {name for where, name in peers.items() if any(may_come(host, str(where), name) for host in hosts)}
        # An account of another kind, for a backup say, is let in from no node at all.
        mine = any(may_come(host, str(where), name) for host in hosts for where, name in _own(facts).items())
        lacking = sorted(set(peers.values()) - allowed)
        if lacking and (allowed or mine):
            text = f"account {user[:80]!r} may replicate from {words(sorted(allowed) or [facts.node.name])}, and not from {words(lacking)}"
            yield Found(facts.node.name, text, "\n".join(_grant(user, host) for host in _hosts(peers, lacking)))


def _own(facts: Facts) -> dict[Any, str]:
    assert facts.node is not None
    return {where: name for where, name in addresses(facts.corosync).items() if name == facts.node.name}


def _hosts(peers: dict[Any, str], names: list[str]) -> list[str]:
    return [next(str(where) for where, name in peers.items() if name == wanted) for wanted in names]


def _grant(user: str, host: str) -> str:
    quoted = user.replace("\\", "\\\\").replace("'", "\\'")
    return f"GRANT REPLICATION SLAVE ON *.* TO '{quoted}'@'{host}';"


def may_come(host: str, address: str, name: str) -> bool:
    """Whether MariaDB lets an account of ``host`` (a pattern, a network with its mask) in from a node."""
    network, slash, mask = host.partition("/")
    if slash:
        try:
            import ipaddress

            return ipaddress.ip_address(address) in ipaddress.ip_network(f"{network}/{mask}", strict=False)
        except ValueError:
            return False
    pattern = (
        host[:255]
        .lower()
        .replace("[", "[[]")
        .replace("?", "[?]")
        .replace("*", "[*]")
        .replace("%", "*")
        .replace("_", "?")
    )
    # Names are resolved by the server; a node's own, with any domain, is taken for what it says.
    names = [address, name.lower()]
    return any(fnmatch.fnmatchcase(one, pattern) for one in names) or (
        bool(name) and host.lower().startswith(f"{name.lower()}.")
    )


# -- MongoDB ---------------------------------------------------------------------------------------------------------------------


@rule(
    "mongodb-pair",
    WARNING,
    code="L28",
    needs=("resolved", "node"),
    remedy="add a third member; an arbiter, which holds no data, will do",
    why="when one of two members dies the other is no majority and steps down: MongoDB takes no writes although a good copy is there",
)
def mongodb_pair(facts: Facts) -> Iterator[Found]:
    """The replica set that StackStorm uses has two members."""
    assert facts.node is not None
    files: NodeFiles | None = facts.node.files
    if files is None or (facts.topology is not None and facts.topology.external.mongodb is not None):
        return  # a topology with two voters is refused, and it knows of arbiters
    paths = [
        one.params.get("config", "/etc/st2/st2.conf")
        for one in primitives(facts.cluster)
        if kind(one) == "st2" or "st2" in kind(one)
    ]
    for path in dict.fromkeys(path for path in paths if path.startswith("/")):
        for place, uri in _lines(files, path, r"\s*(?:host|uri)\s*[=:]\s*(mongodb://\S+)"):
            try:
                url = mongodb_url(re.sub(r"//[^@/]*@", "//", uri.strip("'\"")))
            except (BadUrl, ValueError):
                continue
            if len(url.hosts) == _PAIR and url.options.get("replicaset"):
                hosts = words(host.name[:80] for host in url.hosts)
                name = url.options["replicaset"][:40]
                text = f"the replica set {name!r} has the members {hosts}; unless there is an arbiter nobody else votes"
                yield Found(f"{facts.node.name}: {place}", text, "rs.addArb(<THIRD-MACHINE:27017>)")
