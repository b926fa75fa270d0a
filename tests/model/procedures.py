"""What the agents do, as atomic steps between any two of which anything else may happen: a server's own procedures, and all steps together.

A node does one thing at a time (``Node.doing``): the helper and the monitor exclude each other, and an action that Pacemaker runs ends
the helper first. The order of the steps is that of ``roles``, ``semisync``, ``regain``, ``reign``, ``standby`` and ``starting``.
"""

from __future__ import annotations

from collections.abc import Iterator

from model import pacemaker, promotion, record, rules
from model import world as w
from model.environment import acknowledge, crashed
from model.setup import Setup, Step
from model.world import NAMES, NUMBER, Node, World, each


def steps(setup: Setup, world: World) -> Iterator[Step]:
    for number, node in enumerate(world.nodes):
        if node.on:
            if node.doing:
                yield from _go_on(setup, world, number, node)
            elif node.server == w.WRITABLE:
                yield from _reign(setup, world, number, node)
            elif node.server == w.READ_ONLY:
                yield from _stand_by(setup, world, number, node)
            yield from pacemaker.steps(setup, world, number, node)


def _go_on(setup: Setup, world: World, number: int, node: Node) -> Iterator[Step]:
    name, step = node.doing[:2]
    if step in record.STEPS:
        yield from record.steps(setup, world, number, node)
    elif name == "degrade":
        yield _release(setup, world, number, node)
    elif name == "regain":
        yield from _regain(setup, world, number, node)
    elif name == "promote":
        yield from promotion.promote(setup, world, number, node)
    elif name == "demote":
        yield from promotion.demote(setup, world, number, node)


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
