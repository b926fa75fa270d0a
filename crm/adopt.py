"""Whether a running server may be taken into the cluster as it is: pure checks, each one sentence with its remedy.

The pair replicates already, from the primary to be (writable, replicates from nobody) to its replicas. What would break the promise is
refused before anything changes; what can be set while the server runs is set; the rest waits for the next restart of a replica.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from hafailover.agents.mariadb import decide, gtid
from hafailover.agents.mariadb.sql import FILTERS

PRIMARY, REPLICA = "primary", "replica"
OK, REFUSED, LIVE, RESTART, WARNING = "ok", "refused", "live", "restart", "warning"

# Settings with which the data files were made: with others the next start would fail, or find another database.
_FILES = {
    "innodb_page_size": "16384",
    "innodb_data_file_path": "ibdata1:12M:autoextend",
    "innodb_data_home_dir": "",
    "innodb_log_group_home_dir": "./",
    "innodb_undo_directory": "./",
    "lower_case_table_names": "0",
}
# Settings that applications or the machine rely on: a change at the next restart should surprise nobody.
_FELT = (
    *("sql_mode", "character_set_server", "collation_server", "default_storage_engine", "max_allowed_packet"),
    *(
        "max_connections",
        "innodb_buffer_pool_size",
        "transaction_isolation",
        "tx_isolation",
        "time_zone",
        "wait_timeout",
    ),
    *("innodb_lock_wait_timeout", "innodb_log_file_size", "tmp_table_size", "table_open_cache", "event_scheduler"),
)
# What the primary must promise from now on, in the order in which it is set.
LIVE_SETTINGS = {
    "gtid_strict_mode": "ON",
    "sync_binlog": "1",
    "innodb_flush_log_at_trx_commit": "1",
    "binlog_format": "ROW",
    "rpl_semi_sync_master_wait_point": "AFTER_SYNC",
    "rpl_semi_sync_master_timeout": "18446744073709551615",
    "rpl_semi_sync_slave_enabled": "OFF",
}


class Server(NamedTuple):
    """What this node's server said. variables: all global ones. replication: one row of SHOW ALL SLAVES STATUS for each source.

    filters: what its binary log leaves out. engines: non-transactional engine → tables in it. unit: the systemd service it runs in, or "".
    held: our unit already, or taken over. program: version of the installed program.
    """

    node: str
    variables: Mapping[str, str]
    replication: tuple[Mapping[str, str], ...]
    filters: str
    engines: Mapping[str, tuple[str, ...]]
    state: str
    applied: str
    unit: str
    held: bool

    @property
    def role(self) -> str:
        """What it is going to be: whoever replicates is a replica."""
        return REPLICA if self.replication else PRIMARY

    @property
    def writable(self) -> bool:
        """Whether it accepts writes."""
        return self.variables["read_only"] in ("OFF", "0")

    def on(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.variables.get(name, "OFF") in ("ON", "1")


class Source(NamedTuple):
    """The primary as its replica sees it. node: its name in the cluster, "" if it is no data node; error: why it cannot be asked."""

    node: str
    error: str = ""
    variables: Mapping[str, str] = {}
    state: str = ""
    replicates: bool = False
    behind: str = ""


class Wanted(NamedTuple):
    """What the cluster will start the server with. settings: of the rendered file; defaults: of the program, for what is not in it."""

    datadir: str
    socket: str
    port: str
    config: str
    settings: Mapping[str, str]
    defaults: Mapping[str, str]

    @property
    def log_bin(self) -> str:
        """The whole name of the binary log, without its number."""
        name = self.settings.get("log_bin", "mariadb-bin")
        return name if name.startswith("/") else f"{self.datadir}/{name}"


class Check(NamedTuple):
    """One thing looked at. verdict: OK, REFUSED, LIVE (set while it runs), RESTART (right after the next start), WARNING."""

    name: str
    verdict: str
    says: str


def checks(server: Server, wanted: Wanted, source: Source | None) -> tuple[Check, ...]:
    """Everything that is to be said of this server; ``source``: of a replica, its primary."""
    found = [*_place(server, wanted), *_history(server, wanted), *_settings(server, wanted), *_tables(server)]
    found += _replica(server, source) if server.role == REPLICA else _primary(server)
    return tuple(found)


def refused(found: tuple[Check, ...]) -> tuple[Check, ...]:
    """Those that stand in the way."""
    return tuple(check for check in found if check.verdict == REFUSED)


def restarts(found: tuple[Check, ...]) -> tuple[Check, ...]:
    """Those that need a restart."""
    return tuple(check for check in found if check.verdict == RESTART)


def _place(server: Server, wanted: Wanted) -> Iterator[Check]:
    yield Check("login", OK, "root logs in through the unix socket without a password")
    version = decide.parse_version(server.variables["version"])
    unsupported = decide.unsupported_version(version)
    yield Check("version", REFUSED if unsupported else OK, unsupported or f"MariaDB {server.variables['version']}")
    for name, value in (("datadir", wanted.datadir), ("socket", wanted.socket), ("port", wanted.port)):
        there = server.variables[name].rstrip("/")
        if there != value:
            yield Check(
                name, REFUSED, f"{name} is {there}, the topology says {value}: write {name}: {there} into the topology"
            )
    if not server.unit:
        yield Check(
            "unit",
            REFUSED,
            "the server does not run in a systemd service, so nobody would tell the cluster of its death",
        )
    else:
        taken = "was taken over already" if server.held else "is going to be taken over while it runs"
        yield Check("unit", OK, f"it runs in {server.unit}, which {taken}")
    if server.on("wsrep_on"):
        yield Check(
            "galera", REFUSED, "it is a Galera node, which replicates by itself; this is for a primary with replicas"
        )


def _history(server: Server, wanted: Wanted) -> Iterator[Check]:
    number, should = server.variables["server_id"], wanted.settings["server_id"]
    if number == should:
        yield Check("server_id", OK, f"server_id is {number}")
    else:
        yield Check(
            "server_id", REFUSED,
            f"server_id is {number}, the cluster would start it as {should}, and a server_id must never change: write "
            f"server_ids: {{{server.node}: {number}}} into the service of the topology, render and apply it again",
        )  # fmt: skip
    if server.role == PRIMARY and server.variables["gtid_domain_id"] != "0":
        domain = server.variables["gtid_domain_id"]
        yield Check(
            "gtid_domain_id", REFUSED,
            f"gtid_domain_id is {domain}, all nodes of a cluster write in domain 0: SET GLOBAL gtid_domain_id=0, and have "
            "the applications connect again",
        )  # fmt: skip
    elif server.variables["gtid_domain_id"] != "0":
        yield Check("gtid_domain_id", RESTART, f"gtid_domain_id is {server.variables['gtid_domain_id']}, to be 0")
    if not server.on("log_bin"):
        yield (
            Check("log_bin", REFUSED, "log_bin is OFF: nothing can replicate from it")
            if server.role == PRIMARY
            else Check("log_bin", RESTART, "log_bin is OFF: promoted, it could not feed a replica")
        )
    elif server.variables.get("log_bin_basename", "") != wanted.log_bin:
        there = server.variables.get("log_bin_basename", "")
        name = there[len(wanted.datadir) + 1 :] if there.startswith(wanted.datadir + "/") else there
        yield (
            Check(
                "log_bin", REFUSED,
                f"its binary log is {there}, the cluster would begin a new one at {wanted.log_bin} and forget its GTIDs: "
                f"write options: {{log_bin: {name}}} into the service of the topology, render and apply it again",
            )
            if server.role == PRIMARY
            else Check("log_bin", RESTART, f"its binary log moves from {there} to {wanted.log_bin}")
        )  # fmt: skip
    else:
        yield Check("log_bin", OK, f"its binary log is {wanted.log_bin}")
    if not server.on("log_slave_updates"):
        yield Check(
            "log_slave_updates", RESTART, "log_slave_updates is OFF: what it replicates is not in its binary log"
        )
    if server.filters:
        yield Check(
            "filters",
            REFUSED,
            f"its binary log leaves rows out ({server.filters}): remove the filter, then clone the replicas anew",
        )


def _settings(server: Server, wanted: Wanted) -> Iterator[Check]:
    for name, default in _FILES.items():
        made_with, should = server.variables.get(name, default), wanted.settings.get(name, default)
        if _plain(made_with) != _plain(should):
            yield Check(
                name, REFUSED,
                f"{name} is {made_with}, the cluster would start it with {should or 'none'}: write options: {{{name}: {made_with}}} into "
                "the service of the topology, render and apply it again",
            )  # fmt: skip
    changed = []
    for name in _FELT:
        now, then = server.variables.get(name), wanted.settings.get(name, wanted.defaults.get(name))
        if now is not None and then is not None and _plain(now) != _plain(then):
            changed.append(f"{name} {now} → {then}")
    if changed:
        yield Check(
            "options", WARNING,
            f"these change when the cluster starts it the next time, unless they stand under options in the topology: {', '.join(changed)}",
        )  # fmt: skip


def _plain(value: str) -> str:
    word = value.strip().lower().rstrip("/")
    return {"on": "1", "true": "1", "off": "0", "false": "0", ".": "", "null": ""}.get(word, word)


def _tables(server: Server) -> Iterator[Check]:
    for engine, tables in server.engines.items():
        shown = ", ".join(tables[:3]) + (f" and {len(tables) - 3} more" if len(tables) > 3 else "")
        yield Check(
            "engines", WARNING,
            f"{engine} does not survive a crash in one piece and cannot be rolled back, so its tables may differ after a failover: "
            f"{shown}; ALTER TABLE … ENGINE=InnoDB",
        )  # fmt: skip


def _primary(server: Server) -> Iterator[Check]:
    if not server.writable:
        yield Check("role", REFUSED, "it replicates from nobody, and is read-only: nothing says that it is the primary")
    else:
        yield Check("role", OK, "it is writable and replicates from nobody: the primary")
    for name, value in LIVE_SETTINGS.items():
        there = server.variables.get(name, "")
        if _plain(there) != _plain(value):
            note = (
                "; sessions that are open now keep the old one until they connect again"
                if name == "binlog_format"
                else ""
            )
            yield Check(name, LIVE, f"{name} is {there}, to be {value}{note}")


def _replica(server: Server, source: Source | None) -> Iterator[Check]:
    if len(server.replication) > 1 or server.replication[0].get("Connection_name"):
        yield Check(
            "role",
            REFUSED,
            "it replicates over a named connection or from several servers; here everything comes from one",
        )
        return
    status = server.replication[0]
    yield Check("role", OK, f"it replicates from {status['Master_Host']}: a replica")
    filters = " ".join(f"{name}={status[name]}" for name in FILTERS if status.get(name))
    if filters:
        yield Check(
            "filters",
            REFUSED,
            f"a replication filter leaves rows out ({filters}): remove it and clone this server anew",
        )
    for name, good in (("slave_skip_errors", "OFF"), ("slave_exec_mode", "STRICT")):
        if server.variables.get(name, good) not in (good, ""):
            yield Check(
                name, REFUSED,
                f"{name} is {server.variables[name]}, which hides rows that differ: set it to {good}, and compare the tables or clone anew",
            )  # fmt: skip
    if status.get("SQL_Delay", "0") not in ("0", ""):
        yield Check(
            "delay", REFUSED, f"it replicates {status['SQL_Delay']} s late on purpose: CHANGE MASTER TO MASTER_DELAY=0"
        )
    for thread in ("IO", "SQL"):
        if status[f"Slave_{thread}_Running"] != "Yes":
            why = status.get(f"Last_{thread}_Error") or "somebody stopped it"
            yield Check(
                "threads",
                REFUSED,
                f"its {thread} thread does not run ({why}): START SLAVE, and see why if it stops again",
            )
    if source is None or source.error:
        yield Check(
            "source", REFUSED, f"its primary cannot be asked: {source.error if source else 'nobody knows which it is'}"
        )
        return
    yield from _against(server, source)


def _against(server: Server, source: Source) -> Iterator[Check]:
    """The replica and its primary together."""
    if not source.node:
        host = server.replication[0]["Master_Host"]
        yield Check("source", REFUSED, f"{host}, from which it replicates, is none of the data nodes of the topology")
        return
    if source.variables["read_only"] not in ("OFF", "0"):
        yield Check("source", REFUSED, f"{source.node}, from which it replicates, is read-only: which is the primary?")
    if source.replicates and server.writable:
        yield Check(
            "two-primaries", REFUSED,
            f"{source.node} replicates from this server and both are writable: make one of them read-only, and on the other STOP SLAVE; "
            "RESET SLAVE ALL",
        )  # fmt: skip
    elif source.replicates:
        yield Check("source", REFUSED, f"{source.node} replicates, too: STOP SLAVE; RESET SLAVE ALL on {source.node}")
    mine, theirs = (decide.parse_version(one["version"]) for one in (server.variables, source.variables))
    if mine[:2] < theirs[:2]:
        yield Check(
            "version", REFUSED, f"it is older than its primary ({server.variables['version']}): upgrade it first"
        )
    extra = gtid.missing(server.state, source.state)
    if extra:
        yield Check(
            "divergence", REFUSED,
            f"holds {gtid.text(extra)}, which {source.node} does not: somebody wrote on it; clone it anew from {source.node}",
        )  # fmt: skip
    else:
        yield Check("divergence", OK, f"holds nothing that {source.node} does not")
    if not server.on("log_bin"):
        yield Check(
            "own-writes",
            WARNING,
            "without a binary log nobody can see whether somebody wrote on it: compare the tables",
        )
    yield (
        Check("caught-up", REFUSED, f"is not caught up with {source.node}: {source.behind}")
        if source.behind
        else Check("caught-up", OK, f"is caught up with {source.node}")
    )
    if server.writable:
        yield Check("read_only", LIVE, "it is writable, to be read-only")
    if server.replication[0].get("Using_Gtid") == "No":
        yield Check("gtid", LIVE, "it replicates by file and position, to be by GTID")
