"""Planted bugs, as data: the rule or step that is left out, where to look, and the invariant that then breaks.

A search that cannot find them proves nothing when it finds nothing. Each is looked for with just the faults that it takes; the same
searches without the bug must come to their end without a counterexample.
"""

from __future__ import annotations

from typing import NamedTuple

from model.invariants import FOREIGN, IN_SYNC, LOST, NEEDLESS, PRIMARY, SAME
from model.setup import Setup


class Bug(NamedTuple):
    """``without``: what is left out (see where it stands in the modules). ``breaks``: the invariants one of which must fail."""

    without: tuple[str, ...]
    breaks: tuple[str, ...]
    setup: Setup
    why: str


def _pair(*faults: str, total: int = 0, **more: object) -> Setup:
    counted = {kind: faults.count(kind) for kind in faults}
    return Setup(faults=tuple(sorted(counted.items())), total=total or len(faults), **more)  # type: ignore[arg-type]


def _three(*faults: str, **more: object) -> Setup:
    return _pair(*faults, nodes=3, **more)


BUGS = (
    Bug(("quorum asked last",), (LOST,), _pair("cut"), "quorum was asked for just before the membership changed"),
    Bug(("quorum after",), (LOST,), _pair("cut"), "a write without quorum succeeds in this node's copy alone"),
    Bug(("read back",), (LOST,), _pair("cut"), "the members may never receive what this copy has"),
    Bug(("record before release",), (LOST, IN_SYNC), _pair("cut"), "the replica is promoted on the older text"),
    Bug(
        ("wait before the sample",),
        (LOST, IN_SYNC),
        _pair(start="catching up"),
        "a write between sample and waiting is on one node",
    ),
    Bug(
        ("position reached",),
        (LOST, IN_SYNC),
        _pair(start="catching up"),
        "a replica that lacks writes is called in sync",
    ),
    Bug(("in sync",), (LOST,), _pair("off", start="catching up"), "a stale replica is promoted"),
    Bug(
        ("life",),
        (LOST, IN_SYNC, SAME),
        _pair("crash", "off"),
        "a restarted replica has lost relay log that it had acknowledged",
    ),
    Bug(("life of the SQL thread",), (LOST, IN_SYNC), _pair("threads"), "START SLAVE throws away what was received"),
    Bug(("drain",), (LOST,), _pair("off"), "what was received and not applied is discarded by RESET SLAVE"),
    Bug(("errant",), (FOREIGN,), _pair("errant", "crash"), "somebody's write on a replica becomes everybody's"),
    Bug(("fenced before release",), (LOST,), _pair("cut", two_node=True), "both halves have quorum"),
    Bug(
        ("weight of a promotion",),
        (LOST,),
        _pair("off", start="superseded"),
        "the late write of a primary that is cut off wins over its successor's",
    ),
    Bug(
        ("quorum before",),
        (LOST,),
        _pair("off", start="superseded"),
        "a node without quorum raises its version until its copy wins",
    ),
    Bug(
        ("weight of a promotion", "reigns"),
        (LOST,),
        _pair("crash", start="superseded"),
        "an old copy has won, and the node that it names believes it while its successor still runs",
    ),
    Bug(
        ("reign once confirmed",),
        (PRIMARY,),
        _pair("crash", "off"),
        "a promotion that came to nothing bars everybody else",
    ),
    Bug(("strict mode",), (SAME, IN_SYNC), _pair("crash"), "its own truncated transactions come back and are skipped"),
    Bug(
        ("recovery keeps the only copy",),
        (LOST, SAME),
        _pair("crash"),
        "the only copy is truncated, and its GTIDs are used again",
    ),
    Bug(
        ("final position", "kill instead of close"),
        (NEEDLESS,),
        _pair("switch"),
        "a closed server commits what waits, and its successor opens without that",
    ),
)

# Rules whose loss this model has not shown yet within the states that a test can afford, or whose invariant the model without a bug breaks
# in the same way. What they are for is proved on real servers, or by the cases of tests/unit.
NOT_SHOWN = (
    Bug(("absent nodes",), (LOST,), _pair("off", "off"), "another node was promoted while this one was away"),
    Bug(
        ("first primary by data",),
        (LOST,),
        _pair(start="first", writes=2),
        "the first of the topology is made primary, whoever has the data",
    ),
    Bug(("admin_epoch",), (LOST,), _pair("off", "off"), "an older copy of the CIB wins"),
    Bug(
        ("weight of a promotion", "setback"),
        (LOST, PRIMARY),
        _pair(start="superseded"),
        "an old copy has won, and nobody corrects it",
    ),
    Bug(("divergence",), (SAME, PRIMARY), _pair("crash", "crash"), "replication into a tail"),
    Bug(
        ("heir first",),
        (NEEDLESS,),
        _pair("crash"),
        "the dead primary recovers its tail while its heir is about to be promoted",
    ),
    Bug(("recovery truncates",), (NEEDLESS,), _pair("crash"), "every dead primary has to be cloned"),
    Bug(("election",), (LOST,), _three("off"), "one replica acknowledged, another one is promoted"),
    Bug(
        ("admission",),
        (LOST, IN_SYNC),
        _three("off", start="catching up"),
        "a replica that is not recorded acknowledges",
    ),
)
