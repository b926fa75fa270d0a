"""Cloning a node's data from a healthy peer, and the ladder by which a node rejoins. Nothing in here is loaded by a healthy monitor."""

from __future__ import annotations

import os
import pwd
import time

from hafailover.agents import ocf
from hafailover.agents.mariadb import decide, held
from hafailover.agents.mariadb.cloning import notes, service
from hafailover.agents.mariadb.cloning.swap import SWAPPED, Swap, SwapError, blank, interrupted
from hafailover.agents.mariadb.cluster import Cluster
from hafailover.agents.mariadb.server import Unit
from hafailover.agents.ocf import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.mariadb.journal import Journal

WANTED = "clone"
"""Published as yes for a node whose server does not even start: hafailover rejoin --clone asks for a clone at its next start."""
_THINK_AGAIN = 600.0  # seconds after a request that came to nothing


def begin(ctx: Context, cluster: Cluster, reason: str) -> None:
    """This node has no data that it could serve: hold the instance without a server and have it cloned, whenever that is possible.

    OcfError when the worker cannot be started.
    """
    ctx.event("clone.begin", f"to be cloned: {reason}")
    held.hold(ctx.instance, held.CLONING, f"to be cloned: {reason}")
    cluster.set_score(decide.SCORE_NEVER)
    cluster.explain(f"to be cloned: {reason}")
    notes.ask(ctx.instance, notes.MUST, clone=True, reason=reason)
    _work(ctx)


def takes_over(ctx: Context, cluster: Cluster, unit: Unit, entry: Journal) -> bool:
    """For start, when no server runs: whether this instance is left to a clone. Ends what an interrupted one left half-done.

    OcfError when there is no data directory, and nobody who could fill a new one.
    """
    if interrupted(unit.datadir):
        cluster.set_score(decide.SCORE_NEVER)
        resume(ctx, unit)
        return False
    if fills(ctx, cluster, unit, entry):
        return True
    if not os.path.isdir(unit.datadir):
        raise ocf.OcfError(ocf.ERR_INSTALLED, f"datadir {unit.datadir} does not exist on this node")
    return False


def fills(ctx: Context, cluster: Cluster, unit: Unit, entry: Journal) -> bool:
    """Have a blank data directory cloned, when somebody else was primary last. Nothing can be lost, so nobody is asked.

    Nor is it asked whether somebody is promoted now: the worker waits for that.
    """
    if not entry.epoch or entry.primary == cluster.node or not blank(unit.datadir):
        return False
    if not os.path.isdir(unit.datadir):
        owner = pwd.getpwnam(ctx.params["user"])
        os.makedirs(unit.datadir, mode=0o755)
        os.chown(unit.datadir, owner.pw_uid, owner.pw_gid)
    begin(ctx, cluster, f"its data directory is empty, and {entry.primary} holds data")
    return True


def instead(ctx: Context, cluster: Cluster, unit: Unit, failure: str) -> bool:
    """For start, when the server does not start on its data: whether a clone is made instead, by the policy or because a person asked.

    Nobody can tell what such data hold, so they are kept.
    """
    entry = cluster.journal()
    wanted = cluster.published(WANTED).get(cluster.node) == "yes"
    if not entry.epoch or entry.primary == cluster.node or not (wanted or ctx.params["reclone"] == "automatic"):
        return False
    if not wanted and Swap(unit.datadir).quarantine():
        ctx.log("warning", "not cloned automatically: data of an earlier clone are still in quarantine")
        return False
    cluster.publish(WANTED, "no")
    begin(ctx, cluster, f"its server does not start ({failure})")
    return True


def not_wanted(cluster: Cluster) -> None:
    """For start, when the server has started on its data: a request for a clone was for this start, not for a failure some day."""
    if cluster.published(WANTED).get(cluster.node) == "yes":
        cluster.publish(WANTED, "no")


def consider(ctx: Context) -> None:
    """For the monitor of a replica that cannot follow: have the worker look, which clones only what would lose nothing."""
    asked = float(notes.asked(ctx.instance).get("id", 0)) / 1e9
    done = notes.progress(ctx.instance).get("state") == notes.DONE
    if service.worker_exists(ctx.instance) or (not done and time.time() - asked < _THINK_AGAIN):
        return
    rejoin(ctx, notes.AUTOMATIC, clone=False)


def rejoin(ctx: Context, why: str, clone: bool) -> None:
    """Have the worker bring this node back by the lowest rung that loses nothing; OcfError when it cannot be started."""
    notes.ask(ctx.instance, why, clone)
    _work(ctx)


def go_on(ctx: Context) -> None:
    """Start the worker again for an instance that is held for it; its request, and how far it was, lie in files."""
    ctx.log("notice", "the rejoin worker was gone; it is started again")
    _work(ctx)


def _work(ctx: Context) -> None:
    try:
        wrong = service.start_worker(ctx)
    except ocf.OcfError as error:
        wrong = error.reason
    if wrong:
        # No monitor fails a server because systemd is too busy to start what would bring that server back.
        rc = ocf.DEGRADED if ctx.action == "monitor" else ocf.ERR_GENERIC
        raise ocf.OcfError(rc, f"the rejoin worker cannot be started: {wrong}")


def resume(ctx: Context, unit: Unit) -> None:
    """For start: finish or undo an exchange of data directories that was interrupted, so that what is started is one or the other.

    When it is finished, the server runs on the clone, at its position. OcfError when a person has to look.
    """
    from hafailover.agents.mariadb.cloning.receive import CloneError
    from hafailover.agents.mariadb.cloning.worker import place

    swap = Swap(unit.datadir)
    try:
        phase = swap.recover()
        if phase == SWAPPED:
            ctx.event("clone.resumed", "finishing an interrupted exchange of the data directory")
            place(ctx, unit, swap)
        if swap.phase:
            # What is left is to wait until it is in sync, and to remove the old data.
            notes.ask(ctx.instance, notes.FINISH, clone=False)
            _work(ctx)
    except (SwapError, CloneError) as error:
        raise ocf.OcfError(ocf.ERR_GENERIC, str(error)) from None
