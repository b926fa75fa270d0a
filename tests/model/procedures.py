"""What the agents and Pacemaker do, as atomic steps between any two of which anything else may happen.

A node does one thing at a time (``Node.doing``): the helper and the monitor exclude each other, and an action that Pacemaker runs ends
the helper first. The order of the steps is that of ``roles``, ``semisync``, ``regain``, ``reign``, ``standby`` and ``starting``.
"""

from __future__ import annotations

from collections.abc import Iterator

from model import record, rules
from model import world as w
from model.environment import acknowledge, crashed
from model.setup import PROMOTES_IN_TIME, Setup, Step, may, spend
from model.world import NAMES, NUMBER, Node, World, each

HELPER = ("degrade", "regain", "admit", "again")


def steps(setup: Setup, world: World) -> Iterator[Step]:
    for number, node in enumerate(world.nodes):
        if node.on:
            if node.doing:
                yield from _go_on(setup, world, number, node)
            elif node.server == w.WRITABLE:
                yield from _reign(setup, world, number, node)
            elif node.server == w.READ_ONLY:
                yield from _stand_by(setup, world, number, node)
            yield from _pacemaker(setup, world, number, node)


def _go_on(setup: Setup, world: World, number: int, node: Node) -> Iterator[Step]:
    name, step = node.doing[:2]
    if step in record.STEPS:
        yield from record.steps(setup, world, number, node)
    elif name == "degrade":
        yield _release(setup, world, number, node)
    elif name == "regain":
        yield from _regain(setup, world, number, node)
    elif name == "promote":
        yield from _promote(setup, world, number, node)
    elif name == "demote":
        yield from _demote(setup, world, number, node)


# -- the primary ---------------------------------------------------------------------------------------------------


def _reign(setup: Setup, world: World, number: int, node: Node) -> Iterator[Step]:
    """The monitor of a promoted instance, and the helper."""
    name, seen = NAMES[number], node.cib.text
    setback = rules.setback(seen, node.recorded, name) if "setback" not in setup.without else None
    if setback and node.recorded:
        newest = max(node.recorded, seen, key=lambda known: known.epoch)
        yield Step(
            f"{name}'s monitor: {setback}",
            world.put(number, node._replace(doing=record.begin("again", seen, record.promoted(newest, number, node)))),
        )
    elif seen.primary != name:
        yield Step(
            f"{name} is not the recorded primary: Pacemaker ends its server",
            world.put(number, crashed(node)._replace(role=w.UNPROMOTED)),
        )
    if seen.primary != name:
        return
    reason = rules.degrade_reason(node.enforcing, _clients(world, number), bool(node.waiting))
    if reason:
        yield _degrade(setup, world, number, node, reason)
    if seen.sync and not node.enforcing:
        stale = seen._replace(sync=(), by="degrade")
        yield Step(
            f"{name}: somebody switched the waiting off",
            world.put(number, node._replace(doing=record.begin("admit", seen, stale))),
        )
    else:
        yield from _begin_regain(setup, world, number, node)


def _clients(world: World, number: int) -> int:
    return sum(peer.source == number and w.connected(world, other) for other, peer in enumerate(world.nodes))


def _degrade(setup: Setup, world: World, number: int, node: Node, reason: str) -> Step:
    seen = node.cib.text
    says = f"{NAMES[number]} gives up its replicas: {reason}"
    if not (seen.sync or node.recorded != seen):
        return Step(says, world.put(number, node._replace(doing=("degrade", "recorded", seen, seen, None))))
    entry = w.text(w.journal(seen).degraded(frozenset(dict(seen.sync)), 0))
    doing = record.begin("degrade", seen, entry)
    if "record before release" in setup.without:
        world = acknowledge(world, node.waiting)
        node = node._replace(enforcing=False, waiting=())
    return Step(says, world.put(number, node._replace(doing=doing)))


def _release(setup: Setup, world: World, number: int, node: Node) -> Step:
    return Step(
        f"{NAMES[number]} releases its commits",
        acknowledge(world, node.waiting).put(number, node._replace(enforcing=False, waiting=(), doing=())),
    )


def _begin_regain(setup: Setup, world: World, number: int, node: Node) -> Iterator[Step]:
    seen, name = node.cib.text, NAMES[number]
    peers = frozenset(NAMES[: setup.nodes]) - {name}
    published = tuple((NAMES[o], world.nodes[o].published) for o in each(node.joined) if world.nodes[o].published)
    lives = rules.counted(seen.sync, published, peers, w.names(node.clean), setup.without)
    several = setup.nodes > 2
    admitted = tuple(sorted(life for _, life in lives))
    if several and (not seen.sync or seen.sync == lives) and admitted and node.admitted != admitted:
        yield Step(f"{name} admits {admitted}", world.put(number, node._replace(admitted=admitted)))
        return
    if seen.sync == lives:
        return
    for peer, life in sorted(lives, key=lambda entry: dict(seen.sync).get(entry[0]) != entry[1]):
        other = NUMBER[peer]
        if not w.linked(world, number, other) or world.nodes[other].server == w.DOWN:
            continue
        extra = (peer, life, lives)
        if node.enforcing:
            yield Step(
                f"{name} looks whether {peer} is in sync",
                world.put(number, node._replace(doing=("regain", "sample", seen, None, (*extra, False)))),
            )
        elif not _clients(world, number) and "connected" not in setup.without:
            continue
        elif not rules.regain_refusal(setup, world, number, other, life, ""):
            doing = ("regain", "sample", seen, None, (*extra, True))
            says = f"{name} begins to wait for acknowledgements"
            if "wait before the sample" in setup.without:
                sampled = w.position(node.log)
                doing = ("regain", "late enforce", seen, sampled, (*extra, True))
                yield Step(f"{name} samples {sampled}", world.put(number, node._replace(doing=doing)))
            else:
                yield Step(says, world.put(number, node._replace(enforcing=True, doing=doing)))


def _regain(setup: Setup, world: World, number: int, node: Node) -> Iterator[Step]:
    _, step, base, sampled, (peer, life, lives, begun) = node.doing
    name, other = NAMES[number], NUMBER[peer]
    if step == "late enforce":
        yield Step(
            f"{name} begins to wait for acknowledgements",
            world.put(
                number,
                node._replace(enforcing=True, doing=("regain", "prove", base, sampled, (peer, life, lives, begun))),
            ),
        )
        return
    if step == "sample":
        sampled = w.position(node.log) if "position reached" not in setup.without else ""
        yield Step(
            f"{name} samples its position {sampled}",
            world.put(number, node._replace(doing=("regain", "prove", base, sampled, (peer, life, lives, begun)))),
        )
        return
    answers = w.linked(world, number, other) and world.nodes[other].server != w.DOWN
    refusal = rules.regain_refusal(setup, world, number, other, life, sampled) if answers else "does not answer"
    if not refusal:
        entry = w.text(w.journal(base).regained(dict(lives), 0))
        yield Step(
            f"{name} sees that {peer} has reached {sampled}",
            world.put(number, node._replace(doing=record.begin("regain", base, entry))),
        )
        return
    done = node._replace(doing=())
    if begun and not base.sync:
        world = acknowledge(world, node.waiting)
        done = done._replace(enforcing=False, waiting=())
    yield Step(f"{name} gives up on {peer}, which {refusal}", world.put(number, done), "late" if answers else "go")


# -- a replica -----------------------------------------------------------------------------------------------------


def _stand_by(setup: Setup, world: World, number: int, node: Node) -> Iterator[Step]:
    name = NAMES[number]
    primary = node.cib.text.primary
    if primary in ("", name) or node.diverged:
        return
    other = NUMBER[primary]
    source = world.nodes[other]
    if node.source != other or node.sql == "No":
        if w.linked(world, number, other) and source.server == w.WRITABLE:
            yield _follow(setup, world, number, node, other)
    elif node.io == "No" and setup.nodes > 2 and node.sql == "Yes" and _admitted(world, node, other):
        yield Step(f"{name} is admitted and receives", world.put(number, node._replace(io="Yes")))


def _admitted(world: World, node: Node, primary: int) -> bool:
    return bool(node.joined >> primary & 1) and node.published in world.nodes[primary].admitted


def _follow(setup: Setup, world: World, number: int, node: Node, other: int) -> Step:
    name, primary = NAMES[number], NAMES[other]
    source = world.nodes[other]
    why = rules.divergence(w.state(node.log, node.applied), w.state(source.log, source.applied), primary)
    if why and "divergence" not in setup.without:
        return Step(
            f"{name} does not follow {primary}: {why}",
            world.put(number, node._replace(diverged=True, io="No", sql="No")),
        )
    last = node.log[-1][:2] if node.log else None
    applied = max((gtid for gtid in (last, node.applied) if gtid), key=lambda gtid: gtid[1], default=None)
    new = node._replace(
        source=other, relay=(), applied=applied, enforcing=False, sql="Yes", life=w.unused_life(world, number),
        strict="strict mode" not in setup.without,
        io="Yes" if setup.nodes == 2 or "admission" in setup.without else "No",
    )  # fmt: skip
    if "life of the SQL thread" in setup.without:
        new = new._replace(life=node.life if node.published.endswith(".7") else new.life)
    return Step(f"{name} follows {primary}", world.put(number, new._replace(published=w.life(number, new))))


# -- Pacemaker -----------------------------------------------------------------------------------------------------


def _scheduling(world: World, number: int, node: Node) -> bool:
    """The partition of ``number`` has quorum, and its controller has all members' state."""
    return node.quorate and w.formed(world, number) and node.joined == node.members


def _pacemaker(setup: Setup, world: World, number: int, node: Node) -> Iterator[Step]:
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


def _promote(setup: Setup, world: World, number: int, node: Node) -> Iterator[Step]:
    name, (_, step, *rest) = NAMES[number], node.doing
    if step == "claim":
        tried, seen = rest[0], node.cib.text
        if tried is not None and seen == tried:
            yield Step(
                f"{name} confirms what it wrote",
                world.put(number, node._replace(doing=record.begin("promote", seen, tried))),
            )
            return
        refusal = rules.promotion_refusal(setup, world, number)
        if refusal:
            if node.quorate:
                yield Step(f"{name} is not promoted: {refusal}", world.put(number, crashed(node)))
            return
        if node.source >= 0:
            new = node._replace(io="No" if node.io == "Yes" else node.io, doing=("promote", "drain", seen))
            yield Step(f"{name} may be promoted; stops receiving", world.put(number, new))
        else:
            entry = record.promoted(seen, number, node)
            yield Step(
                f"{name} may be promoted", world.put(number, node._replace(doing=record.begin("promote", seen, entry)))
            )
    elif step == "drain":
        if node.relay and "drain" not in setup.without:
            if node.sql != "Yes":
                yield Step(f"{name} is not promoted: its SQL thread stopped", world.put(number, crashed(node)))
            return
        seen = rest[0]
        final = _final(world, node, seen)
        mine = w.position(node.log)
        if (
            final is not None
            and "final position" not in setup.without
            and not _reached(mine, w.state(node.log, node.applied), final)
        ):
            yield Step(f"{name} is not promoted: the old primary stopped at {final}", world.put(number, crashed(node)))
            return
        entry = record.promoted(seen, number, node)
        yield Step(
            f"{name} has applied everything",
            world.put(number, node._replace(doing=record.begin("promote", seen, entry))),
        )
    elif step == "recorded":
        new = node._replace(
            enforcing=False, waiting=(), source=-1, io="No", sql="No", relay=(), doing=("promote", "open")
        )
        yield Step(f"{name} forgets its primary and waits for no replica", world.put(number, new))
    elif step == "open":
        yield Step(
            f"{name} opens for writing", world.put(number, node._replace(server=w.WRITABLE, role=w.PROMOTED, doing=()))
        )


def _final(world: World, node: Node, seen: w.Text) -> str | None:
    for other in each(node.joined):
        peer = world.nodes[other]
        if NAMES[other] == seen.primary and peer.final and peer.final[0] == seen.epoch:
            return peer.final[1]
    return None


def _reached(position: str, state: str, final: str) -> bool:
    from hafailover.agents.mariadb import gtid

    return gtid.reached(gtid.latest(position, state), final)


def _demote(setup: Setup, world: World, number: int, node: Node) -> Iterator[Step]:
    name, step = NAMES[number], node.doing[1]
    if step == "close":
        if node.waiting:
            if "kill instead of close" in setup.without:
                new = node._replace(server=w.READ_ONLY, waiting=(), enforcing=False, doing=("demote", "publish"))
                yield Step(f"{name} is closed although commits wait: they stay, unacknowledged", world.put(number, new))
            else:
                says = f"{name} is killed instead of demoted: commits wait"
                yield Step(says, world.put(number, crashed(node)._replace(role=w.UNPROMOTED)), "late")
        else:
            yield Step(
                f"{name} is read-only",
                world.put(number, node._replace(server=w.READ_ONLY, doing=("demote", "publish"))),
            )
    else:
        final = (node.cib.text.epoch, w.position(node.log))
        yield Step(
            f"{name} is demoted at {final[1]}",
            world.put(number, node._replace(final=final, role=w.UNPROMOTED, doing=())),
        )
