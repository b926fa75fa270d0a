"""The drill's view of the database servers and of Pacemaker: facts gathered through the lab, as root on each node."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hafailover.crm.errors import HafailoverError
from hafailover.vagrant.drill.oracle import Row, Server
from hafailover.vagrant.drill.target import Target
from hafailover.vagrant.lab import Lab
from lxml import etree

SCHEMA = "hafailover_drill"
USER = "hafailover_drill"
TABLE = "ledger"
NOTES = "notes"
"""A table for what people write in a scenario; writers never touch it."""

_TIMEOUT = 20.0
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


def sql(lab: Lab, node: str, statements: str, timeout: float = _TIMEOUT) -> list[list[str]]:
    """Run ``statements`` as root on a node and return the rows as text; HafailoverError if the server refuses.

    They travel on standard input: what stands on a command line can be read by everybody.
    """
    done = _run(lab, node, ["mariadb", "--batch", "--skip-column-names"], timeout, statements)
    return [line.split("\t") for line in done.splitlines()]


def _run(lab: Lab, node: str, argv: Sequence[str], timeout: float = _TIMEOUT, stdin: str | None = None) -> str:
    done = lab.exec(node, argv, timeout=timeout, input=stdin)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise HafailoverError(f"{node}: {argv[0]}: {said[-1] if said else f'exit code {done.returncode}'}")
    return done.stdout


def prepare(lab: Lab, primary: str, password: str) -> None:
    """Make an empty ledger table and the writers' account on the primary (the replicas get both by replication)."""
    # Only the hash leaves this process, so that no server log or binlog can hold the password.
    inner = hashlib.sha1(password.encode()).digest()  # noqa: S324 (the hash that mysql_native_password defines)
    hashed = "*" + hashlib.sha1(inner).hexdigest().upper()  # noqa: S324
    accounts = [f"'{USER}'@'{host}'" for host in ("%", "localhost")]
    sql(
        lab,
        primary,
        f"CREATE SCHEMA IF NOT EXISTS {SCHEMA};"
        # No unique key on (writer, seq): a row that came twice must be seen, not be refused.
        f"CREATE OR REPLACE TABLE {SCHEMA}.{TABLE} (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY,"
        " writer VARCHAR(64) CHARACTER SET ascii NOT NULL, seq BIGINT UNSIGNED NOT NULL,"
        " server INT UNSIGNED NOT NULL, KEY (writer, seq)) ENGINE=InnoDB;"
        f"CREATE OR REPLACE TABLE {SCHEMA}.{NOTES} (id INT PRIMARY KEY, note VARCHAR(64)) ENGINE=InnoDB;"
        # Also for localhost: an anonymous account of that host would come before the one for any host.
        + "".join(
            f"CREATE OR REPLACE USER {account} IDENTIFIED VIA mysql_native_password USING '{hashed}';"
            f"GRANT SELECT, INSERT ON {SCHEMA}.* TO {account};"
            for account in accounts
        ),
    )


def clean_up(lab: Lab, primary: str) -> None:
    """Remove the drill's schema and accounts."""
    sql(
        lab,
        primary,
        f"DROP SCHEMA IF EXISTS {SCHEMA}; DROP USER IF EXISTS '{USER}'@'%', '{USER}'@'localhost';",
    )


def health(lab: Lab, node: str, timeout: float = _TIMEOUT) -> Health:
    """Ask a server how it is; HafailoverError if it does not answer."""
    query = "SELECT @@server_id, @@read_only, @@gtid_current_pos; SHOW SLAVE STATUS\\G"
    return parse_health(_run(lab, node, ["mariadb", "--batch"], timeout, query))


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


def contents(lab: Lab, node: str) -> Server:
    """Read everything that the oracle compares from one server, every writer being stopped."""
    glance = health(lab, node)
    ledger = f"SELECT id, writer, seq, server FROM {SCHEMA}.{TABLE}"  # noqa: S608 (our own constants)
    rows = [Row(int(number), writer, int(seq), int(by)) for number, writer, seq, by in sql(lab, node, ledger, 120)]
    names = [name for [name] in sql(lab, node, _ALL_TABLES)]
    checksums = dict(sql(lab, node, f"CHECKSUM TABLE {', '.join(names)}", 120))
    return Server(rows, checksums, glance.read_only, glance.replicating, glance.position)


def datadirs(lab: Lab, target: Target) -> dict[str, str]:
    """Return for each node what tells its data directory from one that replaces it; HafailoverError if there is none."""
    argv = ["stat", "--format=%i", f"{target.datadir}/ibdata1"]
    return {node: _run(lab, node, argv).strip() for node in target.nodes}


class Cluster(NamedTuple):
    """Pacemaker's view: nodes with a promoted or unpromoted instance of the database, each node's promotion score, and
    the node that has the address (None while it runs nowhere, or is being moved)."""

    promoted: Sequence[str]
    unpromoted: Sequence[str]
    scores: Mapping[str, int]
    address: str | None


def cluster(lab: Lab, target: Target) -> Cluster:
    """What the cluster says of itself; HafailoverError if no node answers."""
    node, report = _spokesman(lab)
    return parse_cluster(report, _run(lab, node, _CIB), target)


def primary(lab: Lab, target: Target) -> str:
    """The node with the promoted server; HafailoverError when there is not exactly one."""
    promoted = cluster(lab, target).promoted
    if len(promoted) != 1:
        raise HafailoverError(f"Pacemaker has {len(promoted)} promoted databases")
    return promoted[0]


def cib_text(lab: Lab) -> str:
    """Return the whole CIB as XML text; HafailoverError if no node answers."""
    node, _ = _spokesman(lab)
    return _run(lab, node, _CIB)


def _spokesman(lab: Lab) -> tuple[str, str]:
    """Return the first data node with quorum, or else one that answers, and its crm_mon report.

    A node that has just booted, or is cut off, tells of a cluster of its own: nobody is promoted, and its CIB may be an old one.
    """
    found: tuple[str, str] | None = None
    complaint = HafailoverError("the lab has no data node")
    for node in sorted(lab.data_nodes):
        try:
            found = node, _run(lab, node, ["crm_mon", "--one-shot", "--output-as=xml"])
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


def ask_any(lab: Lab, argv: Sequence[str], stdin: str | None = None) -> str:
    """Run a program on the first data node where it succeeds and return its output; HafailoverError if it does nowhere."""
    complaint = HafailoverError("the lab has no data node")
    for node in sorted(lab.data_nodes):
        try:
            return _run(lab, node, argv, stdin=stdin)
        except HafailoverError as error:
            complaint = error
    raise complaint
