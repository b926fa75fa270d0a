"""First states. Each is one that the cluster reaches in its daily life; beginning there saves the search the way to it."""

from __future__ import annotations

from collections.abc import Callable

from model import environment, record
from model import world as w
from model.setup import Setup
from model.world import NAMES, Copy, Log, Node, Text, World

_HISTORY: Log = ((0, 1, 0),)  # one write that was acknowledged long ago


def _node(number: int, nodes: int, copy: Copy, log: Log, server: int = w.READ_ONLY) -> Node:
    everybody = (1 << nodes) - 1
    node = Node(
        on=True, members=everybody, joined=everybody, quorate=True, complete=True, clean=0, cib=copy, inbox=None, recorded=None,
        server=server, log=log, tail=(0, False), relay=(), applied=None, waiting=(), enforcing=False,
        source=-1, io="No", sql="No", strict=True, life=1, role=w.UNPROMOTED, reign=0, published="",
        final=None, received=None, admitted=(), diverged=False, doing=(),
    )  # fmt: skip
    return node._replace(published=w.life(number, node))


def _replica(number: int, nodes: int, copy: Copy) -> Node:
    node = _node(number, nodes, copy, _HISTORY)._replace(source=0, io="Yes", sql="Yes", applied=(0, 1))
    return node._replace(published=w.life(number, node))


def _primary(nodes: int, copy: Copy) -> Node:
    return _node(0, nodes, copy, _HISTORY, w.WRITABLE)._replace(role=w.PROMOTED, reign=1, recorded=copy.text)


def _sync(nodes: int) -> tuple[tuple[str, str], ...]:
    return tuple((NAMES[number], f"b{number}.1.1.7") for number in range(1, nodes))


def _world(setup: Setup, nodes: tuple[Node, ...], acknowledged: int = 1) -> World:
    return World(nodes, cut=0, device=0, writes=1, acknowledged=acknowledged, budget=setup.budget())


def in_sync(setup: Setup) -> World:
    """db1 is primary, and all others are in sync."""
    copy = Copy(2, Text(1, "db1", "", _sync(setup.nodes), "regain"))
    replicas = [_replica(number, setup.nodes, copy) for number in range(1, setup.nodes)]
    primary = _primary(setup.nodes, copy)._replace(enforcing=True)
    if setup.nodes > 2:
        primary = primary._replace(admitted=tuple(life for _, life in copy.text.sync))
    return _world(setup, (primary, *replicas))


def catching_up(setup: Setup) -> World:
    """db1 is primary and does not wait; the replicas follow, and none is in sync."""
    copy = Copy(2, Text(1, "db1", "", (), "degrade"))
    replicas = [_replica(number, setup.nodes, copy) for number in range(1, setup.nodes)]
    if setup.nodes > 2:  # they ask to be admitted first
        replicas = [replica._replace(io="No") for replica in replicas]
    return _world(setup, (_primary(setup.nodes, copy), *replicas))


def giving_up(setup: Setup) -> World:
    """db1 is about to write that db2 is stale, because a commit has waited too long: it has looked at everything and has quorum."""
    world = in_sync(setup)
    primary = world.nodes[0]
    seen = primary.cib.text
    doing = ("degrade", "write", seen, seen._replace(sync=(), by="degrade"), None)
    log = (*primary.log, (0, 2, 1))
    return world.put(0, primary._replace(log=log, waiting=(1,), doing=doing))._replace(writes=2)


def superseded(setup: Setup) -> World:
    """db1, cut off, wrote into its own copy too late for anybody to see; db2 has fenced it, is primary, and db1 is still off."""
    world = giving_up(setup)
    old, new = world.nodes
    late = old.doing[3]
    times = 3 if "quorum before" in setup.without else 1  # one that asks for quorum first can be late only once
    copy = Copy(old.cib.version + times * record.weight(setup, late), late)
    world = environment.power_off(world.put(0, old._replace(cib=copy)), 0)
    entry = record.promoted(new.cib.text, 1, new)
    copy = Copy(new.cib.version + record.weight(setup, entry), entry)
    primary = new._replace(
        members=2, joined=2, clean=1, cib=copy, recorded=entry, server=w.WRITABLE, role=w.PROMOTED, reign=entry.epoch, source=-1,
        io="No", sql="No",
    )  # fmt: skip
    return world.put(1, primary)._replace(device=1)


def alone(setup: Setup) -> World:
    """db2 was in sync and lost power; db1 goes on alone. db2's copy of the CIB still calls it in sync."""
    old = Copy(2, Text(1, "db1", "", _sync(2), "regain"))
    new = Copy(3, Text(1, "db1", "", (), "degrade"))
    primary = _primary(2, new)._replace(members=1, joined=1, clean=2)
    blank = _replica(1, 2, old)
    gone = blank._replace(
        on=False,
        members=0,
        joined=0,
        quorate=False,
        complete=False,
        server=w.DOWN,
        io="No",
        sql="No",
        role=w.STOPPED,
        published="",
    )
    return _world(setup, (primary, gone))


def one_joins(setup: Setup) -> World:
    """db1 is primary and db2 in sync; db3's server has just started again, and follows nobody yet."""
    copy = Copy(3, Text(1, "db1", "", _sync(2), "regain"))
    primary = _primary(3, copy)._replace(enforcing=True, admitted=tuple(life for _, life in copy.text.sync))
    joins = _node(2, 3, copy, _HISTORY)._replace(applied=(0, 1))
    return _world(setup, (primary, _replica(1, 3, copy), joins))


def first(setup: Setup) -> World:
    """Nobody was ever promoted; db2 holds a write that db1 does not."""
    copy = Copy(0, Text(0, "", "", (), ""))
    log: Log = ((1, 1, 0), (1, 2, 1))
    nodes = tuple(_node(number, setup.nodes, copy, log if number == 1 else log[:1]) for number in range(setup.nodes))
    return _world(setup, nodes, acknowledged=3)._replace(writes=2)


STARTS: dict[str, Callable[[Setup], World]] = {
    "in sync": in_sync,
    "catching up": catching_up,
    "giving up": giving_up,
    "superseded": superseded,
    "alone": alone,
    "one joins": one_joins,
    "first": first,
}
