"""The drill's view of the database servers and of Pacemaker: facts gathered on each node, as root there."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hafailover.crm.drill.oracle import Row, Server
from hafailover.crm.drill.place import Place
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import HafailoverError
from lxml import etree

SCHEMA = "hafailover_drill"
USER = "hafailover_drill"
TABLE = "ledger"
NOTES = "notes"
"""A table for what people write in a scenario; writers never touch it."""
UNFINISHED = "unfinished"
"""A table with what has to be taken back, which every node gets by replication: the node with the drill may not come back."""

_TIMEOUT = 20.0
_FAREWELL = "farewell"
_NO_SCHEMA = f"DROP SCHEMA IF EXISTS {SCHEMA}"
_NO_ACCOUNTS = f"DROP USER IF EXISTS '{USER}'@'%', '{USER}'@'localhost'"
_CIB = ["cibadmin", "--query"]
_ALL_TABLES = (
    "SELECT CONCAT('`', table_schema, '`.`', table_name, '`') FROM information_schema.tables WHERE table_type ="
    " 'BASE TABLE' AND table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys') ORDER BY 1"
)
_INFINITY = {"INFINITY": 1_000_000, "+INFINITY": 1_000_000, "-INFINITY": -1_000_000}


class Health(NamedTuple):
    """A server at a glance; ``lag`` is Seconds_Behind_Master, None when it does not replicate; ``error`` is the error
    with which its SQL thread stopped, or empty."""

    server_id: int
    read_only: bool
    replicating: bool
    lag: int | None
    error: str
    position: str


def sql(place: Place, node: str, statements: str, timeout: float = _TIMEOUT) -> list[list[str]]:
    """Run ``statements`` as root on a node and return the rows as text; HafailoverError if the server refuses.

    They travel on standard input: what stands on a command line can be read by everybody.
    """
    done = _client(place, node, ["--batch", "--skip-column-names"], timeout, statements)
    return [line.split("\t") for line in done.splitlines()]


def _client(place: Place, node: str, options: Sequence[str], timeout: float, statements: str) -> str:
    return _output(node, "mariadb", place.mariadb(node, options, statements, timeout))


def _run(place: Place, node: str, argv: Sequence[str], timeout: float = _TIMEOUT, stdin: str | None = None) -> str:
    return _output(node, argv[0], place.exec(node, argv, timeout=timeout, input=stdin))


def _output(node: str, program: str, done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise HafailoverError(f"{node}: {program}: {said[-1] if said else f'exit code {done.returncode}'}")
    return done.stdout


def prepare(place: Place, primary: str, password: str, note: str = "") -> None:
    """Make an empty ledger table and the writers' account on the primary (the replicas get both by replication).

    ``note``: what :func:`noted` tells on any node, until :func:`clean_up`."""
    # Only the hash leaves this process, so that no server log or binlog can hold the password.
    inner = hashlib.sha1(password.encode()).digest()  # noqa: S324 (the hash that mysql_native_password defines)
    hashed = "*" + hashlib.sha1(inner).hexdigest().upper()  # noqa: S324
    accounts = [f"'{USER}'@'{host}'" for host in ("%", "localhost")]
    remembered = f"INSERT INTO {SCHEMA}.{UNFINISHED} VALUES (UNHEX('{note.encode().hex()}'));"  # noqa: S608
    sql(
        place,
        primary,
        f"CREATE SCHEMA IF NOT EXISTS {SCHEMA};"
        # No unique key on (writer, seq): a row that came twice must be seen, not be refused.
        f"CREATE OR REPLACE TABLE {SCHEMA}.{TABLE} (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY,"
        " writer VARCHAR(64) CHARACTER SET ascii NOT NULL, seq BIGINT UNSIGNED NOT NULL,"
        " server INT UNSIGNED NOT NULL, KEY (writer, seq)) ENGINE=InnoDB;"
        f"CREATE OR REPLACE TABLE {SCHEMA}.{NOTES} (id INT PRIMARY KEY, note VARCHAR(64)) ENGINE=InnoDB;"
        f"CREATE OR REPLACE TABLE {SCHEMA}.{UNFINISHED} (note LONGTEXT CHARACTER SET utf8mb4 NOT NULL) ENGINE=InnoDB;"
        + remembered
        # Also for localhost: an anonymous account of that host would come before the one for any host.
        + "".join(
            f"CREATE OR REPLACE USER {account} IDENTIFIED VIA mysql_native_password USING '{hashed}';"
            f"GRANT SELECT, INSERT, EXECUTE ON {SCHEMA}.* TO {account}; GRANT SLAVE MONITOR ON *.* TO {account};"
            for account in accounts
        )
        + f"\nDELIMITER $$\nCREATE OR REPLACE PROCEDURE {SCHEMA}.{_FAREWELL}() SQL SECURITY DEFINER"
        f" BEGIN {_NO_ACCOUNTS}; {_NO_SCHEMA}; END$$\nDELIMITER ;\n",
    )


def clean_up(place: Place, primary: str) -> None:
    """Remove the drill's schema and accounts."""
    if place.administers(primary):
        sql(place, primary, f"{_NO_SCHEMA}; {_NO_ACCOUNTS};")
        return
    # The accounts' last act: an administrator's procedure, which only they may call, takes both away.
    try:
        sql(place, primary, f"CALL {SCHEMA}.{_FAREWELL}()")
    except HafailoverError as error:
        raise HafailoverError(f'{error}; as root on {primary}: mariadb -e "{_NO_SCHEMA}; {_NO_ACCOUNTS}"') from None


def exists(place: Place, node: str) -> bool:
    """Whether a schema of the drill's name is there already; HafailoverError if the server does not say."""
    found = sql(place, node, f"SELECT 1 FROM information_schema.schemata WHERE schema_name = '{SCHEMA}'")  # noqa: S608
    return bool(found)


def noted(place: Place, node: str) -> str:
    """What a drill that has not ended, of whatever node, has to take back, as :func:`prepare` was given it; "" if nothing is there."""
    there = f"table_schema = '{SCHEMA}' AND table_name = '{UNFINISHED}'"
    if not sql(place, node, f"SELECT 1 FROM information_schema.tables WHERE {there}"):  # noqa: S608 (our own constants)
        return ""
    rows = sql(place, node, f"SELECT HEX(note) FROM {SCHEMA}.{UNFINISHED}")  # noqa: S608
    try:
        return bytes.fromhex(rows[0][0]).decode() if rows else ""
    except (ValueError, IndexError):
        return ""


def health(place: Place, node: str, timeout: float = _TIMEOUT) -> Health:
    """Ask a server how it is; HafailoverError if it does not answer."""
    query = "SELECT @@server_id, @@read_only, @@gtid_current_pos; SHOW SLAVE STATUS\\G"
    return parse_health(_client(place, node, ["--batch"], timeout, query))


def parse_health(answer: str) -> Health:
    """Read what the client program printed for the query of :func:`health`."""
    _, _, answer = answer.partition("\n")
    values, _, slave_status = answer.partition("\n")
    server_id, read_only, position = values.split("\t")
    slave = dict(re.findall(r"^\s*(\w+): ?(.*)$", slave_status, re.MULTILINE))
    lag = slave.get("Seconds_Behind_Master", "NULL")
    return Health(
        server_id=int(server_id),
        read_only=read_only != "0",
        replicating=slave.get("Slave_IO_Running") == "Yes" and slave.get("Slave_SQL_Running") == "Yes",
        lag=None if lag == "NULL" else int(lag),
        error=slave.get("Last_SQL_Error", ""),
        position=",".join(sorted(position.split(","))),
    )


def contents(place: Place, node: str) -> Server:
    """Read everything that the oracle compares from one server, every writer being stopped."""
    glance = health(place, node)
    ledger = f"SELECT id, writer, seq, server FROM {SCHEMA}.{TABLE}"  # noqa: S608 (our own constants)
    rows = [Row(int(number), writer, int(seq), int(by)) for number, writer, seq, by in sql(place, node, ledger, 120)]
    names = [name for [name] in sql(place, node, _ALL_TABLES)] if place.tables() else []
    checksums = dict(sql(place, node, f"CHECKSUM TABLE {', '.join(names)}", 120)) if names else {}
    return Server(rows, checksums, glance.read_only, glance.replicating, glance.position)


def datadirs(place: Place, target: Target) -> dict[str, str]:
    """Return for each node what tells its data directory from one that replaces it; HafailoverError if there is none."""
    argv = ["stat", "--format=%i", f"{target.datadir}/ibdata1"]
    return {node: _run(place, node, argv).strip() for node in target.nodes}


class Cluster(NamedTuple):
    """Pacemaker's view: nodes with a promoted or unpromoted instance of the database, each node's promotion score, and
    the node that has the address (None while it runs nowhere, or is being moved)."""

    promoted: Sequence[str]
    unpromoted: Sequence[str]
    scores: Mapping[str, int]
    address: str | None


def cluster(place: Place, target: Target) -> Cluster:
    """What the cluster says of itself; HafailoverError if no node answers."""
    node, report = _spokesman(place)
    return parse_cluster(report, _run(place, node, _CIB), target)


def primary(place: Place, target: Target) -> str:
    """The node with the promoted server; HafailoverError when there is not exactly one."""
    promoted = cluster(place, target).promoted
    if len(promoted) != 1:
        raise HafailoverError(f"Pacemaker has {len(promoted)} promoted databases")
    return promoted[0]


def cib_text(place: Place) -> str:
    """Return the whole CIB as XML text; HafailoverError if no node answers."""
    node, _ = _spokesman(place)
    return _run(place, node, _CIB)


def _spokesman(place: Place) -> tuple[str, str]:
    """Return the first data node with quorum, or else one that answers, and its crm_mon report.

    A node that has just booted, or is cut off, tells of a cluster of its own: nobody is promoted, and its CIB may be an old one.
    """
    found: tuple[str, str] | None = None
    complaint = HafailoverError("the cluster has no data node")
    for node in sorted(place.data_nodes):
        try:
            found = node, _run(place, node, ["crm_mon", "--one-shot", "--output-as=xml"])
        except HafailoverError as error:
            complaint = error
            continue
        if has_quorum(found[1]):
            return found
    if found is None:
        raise complaint
    return found


def has_quorum(report: str) -> bool:
    """Whether the node on which crm_mon printed ``report`` as XML belongs to a partition with quorum."""
    coordinator = etree.fromstring(report.encode()).find("summary/current_dc")
    return coordinator is not None and coordinator.get("with_quorum") == "true"


def parse_cluster(report: str, cib: str, target: Target) -> Cluster:
    """Read what crm_mon and cibadmin printed for :func:`cluster`."""
    roles: dict[str, set[str]] = {"promoted": set(), "unpromoted": set(), "started": set()}
    legacy = {"master": "promoted", "slave": "unpromoted"}
    address = None
    for resource in etree.fromstring(report.encode()).iterfind("resources//resource"):
        name, role = str(resource.get("id")).partition(":")[0], str(resource.get("role")).lower()
        nodes = {str(node.get("name")) for node in resource.iterfind("node")}
        if name == target.database:
            roles.setdefault(legacy.get(role, role), set()).update(nodes)
        elif name == target.address and role == "started" and not resource.get("pending") and len(nodes) == 1:
            [address] = nodes
    scores: dict[str, int] = {}
    for state in etree.fromstring(cib.encode()).iterfind("status/node_state"):
        for pair in state.iterfind("transient_attributes/instance_attributes/nvpair"):
            if pair.get("name") in (f"master-{target.database}", f"promotion-{target.database}"):
                text = str(pair.get("value"))
                scores[str(state.get("uname"))] = _INFINITY[text] if text in _INFINITY else int(text)
    return Cluster(sorted(roles["promoted"]), sorted(roles["unpromoted"]), scores, address)


def ask_any(place: Place, argv: Sequence[str], stdin: str | None = None) -> str:
    """Run a program on the first data node where it succeeds and return its output; HafailoverError if it does nowhere."""
    complaint = HafailoverError("the cluster has no data node")
    for node in sorted(place.data_nodes):
        try:
            return _run(place, node, argv, stdin=stdin)
        except HafailoverError as error:
            complaint = error
    raise complaint
