"""Databases: the settings that no acknowledged write is lost by, as each server works with them now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hafailover.crm.doctor import FAIL, OK, UNKNOWN, WARN, Result, Seen, mapping, text, these
from hafailover.crm.doctor.here import Here

TITLE = "Databases"
_TIMEOUT = 3.0  # seconds
_SOCKET = "/run/mysqld/mysqld.sock"
_VARIABLES = (
    "version", "server_id", "gtid_domain_id", "gtid_strict_mode", "log_bin", "log_slave_updates", "binlog_format", "sync_binlog",
    "innodb_flush_log_at_trx_commit", "read_only", "rpl_semi_sync_master_enabled", "rpl_semi_sync_slave_enabled",
    "rpl_semi_sync_master_wait_point", "slave_exec_mode", "replicate_do_db", "replicate_ignore_db", "replicate_do_table",
    "replicate_ignore_table", "replicate_wild_do_table", "replicate_wild_ignore_table", "expire_logs_days",
)  # fmt: skip
_ON = ("ON", "1", "YES")
# What each must be, and what is lost otherwise.
_MUST = {
    "gtid_strict_mode": ("ON", "servers that have diverged replicate from each other in silence"),
    "log_bin": ("ON", "there is nothing to replicate"),
    "log_slave_updates": ("ON", "a promoted replica cannot feed the others"),
    "binlog_format": ("ROW", "statements can give different rows on different servers"),
    "sync_binlog": ("1", "a power failure loses acknowledged transactions"),
    "innodb_flush_log_at_trx_commit": ("1", "a power failure loses acknowledged transactions"),
    "slave_exec_mode": ("STRICT", "IDEMPOTENT hides that a replica differs from its primary"),
}
_READ_ONLY = ("log_bin", "log_slave_updates")
_SAME = ("version", "gtid_domain_id")


def read(here: Here) -> dict[str, Any]:
    """``services``: database → ``variables`` (name → value), ``primary`` (whether it accepts writes), or ``error``."""
    return {"services": {name: _ask(params) for name, params in here.databases()}}


def _ask(params: Mapping[str, str]) -> dict[str, Any]:
    from hafailover.agents.mariadb import sql

    try:
        with sql.local(params.get("socket", _SOCKET), _TIMEOUT, _TIMEOUT) as server:
            listed = ", ".join(f"'{name}'" for name in _VARIABLES)
            rows = server.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({listed})")
            found = {str(row["Variable_name"]).lower(): str(row["Value"]) for row in rows}
            return {"variables": found, "primary": found.get("read_only", "").upper() in ("OFF", "0")}
    except sql.SqlError as error:
        return {"error": str(error)}


def judge(seen: Seen) -> Iterator[Result]:
    """A result for each server, and for each database over its servers."""
    yield from seen.untold("database", "database", "its databases")
    told = {node: mapping(facts.get("services")) for node, facts in seen.told("database").items()}
    for name in dict.fromkeys(name for services in told.values() for name in services):
        servers = {node: mapping(services[name]) for node, services in told.items() if name in services}
        for node, found in servers.items():
            yield _server(node, text(name, 80), found)
        yield from _together(text(name, 80), {node: found for node, found in servers.items() if "error" not in found})


def _server(node: str, name: str, found: Any) -> Result:
    if "error" in found:
        return Result("database-settings", UNKNOWN, node, f"{name}: not looked at, because {text(found['error'])}")
    variables = {key: str(value).upper() for key, value in mapping(found.get("variables")).items()}
    wrong = [
        (key, good, why)
        for key, (good, why) in _MUST.items()
        if key in variables and variables[key] != good and not (good == "ON" and variables[key] in _ON)
    ]
    primary = bool(found.get("primary"))
    if primary and variables.get("rpl_semi_sync_master_wait_point", "AFTER_SYNC") != "AFTER_SYNC":
        wrong.append(("rpl_semi_sync_master_wait_point", "AFTER_SYNC", "others read rows that a failover takes back"))
    if (
        not primary
        and "rpl_semi_sync_slave_enabled" in variables
        and variables["rpl_semi_sync_slave_enabled"] not in _ON
    ):
        wrong.append(
            ("rpl_semi_sync_slave_enabled", "ON", "this replica acknowledges nothing, and no commit waits for it")
        )
    filters = [key for key in _VARIABLES if key.startswith("replicate_") and variables.get(key)]
    if wrong:
        what = f"{name}: {', '.join(f'{key} is {text(variables[key], 40)}' for key, _, _ in wrong)}"
        sets = "; ".join(f"SET GLOBAL {key} = {good}" for key, good, _ in wrong if key not in _READ_ONLY)
        fix = f"mariadb -e '{sets}'; and " if sets else ""
        fix += "where it was set, in the server's option files, take it out"
        fixed = [key for key, _, _ in wrong if key in _READ_ONLY]
        if fixed:
            fix += (
                f"; a running server cannot change {these(fixed)}: crm node standby {node}, and crm node online {node}"
            )
        return Result("database-settings", FAIL, node, what, "; ".join(dict.fromkeys(why for _, _, why in wrong)), fix)
    if filters:
        why = "the replica lacks rows, and is promoted all the same"
        fix = f"take {', '.join(filters)} out of the server's option files, then: hafailover rejoin {node} --clone"
        return Result(
            "database-settings", FAIL, node, f"{name} filters what it replicates: {', '.join(filters)}", why, fix
        )
    role = "the primary" if primary else "a replica"
    return Result(
        "database-settings", OK, node, f"{name} is {role}; GTID, binary log and durability are as they must be"
    )


def _together(name: str, servers: Mapping[str, Any]) -> Iterator[Result]:
    variables = {node: mapping(found.get("variables")) for node, found in servers.items()}
    writable = [node for node, found in servers.items() if found.get("primary")]
    if len(writable) > 1:
        why = "they diverge with each write"
        yield Result(
            "database-primary",
            FAIL,
            "",
            f"{name} accepts writes on {these(writable)}",
            why,
            "stop the writers; hafailover status",
        )
    if len(servers) < 2:
        return
    for key in _SAME:
        values = {node: text(found.get(key), 60) for node, found in variables.items()}
        if len(set(values.values())) > 1:
            apart = ", ".join(f"{value} on {node}" for node, value in values.items())
            why = (
                "positions cannot be compared"
                if key == "gtid_domain_id"
                else "an older server may not understand a newer one's log"
            )
            yield Result(
                "database-same", FAIL if key == "gtid_domain_id" else WARN, "", f"{name}: {key} differs: {apart}", why
            )
    ids = [text(found["server_id"], 20) for found in variables.values() if "server_id" in found]
    if len(set(ids)) < len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        why = "each throws away what comes from the other"
        fix = "server_ids in the topology, then hafailover render --install"
        yield Result("database-same", FAIL, "", f"{name}: several servers have server_id {twice}", why, fix)
    enforcing = [node for node in writable if str(variables[node].get("rpl_semi_sync_master_enabled")).upper() in _ON]
    if writable and not enforcing:
        why = "commits do not wait for a copy: what the primary acknowledges now is lost with it"
        yield Result(
            "semi-sync",
            WARN,
            writable[0],
            f"{name}: semi-synchronous replication is off",
            why,
            "hafailover status says which replica is missing",
        )
    elif enforcing:
        yield Result("semi-sync", OK, enforcing[0], f"{name}: commits wait for a copy")
