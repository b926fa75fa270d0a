"""The verdict on a run: pure comparisons of what clients were told with what the servers hold.

Nothing here touches the world; :mod:`hafailover.crm.drill.engine` gathers the facts.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hafailover.crm.drill.ledger import ACKNOWLEDGED, CLIENT, REFUSED, UNKNOWN, Attempt


class Row(NamedTuple):
    """One row of the drill's table as a server holds it."""

    id: int
    writer: str
    seq: int
    server: int


class Server(NamedTuple):
    """A database server at the end of a run, every writer stopped.

    ``rows`` is the drill's whole table; ``checksums`` maps the other tables of people's schemas to CHECKSUM TABLE.
    ``position`` is gtid_current_pos with its members sorted; ``replicating`` says that both replication threads run.
    """

    rows: Sequence[Row]
    checksums: Mapping[str, str]
    read_only: bool
    replicating: bool
    position: str


@dataclass(frozen=True)
class Comparison:
    """What the ledger and the servers disagree on.

    ``lost``: sequence numbers acknowledged to the client and missing on the primary, or on a replica that passes for
    one in sync. What a replica misses that visibly does not replicate is not lost; such a replica is in ``differing``.
    ``probe_lost``: the same for the probes on the nodes, as (node, seq).
    ``extra``: rows that nobody attempted, that the server had refused, that are there more than once, or that say
    another server than the one that acknowledged them; counted once each, with the reason.
    ``unknown_present``: the client's attempts without an answer whose row is on the primary (allowed).
    ``differing``: replica → how it differs from the primary.
    """

    lost: frozenset[int] = frozenset()
    probe_lost: frozenset[tuple[str, int]] = frozenset()
    extra: Mapping[tuple[str, int], str] = field(default_factory=dict)
    unknown_present: int = 0
    differing: Mapping[str, str] = field(default_factory=dict)


def compare(attempts: Iterable[Attempt], servers: Mapping[str, Server], primary: str) -> Comparison:
    """Look for every attempted row on every server. ``servers`` maps node → what it holds, ``primary`` among them."""
    attempted = {(attempt.writer, attempt.seq): attempt for attempt in attempts}
    acknowledged = {key for key, attempt in attempted.items() if attempt.outcome == ACKNOWLEDGED}
    missing: set[tuple[str, int]] = set()
    extra: dict[tuple[str, int], str] = {}
    for node, server in servers.items():
        present = Counter((row.writer, row.seq) for row in server.rows)
        if node == primary or _passes_for_in_sync(server, servers[primary]):
            missing |= acknowledged - present.keys()
        for row in server.rows:
            reason = _out_of_place(row, attempted, present)
            if reason:
                extra[(row.writer, row.seq)] = reason
    return Comparison(
        lost=frozenset(seq for writer, seq in missing if writer == CLIENT),
        probe_lost=frozenset(key for key in missing if key[0] != CLIENT),
        extra=extra,
        unknown_present=sum(
            1
            for key in {(row.writer, row.seq) for row in servers[primary].rows}
            if key[0] == CLIENT and key in attempted and attempted[key].outcome == UNKNOWN
        ),
        differing={
            node: difference
            for node, server in servers.items()
            if node != primary and (difference := _difference(server, servers[primary]))
        },
    )


def _out_of_place(
    row: Row, attempted: Mapping[tuple[str, int], Attempt], present: Counter[tuple[str, int]]
) -> str | None:
    attempt = attempted.get((row.writer, row.seq))
    if attempt is None:
        return "nobody attempted it"
    if attempt.outcome == REFUSED:
        return "the server had refused it"
    if present[(row.writer, row.seq)] > 1:
        return f"it is there {present[(row.writer, row.seq)]} times"
    if attempt.outcome == ACKNOWLEDGED and attempt.server != row.server:
        return f"server {attempt.server} acknowledged it, the row says {row.server}"
    return None


def _passes_for_in_sync(replica: Server, primary: Server) -> bool:
    return replica.replicating and replica.position == primary.position


def _difference(replica: Server, primary: Server) -> str | None:
    if digest(replica.rows) != digest(primary.rows):
        mine, theirs = set(replica.rows), set(primary.rows)
        return (
            f"{len(replica.rows)} rows against {len(primary.rows)} on the primary, "
            f"{len(theirs - mine)} missing, {len(mine - theirs)} of its own"
        )
    tables = sorted(
        table
        for table in {*replica.checksums, *primary.checksums}
        if replica.checksums.get(table) != primary.checksums.get(table)
    )
    if tables:
        return f"other content in {', '.join(tables)}"
    if replica.position != primary.position:
        return f"position {replica.position} against {primary.position} on the primary"
    return None


def digest(rows: Iterable[Row]) -> str:
    """Return a hash over the content in the order of the primary key."""
    whole = hashlib.sha256()
    for row in sorted(rows):
        whole.update(("\t".join(map(str, row)) + "\n").encode())
    return whole.hexdigest()


def roles(servers: Mapping[str, Server], promoted: Sequence[str]) -> list[str]:
    """Say what is wrong with the roles at the end: one primary, which Pacemaker knows, and replicas that replicate."""
    problems = []
    if len(promoted) != 1:
        problems.append(f"Pacemaker has {len(promoted)} promoted instances ({', '.join(promoted) or 'none'}), not one")
    for node, server in sorted(servers.items()):
        if node in promoted and server.read_only:
            problems.append(f"{node} is promoted but read-only")
        if node not in promoted and not server.read_only:
            problems.append(f"{node} is not promoted but writable")
        if node not in promoted and not server.replicating:
            problems.append(f"{node} does not replicate")
    return problems


@dataclass(frozen=True)
class Expectation:
    """What must hold after a scenario, beyond what must always hold.

    ``primary``: "moved", "kept" or "any". ``fenced``: the nodes that had to be fenced, and no other, or None for any.
    ``configuration``: "unchanged" or "any". ``rebuilt``: likewise the nodes whose data directory had to be replaced. ``order``: phases
    that had to come one after the other. ``reigns``: how often a server had to begin to accept writes, or None.
    """

    primary: str = "any"
    fenced: frozenset[str] | None = None
    configuration: str = "any"
    rebuilt: frozenset[str] | None = None
    order: Sequence[str] = ()
    reigns: int | None = None


@dataclass(frozen=True)
class Outcome:
    """The facts of one run that a scenario's expectations are about."""

    before: str
    after: str
    fenced: frozenset[str]
    configuration_changes: Sequence[str]
    rebuilt: frozenset[str] = frozenset()
    phases: Mapping[str, float | None] = field(default_factory=dict)
    reigns: int | None = 0
    """None where there is no database."""


def unmet(expected: Expectation, outcome: Outcome) -> list[str]:
    """Return a sentence for each expectation that does not hold."""
    problems = []
    if expected.primary == "moved" and outcome.before == outcome.after:
        problems.append(f"the primary stayed on {outcome.before}")
    if expected.primary == "kept" and outcome.before != outcome.after:
        problems.append(f"the primary moved from {outcome.before} to {outcome.after}")
    if expected.fenced is not None:
        problems += [f"{node} was not fenced" for node in sorted(expected.fenced - outcome.fenced)]
        problems += [f"{node} was fenced needlessly" for node in sorted(outcome.fenced - expected.fenced)]
    if expected.rebuilt is not None:
        problems += [f"{node} was not rebuilt" for node in sorted(expected.rebuilt - outcome.rebuilt)]
        problems += [f"{node} was rebuilt needlessly" for node in sorted(outcome.rebuilt - expected.rebuilt)]
    for phase, following in zip(expected.order, expected.order[1:]):
        first, second = outcome.phases.get(phase), outcome.phases.get(following)
        if first is None or second is None or first > second:
            problems.append(f"{following} ({_at(second)}) did not come after {phase} ({_at(first)})")
    if None not in (expected.reigns, outcome.reigns) and outcome.reigns != expected.reigns:
        problems.append(f"{outcome.reigns} times a server began to accept writes, not {expected.reigns} times")
    if expected.configuration == "unchanged":
        problems += [f"left in the configuration: {change}" for change in outcome.configuration_changes]
    return problems


def _at(moment: float | None) -> str:
    return "never" if moment is None else f"at {moment:.3f} s"


def disagreements(comparison: Comparison, concurrent: Iterable[tuple[int, int]]) -> list[str]:
    """Return a sentence for each way in which data were lost, invented, or accepted in two places."""
    problems = []
    if comparison.lost:
        problems.append(f"{len(comparison.lost)} acknowledged rows are missing: {_some(sorted(comparison.lost))}")
    if comparison.probe_lost:
        lost = _some(f"{node}/{seq}" for node, seq in sorted(comparison.probe_lost))
        problems.append(f"{len(comparison.probe_lost)} rows acknowledged on the nodes are missing: {lost}")
    if comparison.extra:
        (writer, seq), reason = next(iter(sorted(comparison.extra.items())))
        problems.append(f"{len(comparison.extra)} rows too many, such as {writer}/{seq}: {reason}")
    problems += [f"{node} differs from the primary: {how}" for node, how in sorted(comparison.differing.items())]
    problems += [f"servers {one} and {two} accepted writes at the same time" for one, two in sorted(concurrent)]
    return problems


def _some(items: Iterable[object], limit: int = 5) -> str:
    texts = [str(item) for item in items]
    return ", ".join(texts[:limit]) + (", …" if len(texts) > limit else "")
