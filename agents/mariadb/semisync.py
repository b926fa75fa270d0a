"""The primary's waiting for acknowledgements: whether commits flow, and how it is given up without losing one.

The order is everything: record "the replicas are stale" with quorum, *then* release the commits that wait. A failure between the two
leaves the safe side: commits wait. The way back is in ``regain``.
"""

from __future__ import annotations

import time

from hafailover.agents.mariadb import decide
from hafailover.agents.mariadb.cluster import Cluster, now
from hafailover.agents.mariadb.decide import SemiSync
from hafailover.agents.mariadb.journal import Journal
from hafailover.agents.mariadb.records import Refused
from hafailover.agents.mariadb.sql import Connection
from hafailover.agents.ocf import Context


class Watch:
    """Looks at one primary again and again; the age of a wait is the time since it was first seen.

    Their age in the process list counts from the statement's start, so that a long statement would look stalled at once.
    """

    def __init__(self, server: Connection) -> None:
        self._server = server
        self._alone: float | None = None
        self._waiting: dict[int, float] = {}

    def look(self) -> SemiSync:
        """Return what is so now; one or two cheap statements, which answer also while commits wait."""
        semi = self._server.semi_sync()
        at = time.monotonic()
        if semi.clients:
            self._alone = None
        elif self._alone is None:
            self._alone = at
        waiters = self._server.waiters() if semi.waiting else frozenset()
        self._waiting = {query: self._waiting.get(query, at) for query in waiters}
        return semi._replace(
            alone=0.0 if self._alone is None else at - self._alone,
            stalled=at - min(self._waiting.values(), default=at),
        )


def degrade(ctx: Context, cluster: Cluster, server: Connection, journal: Journal, reason: str) -> str:
    """Record every replica as stale, then let the commits go; return the sentence for it. Refused: they go on waiting."""
    # Also when the journal names no replica already: that text counts only if it was confirmed.
    if journal.sync or cluster.records.last() != journal:
        try:
            cluster.records.write(journal.degraded(frozenset(journal.sync), now()), journal)
        except Refused as refused:
            raise Refused(f"commits keep waiting: {reason}, and {refused}") from None
    release(server)
    ctx.event(
        "degrade", f"replicas marked stale, then commits released: {reason}", stale=",".join(sorted(journal.sync))
    )
    return f"running without a replica: {reason}"


def admit_unwaited(ctx: Context, cluster: Cluster, server: Connection, journal: Journal) -> Journal:
    """Record replicas as stale when somebody else has switched the waiting off: what was acknowledged since may be here alone."""
    if not journal.sync or server.semi_sync().enforcing:
        return journal
    stale = journal.degraded(frozenset(journal.sync), now())
    cluster.records.write(stale, journal)
    ctx.event("degrade", "acknowledgements were not waited for: replicas marked stale")
    return stale


def degrade_reason(semi: SemiSync, ctx: Context) -> str | None:
    """Say why ``ctx``'s primary should stop waiting, or None."""
    return decide.degrade_reason(semi, float(ctx.params["stall"]))


def release(server: Connection) -> None:
    """Stop waiting for acknowledgements; those who wait now are told OK. Only after the journal says that replicas are stale."""
    server.run("SET GLOBAL rpl_semi_sync_master_enabled=OFF")


def enforce(server: Connection) -> None:
    """From here on a commit is acknowledged only when a replica has it."""
    server.run("SET GLOBAL rpl_semi_sync_master_enabled=ON")
