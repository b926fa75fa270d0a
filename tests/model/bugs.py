"""Planted bugs, as data: the rule or step that is left out, where to look, and the invariant that then breaks.

A search that cannot find them proves nothing when it finds nothing. Each is looked for with just the faults that it takes; the same
searches without the bug must come to their end without a counterexample.
"""

from __future__ import annotations

from typing import NamedTuple

from model.invariants import FOREIGN, IN_SYNC, LOST, NEEDLESS, PRIMARY, SAME
from model.setup import BOTH_NOTICE, PROMOTES_IN_TIME, Setup


class Bug(NamedTuple):
    """``without``: what is left out (see where it stands in the modules). ``breaks``: the invariant that must fail."""

    without: tuple[str, ...]
    breaks: str
    setup: Setup
    why: str


def _pair(*faults: str, **more: object) -> Setup:
    counted = {kind: faults.count(kind) for kind in faults}
    return Setup(faults=tuple(sorted(counted.items())), total=len(faults), **more)  # type: ignore[arg-type]


def _three(*faults: str, **more: object) -> Setup:
    return _pair(*faults, nodes=3, writes=1, **more)


def _in_time(*faults: str, **more: object) -> Setup:
    """With a Pacemaker that promotes an heir before the dead primary has lost patience: then nobody may be needed."""
    return _pair(*faults, assume=frozenset({PROMOTES_IN_TIME}), **more)


def table() -> str:
    """All of them as docs/proof.md shows them."""
    rows = [f"| {' + '.join(bug.without)} | {bug.breaks} | {bug.why} |" for bug in BUGS]
    return "\n".join(["| left out | what breaks | why it is there |", "|---|---|---|", *rows])


BUGS = (
    # -- giving up a replica
    Bug(("quorum asked last",), LOST, _pair("cut"), "quorum was asked for just before the membership changed"),
    Bug(("quorum after",), LOST, _pair("cut"), "a write without quorum succeeds in this node's copy alone"),
    Bug(("read back",), LOST, _pair("cut"), "the members may never receive what this copy has"),
    Bug(("record before release",), LOST, _pair("cut"), "the replica is promoted on the older text"),
    Bug(("fenced before release",), LOST, _pair("cut", two_node=True, writes=1), "both halves have quorum"),
    Bug(
        ("fenced before a write",),
        LOST,
        _pair("cut", two_node=True, writes=1),
        "each write that is refused afterwards raises the version of this copy, which wins when its fenced node returns",
    ),
    Bug(
        ("joining",),
        LOST,
        _pair("cut", "off", writes=1, assume=frozenset({BOTH_NOTICE})),
        "the network heals, and the other half, which has not been heard yet, is about to take over",
    ),
    Bug(
        ("minority",),
        LOST,
        _pair("cut", "swing", writes=1, assume=frozenset({BOTH_NOTICE})),
        "the quorum device turns to a replica that was without quorum while the primary went on alone",
    ),
    # -- regaining it
    Bug(
        ("wait before the sample",),
        LOST,
        _pair("off", start="catching up"),
        "a write between sample and waiting is on one node",
    ),
    Bug(
        ("position reached",), LOST, _pair("off", start="catching up"), "a replica that lacks writes is called in sync"
    ),
    Bug(("divergence",), SAME, _pair("crash"), "a server with a tail of its own is called in sync"),
    Bug(("strict mode",), SAME, _pair("crash"), "its own truncated transactions come back and are skipped"),
    # -- who may be promoted
    Bug(("in sync",), LOST, _pair("off", start="catching up"), "a stale replica is promoted"),
    Bug(
        ("life",),
        LOST,
        _pair("crash", "off", writes=1),
        "a restarted replica has lost relay log that it had acknowledged",
    ),
    Bug(
        ("life of the SQL thread",),
        LOST,
        _pair("threads", "off", writes=1),
        "START SLAVE throws away what was received",
    ),
    Bug(("errant",), FOREIGN, _pair("errant", "crash"), "somebody's write on a replica becomes everybody's"),
    Bug(
        ("absent nodes",),
        LOST,
        _pair("off", start="superseded"),
        "another node was promoted while this one was away",
    ),
    Bug(
        ("first primary by data",),
        LOST,
        _pair("off", start="first", writes=0),
        "the first of the topology is made primary, whoever has the data",
    ),
    Bug(("drain",), LOST, _pair("off"), "what was received and not applied is discarded by RESET SLAVE"),
    Bug(
        ("final position", "kill instead of close"),
        NEEDLESS,
        _in_time("switch"),
        "a closed server commits what waits, and its successor opens without that",
    ),
    Bug(
        ("reign once confirmed",),
        PRIMARY,
        _pair("crash", "off", writes=0),
        "a promotion that came to nothing bars everybody else",
    ),
    # -- copies of the CIB that differ
    Bug(("admin_epoch",), LOST, _pair("off", start="superseded"), "an older copy of the CIB wins"),
    Bug(
        ("weight of a promotion",),
        LOST,
        _pair("off", start="superseded"),
        "the late write of a primary that is cut off wins over its successor's",
    ),
    Bug(
        ("quorum before",),
        LOST,
        _pair("off", start="superseded"),
        "a node without quorum raises its version until its copy wins",
    ),
    Bug(
        ("weight of a promotion", "reigns"),
        LOST,
        _pair("crash", start="superseded"),
        "an old copy has won, and the node that it names believes it while its successor still runs",
    ),
    Bug(
        ("weight of a promotion", "setback"),
        PRIMARY,
        _pair("crash", start="superseded"),
        "an old copy has won, and nobody corrects it",
    ),
    # -- how a dead server recovers
    Bug(
        ("recovery keeps the only copy",),
        LOST,
        _pair("crash"),
        "the only copy is truncated, and its GTIDs are used again",
    ),
    Bug(("recovery truncates",), NEEDLESS, _in_time("crash"), "every dead primary has to be cloned"),
    Bug(
        ("heir first",),
        NEEDLESS,
        _in_time("crash"),
        "the dead primary recovers its tail while its heir is about to be promoted",
    ),
    Bug(("heir first",), NEEDLESS, _in_time("off"), "so does one that was fenced and is back at once"),
    Bug(
        ("patience",),
        PRIMARY,
        _in_time("ban", "crash"),
        "the dead primary waits for an heir that Pacemaker never promotes",
    ),
    # -- several replicas
    Bug(("election",), LOST, _three("off"), "one replica acknowledged, another one is promoted"),
    Bug(
        ("admission",),
        LOST,
        _three("off", start="one joins"),
        "a replica that is not recorded acknowledges, and another one is promoted",
    ),
    Bug(
        ("connected",),
        SAME,
        _three("cut"),
        "a replica that still receives from its old primary is called in sync",
    ),
    Bug(
        ("lost members",),
        IN_SYNC,
        _three("cut"),
        "a replica that has only lost its membership goes on acknowledging",
    ),
)

# What must hold beyond that: nothing is lost, nobody stays without a primary, and with a Pacemaker that promotes in time nobody is needed.
SOUND = (
    _pair("ban", "crash"),
    _in_time("cut"),
    _in_time("crash", "crash", writes=1),
    _in_time("agent", "crash", writes=1),
    _in_time("crash", "switch", writes=1),
    _in_time("off", "off", writes=1),
    _in_time("cut", "device", writes=1),
    _in_time("cut", two_node=True, writes=1),
    _pair("cut", "swing", writes=1, fence_first=True),
    # Without a weakness that is known (below).
    _pair("cut", "off", writes=1, assume=frozenset({BOTH_NOTICE})),
    _pair("cut", "swing", writes=1, assume=frozenset({BOTH_NOTICE})),
)

# Rules that alone are not missed, because another one covers for them; the bug in which both are left out is above.
COVERED = (
    (("setback",), "weight of a promotion", _pair("crash", start="superseded")),
    (("setback",), "weight of a promotion", _pair("off", start="superseded")),
    (("reigns",), "weight of a promotion", _pair("crash", start="superseded")),
    (("final position",), "kill instead of close", _in_time("switch")),
    (("kill instead of close",), "final position", _in_time("switch")),
)


class Known(NamedTuple):
    """A weakness of today's rules that the model finds without any planted bug: what breaks, where, and the story in a sentence."""

    breaks: str
    setup: Setup
    why: str


KNOWN = (
    Known(
        LOST,
        _pair("cut", "off", writes=1),
        "with a quorum device and without `fence_first`, the network is cut, the primary goes on alone, and it loses power before the "
        "other node was fenced, or has even noticed the cut (its Corosync was paused all the while): the device then gives that node "
        "quorum, and the mark is in a copy that it does not have",
    ),
    Known(
        NEEDLESS,
        _in_time("crash", "off", writes=1),
        "the dead primary's heir loses power in the moment in which it has written its promotion and the other node does not have it yet",
    ),
    Known(
        NEEDLESS,
        _pair("crash"),
        "the heir is promoted only after the dead primary has lost patience with it",
    ),
)


def weaknesses() -> str:
    """All of them as docs/proof.md shows them."""
    return "\n".join(f"- *{known.breaks}:* {known.why}." for known in KNOWN)
