"""Promote: the step in which an acknowledged write may be left behind. The other one, in which a writer may exist twice, is demotion."""

from __future__ import annotations

import time

from hafailover.agents import ocf
from hafailover.agents.asking import Asked, together
from hafailover.agents.mariadb import (
    decide,
    draining,
    first,
    gtid,
    hooks,
    life,
    lineage,
    minority,
    replication,
    semisync,
    sql,
)
from hafailover.agents.mariadb.cluster import Cluster, in_epoch, now
from hafailover.agents.mariadb.decide import Standing
from hafailover.agents.mariadb.journal import Journal
from hafailover.agents.mariadb.records import Refused
from hafailover.agents.mariadb.server import Process, Unit
from hafailover.agents.mariadb.sql import Connection, SqlError
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Context
from hafailover.crm.pacemaker import PacemakerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Callable

_UNREACHABLE = 0.05  # seconds; stopping an IO thread takes 20 ms, unless its primary is unreachable
_CLAIM_PATIENCE = 30.0  # seconds for the cluster to answer and to have quorum
_CLAIM_PAUSE = 0.2
_ERRANT_LOOKS = 10  # a transaction is in the binary log for one fsync before it counts as applied
_STILL = 0.02  # seconds between two equal positions that make a server "standing still"


def standing(
    ctx: Context,
    cluster: Cluster,
    unit: Unit,
    server: Connection,
    journal: Journal,
    hint: bool,
    ahead: Mapping[str, Asked] | None = None,
) -> Standing:
    """Gather what the promotion rules want to know, and no more: each answer from Pacemaker costs a process.

    ``hint``: the result only becomes a score, so quorum is left to Pacemaker; promote itself asks for everything again. ``ahead``: what
    was asked for already, by name.
    """
    ahead = ahead or {}
    nodes = tuple(addresses(ctx.params["nodes"]))
    process = unit.process()
    alone = journal.primary in ("", cluster.node)
    questions: dict[str, Callable[[], Any]] = {}
    if alone or len(nodes) > 2:
        questions["online"] = cluster.pacemaker.joined
    if not journal.epoch:
        questions["shown"] = lambda: cluster.published("position")
    elif not hint and len(set(journal.sync) - {cluster.node}) > 0:
        questions["lives"] = lambda: cluster.published("incarnation")
        questions["received"] = lambda: cluster.published_in_epoch("received", journal.epoch)
    if alone or not hint:
        questions["reigns"] = cluster.reigns
    if not hint:
        questions["quorate"] = cluster.pacemaker.quorate
    if process and cluster.node in journal.sync:
        questions["doubt"] = lambda: _doubt(ctx, process, journal, hint, ahead.get("log"))
    rest = [name for name in questions if name not in ahead]
    told = dict(zip(rest, together(*(questions[name] for name in rest))))
    told.update((name, ahead[name].answer()) for name in questions if name in ahead)
    online = told.get("online", frozenset(nodes))
    reigns = told.get("reigns", {})
    lives = told.get("lives", {})
    positions, virgin = first.read_shown(told["shown"]) if "shown" in told else ({}, frozenset())
    for name, said in told.get("received", {}).items():
        lives[name], _, positions[name] = said.partition(" ")  # the life that received it, which may be over
    state, replica = state_and_replica(server)
    returned = journal.epoch and alone and reigns.get(cluster.node) != journal.epoch and not online.issuperset(nodes)
    return Standing(
        node=cluster.node,
        nodes=nodes,
        online=online & frozenset(nodes),
        quorate=told.get("quorate", True),
        journal=journal,
        incarnation=life.of(process, server) if process else "",
        reigns=reigns,
        lives=lives,
        replica=replica,
        state=state,
        positions=positions,
        virgin=virgin,
        witnessed=bool(returned) and cluster.records.witnessed(online),
        doubt=told.get("doubt", ""),
    )


def _doubt(ctx: Context, process: Process, journal: Journal, hint: bool, log: Asked | None) -> str:
    found = minority.found(ctx, process, journal)
    return found if found or hint else minority.doubt(ctx, process, journal, log.answer() if log else None)


def state_and_replica(server: Connection) -> tuple[str, decide.Replica | None]:
    """Both, such that a transaction on its way from the binary log to ``gtid_slave_pos`` does not look errant."""
    for _ in range(_ERRANT_LOOKS):
        state, replica = server.state(), server.replica()
        if replica is None or not decide.errant(state, replica.applied):
            break
        time.sleep(_STILL)
    return state, replica


def promote(ctx: Context, cluster: Cluster, unit: Unit, server: Connection) -> int:
    """Open this server for writing, after everything that may speak against it was asked again.

    The score that made Pacemaker choose this node is only a hint: since the monitor that set it the facts may have changed.
    """
    receiving = Receiving(ctx)
    with cluster.records.writing:  # from the look on
        # Nothing of this depends on what the journal says.
        ahead = {
            "reigns": Asked(cluster.reigns),
            "final": Asked(lambda: cluster.published("final")),
            "log": Asked(lambda: minority.last_change(ctx)),
        }
        heard = Asked(cluster.records.heard_at_once)
        try:
            glance = cluster.records.glance()
        except PacemakerError as error:
            ctx.log("notice", f"asked again: {error}")
            ahead, journal = {}, cluster.journal()
        else:
            journal = glance.journal
            ahead["quorate"] = Asked(lambda: glance.members.quorate)
            ahead["look"] = Asked(lambda: cluster.records.look(promotion=True, glance=glance, heard=heard.answer()))
        before = journal
        if server.writable() and journal.primary == cluster.node:
            return ocf.SUCCESS
        try:
            journal = _claim(ctx, cluster, unit, server, journal, receiving, ahead)
        except (ocf.OcfError, SqlError):
            receiving.resume(server)
            raise
    if receiving.ended(0):
        forget_primary(server)
    server.run("SET GLOBAL rpl_semi_sync_slave_enabled=OFF")
    hooks.before_promotion(ctx, before, journal)
    # Every replica is stale from here on; the first monitor that proves one in sync makes commits wait for it again.
    semisync.release(server)
    server.run("SET GLOBAL read_only=OFF")
    if not server.writable():
        raise ocf.OcfError(ocf.ERR_GENERIC, "read_only is still on after it was switched off")
    ctx.event("promoted", f"writable as primary of epoch {journal.epoch} at {journal.gtid or 'an empty history'}")
    lineage.keep(unit.datadir, lineage.Lineage(journal.epoch, cluster.node))
    replication.ensure_account(ctx, server)
    hooks.after_promotion(ctx, before, journal)
    return ocf.SUCCESS


class Receiving:
    """The end of a replica's IO thread, which may take seconds.

    A semi-sync replica that stops connects to its primary once more to end its session there, and waits for that even if the
    primary is unreachable: 2 s with the defaults, in the middle of a failover. By then the old primary is demoted or fenced, so nothing
    can come from it any more; what is left is tidying up, and the first monitor does it (``forget_primary``).
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._ending: Asked | None = None

    def end(self) -> None:
        """Begin to stop the IO thread, once."""
        if self._ending is None:
            self._ending = Asked(self._stop)
            self._ending.within(_UNREACHABLE)

    def ended(self, seconds: float) -> bool:
        """Wait for at most ``seconds``; True when nothing is received any more, or nothing ever was."""
        return self._ending is None or self._ending.within(seconds)

    def resume(self, server: Connection) -> None:
        """Receive again after a promotion that did not come about, or this replica would look broken.

        Not when the SQL thread has stopped, on an error perhaps that made the promotion fail: with both threads stopped any START SLAVE
        throws away what was received and is not applied.
        """
        if self._ending is None:
            return
        self._ending.within(self._ctx.deadline.bound(5))
        replica = server.replica()
        if replica is not None and replica.sql:
            server.run("START SLAVE IO_THREAD")

    def _stop(self) -> None:
        try:
            with sql.local(self._ctx.params["socket"], self._ctx.deadline.bound(60)) as server:
                server.run("STOP SLAVE IO_THREAD")
        except SqlError as error:
            self._ctx.log("warning", f"stopping the IO thread: {error}")


def forget_primary(server: Connection) -> None:
    """Remove a promoted server's replication from the old primary."""
    server.run("STOP SLAVE")
    server.run("RESET SLAVE ALL")


def _claim(
    ctx: Context,
    cluster: Cluster,
    unit: Unit,
    server: Connection,
    journal: Journal,
    receiving: Receiving,
    ahead: Mapping[str, Asked],
) -> Journal:
    """Ask everything again, apply what was received, and record this node as the primary; return the record.

    ``journal`` and ``ahead`` (see :func:`standing`; "final": where a primary that was demoted stopped; "look": :meth:`Cluster.look`) were
    asked for just now.

    A Pacemaker tool that fails, or a partition whose quorum is just forming, is asked again for a while: a failed promote makes
    Pacemaker restart this server, and that ends the one life for which it was proved in sync.
    """
    end = time.monotonic() + ctx.deadline.bound(_CLAIM_PATIENCE)
    entry = None
    while True:
        try:
            seen = journal if ahead else cluster.journal()
            asked, ahead = ahead, {}
            if entry is not None and seen == entry:
                cluster.records.write(entry, seen)  # written before, but not confirmed
                return entry
            journal = seen
            facts = standing(ctx, cluster, unit, server, journal, hint=False, ahead=asked)
            refusal = decide.promotion_refusal(facts)
            if not refusal:
                looked = asked["look"] if asked else Asked(lambda: cluster.records.look(promotion=True))
                if facts.replica is not None:
                    receiving.end()
                    draining.drain(ctx, server)
                    ctx.event("drained", "everything that was received is applied", level="info")
                    told = asked["final"].answer() if asked else cluster.published("final")
                    _reach_final_position(cluster, server, journal, in_epoch(told, journal.epoch))
                entry = journal.promoted(cluster.node, gtid.latest(server.state()), now())
                entry = entry._replace(origin=first.origin(facts))
                cluster.records.write(entry, journal, looked.answer())
                return entry
            if facts.quorate:
                raise _refuse(cluster, refusal)
        except draining.NotDrained as error:
            # Also takes back a person's request: with its score still raised Pacemaker would try again, in vain, with nobody writable.
            raise _refuse(cluster, str(error)) from None
        except (PacemakerError, Refused) as error:
            refusal = str(error)
        if time.monotonic() > end:
            raise _refuse(cluster, refusal)
        ctx.log("notice", f"not promoted yet: {refusal}")
        time.sleep(_CLAIM_PAUSE)


def _refuse(cluster: Cluster, reason: str) -> ocf.OcfError:
    cluster.set_score(decide.SCORE_NEVER)
    cluster.explain(reason)
    return ocf.OcfError(ocf.ERR_GENERIC, f"not promoted: {reason}")


def _reach_final_position(cluster: Cluster, server: Connection, journal: Journal, told: Mapping[str, str]) -> None:
    """After a planned demote the old primary has told where it stands: opening before that point would leave writes behind."""
    final = told.get(journal.primary)
    if final is None:
        return  # it died before it could say; what it acknowledged is on this server, which was in sync
    mine = gtid.latest(server.binlog_position(), server.state())
    if not gtid.reached(mine, final):
        raise _refuse(cluster, f"{journal.primary} stopped at {final}, this server stands at {mine}")


def refresh(ctx: Context, cluster: Cluster, unit: Unit, server: Connection, journal: Journal) -> str | None:
    """Set an unpromoted server's score from the facts; return why it may not be promoted, or None."""
    score, reason = decide.promotion_score(standing(ctx, cluster, unit, server, journal, hint=True))
    cluster.set_score(score)
    cluster.explain(reason)
    return reason
