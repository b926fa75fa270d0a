"""The beginning of a cluster's history: whose data is the truth when nobody was ever primary, and who may begin from nothing.

Pure functions, as in decide.py. GTIDs alone do not tell: a server whose binary log was off has an empty history and may be full of tables,
and one that replicates "from the beginning" of a log that does not begin at the beginning misses rows with both threads at "Yes".
"""

from __future__ import annotations

from hafailover.agents.mariadb import gtid
from hafailover.agents.mariadb.journal import DATA, VIRGIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from hafailover.agents.mariadb.decide import Standing
    from hafailover.agents.mariadb.journal import Journal

NOTHING = "none"  # shown by a node whose data directory is empty: there is not even a server to ask
NEEDS_CLONE = "needs a clone"
_NOBODY = "no primary was ever recorded"
_CHOOSE = "name the one whose data is to be kept with: hafailover promote NODE --accept-data-loss"


def shown(virgin: bool, state: str) -> str:
    """What a server shows the others before there is a first primary; read again by :func:`read_shown`."""
    return f"{VIRGIN if virgin else DATA}:{state}"


def read_shown(published: Mapping[str, str]) -> tuple[dict[str, str], frozenset[str]]:
    """From what each node has shown: its GTID state, and the names of those that hold no tables."""
    states, virgin = {}, set()
    for name, text in published.items():
        kind, _, state = text.partition(":")
        states[name] = state
        if kind in (VIRGIN, NOTHING):
            virgin.add(name)
    return states, frozenset(virgin)


def primary_refusal(facts: Standing) -> str | None:
    """Say why this node must not be the first primary, or None.

    The server that holds all the others' data is first; a tie goes to the topology's order. A server without tables never goes before
    one with some, whatever their histories say.
    """
    absent = [name for name in facts.nodes if name not in facts.online or name not in facts.positions]
    if absent:
        return f"{_NOBODY} and {', '.join(absent)} has not shown its data yet: waiting for it"
    full = [name for name in facts.nodes if name not in facts.virgin]
    if full and facts.node not in full:
        return f"{_NOBODY} and {full[0]} holds data, this server does not"
    rivals = [name for name in (full or facts.nodes) if name != facts.node]
    for name in rivals:
        unknown = [who for who, state in ((facts.node, facts.state), (name, facts.positions[name])) if not state]
        if full and unknown:
            return f"{_NOBODY}, {facts.node} and {name} both hold data, and {unknown[0]} has no GTID history to compare: {_CHOOSE}"
        theirs = gtid.missing(facts.positions[name], facts.state)
        mine = gtid.missing(facts.state, facts.positions[name])
        if theirs and mine:
            return (
                f"{_NOBODY} and the histories differ: {facts.node} holds {gtid.text(mine)}, {name} holds {gtid.text(theirs)}; "
                f"{_CHOOSE}"
            )
        if theirs:
            return f"{_NOBODY} and {name} holds transactions this server does not: {gtid.text(theirs)}"
    for name in facts.nodes:
        if name == facts.node:
            return None
        if name in rivals and not gtid.missing(facts.state, facts.positions[name]):
            return f"{_NOBODY}; {name} holds the same data and comes first"
    return f"{facts.node} is not a data node of this service"


def origin(facts: Standing) -> str:
    """What the first promotion writes into the journal: whether all that this primary holds will be in its binary log."""
    if facts.journal.epoch:
        return facts.journal.origin
    return VIRGIN if facts.node in facts.virgin and not facts.state else DATA


def from_nothing_refusal(origin: str, virgin: bool, primary: str) -> str | None:
    """Say why a server with an empty GTID state must not replicate from the beginning of the primary's log, or None."""
    if not virgin:
        return (
            f"DIVERGED: holds tables but no GTID history (its binary log was off, or was reset), so nobody can tell what {primary} "
            "lacks of them; the data is kept and must be looked at"
        )
    if origin != VIRGIN:
        return f"{NEEDS_CLONE}: it is empty, and {primary} held data before its binary log began"
    return None


def initialise_refusal(
    entry: Journal, node: str, nodes: tuple[str, ...], online: frozenset[str], published: Mapping[str, str]
) -> str | None:
    """Say why a node must not make a new, empty database in its empty data directory, or None.

    ``published``: what each node has shown, while nobody was ever primary. A lost disk looks exactly like a machine that was never used.
    """
    if entry.epoch:
        if entry.primary == node:
            return f"this node was primary last (epoch {entry.epoch}) and its data directory is empty: is its disk mounted?"
        if entry.origin != VIRGIN:
            return (
                f"{NEEDS_CLONE}: its data directory is empty, and {entry.primary} held data before its binary log began"
            )
        return None
    others = [name for name in nodes if name != node]
    absent = [name for name in others if name not in online or name not in published]
    if absent:
        return f"its data directory is empty, and {', '.join(absent)} has not shown yet whether it holds data: waiting for it"
    states, virgin = read_shown({name: published[name] for name in others})
    full = [name for name in others if name not in virgin or states[name]]
    if full:
        return f"{NEEDS_CLONE}: its data directory is empty, and {full[0]} holds data"
    return None
