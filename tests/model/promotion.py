"""Promotion and demotion, as atomic steps: from the question whether a server may be promoted until it is open, and back."""

from __future__ import annotations

from collections.abc import Iterator

from model import record, rules
from model import world as w
from model.environment import crashed
from model.setup import Setup, Step
from model.world import NAMES, Node, World, each


def promote(setup: Setup, world: World, number: int, node: Node) -> Iterator[Step]:
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


def demote(setup: Setup, world: World, number: int, node: Node) -> Iterator[Step]:
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
