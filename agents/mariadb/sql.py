"""One connection to a MariaDB server, and the questions the agent asks it.

Every call is bounded by the connection's read timeout. ``SHOW MASTER STATUS`` and its kin are never asked: they hang while two commits
wait for a semi-sync acknowledgement.
"""

from __future__ import annotations

import time

from hafailover.agents.mariadb.decide import Replica, SemiSync
from hafailover.agents.mariadb.wire import Wire, WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from hafailover.agents.ocf import Context

TOO_MANY_CONNECTIONS = 1040
STATEMENT_TIMEOUT = 1969
_KNOCK_EVERY = 0.02  # seconds between two attempts to get the one spare connection
MASTER_INFO = (
    1201  # the files of the replication that was configured cannot be read, or name relay logs that are not there
)
# A file system's lost+found in the data directory looks like a schema, too.
_OWN_SCHEMAS = frozenset(("mysql", "information_schema", "performance_schema", "sys", "#mysql50#lost+found"))
# Fields of SHOW SLAVE STATUS; with any of them set a replica lacks rows, or has them elsewhere.
FILTERS = (
    *("Replicate_Do_DB", "Replicate_Ignore_DB", "Replicate_Do_Table", "Replicate_Ignore_Table"),
    *("Replicate_Wild_Do_Table", "Replicate_Wild_Ignore_Table", "Replicate_Ignore_Server_Ids"),
    *("Replicate_Do_Domain_Ids", "Replicate_Ignore_Domain_Ids", "Replicate_Rewrite_DB"),
)
_WAITS_FOR_ACK = "Waiting for semi-sync ACK from slave"


class SqlError(Exception):
    """The server refused or did not answer. ``errno`` is MariaDB's number (2003 and above 2000: the connection)."""

    def __init__(self, errno: int, message: str) -> None:
        super().__init__(message)
        self.errno = errno


class Connection:
    """An open, autocommitting connection. Errors are SqlError, also when the server goes away."""

    def __init__(
        self,
        where: str,
        address: str | tuple[str, int],
        user: str,
        password: str,
        timeout: float,
        life: float = float("inf"),
    ) -> None:
        self.where = where
        try:
            self._wire = Wire(address, user, password, timeout, life)
        except WireError as error:
            raise self._translated(error) from None

    def _translated(self, error: WireError) -> SqlError:
        number, text = error.args
        return SqlError(number, f"{self.where}: {text}")

    def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Run a statement and return its rows as dictionaries."""
        try:
            return self._wire.query(statement, *values)
        except WireError as error:
            raise self._translated(error) from None

    def row(self, statement: str, *values: Any) -> dict[str, Any]:
        """Run a statement and return its first row, or {}."""
        found = self.rows(statement, *values)
        return found[0] if found else {}

    def run(self, statement: str, *values: Any) -> None:
        """Run a statement for its effect."""
        self.rows(statement, *values)

    def close(self) -> None:
        """Close without waiting for the server."""
        self._wire.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- questions ---------------------------------------------------------------------------------------------

    def writable(self) -> bool:
        """Tell whether the server accepts writes. Newer servers know more values than ON and OFF: only OFF is writable."""
        return str(self.row("SELECT @@global.read_only AS v")["v"]).upper() in ("0", "OFF")

    def binlog_position(self) -> str:
        """Last transaction per domain in the binary log; answers also while commits wait."""
        return str(self.row("SELECT @@global.gtid_binlog_pos AS v")["v"])

    def state(self) -> str:
        """Everything this server is known to hold: its binary log's state, and what it applied as a replica."""
        row = self.row("SELECT @@global.gtid_binlog_state AS state, @@global.gtid_slave_pos AS applied")
        return ",".join(part for part in (row["state"], row["applied"]) if part)

    def virgin(self) -> bool:
        """Tell whether nobody ever made anything here: no schema but the server's own, and at most an empty ``test``."""
        rows = self.rows("SELECT schema_name AS name FROM information_schema.schemata")
        found = {str(row["name"]) for row in rows} - _OWN_SCHEMAS
        if found != {"test"}:
            return not found
        return not self.row("SELECT 1 FROM information_schema.tables WHERE table_schema = 'test' LIMIT 1")

    def replica(self) -> Replica | None:
        """The replication threads and positions, or None when replication is not configured."""
        row = self.row("SHOW SLAVE STATUS")
        if not row:
            return None
        applied = str(self.row("SELECT @@global.gtid_slave_pos AS v")["v"])
        return Replica(
            source=row["Master_Host"],
            io=row["Slave_IO_Running"],
            sql=row["Slave_SQL_Running"] == "Yes",
            received=str(row["Gtid_IO_Pos"]),
            applied=applied,
            io_errno=int(row["Last_IO_Errno"]),
            sql_errno=int(row["Last_SQL_Errno"]),
            error=str(row["Last_SQL_Error"] or row["Last_IO_Error"] or ""),
            gtid=row["Using_Gtid"] != "No",
            filters=" ".join(f"{name}={row[name]}" for name in FILTERS if row.get(name)),
        )

    def acknowledges(self) -> bool:
        """Tell whether this replica's semi-sync side is switched on."""
        return bool(self.row("SELECT @@global.rpl_semi_sync_slave_enabled AS v")["v"])

    def semi_sync(self) -> SemiSync:
        """The primary's side of semi-sync; the two times are left 0, they take two looks."""
        status = {r["Variable_name"]: r["Value"] for r in self.rows("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master%'")}
        enabled = bool(self.row("SELECT @@global.rpl_semi_sync_master_enabled AS v")["v"])
        return SemiSync(
            enforcing=enabled,
            clients=int(status["Rpl_semi_sync_master_clients"]),
            waiting=int(status["Rpl_semi_sync_master_wait_sessions"]),
            alone=0.0,
            stalled=0.0,
        )

    def waiters(self) -> frozenset[int]:
        """Query ids of the commits that wait for an acknowledgement now.

        Their age in the process list counts from the statement's start, so a long statement would look stalled: compare two looks instead.
        """
        rows = self.rows("SELECT query_id FROM information_schema.processlist WHERE state = %s", _WAITS_FOR_ACK)
        return frozenset(int(row["query_id"]) for row in rows)

    def replica_connections(self) -> frozenset[int]:
        """Ids of the connections over which replicas read the binary log."""
        rows = self.rows("SELECT id FROM information_schema.processlist WHERE command = 'Binlog Dump'")
        return frozenset(int(row["id"]) for row in rows)

    def sync_relay_log(self, each: bool) -> None:
        """Have each received transaction on the disk at once, as a replica in sync must: it may be the only copy one day; or not.

        A replica that catches up cannot afford one write to the disk for each, and loses nothing: what is gone with the power comes again.
        """
        wanted = 1 if each else 10000
        if self.row("SELECT @@global.sync_relay_log AS v")["v"] != wanted:
            self.run("SET GLOBAL sync_relay_log=%s", wanted)

    def sql_thread(self) -> int:
        """Id of the replication's SQL thread, another one after each start; 0 when it does not run."""
        return int(self.row("SELECT id FROM information_schema.processlist WHERE command = 'Slave_SQL'").get("id", 0))

    def client_sessions(self) -> tuple[int, ...]:
        """Ids of the sessions that could write: everybody but this one, the server's own threads and replicas' dump threads."""
        rows = self.rows(
            "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() "
            "AND user NOT IN ('system user', 'event_scheduler') AND command NOT IN ('Binlog Dump', 'Daemon')"
        )
        return tuple(int(row["id"]) for row in rows)


def own(ctx: Context, life: float = float("inf")) -> Connection:
    """Log in to this node's server, with the patience that one look at it may take, and ``life`` seconds for all of them.

    When every connection is taken, root has one more; but clients that are about to be refused, and other helpers, take it for moments.
    """
    patience = ctx.deadline.bound(ctx.params["patience"])
    end = time.monotonic() + patience
    while True:
        try:
            return local(ctx.params["socket"], patience, life)
        except SqlError as error:
            if error.errno != TOO_MANY_CONNECTIONS or time.monotonic() > end:
                raise
        time.sleep(_KNOCK_EVERY)


def local(socket: str, timeout: float, life: float = float("inf")) -> Connection:
    """Log in as root over the unix socket (``unix_socket`` authentication: no password exists that could leak)."""
    return Connection(socket, socket, "root", "", timeout, life)


def remote(address: str, port: int, user: str, password: str, timeout: float) -> Connection:
    """Log in to a peer over TCP with the replication account."""
    return Connection(f"{address}:{port}", (address, port), user, password, timeout)
