"""What an instance of a volume may do next, from what it sees and what the others tell: facts in, a course with its reason out. Pure.

A volume is created once, by the one node that holds the claim, when every node of the list has a brick ready. What was interrupted is
finished by whoever holds the claim then. A brick that lost its contents is filled again only from a copy that is there, whole and in
service: the last good copy is never given up.
"""

from __future__ import annotations

from hafailover.agents.gluster import layout
from hafailover.agents.glustervolume import place
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

# What a node tells the others of its instance.
READY, RUNNING, BLOCKED, STOPPED = "ready", "running", "blocked", "stopped"

# What may be done.
WAIT = "wait"  # nothing here: another node acts, or has to come first
CLAIM = "claim"  # become the node that forms the pool and the volume
PROBE = "probe"  # take nodes into the pool
CREATE = "create"
RECORD = "record"  # have the cluster remember the volume that is there
START = "start"
RESET = "reset"  # begin a brick of this node anew, to be filled from the others
REVIVE = "revive"  # start brick processes of this node that do not run
GROW = "grow"  # add the bricks of new nodes
WIDEN = "widen"  # add a third brick to each replica set of two
RUN = "run"
REFUSE = "refuse"  # nothing, until a person has decided

EMPTY = (
    "is empty"  # why a node that is ready does not serve: it waits to be filled, and knows of nothing that others lack
)

REPLACE, ALONE = "replace", "alone"  # what a person may allow
UNSURE = "cannot know"  # the same: it may lack what the other copy took after this one had ended
BEHIND = "is behind"  # why a node that is ready does not serve: it waits for the copy that has more


class Brick(NamedTuple):
    """A brick of the volume: its node ("" for one outside of the list), its path, and the name that copies blame it by."""

    node: str
    path: str
    id: str = ""


class Volume(NamedTuple):
    """A volume as this node's glusterd has it. ``width`` is the number of bricks of a replica set; ``arbiter``: the last has no data."""

    id: str
    started: bool
    bricks: tuple[Brick, ...]
    width: int
    arbiter: bool

    def sets(self) -> list[tuple[Brick, ...]]:
        """The replica sets."""
        return [self.bricks[at : at + self.width] for at in range(0, len(self.bricks), self.width)]


class Told(NamedTuple):
    """What a node tells: its state, the UUID of its glusterd, the paths of its bricks that serve, the ids of the bricks that these know to
    lack something, and why it is not ready.
    """

    state: str
    uuid: str = ""
    serves: frozenset[str] = frozenset()
    blames: frozenset[str] = frozenset()
    why: str = ""


class Facts(NamedTuple):
    """``record``: the volume id that the cluster remembers ("" for never made); ``maker``: who holds the claim, ``gone``: whether that node
    is known to be off, or says that it has stopped; ``here``: state of each of this node's bricks by path (place.FRESH …); ``dead``:
    paths of its bricks without a process; ``pool``: nodes that are in the pool and connected, this one among them; ``told``: the others'
    words; ``anew``: whether glusterd here has an identity it was given back, or the disk is one that was blank: then an empty brick is a
    replacement; ``allowed``: what a person has said may be done here; ``behind``: ids of bricks that are remembered to lack what the only
    other copy took; ``begins``: whether this node, which had served before, begins to serve again; ``ahead``: whether its copy is marked as
    the one that served alone; ``made``: whether the volume that glusterd has is the one that the cluster remembers, or has begun to make.
    """

    nodes: Sequence[str]
    replica: str
    record: str = ""
    maker: str = ""
    gone: bool = False
    volume: Volume | None = None
    here: Mapping[str, str] = {}
    dead: frozenset[str] = frozenset()
    pool: Collection[str] = ()
    told: Mapping[str, Told] = {}
    anew: bool = False
    allowed: str = ""
    behind: frozenset[str] = frozenset()
    begins: bool = False
    ahead: bool = False
    made: bool = True


class Course(NamedTuple):
    """What to do, why, with which nodes or paths, and what the others are told meanwhile."""

    what: str
    reason: str
    items: tuple[str, ...] = ()
    told: str = ""


def course(me: str, facts: Facts) -> Course:
    """The next thing to do on ``me``."""
    if facts.volume is None:
        return _without_volume(me, facts)
    if not facts.made:
        return Course(REFUSE, _by_hand(facts.volume, facts.record))
    mine = [brick.path for brick in facts.volume.bricks if brick.node == me]
    if not mine:
        return _newcomer(me, facts)
    strange = sorted(path for path in mine if facts.here.get(path) == place.STRANGE)
    if strange:
        return Course(REFUSE, f"{strange[0]} holds files that are not this volume's; nothing is touched")
    empty = sorted(path for path in mine if facts.here.get(path) in (place.FRESH, place.HALF, None))
    if empty and facts.record:
        return _emptied(me, facts, facts.volume, tuple(empty))
    return _with_volume(me, facts, facts.volume)


def _by_hand(volume: Volume, record: str) -> str:
    """Why a volume is left alone that has the name and that the cluster did not make."""
    known = f"the one that the cluster made is {record}" if record else "the cluster made none"
    return (
        f"glusterd has a volume of this name, {volume.id}, and {known}: it was made by hand; nothing is touched; "
        "choose another name, or delete it"
    )


def _that_are(what: str, facts: Facts) -> list[str]:
    """The paths of this node that are so."""
    return sorted(path for path, found in facts.here.items() if found == what)


def _without_volume(me: str, facts: Facts) -> Course:
    strange = _that_are(place.STRANGE, facts)
    if strange:
        return Course(REFUSE, f"{strange[0]} holds files of no volume that is known here; nothing is touched")
    if facts.record:
        if not any(told.state == RUNNING for told in facts.told.values()):
            return Course(WAIT, f"the volume exists, and no node that has it runs: {_absent(me, facts)}")
        if place.KEPT in facts.here.values():
            return Course(
                WAIT, "this node has its brick, and its glusterd has not heard of the volume from the others yet"
            )
        return _newcomer(me, facts)
    waits = _absent(me, facts)
    if waits:
        return Course(WAIT, f"the volume is made when every node has its brick: {waits}")
    if facts.maker != me:
        if facts.maker and not facts.gone:
            return Course(WAIT, f"{facts.maker} makes the volume")
        return Course(CLAIM, "every node has its brick, and nobody makes the volume")
    outside = tuple(name for name in facts.nodes if name not in facts.pool)
    if outside:
        return Course(PROBE, f"{', '.join(outside)} is not in the pool yet", outside)
    return Course(CREATE, "every node has its brick and is in the pool")


def _absent(me: str, facts: Facts) -> str:
    """The other nodes that are not ready, and why."""
    said = []
    for name in facts.nodes:
        if name == me:
            continue
        told = facts.told.get(name)
        if told is None:
            said.append(f"{name} is not there")
        elif told.state not in (READY, RUNNING):
            said.append(f"{name} {told.why or 'is stopped'}")
    return ", ".join(said)


def _newcomer(me: str, facts: Facts) -> Course:
    """A node that the volume has no brick on."""
    strange, kept = _that_are(place.STRANGE, facts), _that_are(place.KEPT, facts)
    if strange:
        return Course(REFUSE, f"{strange[0]} holds files, and the volume has no brick there; nothing is touched")
    if kept:
        # While glusterd adds a brick it has marked the directory already, and has not written down yet that the volume has it.
        return Course(
            WAIT,
            f"{kept[0]} is marked as a brick of this volume, and glusterd does not count it as one: it is just being added, or was "
            "removed; empty it if it was removed",
        )
    reason = addition(facts.nodes, facts.replica, facts.volume)[2] if facts.volume else None
    return Course(WAIT, reason or "a node that has the volume takes this one in")


def _with_volume(me: str, facts: Facts, volume: Volume) -> Course:
    """The volume is there, and so are this node's bricks."""
    if not volume.started or not facts.record:
        if facts.maker != me:
            if facts.maker and not facts.gone:
                return Course(WAIT, f"{facts.maker} makes the volume")
            return Course(CLAIM, "the volume was made and not finished")
        if not volume.started:
            return Course(START, "the volume is made and was never started")
        return Course(RECORD, "the volume runs and is not yet remembered")
    if facts.allowed != ALONE:
        waits, behind = _behind(me, facts, volume)
        if waits:
            return Course(WAIT, waits, behind, BEHIND)
        unsure = _unsure(me, facts, volume)
        if unsure:
            return Course(WAIT, unsure, tuple(brick.path for brick in volume.bricks if brick.node == me), UNSURE)
    if facts.dead:
        dead = tuple(sorted(facts.dead))
        return Course(REVIVE, f"no process serves {', '.join(dead)}", dead)
    return _grow(me, facts, volume)


def _behind(me: str, facts: Facts, volume: Volume) -> tuple[str, tuple[str, ...]]:
    """Why bricks of this node must not serve alone, and their paths: the only other copy took writes without them, and does not serve."""
    paths: list[str] = []
    names: set[str] = set()
    for one in volume.sets():
        for brick in one:
            others = [other for other in one if other != brick]
            if (
                brick.node == me
                and brick.id in facts.behind
                and not any(_serves(other, facts.told) for other in others)
            ):
                paths.append(brick.path)
                names.update(other.node for other in others)
    if not paths:
        return "", ()
    who = ", ".join(sorted(names))
    return f"{paths[0]} lacks what was written on {who} without it; waits for {who}; if lost, allow {ALONE}", tuple(
        paths
    )


def _unsure(me: str, facts: Facts, volume: Volume) -> str:
    """Why this node, which returns, must not serve alone: the only other copy may have gone on without it, which nobody here can know.

    A mark of the cluster's would not have reached a node that was off; so it is the copy that served alone that carries one. When neither
    does, both ended together, and both begin.
    """
    if volume.width != 2 or not facts.begins or facts.ahead:
        return ""
    for one in volume.sets():
        for other in one:
            if other.node == me or not any(brick.node == me for brick in one):
                continue
            told = facts.told.get(other.node, Told(STOPPED))
            if not _serves(other, facts.told) and not (told.state == READY and told.why in (UNSURE, BEHIND, EMPTY)):
                return f"{other.node} may have taken writes after this node had ended; waits for it; if lost, allow {ALONE}"
    return ""


def by_itself(me: str, volume: Volume, told: Mapping[str, Told]) -> bool:
    """Whether a brick of this node is the only one of two copies that serves."""
    if volume.width != 2:
        return False
    others = [other for one in volume.sets() for other in one if other.node != me and any(b.node == me for b in one)]
    return any(not _serves(other, told) for other in others)


def kept_back(volume: Volume, blamed: Collection[str], away: Collection[str]) -> frozenset[str]:
    """Of the bricks that are ``blamed``, by id, those to remember as behind: of nodes that are ``away``, where there are two copies alone.

    With three, quorum keeps a copy that is behind from taking writes by itself.
    """
    if volume.width != 2:
        return frozenset()
    return frozenset(brick.id for brick in volume.bricks if brick.id in blamed and brick.node in away)


def caught_up(me: str, volume: Volume, told: Mapping[str, Told]) -> frozenset[str]:
    """The ids of the partners of this node's bricks that serve; the caller knows that its own bricks have nothing left to give them."""
    sets = [one for one in volume.sets() if any(brick.node == me for brick in one)]
    return frozenset(brick.id for one in sets for brick in one if brick.node != me and _serves(brick, told))


def _grow(me: str, facts: Facts, volume: Volume) -> Course:
    """The volume serves: take in nodes that it has no brick on, by the one that holds the claim."""
    what, added, reason = addition(facts.nodes, facts.replica, volume)
    if reason or not added:
        return Course(RUN, reason or "")
    present = {brick.node for brick in volume.bricks}
    new = sorted({brick.node for one in added for brick in one})
    waits = [name for name in new if facts.told.get(name, Told(STOPPED)).state != READY]
    if waits:
        return Course(RUN, f"{', '.join(new)} is taken in when its brick is ready: {', '.join(waits)} is not")
    if facts.maker != me:
        if facts.maker in present and not facts.gone:
            return Course(RUN, "")
        return Course(CLAIM, f"{', '.join(new)} is to be taken in, and nobody does it")
    outside = tuple(name for name in new if name not in facts.pool)
    if outside:
        return Course(PROBE, f"{', '.join(outside)} is not in the pool yet", outside)
    return Course(what, f"{', '.join(new)} has its brick and is in the pool", tuple(new))


def addition(nodes: Sequence[str], replica: str, volume: Volume) -> tuple[str, list[list[layout.Brick]], str | None]:
    """What is to be added to a volume (GROW: whole replica sets, WIDEN: a third brick for each set), or why that cannot be done."""
    present = {brick.node for brick in volume.bricks}
    if _kind(volume) == replica:
        return (GROW, *layout.growth(nodes, present, replica))
    if _kind(volume) == "2":
        held = [{brick.node for brick in one} for one in volume.sets()]
        bricks, reason = layout.third(held, [node for node in nodes if node not in present])
        return WIDEN, [bricks] if bricks else [], reason
    return RUN, [], f"the volume was made with replica {_kind(volume)}, and the cluster does not make it {replica}"


def _kind(volume: Volume) -> str:
    return layout.ARBITER if volume.arbiter else str(volume.width)


def _emptied(me: str, facts: Facts, volume: Volume, empty: tuple[str, ...]) -> Course:
    """Bricks of this node that belong to the volume and hold nothing of it."""
    if not facts.anew and facts.allowed != REPLACE:
        return Course(
            REFUSE,
            f"{empty[0]} was a brick and is empty: disk not mounted? To have it filled from the others, allow {REPLACE}",
        )
    for path in empty:
        reason = lost(me, path, volume, facts.told, facts.allowed)
        if reason:
            return Course(WAIT, reason, told=EMPTY)
    return Course(RESET, f"{', '.join(empty)} is empty and is filled from the other copies", empty)


def lost(me: str, path: str, volume: Volume, told: Mapping[str, Told], allowed: str = "") -> str | None:
    """Why the brick at ``path`` of ``me`` may not be begun anew now, or None: another copy of its files, a whole one, must be in service.

    Whole is a data brick (an arbiter's knows names and no contents) that no brick of its set knows to lack something. One whose partners
    are away may lack what only they know of, so that all others of the set must be there to say so, or a person says that they never
    return.
    """
    mine = next((one for one in volume.sets() if any(b.node == me and b.path == path for b in one)), None)
    if mine is None:
        return f"{path} is no brick of the volume"
    others = [brick for brick in mine if not (brick.node == me and brick.path == path)]
    away = sorted({brick.node for brick in others if not _serves(brick, told) and not _is_empty(brick, told)})
    if away and allowed != REPLACE:
        return f"{path} is empty, and filled when all other copies serve: waits for {', '.join(away)}; if lost, allow {REPLACE}"
    there = [brick for brick in others if _serves(brick, told)]
    blamed = frozenset[str]().union(*(told[brick.node].blames for brick in there))
    data = [brick for brick in others if not (volume.arbiter and brick == mine[-1])]
    if not any(brick in there and brick.id not in blamed for brick in data):
        names = ", ".join(sorted({brick.node for brick in data}))
        return f"{path} is empty, and no other copy is whole: waits until {names} is healed"
    return None


def _is_empty(brick: Brick, told: Mapping[str, Told]) -> bool:
    found = told.get(brick.node)
    return found is not None and found.state == READY and found.why == EMPTY


def _serves(brick: Brick, told: Mapping[str, Told]) -> bool:
    found = told.get(brick.node)
    return found is not None and found.state == RUNNING and brick.path in found.serves
