"""Take a running server into the cluster, in steps that can be repeated: whatever interrupts it, running it again goes on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Callable

from hafailover.agents.mariadb import adopted, decide, gtid, journal, outside, replication
from hafailover.agents.mariadb.adopted import AdoptionError
from hafailover.agents.mariadb.cluster import Cluster, now
from hafailover.agents.mariadb.records import Refused
from hafailover.agents.mariadb.server import Unit
from hafailover.agents.mariadb.sql import Connection, SqlError
from hafailover.agents.ocf import Context
from hafailover.crm import adopt, adopt_facts
from hafailover.crm.adopt import Check, Server
from hafailover.crm.errors import HafailoverError, IncompleteError, RefusedError
from hafailover.crm.pacemaker import PacemakerError
from hafailover.crm.status import NOTE, Service, Status
from hafailover.crm.status_database import PROMOTED_ROLES, UNPROMOTED_ROLES
from hafailover.crm.status_facts import ClusterDown, gather
from hafailover.crm.status_judge import judge
from hafailover.crm.status_read import read

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run

READY = "adopt"  # the attribute by which a replica tells its primary that it may go on
_CLOSE = 5  # seconds that read_only may take on a replica
_STOP = 300.0  # seconds that a replica's server may take to stop
_PROBE = 60.0  # seconds until Pacemaker has looked again
_PAUSE = 0.3

Say = Callable[[str], None]


def ready_for(cluster: Cluster, primary: str) -> frozenset[str]:
    """The replicas that have been prepared to follow ``primary``."""
    published = cluster.published(READY)
    return frozenset(name for name, value in published.items() if value.split(" ")[0] == primary)


def resume_replication(ctx: Context, connection: Connection) -> None:
    """Start the threads again that an interrupted run has stopped; one that nobody has begun to adopt is left as it is."""
    process = Unit(ctx).process()
    if process and adopted.is_adopted(ctx.instance, process.pid):
        row = connection.row("SHOW SLAVE STATUS")
        stopped = row and "No" in (row["Slave_IO_Running"], row["Slave_SQL_Running"])
        if stopped and not row["Last_SQL_Errno"] and not row["Last_IO_Errno"]:
            connection.run("START SLAVE")
            time.sleep(1)  # the threads take a moment to say how they are


class Replica:
    """The steps on a replica."""

    def __init__(self, ctx: Context, cluster: Cluster, run: Run, say: Say) -> None:
        self._ctx, self._cluster, self._run, self._say = ctx, cluster, run, say

    def prepare(self, connection: Connection, server: Server, primary: str, restart: tuple[Check, ...]) -> None:
        """Make it read-only, take it over, have it replicate by GTID, and tell the primary's node; RefusedError, HafailoverError."""
        node, peer, error = adopt_facts.primary_connection(self._ctx, server)
        if peer is None or node != primary:
            raise HafailoverError(f"{primary} does not answer any more: {error}")
        with peer:
            if server.writable:
                self._close(connection, peer, primary)
            process = Unit(self._ctx).process()
            if process is None:
                raise HafailoverError("the server has ended meanwhile; start it and run this again")
            unit = adopted.take_over(self._ctx.instance, process.pid, self._systemctl)
            self._say(f"{unit} is taken over: disabled, never restarted by systemd, its death is told to the cluster")
            if connection.row("SHOW SLAVE STATUS").get("Using_Gtid") == "No":
                self._by_gtid(connection, peer)
        if restart:
            self._stop(connection, unit, restart)
        self._cluster.publish(READY, f"{primary} {int(time.time())}")
        look_again(self._run, self._ctx.instance)

    def _close(self, connection: Connection, peer: Connection, primary: str) -> None:
        connection.run(f"SET STATEMENT max_statement_time={_CLOSE} FOR SET GLOBAL read_only=ON")
        extra = gtid.missing(connection.state(), peer.state())
        if extra:
            connection.run("SET GLOBAL read_only=OFF")
            raise RefusedError(
                f"somebody wrote on this replica just now ({gtid.text(extra)}, which {primary} does not hold); clone it anew"
            )
        self._say("read_only is ON")

    def _by_gtid(self, connection: Connection, peer: Connection) -> None:
        """From file and position to GTID. The SQL thread stands still while the position is proved; the IO thread keeps its relay log."""
        connection.run("SET GLOBAL gtid_strict_mode=ON")
        connection.run("STOP SLAVE SQL_THREAD")
        try:
            proved = adopt_facts.executed(connection, peer)
            applied = str(connection.row("SELECT @@global.gtid_slave_pos AS v")["v"])
            connection.run("STOP SLAVE")
            if sorted(gtid.parse(applied)) != sorted(gtid.parse(proved)):
                connection.run("SET GLOBAL gtid_slave_pos=%s", proved)
            connection.run("CHANGE MASTER TO MASTER_USE_GTID=slave_pos")
        finally:
            connection.run("START SLAVE")
        self._say(
            f"replicates by GTID from {proved or 'the beginning'}, as its primary's log says of its file and position"
        )

    def _stop(self, connection: Connection, unit: str, restart: tuple[Check, ...]) -> None:
        connection.close()
        self._say(f"stops {unit}, to be started by the cluster: {'; '.join(check.says for check in restart)}")
        done = self._run(["systemctl", "stop", unit], timeout=_STOP)
        if done.rc:
            raise HafailoverError(f"{unit} does not stop: {done.err.strip() or done.rc}")

    def _systemctl(self, argv: list[str], timeout: float | None = None) -> adopted.Result:
        return self._run(argv, timeout=timeout)


class Primary:
    """The steps on the primary, which takes writes all the time."""

    def __init__(self, ctx: Context, cluster: Cluster, run: Run, say: Say) -> None:
        self._ctx, self._cluster, self._run, self._say = ctx, cluster, run, say

    def admit(self, connection: Connection, found: tuple[Check, ...]) -> None:
        """Make it keep the cluster's promise, take it over, record it, and end the maintenance; HafailoverError."""
        for check in found:
            if check.verdict == adopt.LIVE and check.name in adopt.LIVE_SETTINGS:
                connection.run(f"SET GLOBAL {check.name}={_literal(adopt.LIVE_SETTINGS[check.name])}")
                self._say(f"{check.name} is {adopt.LIVE_SETTINGS[check.name]}")
        replication.ensure_account(self._ctx, connection)
        self._prove_account()
        process = Unit(self._ctx).process()
        if process is None:
            raise HafailoverError("the server has ended meanwhile; start it and run this again")
        unit = adopted.take_over(
            self._ctx.instance, process.pid, lambda argv, timeout=None: self._run(argv, timeout=timeout)
        )
        self._say(f"{unit} is taken over: disabled, never restarted by systemd, its death is told to the cluster")
        outside.save(self._ctx)
        self._record(connection)
        self._cluster.publish("incarnation", process.incarnation)
        look_again(self._run, self._ctx.instance)
        self._await_roles()
        # Without a score Pacemaker would demote it the moment it manages it again.
        self._cluster.set_score(decide.SCORE_PRIMARY)
        self._cluster.explain(None)
        done = self._run(["crm_attribute", "-t", "crm_config", "-n", "maintenance-mode", "-D"], timeout=15)
        if done.rc:
            raise HafailoverError(f"the maintenance mode could not be ended: {done.err.strip()}")
        self._say("maintenance mode is over")

    def _prove_account(self) -> None:
        account = replication.login(self._ctx.params["credentials"])
        try:
            replication.connect(self._ctx, self._ctx.node).close()
        except SqlError as error:
            raise HafailoverError(
                f"the replication account {account.user} cannot log in at this server's own address ({error}): give it the password "
                f"in {self._ctx.params['credentials']}, and let the server listen there (bind_address)"
            ) from None
        self._say(f"the replication account {account.user} works")

    def _record(self, connection: Connection) -> None:
        seen = self._cluster.journal()
        if seen.primary == self._ctx.node and self._cluster.records.last() == seen:
            self._say(f"is recorded as primary of epoch {seen.epoch}")
            return
        entry = seen
        if not seen.epoch:
            entry = seen.promoted(self._ctx.node, gtid.latest(connection.state()), now())._replace(origin=journal.DATA)
        self._cluster.records.write(entry, seen)
        self._say(f"recorded as primary of epoch {entry.epoch} at {entry.gtid}")

    def _await_roles(self) -> None:
        """Until Pacemaker knows what runs: it would stop and start what it takes for something else."""
        end = time.monotonic() + _PROBE
        while True:
            status, wrong = _look(self._run)
            if status is not None:
                service = status.service(self._ctx.instance)
                wrong = _wrong_roles(service, self._ctx.node) if service else "the resource is gone"
            if not wrong:
                self._say("Pacemaker sees it promoted, and its replicas unpromoted")
                return
            if time.monotonic() > end:
                raise IncompleteError(
                    f"after {_PROBE:g} s {wrong}; nothing was interrupted, the cluster is still in maintenance mode. Run this again"
                )
            time.sleep(_PAUSE)

    def settle(self, seconds: float) -> None:
        """Wait until every replica is in sync and the addresses are up; IncompleteError with what is left."""
        end = time.monotonic() + seconds
        while True:
            status, left = _look(self._run)
            if status is not None:
                verdict = judge(status)
                if verdict.healthy:
                    self._say("healthy: every replica is in sync")
                    return
                left = "; ".join(problem.text for problem in verdict.problems if problem.severity != NOTE)
            if time.monotonic() > end:
                raise IncompleteError(f"it is in the cluster, but after {seconds:g} s: {left}. See hafailover status")
            time.sleep(_PAUSE)


def _look(run: Run) -> tuple[Status | None, str]:
    """The cluster's status, or why there is none now: a busy node's Pacemaker may leave one question without an answer in time."""
    try:
        return read(gather(run)), ""
    except ClusterDown as error:
        return None, str(error)


def _wrong_roles(service: Service, primary: str) -> str:
    for one in service.instances:
        good = PROMOTED_ROLES if one.node == primary else (*UNPROMOTED_ROLES, "Stopped")
        if one.role not in good or one.pending:
            return f"Pacemaker sees {one.node} as {one.pending or one.role}"
    return ""


def _literal(value: str) -> str:
    return value if value.isdigit() else f"'{value}'"


def look_again(run: Run, resource: str) -> None:
    """Have Pacemaker probe the resource on every node, and forget what failed."""
    done = run(["crm_resource", "--refresh", "--resource", resource], timeout=60)
    if done.rc:
        raise HafailoverError(f"crm_resource --refresh failed: {(done.err or done.out).strip()}")


ERRORS = (SqlError, PacemakerError, AdoptionError, Refused)
"""What the steps raise besides HafailoverError; each is a sentence."""

__all__ = ["ERRORS", "READY", "Primary", "Replica", "look_again", "ready_for", "resume_replication"]
