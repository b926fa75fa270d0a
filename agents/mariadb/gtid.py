"""MariaDB's global transaction ids, compared per domain *and* server id.

Comparing sequence numbers alone cannot see two servers that wrote the same number, which is how a diverged
server looks like an up-to-date one.

Two shapes occur: a *position* (``@@gtid_binlog_pos``, ``@@gtid_slave_pos``: the last transaction per domain) and a
*state* (``@@gtid_binlog_state``: the last transaction per domain and server). Both are written
``domain-server-sequence[,…]``.
"""

from __future__ import annotations

from hafailover.agents.record import NamedTuple


class Gtid(NamedTuple):
    """One transaction: replication domain, originating server id, sequence number."""

    domain: int
    server: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.domain}-{self.server}-{self.sequence}"


def parse(text: str) -> tuple[Gtid, ...]:
    """Read ``"0-1-100,1-2-7"`` (an empty string is the empty set); ValueError names what is not a GTID."""
    found = []
    for part in text.replace("\n", "").split(","):
        part = part.strip()
        if not part:
            continue
        pieces = part.split("-")
        if len(pieces) != 3 or not all(piece.isdigit() for piece in pieces):
            raise ValueError(f"{part!r} is not a GTID (domain-server-sequence)")
        found.append(Gtid(*map(int, pieces)))
    return tuple(found)


def text(gtids: tuple[Gtid, ...]) -> str:
    """Write GTIDs in MariaDB's form, in a fixed order, each once."""
    return ",".join(str(gtid) for gtid in sorted(set(gtids)))


def missing(have: str, other_state: str) -> tuple[Gtid, ...]:
    """Return what ``have`` (position or state) holds that a server with ``other_state`` does not.

    Empty means that everything in ``have`` is contained in ``other_state``. ``other_state`` must be a *state*
    (``@@gtid_binlog_state``): a position forgets all but the last server of a domain.
    """
    known: dict[tuple[int, int], int] = {}
    for gtid in parse(other_state):
        key = (gtid.domain, gtid.server)
        known[key] = max(known.get(key, 0), gtid.sequence)
    return tuple(gtid for gtid in parse(have) if known.get((gtid.domain, gtid.server), 0) < gtid.sequence)


def reached(position: str, target: str) -> bool:
    """Tell whether a replica at ``position`` has applied all of ``target`` (both positions of one history).

    For positions of one unforked history (received against applied, a primary against its own replica) the sequence
    number decides: ``gtid_strict_mode`` keeps it rising within a domain. A GTID with the same number and
    another server id is another branch, and therefore not reached.
    """
    at = {gtid.domain: gtid for gtid in parse(position)}
    for goal in parse(target):
        mine = at.get(goal.domain)
        if mine is None or mine.sequence < goal.sequence:
            return False
        if mine.sequence == goal.sequence and mine.server != goal.server:
            return False
    return True


def latest(*positions: str) -> str:
    """Merge positions of one history: per domain the one with the highest sequence number.

    An ex-primary's ``gtid_slave_pos`` stands still while it writes, a fresh clone has no binary log: what a server
    holds is the later of the two.
    """
    best: dict[int, Gtid] = {}
    for position in positions:
        for gtid in parse(position):
            if gtid.domain not in best or best[gtid.domain].sequence < gtid.sequence:
                best[gtid.domain] = gtid
    return text(tuple(best.values()))


def behind(position: str, target: str) -> int:
    """Count the transactions from ``position`` to ``target``, over all domains; 0 when reached."""
    at = {gtid.domain: gtid.sequence for gtid in parse(position)}
    return sum(max(0, goal.sequence - at.get(goal.domain, 0)) for goal in parse(target))
