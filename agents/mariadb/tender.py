"""The promoted instance's resident helper: it reacts within tenths of a second, where a monitor would take its interval.

It looks at its own server over one open connection five times a second, and asks the cluster only when something seems to have
changed, or every ten seconds. It runs as the transient unit ``hafailover-mariadb-RESOURCE-tend.service``, started by the promoted monitor
and restarted by systemd when it dies; it ends by itself when the server is read-only or gone. While it holds its lock nobody else marks
replicas or releases commits; when nobody holds it, the monitor does the same work once. So no moment of its death matters: what was left
half-done is either recorded or still waiting.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

from hafailover.agents import RUN_DIR, ocf
from hafailover.agents.mariadb import outside, regain, semisync, sql
from hafailover.agents.mariadb.cluster import Cluster
from hafailover.agents.mariadb.journal import Journal, JournalError
from hafailover.agents.mariadb.records import Refused
from hafailover.agents.mariadb.sql import Connection, SqlError
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Context
from hafailover.crm.pacemaker import PacemakerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

_PROGRAM = "/usr/lib/hafailover/mariadb-tend"
_LOOK_EVERY = 0.2  # seconds
_LOOK_AGAIN = 0.05  # seconds, within one monitor
_TRY_EVERY = 1.0  # seconds between two attempts to bring a replica back in sync
_ASK_AGAIN = 10.0  # seconds after which the cluster is asked although nothing seems to have changed
_TURN = 20.0  # seconds that one act on the cluster may take
_HUNG = 45.0  # seconds without a sign of life: longer than any act
_END = 1.0  # seconds that a helper has to end before it is killed


class Lock:
    """The right to look after the replicas of ``resource``; whoever holds it has written its pid into the file."""

    def __init__(self, resource: str) -> None:
        os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
        self.path = f"{RUN_DIR}/{resource}.tend.lock"
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def take(self, seconds: float) -> bool:
        """Get the lock within ``seconds``."""
        end = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    return False
                time.sleep(0.002)
                continue
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)
            return True

    def holder(self) -> int:
        """Pid of the holder; 0 if it cannot be told."""
        text = os.pread(self._file, 20, 0)
        return int(text) if text.isdigit() else 0

    def sign(self) -> None:
        """Show that the holder is alive."""
        os.utime(self._file)

    def silent(self) -> float:
        """Seconds since the last sign of life."""
        return time.time() - os.fstat(self._file).st_mtime

    def close(self) -> None:
        """Give the lock back."""
        os.close(self._file)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def look_after(ctx: Context, cluster: Cluster, server: Connection, journal: Journal) -> str | None:
    """From the promoted monitor: see that the helper lives, or do its work; return what is degraded, or None."""
    with Lock(ctx.instance) as lock:
        if not lock.take(0):
            if lock.silent() < _HUNG:
                return None
            ctx.event(
                "tend.hung", f"ending the helper {lock.holder()}, silent for {lock.silent():.0f} s", level="warning"
            )
            if not _end(lock):
                return "the helper that looks after the replicas hangs and cannot be ended"
        found = _once(ctx, cluster, server, journal)
    _launch(ctx)
    return found


def _once(ctx: Context, cluster: Cluster, server: Connection, journal: Journal) -> str | None:
    """Look until it is clear whether commits flow, then degrade or regain as the facts ask for."""
    watch = semisync.Watch(server)
    semi = watch.look()
    while semi.enforcing and (not semi.clients or semi.waiting):
        reason = semisync.degrade_reason(semi, ctx)
        if reason:
            return semisync.degrade(ctx, cluster, server, journal, reason)
        time.sleep(_LOOK_AGAIN)
        semi = watch.look()
        if semi.clients and not semi.stalled:
            break  # what waited at the first look has been answered
    journal = semisync.admit_unwaited(ctx, cluster, server, journal)
    return regain.regain(ctx, cluster, server, journal)


def _launch(ctx: Context) -> None:
    """Have systemd run the helper; it finds out by itself when it is not needed."""
    properties = (
        "Restart=on-failure",
        "RestartSec=200ms",
        "StartLimitIntervalSec=0",
        "OOMScoreAdjust=-600",
        "UMask=077",
    )
    result = ctx.run(
        [
            "systemd-run", "--quiet", "--collect", f"--unit={unit(ctx.instance)}",
            f"--description=Replicas of {ctx.instance}", *(f"--property={entry}" for entry in properties),
            _PROGRAM, ctx.instance,
        ],
        timeout=5,
    )  # fmt: skip
    if result.rc != 0 and "already" not in result.err:
        ctx.log("warning", f"the helper could not be started, the monitor does its work: {result.err.strip()}")


def unit(resource: str) -> str:
    """Name of the helper's unit."""
    return f"hafailover-mariadb-{resource}-tend.service"


def end(ctx: Context) -> Lock:
    """End the helper before its server is closed, and keep the lock until the action is over; OcfError if it cannot be ended."""
    lock = Lock(ctx.instance)
    if not lock.take(0) and not _end(lock):
        raise ocf.OcfError(ocf.ERR_GENERIC, f"the helper {lock.holder()} survives SIGKILL")
    return lock


def _end(lock: Lock) -> bool:
    """End the lock's holder and take the lock."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        pid = lock.holder()
        if pid:
            try:  # noqa: SIM105 (contextlib takes 3 ms to load, and monitors load this)
                os.kill(pid, number)
            except ProcessLookupError:
                pass  # it has just ended
        if lock.take(_END):
            return True
    return False


class Tender:
    """The helper itself. ``run`` returns when the server is not a primary any more; SqlError when it does not answer."""

    def __init__(self, resource: str, lock: Lock) -> None:
        self._resource = resource
        self._lock = lock
        self._settled: object = None  # the facts with which nothing was left to do
        self._next = 0.0
        self._ask_again = 0.0
        self._said = ""

    def run(self) -> None:
        """Look, and act when there is something to do."""
        ctx = self._context()
        with sql.own(ctx) as server:
            watch = semisync.Watch(server)
            while server.writable():
                self._lock.sign()
                semi = watch.look()
                reason = semisync.degrade_reason(semi, ctx)
                try:
                    if reason:
                        self._degrade(server, reason)
                    elif time.monotonic() >= self._next:
                        self._regain(server)
                    self._said = ""
                except (PacemakerError, JournalError, Refused, ocf.OcfError) as error:
                    self._next = time.monotonic() + _TRY_EVERY
                    if str(error) != self._said:
                        self._said = str(error)
                        ctx.event("tend.refused", self._said, level="warning")
                time.sleep(_LOOK_EVERY)

    def _context(self) -> Context:
        return outside.context(self._resource, "tend", _TURN)

    def _degrade(self, server: Connection, reason: str) -> None:
        ctx = self._context()
        cluster = Cluster(ctx)
        journal = cluster.journal()
        if journal.primary == cluster.node:
            semisync.degrade(ctx, cluster, server, journal, reason)
        self._settled = None

    def _regain(self, server: Connection) -> None:
        """Try when a replica has come or gone, when the journal was written by somebody else, and while somebody is missing."""
        ctx = self._context()
        cluster = Cluster(ctx)
        facts = (server.replica_connections(), cluster.records.last_at())
        # A replica's new life is published some seconds after its new connection is seen here, so nothing is settled for good.
        settled = facts == self._settled and time.monotonic() < self._ask_again
        if cluster.has_several_replicas():
            # One that has restarted waits to be admitted before it connects, and until then nobody else can be promoted.
            settled = settled and len(facts[0]) == len(addresses(ctx.params["nodes"])) - 1
        # A single replica that is not connected cannot be in sync; of several, one may wait to be admitted before it connects.
        if settled or not (facts[0] or cluster.has_several_replicas()):
            return
        self._next = time.monotonic() + _TRY_EVERY
        journal = cluster.journal()
        if journal.primary != cluster.node:
            return
        journal = semisync.admit_unwaited(ctx, cluster, server, journal)
        missing = regain.regain(ctx, cluster, server, journal)
        if missing is None:
            self._settled = (facts[0], cluster.records.last_at())  # a connection made meanwhile is looked at again
            self._ask_again = time.monotonic() + _ASK_AGAIN


def main() -> None:
    """Entry point: argv[1] is the resource's name."""
    resource = sys.argv[1]
    with Lock(resource) as lock:
        if not lock.take(_END):
            return  # another one does it
        try:
            Tender(resource, lock).run()
        except (SqlError, ocf.OcfError) as error:
            # The server is gone or hangs: that is for Pacemaker to find. A monitor starts the next helper when it is well again.
            sys.stderr.write(f"ended: {error}\n")
