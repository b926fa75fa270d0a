"""The MariaDB defaults-file: what the promise rests on, and which further options would break it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hafailover.crm.topology import Node, Service

_ON = frozenset({"1", "on", "true", "yes", ""})
_OFF = frozenset({"0", "off", "false", "no"})

_OWNED = "is set by hafailover itself: "
_KEY = "is a key of the service: write it beside options"
# Options nobody may set, each with what it would break. A trailing * stands for every option that begins so.
_NEVER = {
    "rpl_semi_sync_*": _OWNED
    + "the agent switches semi-synchronous replication with the role, and a server that starts "
    "with the replica's side on may cut acknowledged transactions off its binary log",
    "init_rpl_role": _OWNED + "starting in the wrong role cuts acknowledged transactions off the binary log",
    "server_id": _OWNED + "it is the node's id, or what server_ids says, and must never change",
    "gtid_domain_id": _OWNED + "all nodes write in one domain, so that positions can be compared",
    "replicate_*": "is a replication filter: the replica would lack rows and still be promoted",
    "binlog_do_db": "is a replication filter: the replica would lack rows and still be promoted",
    "binlog_ignore_db": "is a replication filter: the replica would lack rows and still be promoted",
    "slave_skip_errors": "hides that a replica differs from its primary",
    "log_basename": _OWNED + "file names must not depend on the host",
    "innodb_force_recovery": "gives up consistency; repair the server outside of the cluster",
    "innodb_read_only": "would make the primary refuse every write",
    "skip_networking": "replicas could not connect",
    "skip_grant_tables": "lets everybody in",
    "relay_log_recovery": "throws away received transactions that are acknowledged but not yet applied",
    "wsrep_*": "is Galera, which replicates by itself; this service is for asynchronous and semi-synchronous pairs",
    "port": _KEY,
    "socket": _KEY,
    "datadir": _KEY,
    "bind_address": _KEY,
    "user": _KEY,
    "pid_file": _OWNED + "the agent finds the server by it",
}
# Options with one allowed value, and why.
_ONLY = {
    "read_only": ("ON", "a server that starts writable is a second primary until the agent notices"),
    "sync_binlog": ("1", "a power failure would lose acknowledged transactions"),
    "innodb_flush_log_at_trx_commit": ("1", "a power failure would lose acknowledged transactions"),
    "sync_relay_log": ("1", "a power failure would lose transactions the replica has acknowledged"),
    "gtid_strict_mode": ("ON", "without it diverged servers replicate from each other in silence"),
    "log_slave_updates": ("ON", "a promoted replica could not feed the others"),
    "binlog_format": ("ROW", "statements can give different rows on different servers"),
    "log_bin": ("ON", "there would be nothing to replicate"),
    "skip_slave_start": ("ON", "starting replication on its own throws away what the relay log still holds"),
    "slave_exec_mode": ("STRICT", "IDEMPOTENT hides that a replica differs from its primary"),
    "unix_socket": ("ON", "the agent logs in through the socket as root"),
}
EVENTS = "event_scheduler"
_PREFIX = re.compile(r"^(loose_|maximum_|enable_)+")


def refusal(name: str, value: Any) -> str | None:
    """Why the option may not be set so, or None when it may. Spelling is the server's: any case, - and _ alike."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        return "is not the name of a server option"
    plain = _plain(name)
    word = str(value).strip().lower()
    if plain == EVENTS:
        return None if word in _ON | _OFF else "must be ON or OFF: the agent switches it with the role"
    for never, reason in _NEVER.items():
        if plain == never or (never.endswith("*") and plain.startswith(never[:-1])):
            return reason
    negation, _, target = plain.partition("_")
    if plain not in _ONLY and negation in ("skip", "disable") and target in _ONLY:
        return None if word in _OFF else f"turns {target} off: {_ONLY[target][1]}"
    if plain not in _ONLY:
        return None
    allowed, reason = _ONLY[plain]
    if plain == "log_bin":
        # A name is a name for the files, which a server that is taken over may need.
        return f"turns log_bin off: {reason}" if word in _OFF else None
    good = _ON if allowed == "ON" else {allowed.lower()}
    return None if word in good else f"must be {allowed}, not {value}: {reason}"


def runs_events(options: Mapping[str, Any]) -> bool:
    """Whether the primary is to run scheduled events, by the last of the options that says so."""
    found = [str(value).strip().lower() for name, value in options.items() if _plain(name) == EVENTS]
    return bool(found) and found[-1] in _ON


def _plain(name: str) -> str:
    return _PREFIX.sub("", name.lower().replace("-", "_"))


def pid_file(socket: str) -> str:
    """The pid file beside the socket: /run/mysqld/mysqld.sock → /run/mysqld/mysqld.pid."""
    return (socket[: -len(".sock")] if socket.endswith(".sock") else socket) + ".pid"


def server_id(service: Service, node: Node) -> int:
    """The node's id, unless its server came into the cluster with another one."""
    given: int = service.options["server_ids"].get(node.name, node.id)
    return given


def defaults_file(service: Service, node: Node) -> str:
    """The complete defaults-file of ``service`` on ``node``.

    The server takes the last of two settings, and accepts any unambiguous beginning of an option's name; so what must
    hold comes after what the user asked for.
    """
    options = service.options
    link = ipaddress.ip_address(node.links[0])
    server = {
        "user": options["user"],
        "datadir": options["datadir"],
        "socket": options["socket"],
        "pid_file": pid_file(options["socket"]),
        "port": options["port"],
        "bind_address": options.get("bind_address", "::" if link.version == 6 else "0.0.0.0"),  # noqa: S104
    }
    # Names that do not depend on the host, so that a clone of a server finds its own files.
    defaults = {
        "log_bin": "mariadb-bin",
        "relay_log": "mariadb-relay-bin",
        "expire_logs_days": 10,
        "slave_net_timeout": 6,
        # A single applier pays two writes to the disk for each transaction; the primary's sessions share theirs, and leave it behind.
        "slave_parallel_threads": 4,
        # Where a clone is built when the data directory is a mount point of its own: it is no schema.
        "ignore_db_dirs": ".hafailover",
    }
    given = {name.lower().replace("-", "_"): value for name, value in options["options"].items()}
    safety = {
        "server_id": server_id(service, node),
        "gtid_domain_id": 0,
        "gtid_strict_mode": "ON",
        "log_slave_updates": "ON",
        "binlog_format": "ROW",
        "sync_binlog": 1,
        "innodb_flush_log_at_trx_commit": 1,
        "sync_relay_log": 1,
        # Starting replication by itself would purge relay logs that may hold the only copy of a transaction.
        "skip_slave_start": "ON",
        "read_only": "ON",
        # On the promoted server alone, where the agent switches it on.
        EVENTS: "OFF",
        # Practically never: only the agent may release waiting commits, after it has marked the replica as stale.
        "rpl_semi_sync_master_timeout": 18446744073709551615,
        # The default, AFTER_COMMIT, shows rows to other sessions before a replica has them.
        "rpl_semi_sync_master_wait_point": "AFTER_SYNC",
        "rpl_semi_sync_master_enabled": "OFF",
    }
    lines = [f"# Written by hafailover for {node.name}; changes belong into the topology.", "[mysqld]"]
    for block in (server, {**defaults, **given}, safety):
        lines += [f"{name} = {_value(value)}" for name, value in block.items() if name not in safety or block is safety]
    lines += ["", "[client]", f"socket = {_value(options['socket'])}", ""]
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    text = str(value).replace("\\", "\\\\")
    # Unquoted, a # or ; begins a comment and spaces at the ends are dropped.
    return f'"{text}"' if re.search(r"[#;'\s]", text) or text == "" else text
