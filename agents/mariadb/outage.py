"""After an outage: can anybody have been promoted without a trace in the copies of the CIB that are here now? Pure.

A node that returns as the last primary has its own copy of the CIB, which may be old. With all data nodes present nobody is left who could
have been promoted. Without: a promotion needs quorum, so whoever was promoted meanwhile had a partition with quorum. If the votes of all
who are absent now do not make a quorum, that partition had a member that is here now. The journal of a promotion is read back from every
member of its partition before the server opens, so that member's copy has it; and when copies meet, the one with the higher
admin_epoch wins, which a promotion raises. Hence the journal seen here is of the last promotion.

With a quorum device this proves nothing: a device gives its vote to one absent node of a pair, and how much it counted then is not to be
seen now. (The votes that corosync-quorumtool prints are no help: with the device connecting, or one node alone since it booted, it says
"Expected votes: 2" for a pair with a device.) So does no setting under which the needed quorum shrinks. Hence only what is configured
counts. What is left: Pacemaker writes its copy to disk within moments of the answer. A member that lost power in these moments, together
with the promoted node, may have forgotten it.
"""

from __future__ import annotations

from hafailover.agents.record import NamedTuple

_SHRINKING = ("two_node", "last_man_standing", "auto_tie_breaker", "allow_downscale")


class Votes(NamedTuple):
    """What corosync.conf says. nodes: how many, each with one vote. plain: nothing but their majority makes a quorum."""

    nodes: int
    plain: bool


def read(cmap: str) -> Votes:
    """Read what ``corosync-cmapctl nodelist. quorum.`` printed."""
    nodes = set()
    plain = True
    for line in cmap.splitlines():
        key, _, value = line.partition(" = ")
        key = key.partition(" ")[0]
        words = key.split(".")
        if words[:2] == ["nodelist", "node"] and len(words) == 4:
            nodes.add(words[2])
            plain = plain and (words[3] != "quorum_votes" or value == "1")
        elif words[0] == "quorum" and (
            words[1] in ("device", "expected_votes") or (words[1] in _SHRINKING and value != "0")
        ):
            plain = False
    return Votes(len(nodes), plain)


def witnessed(votes: Votes, joined: int) -> bool:
    """Tell whether every partition that could have promoted somebody has a member here. ``joined``: members whose CIB has been heard."""
    return votes.plain and 0 < joined <= votes.nodes and votes.nodes - joined <= votes.nodes // 2
