"""Which bricks a volume has, in which order: each replica set on different nodes, and a node's share the same as everybody's. Pure.

GlusterFS makes replica sets of bricks that stand next to one another in the command that creates the volume. A number of nodes that the
replica count divides gets one brick on each; any other number gets a chain, as many bricks on each node as there are replicas, in
as many sets as there are nodes, so that five nodes are all used.
"""

from __future__ import annotations

from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

ARBITER = "arbiter"
KINDS = ("2", "3", ARBITER)


class Brick(NamedTuple):
    """A brick: its node and the name of its directory below the node's place for bricks."""

    node: str
    name: str


def copies(replica: str) -> int:
    """How many bricks a replica set has, an arbiter's included."""
    return 3 if replica == ARBITER else int(replica)


def kind(text: str) -> str:
    """The parameter ``replica``; ValueError when it is none."""
    if text not in KINDS:
        raise ValueError(f"not one of {', '.join(KINDS)}")
    return text


def refusal(nodes: int, replica: str) -> str | None:
    """Why a volume cannot be made on so many nodes, or None."""
    least = copies(replica)
    if nodes < least:
        named = f"an {ARBITER}" if replica == ARBITER else f"{replica} copies"
        return f"{named} needs {least} nodes, and there are {nodes}"
    return None


def sets(nodes: Sequence[str], replica: str) -> list[list[Brick]]:
    """The replica sets over ``nodes``; the last brick of each is the arbiter's, if there is one. ValueError when they are too few."""
    reason = refusal(len(nodes), replica)
    if reason:
        raise ValueError(reason)
    width, count = copies(replica), len(nodes)
    if count % width == 0:
        return [[Brick(node, "brick") for node in nodes[at : at + width]] for at in range(0, count, width)]
    # The first directory of each node is the head of a set, the next ones are the copies of its neighbours'.
    return [[Brick(nodes[(at + step) % count], f"brick{step + 1}") for step in range(width)] for at in range(count)]


def growth(nodes: Sequence[str], present: Collection[str], replica: str) -> tuple[list[list[Brick]], str | None]:
    """The replica sets to add for the nodes that have no brick yet, or why there are none to add."""
    new = [node for node in nodes if node not in present]
    if not new:
        return [], None
    missing = copies(replica) - len(new)
    if missing > 0:
        more = f"{missing} more node{'s' if missing > 1 else ''}"
        return (
            [],
            f"{', '.join(new)} cannot be taken in alone: replica sets are added whole, and {more} would complete one",
        )
    return sets(new, replica), None


def third(held: Sequence[Collection[str]], new: Sequence[str]) -> tuple[list[Brick], str | None]:
    """A third brick for each replica set of two, on ``new`` nodes in turn, or why there can be none. ``held``: each set's nodes."""
    if not new:
        return [], "a third brick for each replica set needs a node that has none yet"
    share = -(-len(held) // len(new))
    names = ["brick"] if share == 1 else [f"brick{number + 1}" for number in range(share)]
    return [Brick(new[at % len(new)], names[at // len(new)]) for at in range(len(held))], None


def path(place: str, brick: Brick) -> str:
    """The directory of a brick below ``place``, the node's directory for the volume's bricks."""
    return f"{place}/{brick.name}"


def words(found: Sequence[Sequence[Brick]], addresses: Mapping[str, str], place: str) -> list[str]:
    """The bricks as ``gluster volume create`` and ``add-brick`` take them, in order."""
    return [f"{addresses[brick.node]}:{path(place, brick)}" for one in found for brick in one]
