"""Ask this node's server, and a replica's primary, everything that ``hafailover adopt`` looks at. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hafailover.agents.mariadb import adopted, gtid, replication, sql
from hafailover.agents.mariadb.declaration import agent
from hafailover.agents.mariadb.server import Unit
from hafailover.agents.mariadb.sql import Connection, SqlError
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Context, OcfError
from hafailover.crm import adopt
from hafailover.crm.adopt import Check, Server, Source, Wanted
from hafailover.crm.errors import HafailoverError, RefusedError
from hafailover.crm.status_facts import database_resources
from hafailover.crm.status_xml import pairs, parse

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run

_TIMEOUT = 5.0  # seconds for a server's answer
_CATCH_UP = 10.0  # seconds that a replica may need to reach a position
_NOT_TRANSACTIONAL = (
    "SELECT engine AS e, CONCAT(table_schema, '.', table_name) AS t FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
    "AND table_schema NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') AND engine NOT IN ('InnoDB', 'ROCKSDB') "
    "ORDER BY 1, 2"
)


class Login(NamedTuple):
    """The account by which a replica replicates now, from its master.info."""

    user: str
    password: str

    def __repr__(self) -> str:  # a traceback must not show it
        return f"Login({self.user!r}, ***)"


def context(cib: str, resource: str, node: str, timeout: float) -> Context:
    """The agent's context of ``resource`` on this node, from the configuration; HafailoverError when a parameter is wrong."""
    for _, primitive in database_resources(parse(cib)):
        if primitive.get("id") == resource:
            given = pairs(primitive.find("instance_attributes"))
            environ = {f"OCF_RESKEY_{name}": value for name, value in given.items()}
            environ.update({"OCF_RESOURCE_INSTANCE": resource, "OCF_RESKEY_CRM_meta_on_node": node})
            try:
                return agent.context("adopt", environ, timeout)
            except OcfError as error:
                raise HafailoverError(f"the configuration of {resource} is wrong: {error}") from None
    raise HafailoverError(f"the cluster has no resource {resource}")


def login(ctx: Context) -> Connection:
    """Log in to this node's server as the agent will; RefusedError says what to change."""
    try:
        return sql.local(ctx.params["socket"], _TIMEOUT)
    except SqlError as error:
        if error.errno in (1045, 1698):
            raise RefusedError(
                "root cannot log in through the unix socket without a password, as the agent does; on the primary: ALTER USER "
                "root@localhost IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('…')"
            ) from None
        raise RefusedError(
            f"no server answers on {ctx.params['socket']}: {error}; start it, or correct socket in the topology"
        ) from None


def server(ctx: Context, connection: Connection) -> Server:
    """Ask this node's server."""
    process = Unit(ctx).process()
    if process is None:
        raise RefusedError(f"no server runs on {ctx.params['datadir']}: is that its data directory?")
    unit = adopted.unit_of(process.pid)
    row = connection.row("SELECT @@global.gtid_slave_pos AS applied")
    return Server(
        node=ctx.node,
        variables=variables(connection),
        replication=tuple(
            {name: str(value if value is not None else "") for name, value in row.items()}
            for row in connection.rows("SHOW ALL SLAVES STATUS")
        ),
        filters=_log_filters(connection),
        engines=_engines(connection),
        state=connection.state(),
        applied=str(row["applied"]),
        unit=unit,
        held=unit == Unit(ctx).name or adopted.is_adopted(ctx.instance, process.pid),
    )


def variables(connection: Connection) -> dict[str, str]:
    """All global variables."""
    return {str(row["Variable_name"]).lower(): str(row["Value"]) for row in connection.rows("SHOW GLOBAL VARIABLES")}


def _log_filters(connection: Connection) -> str:
    row = connection.row("SHOW MASTER STATUS")
    return " ".join(f"{name}={row[name]}" for name in ("Binlog_Do_DB", "Binlog_Ignore_DB") if row.get(name))


def _engines(connection: Connection) -> dict[str, tuple[str, ...]]:
    rows = connection.rows(_NOT_TRANSACTIONAL)
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        found[str(row["e"])] = (*found.get(str(row["e"]), ()), str(row["t"]))
    return found


def account(ctx: Context, connection: Connection) -> Check:
    """Whether the replicas will be able to log in on the primary, with the account of the cluster."""
    user = replication.login(ctx.params["credentials"]).user
    address = addresses(ctx.params["nodes"])[ctx.node]
    try:
        replication.connect(ctx, ctx.node).close()
        return Check("account", adopt.OK, f"the replication account {user} works")
    except SqlError as error:
        if error.errno not in (1045, 1130, 1698):
            return Check(
                "account", adopt.REFUSED,
                f"the server does not answer at its address in the cluster ({error}): have it listen there (bind_address)",
            )  # fmt: skip
    if connection.row("SELECT 1 FROM mysql.user WHERE user = %s", user):
        return Check(
            "account", adopt.REFUSED,
            f"the account {user} exists, but not with the password in {ctx.params['credentials']} for {address}: change one of the two",
        )  # fmt: skip
    return Check("account", adopt.LIVE, f"the replication account {user} is going to be made")


def wanted(ctx: Context, run: Run) -> Wanted:
    """What the cluster will start the server with; RefusedError when the file is not there."""
    path = ctx.params["config"]
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise RefusedError(
            f"{path} cannot be read ({error.strerror}): hafailover render TOPOLOGY --install on this node"
        ) from None
    settings, section = {}, ""
    for line in lines:
        if line.startswith("["):
            section = line.strip("[] ")
        elif section == "mysqld" and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            settings[name.strip().replace("-", "_")] = value.strip().strip('"')
    if "server_id" not in settings:
        raise RefusedError(f"{path} was not written by hafailover: hafailover render TOPOLOGY --install on this node")
    printed = run([ctx.params["binary"], "--no-defaults", "--user=mysql", "--verbose", "--help"], timeout=30).out
    defaults = {}
    for line in printed.partition("Variables (--variable-name=value)")[2].splitlines():
        words = line.split(None, 1)
        if len(words) == 2:
            defaults[words[0].replace("-", "_")] = words[1].strip()
    return Wanted(
        datadir=Unit(ctx).datadir,
        socket=ctx.params["socket"],
        port=str(ctx.params["port"]),
        config=path,
        settings=settings,
        defaults=defaults,
    )


def current_login(ctx: Context) -> Login:
    """The account of the replication that runs now; RefusedError."""
    path = Path(Unit(ctx).datadir) / "master.info"
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return Login(lines[4], lines[5])
    except (OSError, IndexError):
        raise RefusedError(f"{path} does not tell with which account this server replicates") from None


def primary_connection(ctx: Context, mine: Server) -> tuple[str, Connection | None, str]:
    """The data node from which this replica replicates, a connection to it, and why there is none."""
    account = current_login(ctx)
    error = "no other data node answers"
    number = mine.replication[0].get("Master_Server_Id", "")
    for name, address in addresses(ctx.params["nodes"]).items():
        if name == ctx.node:
            continue
        try:
            connection = sql.remote(address, ctx.params["port"], account.user, account.password, _TIMEOUT)
            if str(connection.row("SELECT @@server_id AS v")["v"]) == number:
                return name, connection, ""
            connection.close()
            error = ""
        except SqlError as failed:
            error = f"{failed} (with the account {account.user} of master.info)"
    return "", None, error


def source(ctx: Context, connection: Connection, mine: Server) -> Source:
    """Ask a replica's primary, and wait a moment for the replica to reach where the primary stands now."""
    node, peer, error = primary_connection(ctx, mine)
    if peer is None:
        return Source(node, error)
    try:
        with peer:
            theirs = variables(peer)
            replicates = _dump_threads_backwards(connection, theirs)
            behind = _behind(connection, peer)
            return Source(node, "", theirs, peer.state(), replicates, behind)
    except SqlError as failed:
        return Source(node, str(failed))


def _dump_threads_backwards(connection: Connection, theirs: Mapping[str, str]) -> bool:
    """Whether the primary is connected to this replica as a replica itself."""
    rows = connection.rows("SHOW SLAVE HOSTS")
    return any(str(row.get("Server_id")) == theirs["server_id"] for row in rows)


def _behind(connection: Connection, peer: Connection) -> str:
    """What keeps the replica from the position where its primary stands now; "" when it has reached it."""
    goal = peer.binlog_position()
    end = time.monotonic() + _CATCH_UP
    while True:
        at = executed(connection, peer)
        if gtid.reached(at, goal):
            return ""
        if time.monotonic() > end:
            return f"it stands at {at or 'nothing'}, the primary stood at {goal} {_CATCH_UP:g} s ago"
        time.sleep(0.1)


def executed(connection: Connection, peer: Connection) -> str:
    """The GTID position of what the replica has executed, proved by the primary's own log when it replicates by file and position."""
    row = connection.row("SHOW SLAVE STATUS")
    applied = str(connection.row("SELECT @@global.gtid_slave_pos AS v")["v"])
    if row.get("Using_Gtid") != "No":
        return applied
    told = peer.row(
        "SELECT BINLOG_GTID_POS(%s, %s) AS v", row["Relay_Master_Log_File"], int(row["Exec_Master_Log_Pos"])
    )
    if told.get("v") is None:
        raise SqlError(0, f"the primary has no position {row['Relay_Master_Log_File']}:{row['Exec_Master_Log_Pos']}")
    return str(told["v"])
