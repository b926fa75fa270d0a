"""What may be done with a node's data, and which side of a partition goes on: facts in, a course with its reason out.

No step here is ever taken on a guess that could cost messages: only a node that holds nothing is made a member anew, and what may
be the last copy is left alone until a person has said otherwise.
"""

from __future__ import annotations

from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# What a node's data directory holds.
NOTHING = "nothing"
HALF = "half"  # what an interrupted founding or joining left: it was never part of a cluster
FRESH = "fresh"  # it was seen to hold nothing that counts: what the package's first start makes, say
ALONE = "alone"  # a broker of its own that nobody has looked at yet
KEPT = "kept"  # a member of a cluster, or a broker of its own with something in it

# What a node tells the others of itself.
RUNNING, STARTING, WAITING, STOPPED, BLANK = "running", "starting", "waiting", "stopped", "blank"

# What may be done.
FOUND = "found"  # begin a new cluster with this node, after the claim to do so was won
BOOT = "boot"  # start the broker with the data it has
FORCE = "force-boot"  # start it without waiting for those that may have newer data
JOIN = "join"  # become a member of a running cluster, holding nothing
LOOK = "look"  # start it by itself to see whether it holds anything
WAIT = "wait"  # nothing yet
REFUSE = "refuse"  # nothing, until a person has decided


class Here(NamedTuple):
    """What this node's data directory holds, of which nodes the cluster in it consists, and what was begun here and not finished
    ("found", "join" or "").
    """

    kind: str
    members: frozenset[str] = frozenset()
    begun: str = ""


class Record(NamedTuple):
    """What the cluster configuration says: who founded the broker cluster ("" for nobody yet), and who is in it."""

    founder: str = ""
    members: frozenset[str] = frozenset()


class Peer(NamedTuple):
    """What another node has told: its state, what it holds, the members it knows, those it sees running, since when it runs (Unix time)."""

    state: str
    kind: str = NOTHING
    members: frozenset[str] = frozenset()
    view: frozenset[str] = frozenset()
    since: int = 0

    @property
    def holds(self) -> bool:
        """Whether it has data that count."""
        return self.kind == KEPT


class Course(NamedTuple):
    """What to do, why, with which peer, whether this node's own data must be put aside first, and what a person could allow instead."""

    what: str
    reason: str
    peer: str = ""
    aside: bool = False
    way_out: str = ""


def course(me: str, here: Here, record: Record, peers: Mapping[str, Peer], allowed: str = "") -> Course:
    """What a start may do on ``me``; ``allowed`` is what a person has said may be done here ("join", "force-boot", "found" or "")."""
    if record.members and not record.founder:
        record = Record(min(record.members), record.members)  # an older copy of half the record: somebody did found it
    if here.kind == HALF and here.begun == FOUND and me in record.members:
        here = Here(KEPT, here.members)  # it was recorded: from then on it counts
    if here.kind == KEPT and here.begun == JOIN and not _taken_in(me, peers):
        # Its own half of the joining was written, that of the cluster was not: it was never a member.
        return _without_data(me, Here(FRESH, here.members), record, peers, allowed)
    if here.kind in (KEPT, ALONE):
        return _with_data(me, here, record, peers, allowed)
    return _without_data(me, here, record, peers, allowed)


def _taken_in(me: str, peers: Mapping[str, Peer]) -> bool:
    """Whether the others count this node as a member: those that run, or if nobody does, one of those that were asked."""
    running = [peer for peer in peers.values() if peer.state == RUNNING]
    return any(me in peer.members for peer in running or peers.values())


def _with_data(me: str, here: Here, record: Record, peers: Mapping[str, Peer], allowed: str) -> Course:
    if not record.founder:
        return _unrecorded(me, here, peers, allowed)
    strangers = sorted(name for name, peer in peers.items() if _disowns(me, here, peer))
    known = me in record.members or bool(here.members & (record.members - {me}))
    unfinished = record.founder == me and not record.members
    if (known or unfinished) and not strangers:
        if allowed == FORCE:
            return _forced(peers)
        return Course(BOOT, "it is a member of the cluster and has its data")
    if here.kind == ALONE:
        return Course(LOOK, "its broker is not part of the cluster; whether it holds anything must be seen first")
    if allowed == JOIN:
        peer = _host(record, peers)
        if not peer:
            return Course(WAIT, f"no member of the cluster runs that it could join: {_waits_for(me, record, peers)}")
        return Course(JOIN, "a person has said that its own data may be put aside", peer, aside=True)
    if strangers:
        apart = f"the broker on {', '.join(strangers)} does not count it as a member"
    else:
        apart = f"the cluster consists of {_names(record.members) or record.founder}, without it"
    return Course(REFUSE, f"it holds data of its own and {apart}; nothing is wiped", way_out=JOIN)


def _disowns(me: str, here: Here, peer: Peer) -> bool:
    """Whether ``peer`` and this node do not agree that they are one cluster."""
    if peer.state == RUNNING and me not in peer.members:
        return True
    return peer.holds and me in peer.members and here.members == {me}


def _unrecorded(me: str, here: Here, peers: Mapping[str, Peer], allowed: str) -> Course:
    """Nothing was ever recorded: brokers that were there before the cluster managed them."""
    others = {name: peer for name, peer in peers.items() if me not in peer.members or name not in here.members}
    kept = sorted(name for name, peer in others.items() if peer.holds)
    unseen = sorted(name for name, peer in others.items() if peer.kind == ALONE)
    if here.kind == ALONE and (kept or unseen):
        return Course(LOOK, f"{_names(kept or unseen)} has a broker of its own, too")
    if kept and allowed == JOIN:
        running = [name for name in kept if others[name].state == RUNNING]
        if running:
            return Course(JOIN, "a person has said that its own data may be put aside", running[0], aside=True)
        return Course(WAIT, f"the broker on {_names(kept)} does not run yet")
    if kept:
        return Course(
            REFUSE,
            f"it and {_names(kept)} hold data and are not one cluster; say on which of them the data may be put aside",
            way_out=JOIN,
        )
    if unseen:
        return Course(WAIT, f"{_names(unseen)} has a broker of its own, and whether it holds anything is not yet known")
    if allowed == FORCE:
        return _forced(peers)
    return Course(BOOT, "it has data, and no cluster is recorded yet")


def _forced(peers: Mapping[str, Peer]) -> Course:
    running = sorted(name for name, peer in peers.items() if peer.state == RUNNING)
    if running:
        return Course(BOOT, f"{_names(running)} runs, so nothing needs to be forced")
    return Course(FORCE, "a person has said that it goes on with what it has, whatever others may hold")


def _without_data(me: str, here: Here, record: Record, peers: Mapping[str, Peer], allowed: str) -> Course:
    aside = here.kind == FRESH
    host = _host(record, peers)
    if host:
        return Course(JOIN, f"it holds nothing, and {host} runs", host, aside)
    holders = sorted(name for name, peer in peers.items() if peer.holds)
    if not record.founder:
        unseen = sorted(name for name, peer in peers.items() if peer.kind == ALONE)
        if holders or unseen:
            return Course(WAIT, f"the broker on {_names(holders or unseen)} holds data and does not run yet")
        return Course(FOUND, "no node that is here holds anything", aside=aside)
    if record.founder == me and not record.members and not holders:
        return Course(FOUND, "its founding of the cluster was interrupted before anybody could use it", aside=aside)
    if allowed == FOUND:
        if holders:
            return Course(REFUSE, f"{_names(holders)} holds the cluster's data; nothing new is begun beside them")
        return Course(FOUND, "a person has said that the data are lost and a new cluster may begin", aside=aside)
    if record.members == {me}:
        return Course(
            REFUSE,
            "it alone had the cluster's data, and its data directory holds nothing now; is a disk not mounted?",
            way_out=FOUND,
        )
    return Course(
        WAIT, f"it holds nothing and joins as soon as a member runs: {_waits_for(me, record, peers)}", way_out=FOUND
    )


def _host(record: Record, peers: Mapping[str, Peer]) -> str:
    """A running member that can be joined, or nothing."""
    running = sorted(name for name, peer in peers.items() if peer.state == RUNNING)
    members = [name for name in running if not record.members or name in record.members]
    return members[0] if members else ""


def _waits_for(me: str, record: Record, peers: Mapping[str, Peer]) -> str:
    names = (record.members or {record.founder}) - {me}
    said = [f"{name} {_WORDS[peers[name].state] if name in peers else 'is not there'}" for name in sorted(names)]
    return ", ".join(said) or "there is none"


_WORDS = {
    RUNNING: "runs",
    STARTING: "is being started",
    WAITING: "waits for others itself",
    STOPPED: "is stopped",
    BLANK: "holds nothing",
}


def waiting_for(me: str, members: Collection[str], seen: Collection[str], peers: Mapping[str, Peer]) -> str | None:
    """For whom a broker that was started waits, or None when it needs nobody or somebody is just coming.

    ``seen`` are the nodes that ran when it last ran. A broker that saw all others end loads its data at once.
    """
    others = (set(seen) & set(members)) - {me}
    coming = [name for name in members if name in peers and peers[name].state in (RUNNING, STARTING)]
    if not others or coming:
        return None
    return _names(others)


def apart(me: str, view: Collection[str], peers: Mapping[str, Peer]) -> list[str]:
    """The nodes whose broker runs, as Pacemaker's membership has it, and that this node's broker, or theirs, does not see."""
    return sorted(
        name for name, peer in peers.items() if peer.state == RUNNING and (name not in view or me not in peer.view)
    )


def loses(me: str, view: Collection[str], since: int, peers: Mapping[str, Peer]) -> str | None:
    """Why this node's broker must be restarted to end a partition, or None when the other side has to.

    More brokers win; between equals the side with the broker that has run longest, which is the one clients were on before; then the first
    by name. All sides come to the same answer from the same facts.
    """
    mine = _weight({me, *view}, {**peers, me: Peer(RUNNING, KEPT, frozenset(), frozenset(view), since)})
    for name in apart(me, view, peers):
        theirs = _weight({name, *peers[name].view}, {**peers, me: Peer(RUNNING, KEPT, frozenset(), frozenset(), since)})
        if theirs > mine and me not in peers[name].view:
            return f"the side of {name} goes on: {_because(theirs, mine)}"
    return None


def _weight(side: set[str], peers: Mapping[str, Peer]) -> tuple[int, int, tuple[int, ...]]:
    there = sorted(name for name in side if name in peers and peers[name].state == RUNNING)
    oldest = min((peers[name].since for name in there), default=0)
    return len(there), -oldest, tuple(-ord(letter) for letter in there[0]) if there else ()


def _because(theirs: tuple[int, int, tuple[int, ...]], mine: tuple[int, int, tuple[int, ...]]) -> str:
    if theirs[0] != mine[0]:
        return f"it has {theirs[0]} brokers, this one {mine[0]}"
    return "it has run longer" if theirs[1] != mine[1] else "it comes first by name"


def holdings(definitions: Mapping[str, object]) -> str | None:
    """What a broker holds beyond what its first start makes, by its exported definitions, or None for nothing."""
    for key in ("queues", "exchanges", "bindings", "policies", "parameters", "topic_permissions"):
        if definitions.get(key):
            return key
    users = [item.get("name") for item in _items(definitions, "users")]
    if any(name != "guest" for name in users):
        return "users"
    vhosts = [item.get("name") for item in _items(definitions, "vhosts")]
    return "virtual hosts" if any(name != "/" for name in vhosts) else None


_IDENTITY = {"vhosts": ("name",), "users": ("name",), "permissions": ("user", "vhost"), "policies": ("vhost", "name")}
_CONTENT = {
    "users": ("password_hash",),
    "permissions": ("configure", "write", "read"),
    "policies": ("pattern", "apply-to", "definition", "priority"),
}


def strayed(
    wanted: Mapping[str, object], found: Mapping[str, object]
) -> tuple[dict[str, list[dict[str, object]]], list[str]]:
    """What the topology names and the broker lacks (as definitions), and the names of what it has otherwise than the topology."""
    lacking: dict[str, list[dict[str, object]]] = {}
    differing: list[str] = []
    for key, identity in _IDENTITY.items():
        there = {tuple(item.get(name) for name in identity): item for item in _items(found, key)}
        for item in _items(wanted, key):
            other = there.get(tuple(item.get(name) for name in identity))
            if other is None:
                lacking.setdefault(key, []).append(item)
            elif any(item.get(name) != other.get(name) for name in _CONTENT.get(key, ())):
                differing.append(entry(key, item))
    return lacking, differing


def entry(key: str, item: Mapping[str, object]) -> str:
    """A definition by what people call it."""
    kind = {"vhosts": "virtual host", "users": "user", "permissions": "permissions of", "policies": "policy"}[key]
    return f"{kind} {item.get('user') or item.get('name')}"


def _items(definitions: Mapping[str, object], key: str) -> list[dict[str, object]]:
    found = definitions.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _names(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
