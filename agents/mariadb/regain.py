"""How replicas come to be "in sync" again, and how the journal's ``sync`` stays true while they come and go.

The promise behind ``sync``: *every acknowledged write is on at least one of the lives it names, and nobody else can acknowledge one.*
With one replica that makes this replica complete; with several, the one that has received most, once all of them have been heard.

So the order is: wait for acknowledgements first, *then* sample the position, see one replica pass it, and record in one write every life
that may acknowledge. What was acknowledged before the sample is on the replica that passed it; what came later was acknowledged by a life
that is recorded. A life is left out only when it is over or does not acknowledge, and the sample is taken after that. A server that nobody
hears of any more, and of which nobody knows that it was stopped, may acknowledge: it stays recorded, or nobody is proved in sync.

With several replicas one that begins to receive could acknowledge commits before it is recorded. It asks first: it publishes its life
with its SQL thread running, and starts to receive when the primary has published that life as admitted.
"""

from __future__ import annotations

import time

from hafailover.agents.mariadb import decide, gtid, replication
from hafailover.agents.mariadb.cluster import Cluster, now
from hafailover.agents.mariadb.decide import Peer
from hafailover.agents.mariadb.journal import Journal
from hafailover.agents.mariadb.records import Refused
from hafailover.agents.mariadb.semisync import enforce, release
from hafailover.agents.mariadb.sql import Connection, SqlError
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_LOOK_EVERY = 0.05  # seconds between two looks at a replica
_CATCH_UP = 1.5  # seconds one attempt gives a replica to pass the sampled position
_CLOSE_ENOUGH = 20  # transactions still to be received; farther behind than this, commits would wait too long


def regain(ctx: Context, cluster: Cluster, server: Connection, journal: Journal) -> str | None:
    """Bring ``sync`` up to date with the replicas that there are; return who is missing and why, or None when all are in sync."""
    nodes = addresses(ctx.params["nodes"])
    peers = [name for name in nodes if name != cluster.node]
    published = cluster.published("incarnation")
    lives = decide.acknowledging(published, frozenset(peers))
    several = len(peers) > 1
    away = frozenset(peers) - published.keys()
    if several and away:
        view = cluster.pacemaker.view("", "")
        running = away & decide.left_running(cluster.pacemaker.last_actions(cluster.resource), view.joined)
        lives = decide.still_counted(journal.sync, published, lives, view.clean_down - running)
        unseen = sorted(running - lives.keys())
        if unseen:
            return f"{', '.join(unseen)} may have a server running that nobody looks after, and that could acknowledge unnoticed"
    if several and not journal.sync:
        _admit(cluster, lives)
    behind = {name: "does not replicate" for name in peers if name not in lives}
    if dict(journal.sync) != lives:
        for name in sorted(lives, key=lambda name: journal.sync.get(name) != lives[name]):
            refusal = _prove(ctx, cluster, server, journal, name, lives)
            if not refusal:
                ctx.event("regain", f"in sync from here on: {', '.join(sorted(lives))}", peer=name)
                behind.update(dict.fromkeys(lives, ""))
                break
            behind[name] = refusal
    if several and dict(cluster.journal().sync) == lives:
        _admit(cluster, lives)
    return "; ".join(f"{name} {why}" for name, why in behind.items() if why) or None


def _admit(cluster: Cluster, lives: Mapping[str, str]) -> None:
    admitted = ",".join(sorted(lives.values()))
    if cluster.published("admitted").get(cluster.node, "") != admitted and admitted:
        cluster.publish("admitted", admitted)


def _prove(
    ctx: Context, cluster: Cluster, server: Connection, journal: Journal, name: str, lives: Mapping[str, str]
) -> str | None:
    """See ``name`` hold everything up to now and record ``lives``; return why that is not so yet, or None."""
    end = time.monotonic() + ctx.deadline.bound(_CATCH_UP)
    begun = False
    try:
        peer = replication.look_at(ctx, name, lives[name])
        semi = server.semi_sync()
        if not semi.enforcing:
            refusal = _refusal(peer, "", server, cluster.node) or (None if semi.clients else "is not connected")
            if refusal:
                return refusal
            # Commits wait for this replica from here on, and for all that it has yet to receive.
            while _lag(peer, server) > _CLOSE_ENOUGH:
                if time.monotonic() > end:
                    return f"is catching up, {_lag(peer, server)} transactions behind"
                time.sleep(_LOOK_EVERY)
                peer = replication.look_at(ctx, name, lives[name])
            begun = True
            enforce(server)
        sampled = server.binlog_position()
        while True:
            refusal = _refusal(replication.look_at(ctx, name, lives[name]), sampled, server, cluster.node)
            if not refusal or time.monotonic() > end:
                break
            time.sleep(_LOOK_EVERY)
    except SqlError as error:
        refusal = f"does not answer: {error}"
    if refusal:
        if begun and not journal.sync:
            release(server)
        return refusal
    try:
        cluster.records.write(journal.regained(lives, now()), journal)
    except Refused as refused:
        # The mark may have been written all the same, and the replica be promoted on it: commits go on waiting.
        return f"is caught up but cannot be recorded: {refused}"
    return None


def _refusal(peer: Peer, sampled: str, server: Connection, node: str) -> str | None:
    # Its state was read before ours is: what it received in between must not look like its own.
    return decide.divergence(peer.state, server.state(), node) or decide.regain_refusal(peer, sampled)


def _lag(peer: Peer, server: Connection) -> int:
    """How many transactions the peer has yet to receive."""
    got = gtid.latest(peer.replica.received, peer.replica.applied) if peer.replica else ""
    return gtid.behind(got, server.binlog_position())
