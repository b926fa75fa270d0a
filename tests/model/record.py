"""``Cluster.record`` as atomic steps, for every procedure that writes the journal.

``doing`` is ``(name, step, base, entry, extra)``; the steps are check, write, after, copies, and then what the procedure does with it.
"""

from __future__ import annotations

from collections.abc import Iterator

from hafailover.agents.mariadb import gtid

from model import rules
from model import world as w
from model.environment import tell
from model.setup import Setup, Step
from model.world import NAMES, Copy, Node, Text, World, each

STEPS = ("check", "write", "after", "copies", "after last")


def begin(name: str, base: Text, entry: Text, extra: object = None) -> tuple:
    return (name, "check", base, entry, extra)


def weight(setup: Setup, entry: Text) -> int:
    """By how much a write raises ``admin_epoch``."""
    if "admin_epoch" in setup.without:
        return 0
    return 2 if entry.by == "promote" and "weight of a promotion" not in setup.without else 1


def _copies(world: World, number: int) -> tuple[tuple[str, Text], ...] | None:
    """Each joined member's journal; None while one of them does not answer and is still a member."""
    found = []
    for other in each(world.nodes[number].joined):
        # A question to a member comes after a write that is on its way to it. (What is written and then not relied upon, because the
        # helper ends here, is a fault of its own.)
        if not w.linked(world, number, other) or world.nodes[other].inbox:
            return None
        found.append((NAMES[other], world.nodes[other].cib.text))
    return tuple(found)


def steps(setup: Setup, world: World, number: int, node: Node) -> Iterator[Step]:
    """The next step of the record that ``node`` is writing."""
    name, step, base, entry, extra = node.doing
    who = f"{NAMES[number]} ({name})"
    if step == "check":
        yield from _check(setup, world, number, node, who)
    elif step == "write":
        if w.formed(world, number) and not any(world.nodes[o].inbox for o in each(node.joined)):
            copy = Copy(node.cib.version + weight(setup, entry), entry)
            if "quorum asked last" in setup.without:
                doing: tuple = (name, "after", base, entry, extra)
            else:
                doing = (name, "copies", base, entry, (extra, True))
            new = world.put(number, node._replace(cib=copy, doing=doing))
            for other in each(node.joined):
                if other != number:
                    new = new.put(other, new.nodes[other]._replace(inbox=copy))
            yield Step(f"{who} writes, version {copy.version}: {tell(entry)}", new)
    elif step == "after":  # too early: quorum can be lost before the copies have been read
        after = node.quorate or "quorum after" in setup.without
        yield Step(
            f"{who} {'still has' if after else 'has lost'} quorum",
            world.put(number, node._replace(doing=(name, "copies", base, entry, (extra, after)))),
        )
    elif step == "copies":
        yield from _read_back(setup, world, number, node, who)
    elif step == "after last":
        if _joining(setup, node):
            yield refused(setup, world, number, node, f"{who}: a member has not joined", extra)
        elif node.quorate or "quorum after" in setup.without:
            yield _recorded(setup, world, number, node, f"{who} still has quorum", extra)
        else:
            yield refused(setup, world, number, node, f"{who} has lost quorum", extra)


def _check(setup: Setup, world: World, number: int, node: Node, who: str) -> Iterator[Step]:
    name, _, base, entry, extra = node.doing
    if not node.quorate and "quorum before" not in setup.without:
        yield refused(setup, world, number, node, f"{who} has no quorum", extra)
        return
    if _joining(setup, node):
        yield refused(setup, world, number, node, f"{who} waits for a member to join", extra)
        return
    if _still_up(setup, node) and "fenced before a write" not in setup.without:
        yield refused(setup, world, number, node, f"{who} may not write: a lost node is not yet fenced", extra)
        return
    copies = _copies(world, number)
    if copies is None:
        return
    why = rules.conflict(base, copies) if "record conflict" not in setup.without else None
    if why:
        yield refused(setup, world, number, node, f"{who} may not write: {why}", extra)
        return
    reign = entry.epoch if entry.by == "promote" and "reign once confirmed" in setup.without else node.reign
    new = node._replace(doing=(name, "write", base, entry, extra), reign=reign)
    yield Step(f"{who} has quorum, and all copies are as decided upon", world.put(number, new))


def _still_up(setup: Setup, node: Node) -> bool:
    """Whether a lost node could yet be promoted on its own copy. With a quorum device that is asked only for ``fence_first``."""
    lost = ~node.joined & ~node.clean & (1 << setup.nodes) - 1
    return bool(lost) and (setup.two_node or setup.fence_first)


def _joining(setup: Setup, node: Node) -> bool:
    """Whether a member, which may know of a promotion or begin one, has not joined: nothing of it has been heard yet."""
    return bool(node.members & ~node.joined & ~node.clean) and "joining" not in setup.without


def _read_back(setup: Setup, world: World, number: int, node: Node, who: str) -> Iterator[Step]:
    name, _, base, entry, (extra, after) = node.doing
    copies = _copies(world, number) if "read back" not in setup.without else ((NAMES[number], entry),)
    if copies is None:
        return
    why = rules.release_refusal(entry, NAMES[number], True, after, copies)
    if not why and _still_up(setup, node) and "fenced before release" not in setup.without:
        why = "a lost node is not yet fenced"
    if not why and _joining(setup, node):
        why = "a member has not joined"
    if why:
        if (
            entry.by == "promote"
            and all(text == base for _, text in copies)
            and "reign once confirmed" in setup.without
        ):
            node = node._replace(reign=base.epoch if base.primary == NAMES[number] else 0)
        yield refused(setup, world, number, node, f"{who} cannot rely on it: {why}", extra)
    elif "quorum asked last" not in setup.without:
        yield Step(
            f"{who} reads it back from all members",
            world.put(number, node._replace(doing=(name, "after last", base, entry, extra))),
        )
    else:
        yield _recorded(setup, world, number, node, f"{who} reads it back from all members", extra)


def _recorded(setup: Setup, world: World, number: int, node: Node, says: str, extra: object) -> Step:
    name, _, base, entry, _ = node.doing
    reign = entry.epoch if entry.by == "promote" else node.reign
    new = node._replace(recorded=entry, reign=reign, doing=(name, "recorded", base, entry, extra))
    if name in ("again", "admit", "regain"):
        new = new._replace(doing=())
        if name == "regain" and setup.nodes > 2:
            new = new._replace(admitted=tuple(sorted(life for _, life in entry.sync)))
    return Step(f"{says}: recorded", world.put(number, new))


def refused(setup: Setup, world: World, number: int, node: Node, says: str, extra: object) -> Step:
    """``Refused``: nothing is done that relied on it. A promotion tries again, all others come back later."""
    name, _, _, entry, _ = node.doing
    doing = ("promote", "claim", entry) if name == "promote" else ()
    kind = "late" if name == "promote" else "go"
    return Step(says, world.put(number, node._replace(doing=doing)), kind)


def promoted(text: Text, number: int, node: Node) -> Text:
    """The entry of a promotion."""
    return w.text(w.journal(text).promoted(NAMES[number], gtid.latest(w.state(node.log, node.applied)), 0))
