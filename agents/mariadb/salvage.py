"""Apply what a replica received before its restart, when nobody can send it again.

Once both replication threads are stopped, any START SLAVE by GTID throws the relay log away and asks the primary for everything after
``gtid_slave_pos``. That is right while the primary answers: it has all that it ever sent. When it is gone, transactions that this
replica acknowledged may exist nowhere else. The way that keeps them (10.11.19): ``CHANGE MASTER TO master_use_gtid=no, relay_log_file=…,
relay_log_pos=…`` at the first transaction that is not applied, which may be far behind the position the server remembers, then START
SLAVE SQL_THREAD. It moves ``gtid_slave_pos`` as usual, and can be begun again after a crash at any point.

May such a replica then be promoted, if it was in sync, its node never left the cluster and the journal still lists its former life? All
that the former life acknowledged is in these files, and the new life has applied them: the argument holds as long as no START SLAVE came
in between, in no life since the one that is listed. But it buys next to nothing: a primary that is alive marks a replica whose server
restarts as stale within its ``stall``, so only one that dies in that same second leaves the old mark; and then the fenced primary comes
back with all of it. A chain of lives that must be believed without a gap is not worth that second: such a replica stays STALE.
"""

from __future__ import annotations

import os
import time

from hafailover.agents import RUN_DIR, ocf
from hafailover.agents.mariadb import binlog, gtid, relaylog, sql
from hafailover.agents.mariadb.relaylog import Rest
from hafailover.agents.mariadb.sql import SqlError
from hafailover.agents.nodes import addresses
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from hafailover.agents.mariadb.binlog import Transaction
    from hafailover.agents.mariadb.cluster import Cluster
    from hafailover.agents.mariadb.decide import Replica
    from hafailover.agents.mariadb.journal import Journal
    from hafailover.agents.mariadb.server import Process
    from hafailover.agents.mariadb.sql import Connection
    from hafailover.agents.ocf import Context

ATTRIBUTE = "salvage"
APPLYING = "applying"
DONE = "done"
FAILED = "failed"
NONE = "none"
_KEPT = "/var/lib/hafailover"
_PEER_TIMEOUT = 3.0  # seconds
_LOOK = 0.1  # seconds between two looks of a promotion that waits
_LOOK_AT_TIME = 10000  # transactions of a relay log between two looks at the clock


class Salvage(NamedTuple):
    """What became of the relay log in one life of the server. ``incarnation``: that life. ``state``: APPLYING, DONE, FAILED or NONE.

    number: of transactions. target: the last of them for each domain and server. threads: the server's setting of parallel threads, to
    be put back. note: where files were kept, or what went wrong.
    """

    incarnation: str
    state: str
    number: int
    target: str
    threads: int
    note: str


def parse(text: str) -> Salvage | None:
    """Read what :func:`write` wrote, or None."""
    fields = text.split(" ", 5)
    if len(fields) != 6 or not (fields[2].isdigit() and fields[4].isdigit()):
        return None
    target = "" if fields[3] == "-" else fields[3]
    return Salvage(fields[0], fields[1], int(fields[2]), target, int(fields[4]), fields[5])


def write(salvage: Salvage) -> str:
    """Return the text that is kept in /run and published."""
    target = salvage.target or "-"
    return f"{salvage.incarnation} {salvage.state} {salvage.number} {target} {salvage.threads} {salvage.note}"


def read(resource: str) -> Salvage | None:
    """The last salvage on this node since it booted, or None."""
    try:
        with open(_path(resource), encoding="utf-8") as file:
            return parse(file.read())
    except FileNotFoundError:
        return None


def forget(resource: str) -> None:
    """Replication has begun: a relay log that is found unapplied from here on is another one."""
    known = read(resource)
    if known and known.state in (NONE, DONE):
        os.unlink(_path(resource))


def look(
    ctx: Context, cluster: Cluster, server: Connection, process: Process, replica: Replica, entry: Journal
) -> str | None:
    """Begin the salvage if one is needed, or look how far it is; return what goes on, or None when there is nothing (more) to do.

    Only to be called when the IO thread does not run.
    """
    known = read(ctx.instance)
    if known is None or known.incarnation != process.incarnation:
        if replica.sql:
            return None  # an SQL thread that still runs applies it
        known = _begin(ctx, cluster, server, process, replica, entry)
        if known is None:
            return None
    if known.state != APPLYING:
        return None
    replica = server.replica() or replica
    # Also when the thread has stopped at a torn last event (error 1594): that one was never acknowledged.
    if gtid.reached(replica.applied, known.target):
        server.run("STOP SLAVE SQL_THREAD")
        server.run("SET GLOBAL slave_parallel_threads=%s", known.threads)
        _keep(ctx, cluster, known._replace(state=DONE))
        ctx.event(
            "salvage.done",
            f"applied {known.number} transactions that were received before the restart, up to {known.target}",
            count=known.number,
            gtid=known.target,
        )
        return None
    if replica.sql_errno:
        server.run("SET GLOBAL slave_parallel_threads=%s", known.threads)
        kept = _copy(ctx, server, process)
        note = f"{replica.error} (error {replica.sql_errno}); the relay log is kept in {kept}"
        _keep(ctx, cluster, known._replace(state=FAILED, note=note))
        ctx.event("salvage.failed", f"cannot apply what was received before the restart: {note}")
        return None
    if not replica.sql:
        # Whoever began was ended before it had started the thread, or somebody stopped it.
        if server.row("SHOW SLAVE STATUS").get("Using_Gtid") != "No":
            os.unlink(_path(ctx.instance))
            return "looking again at what was received before the restart"
        server.run("START SLAVE SQL_THREAD")
    left = gtid.behind(replica.applied, known.target)
    return f"applying what was received before the restart: {left} transactions left of {known.number}"


def finish(ctx: Context, cluster: Cluster, server: Connection, process: Process, entry: Journal) -> None:
    """Before a promotion, which removes the relay log: apply it to its end. OcfError at the end of the action's time."""
    while True:
        replica = server.replica()
        if replica is None or replica.io != "No":
            return
        going_on = look(ctx, cluster, server, process, replica, entry)
        if going_on is None:
            return
        if ctx.deadline.expired:
            raise ocf.OcfError(ocf.ERR_GENERIC, f"not promoted: {going_on}")
        time.sleep(_LOOK)


def keep_foreign(
    ctx: Context, cluster: Cluster, server: Connection, process: Process, address: str, state: str
) -> None:
    """Before this replica turns to the primary at ``address``, which holds ``state``: keep what was received and that one lacks.

    Turning to it throws the relay log away.
    """
    replica = server.replica()
    if replica is None or replica.source == address:
        return
    received, missing, why = replica.received, "", ""
    try:
        received = received or _rest(ctx, server).state
        missing = gtid.text(gtid.missing(received, state))
        why = f"{replica.source} sent {missing}, which {address} does not hold" if missing else ""
    except (binlog.Unreadable, OSError) as error:
        why = f"what {replica.source} sent cannot be compared with what {address} holds ({error})"
    if why:
        note = f"{why}; the relay log is kept in {_copy(ctx, server, process)}"
        _keep(
            ctx, cluster, Salvage(process.incarnation, FAILED, gtid.behind(replica.applied, received), missing, 0, note)
        )
        ctx.event("salvage.kept", note, gtid=missing)


def _begin(
    ctx: Context, cluster: Cluster, server: Connection, process: Process, replica: Replica, entry: Journal
) -> Salvage | None:
    nothing = Salvage(process.incarnation, NONE, 0, "", 0, "nothing was left to apply")
    try:
        rest = _rest(ctx, server)
    except (binlog.Unreadable, OSError) as error:
        kept = _copy(ctx, server, process)
        found = nothing._replace(state=FAILED, note=f"{error}; the relay log is kept in {kept}")
        _keep(ctx, cluster, found)
        ctx.event("salvage.failed", f"cannot tell what was received before the restart: {found.note}")
        return found
    if not rest.number:
        _keep(ctx, cluster, nothing)
        return nothing
    if _still_sends(ctx, entry, replica):
        return None
    threads = int(server.row("SELECT @@global.slave_parallel_threads AS v")["v"])
    found = Salvage(process.incarnation, APPLYING, rest.number, rest.state, threads, "received before the restart")
    if rest.mixed:
        kept = _copy(ctx, server, process)
        found = found._replace(state=FAILED, note=f"it was applied out of order; the relay log is kept in {kept}")
        _keep(ctx, cluster, found)
        ctx.event("salvage.failed", found.note)
        return found
    ctx.event(
        "salvage",
        f"{replica.source} cannot be asked: applying {rest.number} transactions received before the restart, up to {rest.state}",
        count=rest.number,
        gtid=rest.state,
    )
    server.run("SET GLOBAL rpl_semi_sync_master_enabled=OFF")  # on a replica it would stall the SQL thread
    server.run("SET GLOBAL gtid_strict_mode=ON")  # a position too early then ends in an error instead of applying twice
    server.run(
        "SET GLOBAL slave_parallel_threads=0"
    )  # with parallel threads a start by position crashes the server (10.11.19)
    server.run(
        "CHANGE MASTER TO MASTER_USE_GTID=no, RELAY_LOG_FILE=%s, RELAY_LOG_POS=%s",
        os.path.basename(rest.file),
        rest.position,
    )
    _keep(ctx, cluster, found)
    server.run("START SLAVE SQL_THREAD")
    return found


def _still_sends(ctx: Context, entry: Journal, replica: Replica) -> bool:
    """Whether the recorded primary is the one this relay log came from, and serves: it has everything that it ever sent."""
    address = addresses(ctx.params["nodes"]).get(entry.primary)
    if address is None or address != replica.source or entry.primary == ctx.node:
        return False
    from hafailover.agents.mariadb import replication  # which needs this module

    try:
        account = replication.login(ctx.params["credentials"])
        timeout = ctx.deadline.bound(_PEER_TIMEOUT)
        with sql.remote(address, ctx.params["port"], account.user, account.password, timeout) as peer:
            return peer.writable()
    except SqlError:
        return False


def _rest(ctx: Context, server: Connection) -> Rest:
    """What the relay log on disk holds beyond the position that this server has applied; binlog.Unreadable, OSError."""
    applied = str(server.row("SELECT @@global.gtid_slave_pos AS v")["v"])
    return relaylog.unapplied(_in_time(ctx, binlog.transactions(_files(server))), applied)


def _in_time(ctx: Context, transactions: Iterator[Transaction]) -> Iterator[Transaction]:
    for number, transaction in enumerate(transactions):
        if number % _LOOK_AT_TIME == 0 and ctx.deadline.expired:
            raise ocf.OcfError(ocf.ERR_GENERIC, "the relay log is too long to be read within this action's time")
        yield transaction


def _files(server: Connection) -> list[str]:
    row = server.row("SELECT @@global.datadir AS base, @@global.relay_log_index AS name")
    try:
        return binlog.indexed(os.path.join(row["base"], row["name"]))
    except FileNotFoundError:
        return []


def _copy(ctx: Context, server: Connection, process: Process) -> str:
    """Keep the relay log's files outside of the server's reach; return the directory. As links where that is possible."""
    kept = f"{_KEPT}/{ctx.instance}/relay-{process.incarnation}"
    os.makedirs(kept, mode=0o700, exist_ok=True)
    for name in _files(server):
        copy = os.path.join(kept, os.path.basename(name))
        if os.path.exists(copy):
            os.unlink(copy)
        try:
            os.link(name, copy)
        except FileNotFoundError:
            continue  # applied to its end and removed by the server meanwhile
        except OSError:  # another file system
            import shutil  # 5 ms, and hardly ever needed

            shutil.copy2(name, copy)
    return kept


def _keep(ctx: Context, cluster: Cluster, salvage: Salvage) -> None:
    os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
    with open(_path(ctx.instance) + ".new", "w", encoding="utf-8") as file:
        file.write(write(salvage))
    os.rename(_path(ctx.instance) + ".new", _path(ctx.instance))
    cluster.publish(ATTRIBUTE, write(salvage))


def _path(resource: str) -> str:
    return f"{RUN_DIR}/{resource}.{ATTRIBUTE}"
