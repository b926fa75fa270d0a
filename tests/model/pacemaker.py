"""What Pacemaker does with a node's server, as atomic steps: it stops, starts, promotes and demotes, once it knows what all members say."""

from __future__ import annotations

from collections.abc import Iterator

from model import rules
from model import world as w
from model.environment import crashed
from model.setup import PROMOTES_IN_TIME, Setup, Step, may, spend
from model.world import NAMES, Node, World, each

HELPER = ("degrade", "regain", "admit", "again")


def _scheduling(world: World, number: int, node: Node) -> bool:
    """The partition of ``number`` has quorum, and its controller has all members' state."""
    return node.quorate and w.formed(world, number) and node.joined == node.members


def steps(setup: Setup, world: World, number: int, node: Node) -> Iterator[Step]:
    name = NAMES[number]
    if not node.quorate and w.formed(world, number) and (node.server != w.DOWN or node.role != w.STOPPED):
        yield Step(
            f"{name} has no quorum: Pacemaker stops its server",
            world.put(number, crashed(node)._replace(role=w.STOPPED)),
        )
    if not _scheduling(world, number, node):
        return
    peers = [world.nodes[other] for other in each(node.joined)]
    busy = _busy(world, node)
    if node.server == w.DOWN:
        if node.role == w.PROMOTED:
            yield Step(f"Pacemaker demotes the dead {name}", world.put(number, node._replace(role=w.UNPROMOTED)))
        elif any(peer.inbox for peer in peers):
            pass  # a start takes longer than a message
        elif node.held:
            yield from _resume(setup, world, number, node)
        elif not busy:
            yield from _start(setup, world, number, node)
        return
    if node.server == w.READ_ONLY and not node.doing and node.role == w.UNPROMOTED:
        if _promotes(setup, world, number, node):
            yield Step(f"Pacemaker promotes {name}", world.put(number, node._replace(doing=("promote", "claim", None))))
        if (
            setup.nodes > 2
            and len(node.cib.text.sync) > 1
            and any(peer.doing and peer.doing[:2] == ("promote", "claim") for peer in peers)
        ):
            yield from _publish_received(world, number, node)
    if (
        may(world, "switch")
        and node.role == w.PROMOTED
        and node.server == w.WRITABLE
        and (not node.doing or node.doing[0] in HELPER)
        and any(other != number and rules.score(setup, world, other) > 0 for other in each(node.joined))
    ):
        yield Step(
            f"a person asks for a switchover; {name}'s helper is ended",
            spend(world, "switch").put(number, node._replace(doing=("demote", "close"))),
            "fault",
        )


def _busy(world: World, node: Node) -> bool:
    """A new transition waits for the actions that are in flight."""
    found = [world.nodes[other].doing for other in each(node.joined)]
    return any(doing and doing[0] in ("promote", "demote") for doing in found)


def _promotes(setup: Setup, world: World, number: int, node: Node) -> bool:
    """Pacemaker promotes this replica when it comes to it."""
    away = (1 << setup.nodes) - 1 & ~node.joined
    taken = _busy(world, node) or any(world.nodes[other].role == w.PROMOTED for other in each(node.joined))
    return not (
        world.banned >> number & 1
        or not _scheduling(world, number, node)
        or node.server != w.READ_ONLY
        or node.doing
        or node.role != w.UNPROMOTED
        or away & ~node.clean
        or taken
        or rules.score(setup, world, number) <= 0
    )


def _publish_received(world: World, number: int, node: Node) -> Iterator[Step]:
    if node.source < 0:
        return
    received = (node.cib.text.epoch, w.gtid_text(w.end(node)))
    if node.received != received or node.io == "Yes":
        yield Step(
            f"{NAMES[number]} stops receiving and publishes {received[1]}",
            world.put(number, node._replace(received=received, io="No" if node.io == "Yes" else node.io)),
        )


def _start(setup: Setup, world: World, number: int, node: Node) -> Iterator[Step]:
    name = NAMES[number]
    choice = _choice(setup, world, number, node)
    if choice == "hold":
        new = node._replace(held=w.HELD, role=w.UNPROMOTED)
        yield Step(f"{name} starts without a server, and waits", world.put(number, new))
        return
    truncates = choice == "truncate"
    logs = [node.log]
    if truncates:
        kept = node.log[: len(node.log) - node.tail[0]]
        logs = [kept]
        # Recovery also removes transactions that were acknowledged, if the engine had not yet been told.
        if node.tail[1] and kept and kept[-1][0] == number:
            logs.append(kept[:-1])
    for log in logs:
        new = node._replace(
            server=w.READ_ONLY, log=log, tail=(0, False), life=w.unused_life(world, number), role=w.UNPROMOTED, relay=(), io="No", sql="No",
            enforcing=False, waiting=(), diverged=False, held=w.NOT_HELD,
        )  # fmt: skip
        new = new._replace(published=w.life(number, new))
        how = f"as a replica, losing {len(node.log) - len(log)} transactions" if truncates else "keeping everything"
        yield Step(f"{name}'s server starts, {how}", world.put(number, new))


def _resume(setup: Setup, world: World, number: int, node: Node) -> Iterator[Step]:
    """The monitor of an instance without a server: its role is known by now, or it has waited for an heir long enough."""
    if _choice(setup, world, number, node) != "hold":
        yield from _start(setup, world, number, node)
    elif node.held == w.HELD and "patience" not in setup.without:
        heirs = _heirs(setup, world, number, node)
        coming = any(world.nodes[o].doing for o in heirs)
        if PROMOTES_IN_TIME in setup.assume:
            coming = coming or any(_promotes(setup, world, o, world.nodes[o]) for o in heirs)
        if not coming:
            new = node._replace(held=w.HELD_LONG)
            yield Step(f"{NAMES[number]} will wait no longer for an heir", world.put(number, new), "late")


def _heirs(setup: Setup, world: World, number: int, node: Node) -> tuple[int, ...]:
    """Members recorded in sync that have a score. A promotion leaves it as it was."""
    sync = dict(node.cib.text.sync)
    return tuple(
        o for o in each(node.joined)
        if o != number and NAMES[o] in sync
        and (world.nodes[o].doing[:1] == ("promote",) or rules.score(setup, world, o) > 0)
    )  # fmt: skip


def _choice(setup: Setup, world: World, number: int, node: Node) -> str:
    """As ``starting.facts`` and ``recovery.choose``."""
    text, name = node.cib.text, NAMES[number]
    visible = [(NAMES[o], world.nodes[o]) for o in each(node.joined)]
    primary = next((peer for peer_name, peer in visible if peer_name == text.primary), None)
    reigns = bool(text.epoch) and primary is not None and primary.reign == text.epoch
    promoted = [peer_name for peer_name, peer in visible if peer_name != name and peer.role == w.PROMOTED]
    if reigns and text.primary != name:
        promoted.append(text.primary)
    known = text.primary if text.primary in promoted else next(iter(promoted), "")
    reigning = bool(text.epoch) and node.reign == text.epoch and reigns
    absent = tuple(other for other in NAMES[: setup.nodes] if other not in w.names(node.joined))
    if "absent nodes" in setup.without:
        absent = ()
    heirs = tuple(NAMES[o] for o in _heirs(setup, world, number, node)) if node.held != w.HELD_LONG else ()
    if "heir first" in setup.without:
        heirs = ()
    choice = rules.start(text, name, known, not node.tail[1], reigning, absent, heirs)
    if "start knows its role" in setup.without and choice == "hold":
        choice = "keep"
    if choice == "keep" and "recovery keeps the only copy" in setup.without:
        return "truncate"
    if choice == "truncate" and "recovery truncates" in setup.without:
        return "keep"
    return choice
