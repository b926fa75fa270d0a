"""Making this server a replica of the promoted one, and asking a peer how far it is."""

from __future__ import annotations

import os
import stat
import time

from hafailover.agents import ocf
from hafailover.agents.mariadb import decide, divergence, first, gtid, life, sql
from hafailover.agents.mariadb.cluster import Cluster
from hafailover.agents.mariadb.decide import Peer
from hafailover.agents.mariadb.server import Unit
from hafailover.agents.mariadb.sql import Connection, SqlError
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Context
from hafailover.agents.record import NamedTuple

ADMISSION = 4.0
"""Seconds to wait for the primary's answer; the next monitor asks again."""
_ADMISSION_LOOK = 0.2
PEER_TIMEOUT = 3.0  # seconds; a peer that takes longer is asked again by the next monitor
_CHANGE_MASTER = (
    "CHANGE MASTER TO MASTER_HOST=%s, MASTER_PORT=%s, MASTER_USER=%s, MASTER_PASSWORD=%s, "
    "MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=2"
)


class Login(NamedTuple):
    """The replication account."""

    user: str
    password: str

    def __repr__(self) -> str:  # a traceback must not show it
        return f"Login({self.user!r}, ***)"


def login(path: str) -> Login:
    """Read the ``[replication]`` section of the credentials file; OcfError when it is missing, open to others or incomplete."""
    fields: dict[str, str] = {}
    section = ""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if mode & 0o077:
            raise ocf.OcfError(ocf.ERR_PERM, f"{path} is open to others (mode {mode:04o}): chmod 600 {path}")
        with open(path, encoding="utf-8") as file:
            for line in file:
                line = line.strip()
                if line.startswith("["):
                    section = line.strip("[]")
                elif section == "replication" and "=" in line and not line.startswith("#"):
                    key, _, value = line.partition("=")
                    fields[key.strip()] = value.strip()
    except OSError as error:
        raise ocf.OcfError(ocf.ERR_CONFIGURED, f"cannot read the credentials {path}: {error.strerror}") from None
    if not fields.get("user") or not fields.get("password"):
        raise ocf.OcfError(ocf.ERR_CONFIGURED, f"{path} has no user and password in its [replication] section")
    return Login(fields["user"], fields["password"])


def connect(ctx: Context, node: str) -> Connection:
    """Log in to the server on ``node`` with the replication account."""
    account = login(ctx.params["credentials"])
    timeout = ctx.deadline.bound(PEER_TIMEOUT)
    return sql.remote(addresses(ctx.params["nodes"])[node], ctx.params["port"], account.user, account.password, timeout)


def follow(ctx: Context, cluster: Cluster, server: Connection, primary: str, patience: float = ADMISSION) -> str | None:
    """Make ``server`` (this node's) replicate from ``primary``; return the reason when it must not or cannot yet.

    Both settings below must hold when replication starts: recovery may have truncated transactions of this server's own that the
    primary has acknowledged, and without them these come back, are skipped, and the tables differ with both threads at "Yes".
    """
    address = addresses(ctx.params["nodes"]).get(primary)
    if address is None:
        return f"{primary} is the recorded primary but not in the parameter nodes"
    try:
        with connect(ctx, primary) as peer:
            if not peer.writable():
                return f"{primary} is not writable yet"
    except SqlError as error:
        return f"cannot ask {primary}: {error}"
    if server.waiters():
        # Switching the waiting off would acknowledge what this server alone has; the monitor ends the server instead.
        return "a commit waits here for an acknowledgement that nobody gives any more"
    server.run("SET GLOBAL rpl_semi_sync_master_enabled=OFF")  # on a replica it would stall the SQL thread
    try:
        mine, theirs = _states(ctx, server, primary)
    except SqlError as error:
        return f"cannot ask {primary}: {error}"
    if theirs is None:
        return f"{primary} is not writable yet"
    diverged = _beginning(ctx, server, primary) if not mine else decide.divergence(mine, theirs, primary)
    if diverged:
        server.run("STOP SLAVE")
        divergence.report(cluster, gtid.text(gtid.missing(mine, theirs)) or divergence.UNKNOWN)
        return diverged
    divergence.remember(ctx.instance, theirs)
    process = Unit(ctx).process()
    if process:
        from hafailover.agents.mariadb import salvage

        salvage.keep_foreign(ctx, cluster, server, process, address, theirs)
    account = login(ctx.params["credentials"])
    server.run("STOP SLAVE")
    server.run("SET GLOBAL gtid_strict_mode=ON")
    server.run("SET GLOBAL rpl_semi_sync_slave_enabled=ON")
    server.sync_relay_log(each=False)
    # An ex-primary's gtid_slave_pos stands where its reign began: what it holds is in its binary log.
    row = server.row("SELECT @@global.gtid_binlog_pos AS written, @@global.gtid_slave_pos AS applied")
    server.run("SET GLOBAL gtid_slave_pos=%s", gtid.latest(row["written"], row["applied"]))
    _configure(server, address, int(ctx.params["port"]), account)
    server.run("START SLAVE SQL_THREAD")
    from hafailover.agents.mariadb import salvage

    salvage.forget(ctx.instance)
    ctx.event("follow", f"replicating from {primary} ({address})", peer=primary)
    return receive(ctx, cluster, server, primary, patience=patience)


def receive(
    ctx: Context,
    cluster: Cluster,
    server: Connection,
    primary: str,
    proved: bool = False,
    patience: float = ADMISSION,
) -> str | None:
    """With the SQL thread running, publish this life and begin to receive; return the reason when that must wait.

    With several replicas an acknowledgement of this one could release a commit before the primary has it recorded: it waits to be admitted.
    A life that is ``proved`` is recorded, and goes on at once: a promotion that came to nothing has stopped its IO thread, and a primary
    that is gone for good admits nobody.
    """
    process = Unit(ctx).process()
    if process is None:
        return "the server has ended"
    this_life = life.of(process, server)
    cluster.keep_published("incarnation", this_life)
    end = time.monotonic() + ctx.deadline.bound(patience)
    while cluster.has_several_replicas() and not proved and not cluster.is_admitted(primary, this_life):
        if time.monotonic() > end:
            return f"waiting until {primary} counts on this server's acknowledgements"
        time.sleep(_ADMISSION_LOOK)
    server.run("START SLAVE IO_THREAD")
    return None


def _configure(server: Connection, address: str, port: int, account: Login) -> None:
    """Tell it from whom to replicate. A server that was adopted named its relay logs otherwise: it must forget those first."""
    values = (address, port, account.user, account.password)
    try:
        server.run(_CHANGE_MASTER, *values)
    except SqlError as error:
        if error.errno != sql.MASTER_INFO:
            raise
        server.run("RESET SLAVE")  # what it has applied is in gtid_slave_pos, and the primary is there to send the rest
        server.run(_CHANGE_MASTER, *values)


def _states(ctx: Context, server: Connection, primary: str) -> tuple[str, str | None]:
    """The GTID states of this server and of the primary, None when that is not writable. SqlError when it does not answer."""
    mine = server.state()  # first: a transaction that arrives in between must not look like this server's own
    with connect(ctx, primary) as peer:
        return mine, peer.state() if peer.writable() else None


def differs(ctx: Context, server: Connection, primary: str) -> tuple[gtid.Gtid, ...]:
    """What this server holds that the primary does not; nothing when that cannot be asked now."""
    try:
        mine, theirs = _states(ctx, server, primary)
    except SqlError:
        return ()
    return () if theirs is None else gtid.missing(mine, theirs)


def _beginning(ctx: Context, server: Connection, primary: str) -> str | None:
    """Say why a server without any GTID must not replicate from the beginning of the primary's binary log, or None."""
    return first.from_nothing_refusal(Cluster(ctx).journal().origin, server.virgin(), primary)


def look_at(ctx: Context, name: str, incarnation: str) -> Peer:
    """Ask the server on ``name`` for what decides whether it is in sync; SqlError when it does not answer."""
    with connect(ctx, name) as peer:
        state = peer.state()
        return Peer(name, incarnation, peer.replica(), not peer.writable(), peer.acknowledges(), state)


def ensure_account(ctx: Context, server: Connection) -> None:
    """Make the replication account on a primary without one; it reaches the replicas as any other transaction does."""
    account = login(ctx.params["credentials"])
    if server.row("SELECT 1 FROM mysql.user WHERE user = %s", account.user):
        return
    from hashlib import sha1  # OpenSSL takes 4 ms to load, and this is done once in a cluster's life

    # The server's own form of the hash, so that no log of statements ever holds the password.
    inner = sha1(account.password.encode()).digest()  # noqa: S324  mysql_native_password is defined so
    digest = "*" + sha1(inner).hexdigest().upper()  # noqa: S324
    server.run("CREATE USER IF NOT EXISTS %s@'%%' IDENTIFIED BY PASSWORD %s", account.user, digest)
    server.run("GRANT REPLICATION SLAVE, SLAVE MONITOR ON *.* TO %s@'%%'", account.user)
