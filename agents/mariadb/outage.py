"""After an outage: can anybody have been promoted without a trace in the copies of the CIB that are here now? Pure.

A node that returns as the last primary has its own copy of the CIB, which may be old. With all data nodes present nobody is left who could
have been promoted. Without: a promotion needs quorum, so whoever was promoted meanwhile had a partition with quorum. If the votes of all
who are absent now, and of the quorum device, do not make a quorum, that partition had a member that is here now. The journal of a
promotion is read back from every member of its partition before the server opens, so that member's copy has it; and when copies meet,
the one with the higher admin_epoch wins, which a promotion raises. Hence the journal seen here is of the last promotion.

With two nodes and a quorum device the absent node and the device are a quorum, so the returning one waits: there is no third copy.

What this rests on: Pacemaker writes its copy to disk within moments of the answer. A member that lost power in these moments, together
with the promoted node, may have forgotten it. Settings under which the needed quorum itself shrinks prove nothing.
"""

from __future__ import annotations

from hafailover.agents.record import NamedTuple

_SHRINKING = ("2Node", "LastManStanding", "AutoTieBreaker", "AllowDownscale")


class Votes(NamedTuple):
    """What corosync-quorumtool says. expected: all votes, with the device's. members: votes of the nodes that are members, without it."""

    expected: int
    quorum: int
    members: tuple[int, ...]
    shrinking: bool


def read(quorumtool: str) -> Votes | None:
    """Read what ``corosync-quorumtool -s`` printed; None when it says too little."""
    numbers: dict[str, int] = {}
    members = []
    shrinking = False
    for line in quorumtool.splitlines():
        name, colon, value = line.partition(":")
        words = line.split()
        if colon and name in ("Expected votes", "Quorum") and value.split()[:1] and value.split()[0].isdigit():
            numbers[name] = int(value.split()[0])
        elif colon and name == "Flags":
            shrinking = any(flag in value.split() for flag in _SHRINKING)
        elif len(words) >= 3 and words[0].isdigit() and words[1].isdigit() and words[0] != "0":
            members.append(int(words[1]))
    if len(numbers) != 2 or not members:
        return None
    return Votes(numbers["Expected votes"], numbers["Quorum"], tuple(members), shrinking)


def witnessed(votes: Votes | None, joined: int) -> bool:
    """Tell whether every partition that could have promoted somebody has a member here. ``joined``: members whose CIB has been heard."""
    if votes is None or votes.shrinking or joined != len(votes.members):
        return False
    return votes.expected - sum(votes.members) < votes.quorum
