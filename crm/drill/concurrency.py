"""Did two servers accept writes at the same time?

A write acknowledged by server A between its start s and its end e proves that A was accepting writes at some moment
within [s, e], and nothing more. A *reign* of A is a run of writes that A accepted with no proof in between that it
had stopped accepting (a refusal seen by the probe on A's own node, or A's node being off). Reigns of A and B are
compatible if the moments can be chosen so that one reign ends before the other begins:

* A before B is possible if and only if every A write can have happened before every B write:
  the latest start of A's writes < the earliest end of B's writes;
* B before A likewise.

Two servers were *concurrent writers* if they have a pair of reigns for which neither order is possible: whatever
the true moments were, A accepted, then B, then A again, without giving up the role in between. The rule has no false
alarms by measuring error; what it can miss is an overlap shorter than the interval between probes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, islice
from typing import NamedTuple

from hafailover.crm.drill.ledger import ACKNOWLEDGED, REFUSED, Attempt

# What proves that a server takes no writes: it is read-only, or nothing listens. Anything else (too many
# connections, a time-out) may happen to a server that is writable.
_NOT_WRITABLE = frozenset((1290, 1836, 2002, 2003))


class Reign(NamedTuple):
    """A server accepted ``writes`` writes; the bounds, in Unix seconds, are those of the module's docstring."""

    server: int
    latest_start: float
    earliest_end: float
    writes: int


def reigns(attempts: Iterable[Attempt], servers: Mapping[str, int], off: Iterable[tuple[float, str]]) -> list[Reign]:
    """Divide the acknowledged writes into reigns.

    ``servers`` maps each node to its server_id: an attempt refused to the probe of that name proves that this server
    was not accepting. ``off`` lists (Unix seconds, node) of nodes known to be powered off at that moment.
    """
    accepted: dict[int, list[Attempt]] = {}
    stops: dict[int, list[tuple[float, float]]] = {}
    for attempt in attempts:
        if attempt.outcome == ACKNOWLEDGED and attempt.server is not None:
            accepted.setdefault(attempt.server, []).append(attempt)
        elif attempt.outcome == REFUSED and attempt.code in _NOT_WRITABLE and attempt.writer in servers:
            stops.setdefault(servers[attempt.writer], []).append((attempt.start, attempt.end))
    for when, node in off:
        if node in servers:
            stops.setdefault(servers[node], []).append((when, when))
    return [reign for server, writes in accepted.items() for reign in _split(server, writes, stops.get(server, []))]


def _split(server: int, writes: list[Attempt], stops: list[tuple[float, float]]) -> list[Reign]:
    # A stop ends a reign only if it lies wholly between two writes: it began after all earlier writes had been
    # acknowledged, and the next one was sent after it.
    stops.sort()
    groups: list[list[Attempt]] = []
    quiet_since = float("inf")
    for write in sorted(writes, key=lambda item: item.start):
        if not groups or _stopped_within(stops, quiet_since, write.start):
            groups.append([])
            quiet_since = write.end
        groups[-1].append(write)
        quiet_since = max(quiet_since, write.end)
    return [
        Reign(server, max(write.start for write in group), min(write.end for write in group), len(group))
        for group in groups
    ]


def _stopped_within(stops: list[tuple[float, float]], since: float, until: float) -> bool:
    for start, end in islice(stops, bisect_left(stops, (since, since)), None):
        if start > until:
            return False
        if end <= until:
            return True
    return False


def overlapping(found: Sequence[Reign]) -> list[tuple[Reign, Reign]]:
    """Return the pairs of reigns of different servers for which neither order is possible."""
    return [
        (one, other)
        for one, other in combinations(found, 2)
        if one.server != other.server
        and one.latest_start >= other.earliest_end
        and other.latest_start >= one.earliest_end
    ]


def concurrent_pairs(found: Sequence[Reign]) -> set[tuple[int, int]]:
    """Return the pairs of server_ids (smaller first) that accepted writes at the same time."""
    return {(min(one.server, other.server), max(one.server, other.server)) for one, other in overlapping(found)}
