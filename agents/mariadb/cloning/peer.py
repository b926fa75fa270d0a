"""What one node does for another, or for a person on another node, over the peer service: one process for each connection."""

from __future__ import annotations

import socket
import threading
import time

from hafailover.agents import journal
from hafailover.agents.mariadb import cloning, hooks, outside, replication
from hafailover.agents.mariadb.cloning import donor, facts, ladder, link, notes, pace, receive, service, swap
from hafailover.agents.mariadb.cloning.link import Link, LinkError, PeerRefused
from hafailover.agents.mariadb.cluster import Cluster
from hafailover.agents.mariadb.journal import JournalError
from hafailover.agents.mariadb.server import Unit
from hafailover.agents.mariadb.sql import SqlError
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Context, OcfError, Result
from hafailover.crm.pacemaker import PacemakerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_LIFETIME = 7 * 86400.0  # seconds; a clone of a large server at a low rate
_TELL_EVERY = 0.5  # seconds between two looks at the worker's progress
_SILENCE = 5.0  # seconds after which a sign of life is sent
_UNSURE = 120.0  # seconds for systemd to say whether the worker runs
_SHOW_PATIENCE = 5.0  # seconds for systemd to begin it
_HOOKS_MARGIN = 5.0  # seconds beyond what the hooks may take
_START_PATIENCE = 15.0  # seconds for a worker that was started to say its first word


def serve(sock: socket.socket, resource: str) -> str:
    """Answer one request on a connected socket; return what is worth logging, or ""."""
    ctx = outside.context(resource, "peer", _LIFETIME)
    secret = link.key(resource, replication.login(ctx.params["credentials"]).password)
    try:
        with link.accept(sock, secret) as peer:
            return _answer(peer, ctx)
    except LinkError as error:
        return f"a peer's connection ended: {error}"


def _answer(peer: Link, ctx: Context) -> str:
    request = peer.hear()
    handlers: dict[str, Callable[[Link, Context, dict[str, Any]], None]] = {
        "offer": _offer,
        "donate": _donate,
        "position": _position,
        "plan": _plan,
        "rejoin": _rejoin,
        "progress": _progress,
        "discard": _discard,
        "hooks": _hooks,
        "doctor": _doctor,
    }
    handler = handlers.get(str(request.get("do")))
    if request.get("v") != link.VERSION or handler is None:
        peer.refuse("this node does not know that request: install the same version of hafailover on all nodes")
        return ""
    try:
        handler(peer, ctx, request)
    except (SqlError, PacemakerError, JournalError, OcfError, swap.SwapError, PeerRefused) as error:
        peer.refuse(f"{ctx.node}: {error}")
        return str(error)
    return ""


def _offer(peer: Link, ctx: Context, _request: dict[str, Any]) -> None:
    peer.say(donor.offer(ctx))


def _donate(peer: Link, ctx: Context, _request: dict[str, Any]) -> None:
    donor.donate(peer, ctx)


def _position(peer: Link, ctx: Context, request: dict[str, Any]) -> None:
    peer.say({"position": donor.position_of(ctx, str(request.get("file")), int(request.get("offset", 0)))})


def _plan(peer: Link, ctx: Context, request: dict[str, Any]) -> None:
    peer.say(plan(ctx, bool(request.get("clone"))))


def plan(ctx: Context, clone: bool) -> dict[str, Any]:
    """What a rejoin of this node would do, for a person: see docs/rejoin.md for the fields. Changes nothing."""
    cluster, unit = Cluster(ctx), Unit(ctx)
    exchange = swap.Swap(unit.datadir)
    entry = cluster.journal()
    chosen = ladder.choose(facts.gather(ctx, cluster, unit, entry), clone)
    told: dict[str, Any] = {
        "node": cluster.node,
        "primary": entry.primary,
        "rung": chosen.rung,
        "why": chosen.why,
        "lost": list(chosen.lost),
        "refusal": chosen.why if chosen.rung == ladder.NOTHING else "",
        "under_way": service.worker_runs(ctx),
        "quarantine": exchange.quarantine(),
    }
    if chosen.clones:
        told.update(
            _cost(ctx, unit, exchange, ladder.donors(tuple(entry.sync), entry.primary, cluster.node, _names(ctx)))
        )
    return told


def _names(ctx: Context) -> tuple[str, ...]:
    return tuple(addresses(ctx.params["nodes"]))


def _cost(ctx: Context, unit: Unit, exchange: swap.Swap, names: tuple[str, ...]) -> dict[str, Any]:
    """From whom, how much and for how long; ``refusal`` when it cannot be."""
    try:
        offered = receive.offer(ctx, names)
    except receive.CloneError as error:
        return {"refusal": str(error)}
    size, rate = int(offered["size"]), int(offered["rate"])
    told = {
        "donor": offered["node"],
        "size": size,
        "needed": pace.needed(size),
        "free": pace.free(unit.datadir),
        "rate": rate,
        "seconds": round(size / rate) if rate else None,
        "keeps": exchange.old,
    }
    try:
        receive.check(ctx, offered, unit, exchange)
    except receive.Refusal as refusal:
        told["refusal"] = str(refusal)
    return told


def _rejoin(peer: Link, ctx: Context, request: dict[str, Any]) -> None:
    if service.worker_runs(ctx):
        peer.refuse(f"{ctx.node} is being rebuilt already")
        return
    told = plan(ctx, bool(request.get("clone")))
    if told["refusal"]:
        peer.refuse(told["refusal"])
        return
    cloning.rejoin(ctx, notes.ASKED, bool(request.get("clone")))
    end = time.monotonic() + _START_PATIENCE
    while not notes.progress(ctx.instance) and time.monotonic() < end:
        time.sleep(0.1)
    peer.say(told)


def _progress(peer: Link, ctx: Context, _request: dict[str, Any]) -> None:
    """Each change of the worker's progress as a message, until it has ended."""
    told: dict[str, Any] = {}
    spoken = known = time.monotonic()
    while True:
        try:
            runs, known = service.worker_runs(ctx), time.monotonic()
        except OcfError:
            # A systemd that is too busy to say has not said that the worker ended: a clone that went well was reported as dead.
            if time.monotonic() - known > _UNSURE:
                raise
            runs = True
        now = notes.progress(ctx.instance)
        if now != told:
            told, spoken = now, time.monotonic()
            peer.say({**told, "runs": runs})
        if told and told.get("state") != notes.RUNNING and not (runs and told.get("state") == notes.REFUSED):
            return
        if not runs:
            peer.refuse(
                f"the worker on {ctx.node} has ended without a word: see journalctl -u {service.worker(ctx.instance)}"
            )
            return
        if time.monotonic() - spoken > _SILENCE:
            spoken = time.monotonic()
            peer.send(link.ALIVE)
        time.sleep(_TELL_EVERY)


def _discard(peer: Link, ctx: Context, _request: dict[str, Any]) -> None:
    """Remove what is kept in quarantine, for good. A person has agreed to lose it."""
    exchange = swap.Swap(Unit(ctx).datadir)
    if service.worker_runs(ctx):
        peer.refuse(f"{ctx.node} is being rebuilt: the old data are needed until it is in sync")
        return
    gone = exchange.discard_quarantine()
    ctx.event("quarantine.discarded", f"removed for good: {', '.join(gone) or 'nothing was kept'}")
    peer.say({"discarded": gone})


def _doctor(peer: Link, ctx: Context, _request: dict[str, Any]) -> None:
    """Have this node look at itself and show what it saw: what it tells goes its own way (crm/doctor/show.py)."""
    result = ctx.run(["systemctl", "start", "--no-block", "hafailover-doctor.service"], _SHOW_PATIENCE)
    peer.say({"begun": result.rc == 0})


def _hooks(peer: Link, ctx: Context, request: dict[str, Any]) -> None:
    """Run the hooks of an event that are configured on this node, and say which critical ones failed (``failed``)."""
    event, epoch = str(request.get("event")), int(request.get("epoch", 0))
    if event not in hooks.EVENTS:
        peer.refuse(f"{event} is no event that has hooks")
        return
    words = [word for word in ("here", "planned") if request.get(word)]
    old, new = (str(request.get(key, "")) for key in ("old", "new"))
    known = {"", *_names(ctx)}
    if not {old, new} <= known:
        peer.refuse("the hooks are about nodes that this database does not have")
        return
    if request.get("forget"):
        hooks.unplan(ctx.instance)
        peer.say({"failed": [], "run": []})
        return
    if request.get("planned") and event == hooks.PRE_PROMOTE:
        hooks.plan(ctx.instance, epoch, new)
    chosen = hooks.chosen(hooks.configured(ctx.instance), event, bool(request.get("here")))
    if not chosen:
        peer.say({"failed": [], "run": []})
        return
    # The epoch that is about to begin, as at a failover.
    epoch += event == hooks.PRE_PROMOTE and bool(request.get("planned"))
    argv = [hooks.RUNNER, ctx.instance, event, f"node={ctx.node}", f"old={old}", f"new={new}", f"epoch={epoch}", *words]
    results: list[Result] = []
    worker = threading.Thread(
        target=lambda: results.append(ctx.run(argv, hooks.seconds(chosen) + _HOOKS_MARGIN)), daemon=True
    )
    worker.start()
    while worker.is_alive():
        worker.join(_SILENCE)
        peer.send(link.ALIVE)
    failed = []
    if not results:
        failed = ["the hooks could not be run: see hafailover install"]
    elif results[0].rc != 0:
        failed = [(results[0].err.strip().splitlines() or [f"the runner ended with {results[0].rc}"])[-1]]
    if failed and request.get("planned") and event == hooks.PRE_PROMOTE:
        hooks.unplan(ctx.instance)  # also where whoever asked does not live to say so
    peer.say({"failed": failed, "run": [hook["name"] for hook in chosen]})


def note(resource: str, text: str) -> None:
    """Log what a connection came to."""
    journal.send("notice", "hafailover-mariadb", text, {"HAFAILOVER_EVENT": "peer", "HAFAILOVER_RESOURCE": resource})
