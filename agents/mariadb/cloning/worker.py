"""The rejoin worker: brings this node's server back to the primary's history, by the lowest rung that loses nothing.

It runs in a unit of its own, which is started again when it is killed. Until the exchange of the data directories it only fills a
directory beside them; from then on a state file says what a successor, or the next start, has to finish or to undo (cloning/swap.py). The
old data are removed only when the journal says that the new are in sync, and kept when they hold what nobody else has.
"""

from __future__ import annotations

import fcntl
import os
import time

from hafailover.agents import RUN_DIR
from hafailover.agents.mariadb import gtid, held, life, outside, rejoin_record, replication, sql
from hafailover.agents.mariadb.cloning import facts, ladder, notes, position, receive, swap
from hafailover.agents.mariadb.cloning.ladder import Plan
from hafailover.agents.mariadb.cloning.position import PositionError
from hafailover.agents.mariadb.cloning.receive import Clone, CloneError, Refusal
from hafailover.agents.mariadb.cloning.swap import PLACED, SWAPPED, Swap, SwapError
from hafailover.agents.mariadb.cluster import Cluster
from hafailover.agents.mariadb.journal import JournalError
from hafailover.agents.mariadb.server import Unit
from hafailover.agents.mariadb.sql import SqlError
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Context, OcfError
from hafailover.crm.pacemaker import PacemakerError

_LIFETIME = 7 * 86400.0  # seconds; every step within it has a limit of its own
_ATTEMPTS = 3  # of a clone that a person asked for
_RETRY = 30.0  # seconds, where only time or a person can help
_PAUSE = 5.0  # seconds before the next attempt, or the next look for somebody to clone from
_LOOK_EVERY = 1.0
_NO_PROGRESS = 600.0  # seconds without a step forward after which a replica is not waited for any longer
_START_PATIENCE = 3600.0  # seconds

_TROUBLE = (CloneError, SqlError, PacemakerError, JournalError, OcfError)


def run(resource: str) -> int:
    """Do what was asked for; the exit code: 0 when there is nothing more to do for now, 1 when it should be started again."""
    with open(f"{RUN_DIR}/{resource}.rejoin.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        while True:
            worker = Worker(outside.context(resource, "rejoin", _LIFETIME))
            try:
                worker.work()
            except Refusal as refusal:
                state, why = notes.REFUSED, str(refusal)
            except SwapError as error:
                state, why = notes.FAILED, f"the data directories need a person: {error}"
            except _TROUBLE as error:
                state, why = notes.FAILED, str(error)
            else:
                return 0
            if not worker.goes_on(state, why):
                return 0
            time.sleep(_RETRY)


class Worker:
    """One run of the worker."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._cluster = Cluster(ctx)
        self._unit = Unit(ctx)
        self._swap = Swap(self._unit.datadir)
        self._progress = notes.Progress(ctx.instance)
        self._request = notes.asked(ctx.instance)

    def goes_on(self, state: str, why: str) -> bool:
        """Say why nothing came of it; whether to try again: a node without data waits until it gets some."""
        self._ctx.event("rejoin.failed", why, level="warning")
        self._progress.end(state, why)
        if self._must and not self._swap.phase:
            held.hold(self._ctx.instance, held.CLONING, f"it has no data to serve and cannot be cloned yet: {why}")
            return True
        self._resume_server()
        return False

    def _resume_server(self) -> None:
        """Let the monitor look after the server again; nothing is under way that it could disturb."""
        mark = held.read(self._ctx.instance)
        if mark and mark.kind == held.CLONING and not self._swap.phase:
            held.release(self._ctx.instance)

    @property
    def _must(self) -> bool:
        return self._request.get("why") == notes.MUST

    def work(self) -> None:
        """Finish what an earlier run has begun, or begin."""
        if self._swap.phase and self._swap.phase != PLACED:
            held.hold(
                self._ctx.instance, held.CLONING, "an interrupted exchange of its data directory is being finished"
            )
            if self._swap.recover() == SWAPPED:
                place(self._ctx, self._unit, self._swap)
                self._follow()
        if self._swap.phase == PLACED:
            if not self._request.get("clone") or self._request.get("id") == self._swap.facts().get("request"):
                self._conclude()
                return
            # A new request for a clone: the last one never came in sync. What was before it is kept, not replaced by its failure.
            self._swap.finish(_stamp())
        if not self._must:
            self._resume_server()
        plan = self._plan()
        if plan.clones:
            self._clone(plan)
        elif plan.rung == ladder.GTID:
            self._progress.phase("follow", "following by GTID", rung=plan.rung, why=plan.why)
            self._follow()
            self._await_sync()
            self._record(plan.rung, plan.why)
            self._progress.end(notes.DONE, f"{self._cluster.node} follows by GTID and is in sync")
        else:
            raise Refusal(plan.why)

    def _plan(self) -> Plan:
        """The rung; a node without data waits until there is somebody to clone from."""
        told = ""
        while True:
            entry = self._cluster.journal()
            found = facts.gather(self._ctx, self._cluster, self._unit, entry)
            plan = ladder.choose(found, bool(self._request.get("clone")))
            if plan.clones and not plan.lost and self._request.get("reason"):
                plan = plan._replace(why=self._request["reason"])
            if self._request.get("why") == notes.AUTOMATIC:
                refusal = ladder.automatic_refusal(plan, self._ctx.params["reclone"], bool(self._swap.quarantine()))
                if refusal:
                    raise Refusal(refusal)
            if plan.rung != ladder.NOTHING or not self._must or found.promoted or found.primary == found.node:
                return plan
            if plan.why != told:
                told = plan.why
                held.hold(
                    self._ctx.instance, held.CLONING, f"it has no data to serve, and waits to be cloned: {plan.why}"
                )
                self._progress.phase("wait", plan.why)
            time.sleep(_PAUSE)

    # -- cloning -----------------------------------------------------------------------------------------------------

    def _clone(self, plan: Plan) -> None:
        attempt = 0
        while True:
            attempt += 1
            try:
                clone = self._receive(plan)
                break
            except CloneError as error:
                self._swap.discard_new()
                if attempt >= _ATTEMPTS and not self._must:
                    raise
                self._ctx.log("warning", f"attempt {attempt} to clone: {error}")
                self._progress.phase(
                    "wait", f"attempt {attempt} failed, trying again: {error}", rung=plan.rung, why=plan.why
                )
                time.sleep(_PAUSE)
            except BaseException:
                self._swap.discard_new()
                raise
        self._exchange(plan, clone)
        self._follow()
        self._conclude()

    def _receive(self, plan: Plan) -> Clone:
        entry = self._cluster.journal()
        self._progress.phase("connect", "looking for somebody to clone from", rung=plan.rung, why=plan.why)
        self._swap.prepare()
        names = ladder.donors(tuple(entry.sync), entry.primary, self._cluster.node, tuple(self._nodes()))
        donor = receive.offer(self._ctx, names)["node"]
        if self._must:
            held.hold(self._ctx.instance, held.CLONING, f"its data directory is being cloned from {donor}")
        self._ctx.event("clone", f"cloning from {donor}: {plan.why}", peer=donor)
        clone = receive.receive(self._ctx, self._unit, self._swap, donor, self._progress)
        with replication.connect(self._ctx, self._cluster.journal().primary) as primary:
            ahead = gtid.missing(clone.state, primary.state())
        if ahead:
            raise CloneError(f"the clone holds {gtid.text(ahead)}, which the primary does not")
        return clone

    def _nodes(self) -> dict[str, str]:
        return addresses(self._ctx.params["nodes"])

    def _exchange(self, plan: Plan, clone: Clone) -> None:
        """Stop the server and put the clone in its place. Nobody may be about to promote this node meanwhile."""
        self._progress.phase("exchange", "putting the clone in place", rung=plan.rung, why=plan.why, donor=clone.donor)
        held.hold(self._ctx.instance, held.CLONING, f"its data directory is being replaced by a clone of {clone.donor}")
        # Asked after the mark, which promote obeys: while the recorded primary is open, no promotion of this node is under way, for
        # that would have begun with the primary's demotion.
        entry = self._cluster.journal()
        found = facts.gather(self._ctx, self._cluster, self._unit, entry)
        if not found.serving or found.promoted or entry.primary == self._cluster.node:
            held.release(self._ctx.instance)
            raise CloneError("the primary changed while the clone was made; the old data stay in place")
        process = self._unit.process()
        if process is not None:
            self._unit.stop()
        self._unit.settled()
        known = {
            "request": self._request.get("id"),
            "position": clone.position,
            "state": clone.state,
            "donor": clone.donor,
            "rung": plan.rung,
            "why": plan.why,
            "keep": self._reason_to_keep(plan),
        }
        try:
            self._swap.exchange(known)
        except SwapError as error:
            self._swap.undo()
            raise CloneError(f"the clone cannot be put in place, the old data were put back: {error}") from None
        place(self._ctx, self._unit, self._swap)

    def _reason_to_keep(self, plan: Plan) -> str:
        """Why the old data must be kept, or "". They are asked once more now that nobody can write to them any longer."""
        if plan.rung == ladder.QUARANTINE:
            return plan.why
        if swap.blank(self._unit.datadir):
            return ""
        state = _final_state(self._unit.datadir)
        if state is None:
            return "its server did not end in good order, so nobody can tell what its last transactions were"
        try:
            with replication.connect(self._ctx, self._cluster.journal().primary) as primary:
                extra = gtid.missing(state, primary.state())
        except (SqlError, PacemakerError, JournalError) as error:
            return f"the primary could not be asked whether it holds everything: {error}"
        return f"it holds {gtid.text(extra)}, which the primary does not" if extra else ""

    def _follow(self) -> None:
        """Replicate from the primary; when that cannot begin now, the monitor tries again."""
        held.release(self._ctx.instance)
        with sql.own(self._ctx) as server:
            wrong = replication.follow(self._ctx, self._cluster, server, self._cluster.journal().primary)
        if wrong:
            self._ctx.log("warning", f"not following yet: {wrong}")

    def _conclude(self) -> None:
        """Wait until the clone is in sync; only then are the old data removed, or put in quarantine."""
        known = self._swap.facts()
        rung, why = str(known.get("rung", ladder.CLONE)), str(known.get("why", ""))
        self._record(rung, f"{why}; the old data are kept" if known.get("keep") else why)
        self._progress.phase("catch-up", "catching up; the old data are kept until it is in sync", rung=rung, why=why)
        try:
            self._await_sync()
        except CloneError as error:
            self._ctx.event("rejoin.incomplete", str(error), level="warning")
            self._progress.end(
                notes.INCOMPLETE, f"{error}; the old data are kept in {self._swap.old}", kept=self._swap.old
            )
            return
        kept = self._swap.finish(_stamp() if known.get("keep") else "")
        node = self._cluster.node
        text = f"{node} is a clone of {known.get('donor', 'its peer')} and in sync"
        if kept:
            text += f"; what it held before is kept in {kept} ({known['keep']})"
        self._ctx.event("rejoined", text, rung=rung, kept=kept)
        self._progress.end(notes.DONE, text, kept=kept)

    def _await_sync(self) -> None:
        """Until the journal says that this life of the server holds everything; CloneError when it does not get nearer."""
        applied, moved = "", time.monotonic()
        while True:
            process = self._unit.process()
            if process is None:
                raise CloneError("its server has ended")
            entry = self._cluster.journal()
            if entry.primary == self._cluster.node:
                raise CloneError(f"{self._cluster.node} was promoted")
            try:
                with sql.own(self._ctx) as server:
                    if entry.in_sync(self._cluster.node, life.of(process, server)):
                        return
                    state, replica = server.state(), server.replica()
                if state != applied:
                    applied, moved = state, time.monotonic()
                if replica is not None and replica.sql_errno:
                    raise CloneError(
                        f"replication is broken: {replica.error}; hafailover rejoin --clone rebuilds the node"
                    )
            except SqlError as error:
                self._ctx.log("notice", f"waiting to be in sync: {error}")
            if time.monotonic() - moved > _NO_PROGRESS:
                raise CloneError(f"it is not in sync, and nothing has moved for {_NO_PROGRESS / 60:.0f} minutes")
            time.sleep(_LOOK_EVERY)

    def _record(self, rung: str, why: str) -> None:
        # Quarantine there means data that are barred; here they were replaced.
        rung = rejoin_record.GTID if rung == ladder.GTID else rejoin_record.CLONE
        what = rejoin_record.Rejoin(rung, self._cluster.journal().epoch, why)
        rejoin_record.record(self._ctx, self._cluster, what)


def place(ctx: Context, unit: Unit, swap: Swap) -> None:
    """Start the server on a clone that was put in place, and set its position; the old data are put back when it does not start."""
    known = swap.facts()
    try:
        if unit.process() is None:
            unit.settled()
            if not unit.start(()):
                raise CloneError("its server is still starting")
        with sql.local(ctx.params["socket"], ctx.deadline.bound(60)) as server:
            position.place(server, str(known["state"]), str(known["position"]))
    except (OcfError, SqlError, PositionError, CloneError) as error:
        ctx.event("clone.undone", f"the clone does not start, the old data are put back: {error}", level="error")
        unit.kill()
        unit.settled()
        swap.undo()
        held.release(ctx.instance)
        raise CloneError(f"the clone does not start, the old data were put back: {error}") from None
    swap.placed()
    ctx.event("clone.placed", f"runs on a clone of {known.get('donor')} at {known['position']}")


def _stamp() -> str:
    return time.strftime("%Y%m%d-%H%M%S")


def _final_state(datadir: str) -> str | None:
    """The GTID state that a server has left beside its binary log when it ended in good order, or None."""
    for name in os.listdir(datadir):
        if name.endswith(".state"):
            with open(f"{datadir}/{name}", encoding="utf-8") as file:
                return ",".join(file.read().split())
    return None
