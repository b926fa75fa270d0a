"""What must be true in every state, and what every state must be able to come back to."""

from __future__ import annotations

from hafailover.agents.mariadb import decide

from model import world as w
from model.world import NAMES, World, each

FOREIGN_WRITES = 100  # numbers of those
LOST = "no acknowledged write is missing from a node that is promoted"
WRITERS = "at most one node acknowledges writes"
IN_SYNC = "what is recorded in sync holds every acknowledged write"
SAME = "what is recorded in sync holds the primary's transactions and no other"
FOREIGN = "a primary holds no write that did not come through a primary"
PRIMARY = "a healthy cluster does not stay without a primary and replicas in sync"
NEEDLESS = "nobody is needed when no data was lost"
ALL = frozenset({LOST, WRITERS, IN_SYNC, SAME, FOREIGN, PRIMARY, NEEDLESS})


def broken(world: World) -> str | None:
    """The invariant that this state breaks, with how, or None."""
    writers = [number for number, node in enumerate(world.nodes) if node.server == w.WRITABLE]
    able = [number for number in writers if _acknowledges(world, number)]
    if len(able) > 1:
        return f"{WRITERS}: {' and '.join(NAMES[number] for number in able)} do"
    for number in writers:
        node = world.nodes[number]
        held = {write for *_, write in node.log}
        for write in each(world.acknowledged):
            if write not in held:
                return f"{LOST}: {NAMES[number]} does not hold w{write}"
        if [write for *_, write in node.log if write >= FOREIGN_WRITES]:
            return f"{FOREIGN}: {NAMES[number]}"
        if node.recorded and node.recorded == node.cib.text and node.recorded.primary == NAMES[number]:
            found = _false_sync(world, number)
            if found:
                return f"{IN_SYNC}: {found}"
            for other in _living(world, number):
                log = world.nodes[other].log
                if log != node.log[: len(log)] and not [write for *_, write in log if write >= FOREIGN_WRITES]:
                    return f"{SAME}: {NAMES[other]} has {log}, {NAMES[number]} {node.log}"
    return None


def _acknowledges(world: World, number: int) -> bool:
    """Whether a commit on this writable node could be acknowledged now."""
    return not world.nodes[number].enforcing or any(
        peer.source == number and w.connected(world, other) for other, peer in enumerate(world.nodes)
    )


def _living(world: World, number: int) -> list[int]:
    """The nodes whose present life this primary has recorded as in sync."""
    recorded = world.nodes[number].recorded
    assert recorded is not None
    numbers = [(w.NUMBER[name], life) for name, life in recorded.sync]
    return [other for other, life in numbers if w.life(other, world.nodes[other]) == life]


def _false_sync(world: World, number: int) -> str | None:
    """With one replica it holds all; with several, each acknowledged write is on one at least, if all of them still live."""
    recorded = world.nodes[number].recorded
    lives = _living(world, number)
    if not recorded or not lives or len(lives) < len(recorded.sync):
        return None
    for write in each(world.acknowledged):
        if not any(w.has(world.nodes[other], write) for other in lives):
            return f"w{write} is on none of {', '.join(NAMES[other] for other in lives)}"
    return None


def well(world: World) -> bool:
    """One primary, all others in sync with it, nothing under way."""
    writers = [number for number, node in enumerate(world.nodes) if node.server == w.WRITABLE]
    if len(writers) != 1:
        return False
    primary = world.nodes[writers[0]]
    sync = dict(primary.cib.text.sync)
    return primary.enforcing and all(
        node.cib == primary.cib and (number == writers[0] or sync.get(NAMES[number]) == w.life(number, node))
        for number, node in enumerate(world.nodes)
    )


def for_a_person(world: World) -> str | None:
    """Which node's data differ so that a person (or a clone) must settle it, or None."""
    found = [
        NAMES[number]
        for number, node in enumerate(world.nodes)
        if node.diverged
        or "Wrong" in (node.io, node.sql)
        or (node.source >= 0 and decide.errant(w.state(node.log, node.applied), w.gtid_text(node.applied)))
    ]
    return "+".join(found) or None
