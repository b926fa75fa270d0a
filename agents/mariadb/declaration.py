"""What ``ocf:hafailover:mariadb`` says of itself: its description and its parameters."""

from __future__ import annotations

from hafailover.agents import __version__, checks
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Agent

agent = Agent(
    "mariadb",
    version=__version__,
    shortdesc="MariaDB pair that loses no acknowledged write",
    longdesc=(
        "A promotable MariaDB server (10.5 and newer) with GTID replication and semi-synchronous acknowledgement. The promoted server "
        "acknowledges a commit only when a replica has it; when the replica is lost, it is first recorded as stale, with quorum, and only "
        "then does the primary go on alone. A server that may miss an acknowledged write is never promoted, and says why. "
        "Clone it with promotable=true and notify=true. The server runs in the systemd unit hafailover-mariadb-RESOURCE.service; the "
        "distribution's own mariadb.service must be disabled."
    ),
)


def _rate(value: int) -> str | None:
    return None if value >= 0 else "less than 0"


def _reclone(value: str) -> str | None:
    return None if value in ("never", "automatic") else "not never or automatic"


agent.parameter(
    "nodes",
    required=True,
    check=checks.parsed_by(addresses, "wrong: "),
    reloadable=True,
    shortdesc="Data nodes and their addresses",
    longdesc="All nodes that hold the data, as name:address separated by blanks, in order of preference for a first start.",
)
agent.parameter(
    "config",
    required=True,
    shortdesc="Configuration file",
    longdesc="Complete configuration file (--defaults-file) of the server, as written by hafailover render.",
)
agent.parameter(
    "credentials",
    required=True,
    shortdesc="Credentials file",
    longdesc="File with user and password of the replication account in its [replication] section; mode 0600, owned by root.",
)
agent.parameter("binary", default="/usr/sbin/mariadbd", shortdesc="Server program", longdesc="Path of mariadbd.")
agent.parameter(
    "datadir", default="/var/lib/mysql", shortdesc="Data directory", longdesc="Directory that holds the data."
)
agent.parameter(
    "socket",
    default="/run/mysqld/mysqld.sock",
    shortdesc="Unix socket",
    longdesc="Socket on which the agent logs in as root.",
)
agent.parameter(
    "pid_file", default="/run/mysqld/mysqld.pid", shortdesc="Pid file", longdesc="File with the server's pid."
)
agent.parameter("user", default="mysql", shortdesc="System user", longdesc="User that the server runs as.")
agent.parameter(
    "port",
    type="integer",
    default="3306",
    check=checks.port,
    shortdesc="TCP port",
    longdesc="Port on which the server listens.",
)
agent.parameter(
    "stall",
    type="time",
    default="1s",
    check=checks.positive,
    shortdesc="Longest stall",
    longdesc="How long commits may wait for a replica that does not answer before it is marked stale and the primary goes on alone.",
)
agent.parameter(
    "patience",
    type="time",
    default="5s",
    check=checks.positive,
    shortdesc="Longest answer",
    longdesc="How long the server may take to answer one look before it counts as hung, unless it is busy.",
)
agent.parameter(
    "fence_first",
    type="boolean",
    default="false",
    shortdesc="Fence before going on alone",
    longdesc=(
        "true: when a node is lost, commits wait until it is known to be off, however long fencing takes. false: until it is recorded as "
        "stale with quorum."
    ),
)
agent.parameter(
    "events",
    type="boolean",
    default="false",
    shortdesc="Run scheduled events",
    longdesc="Whether the event scheduler runs on the promoted server; it never runs on another one.",
)
agent.parameter(
    "clone_port",
    type="integer",
    check=checks.port,
    shortdesc="Port of the peer service",
    longdesc="TCP port on which this node hears its peers, for cloning and rejoining; the server's port plus 1138 when not given.",
)
agent.parameter(
    "clone_rate",
    type="integer",
    default="50",
    check=_rate,
    reloadable=True,
    shortdesc="Fastest clone",
    longdesc="How many MiB per second a clone of this node's server may take; 0: as fast as it goes.",
)
agent.parameter(
    "reclone",
    default="never",
    check=_reclone,
    reloadable=True,
    shortdesc="Clone without a person",
    longdesc="automatic: a replica that cannot follow, and holds nothing that the primary does not, is cloned without being asked.",
)
