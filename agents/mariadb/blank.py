"""An empty data directory: made into an empty database when the cluster has no data anywhere, left alone in every other case."""

from __future__ import annotations

import os
import time

from hafailover.agents import ocf
from hafailover.agents.mariadb import decide, first, held
from hafailover.agents.mariadb.cluster import Cluster
from hafailover.agents.mariadb.journal import Journal
from hafailover.agents.mariadb.server import Unit
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Context

_MARK = ".hafailover-initialising"
_NO_DATA = frozenset({"lost+found", ".hafailover"})  # what a fresh file system brings along; where clones are made
_PATIENCE = 10.0  # seconds
_PAUSE = 0.2
_INSTALL_DB = "mariadb-install-db"


def is_blank(datadir: str) -> bool:
    """Tell whether nothing at all lies in the data directory. OcfError when an initialisation was interrupted there."""
    found = set(os.listdir(datadir)) - _NO_DATA
    if _MARK in found:
        raise ocf.OcfError(
            ocf.ERR_GENERIC,
            f"the initialisation of {datadir} was interrupted: look at it, empty it (find {datadir} -mindepth 1 -delete), "
            "and it is done again",
        )
    return not found


def furnish(ctx: Context, cluster: Cluster, unit: Unit, entry: Journal) -> str | None:
    """Initialise an empty data directory, if it may be; return why the server has to wait, or None when it can be started."""
    if not is_blank(unit.datadir):
        return None
    # The nodes of a fresh pair start together: a moment's patience saves a second start, which is recorded as a failure.
    end = time.monotonic() + min(_PATIENCE, ctx.deadline.remaining() / 4)
    why = _refusal(ctx, cluster, entry)
    while why and not why.startswith(first.NEEDS_CLONE) and time.monotonic() < end:
        time.sleep(_PAUSE)
        why = _refusal(ctx, cluster, cluster.journal())
    if why:
        ctx.event("start.waits", why)
        held.hold(ctx.instance, held.WAITING, why)
        cluster.set_score(decide.SCORE_NEVER)
        cluster.explain(why)
        return why
    _initialise(ctx, unit)
    return None


def wait_is_over(ctx: Context, cluster: Cluster, unit: Unit) -> bool:
    """For the monitor of an instance that waits with an empty data directory: whether it can be started now."""
    if ctx.is_probe or not is_blank(unit.datadir):
        return False
    why = _refusal(ctx, cluster, cluster.journal())
    if why:
        held.hold(ctx.instance, held.WAITING, why)
        return False
    held.release(ctx.instance)
    ctx.event("start.waited", "the wait is over: it can be started with a new, empty database")
    return True


def _refusal(ctx: Context, cluster: Cluster, entry: Journal) -> str | None:
    published: dict[str, str] = {}
    online: frozenset[str] = frozenset()
    if not entry.epoch:
        cluster.keep_published("position", f"{first.NOTHING}:")
        published, online = cluster.published("position"), cluster.pacemaker.joined()
    return first.initialise_refusal(entry, cluster.node, tuple(addresses(ctx.params["nodes"])), online, published)


def _initialise(ctx: Context, unit: Unit) -> None:
    """Run mariadb-install-db with the server's own configuration; a failure leaves a mark, so that it is never run twice."""
    ctx.event("start.initialise", f"no data node holds any data: initialising {unit.datadir}")
    mark = f"{unit.datadir}/{_MARK}"
    with open(mark, "x"):
        pass
    argv = [
        _INSTALL_DB,
        f"--defaults-file={ctx.params['config']}",
        f"--datadir={unit.datadir}",
        f"--user={ctx.params['user']}",
        "--auth-root-authentication-method=socket",
        "--auth-root-socket-user=root",
        "--skip-test-db",
    ]
    done = ctx.run(argv, timeout=ctx.deadline.remaining())
    if done.rc != 0:
        said = (done.err or done.out).strip().splitlines()
        reason = "it did not end in time" if done.timed_out else said[-1] if said else f"it ended with {done.rc}"
        raise ocf.OcfError(ocf.ERR_GENERIC, f"{_INSTALL_DB} failed: {reason}")
    os.unlink(mark)
