"""Who has quorum after a loss: votes are counted, because crm_simulate does not know Corosync's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from hafailover.crm import corosync
from hafailover.crm.topology import Topology


@dataclass(frozen=True)
class Votes:
    """Votes of each node, of the quorum device (0 without one), and how many are ``needed``."""

    nodes: Mapping[str, int]
    device: int
    needed: int


@dataclass(frozen=True)
class Verdict:
    """Whether the survivors have quorum, in a sentence; ``sure`` is False where it had to be assumed."""

    quorate: bool
    text: str
    sure: bool = True


def of_topology(topology: Topology) -> Votes:
    """The votes that the corosync.conf of ``topology`` gives."""
    device = topology.quorum.device
    extra = corosync.device_votes(device, topology) if device else 0
    total = len(topology.nodes) + extra
    needed = 1 if topology.quorum.two_node else total // 2 + 1
    return Votes(dict.fromkeys(topology.nodes, 1), extra, needed)


def of_quorumtool(text: str, names: Mapping[str, str]) -> Votes | None:
    """What ``corosync-quorumtool -s -i`` printed, with the node's name for each id; None when it says nothing of votes.

    A device that has no vote to give just now counts as none.
    """
    needed, device, listed = 0, 0, False
    nodes: dict[str, int] = {}
    for line in text.splitlines():
        words = line.split()
        if line.startswith("Quorum:") and len(words) > 1 and words[1].isdigit():
            needed = int(words[1])
        if listed and len(words) > 1 and words[0].isdigit() and words[1].isdigit():
            if words[0] == "0":
                device = int(words[1])
            elif words[0] in names:
                nodes[names[words[0]]] = int(words[1])
        listed = listed or words[:1] == ["Nodeid"]
    return Votes(nodes, device, needed) if needed and nodes else None


def after(votes: Votes, lost: Collection[str], device_lost: bool) -> Verdict:
    """Whether what is left has quorum, all of it seeing one another and the device."""
    left = {node: count for node, count in votes.nodes.items() if node not in lost}
    device = 0 if device_lost else votes.device
    total = sum(left.values()) + (device if left else 0)
    parts = f"{total} of {sum(votes.nodes.values()) + votes.device} votes, {votes.needed} needed"
    if total >= votes.needed and left:
        return Verdict(True, f"{_nodes(list(left))} {'keep' if len(left) > 1 else 'keeps'} quorum ({parts})")
    return Verdict(False, f"nobody has quorum ({parts})")


def guessed(nodes: Sequence[str], lost: Collection[str], away: Collection[str] = (), *, before: bool = True) -> Verdict:
    """Without Corosync's configuration only a majority is certain; of just half, quorum is assumed to be kept.

    ``away``: nodes that were not there already. ``before``: whether there was quorum, which no loss brings.
    """
    left = [node for node in nodes if node not in lost and node not in away]
    if not left:
        return Verdict(False, "no node is left")
    if not before:
        return Verdict(False, "there was no quorum before, and a loss brings none")
    those = f"{_nodes(left)} {'are' if len(left) > 1 else 'is'}"
    if 2 * len(left) > len(nodes):
        return Verdict(True, f"{those} the majority of {len(nodes)} nodes")
    if 2 * len(left) < len(nodes):
        return Verdict(
            False,
            f"{those} no majority of {len(nodes)} nodes, nor half of them; that quorum is lost is assumed, the CIB does not say what a "
            "quorum device would do (see --quorum)",
            sure=False,
        )
    return Verdict(
        True,
        f"{those} no majority of {len(nodes)} nodes; that a quorum device or two_node keeps "
        "quorum is assumed, the CIB does not say (see --quorum)",
        sure=False,
    )


def _nodes(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
