"""How a replica comes back: the lowest rung that loses nothing, and why. Pure functions, as in decide.py."""

from __future__ import annotations

from hafailover.agents.mariadb import decide, gtid
from hafailover.agents.mariadb.decide import Replica
from hafailover.agents.record import NamedTuple

GTID, CLONE, QUARANTINE, NOTHING = "gtid", "clone", "quarantine", "none"

_PURGED = 1236
_RECLONE = "automatic"


class Facts(NamedTuple):
    """What is known of a node that should rejoin, and of the primary.

    node: its name. primary: the recorded one, "" when nobody ever was. serving: the primary answers and is writable. promoted: this node's
    own server is writable. running: this node's server answers. blank: its data directory is empty. state, primary_state: each server's
    whole GTID state. in_sync: the journal says so for this life of the server. replica: its replication, None when not configured.
    """

    node: str
    primary: str
    serving: bool
    promoted: bool
    running: bool
    blank: bool
    in_sync: bool
    state: str
    primary_state: str
    replica: Replica | None


class Plan(NamedTuple):
    """rung: GTID, CLONE, QUARANTINE (a clone, and the old data are kept) or NOTHING. why: its reason, or that of the refusal.

    lost: transactions that only the old data hold.
    """

    rung: str
    why: str
    lost: tuple[str, ...] = ()

    @property
    def clones(self) -> bool:
        """Whether the data directory is replaced."""
        return self.rung in (CLONE, QUARANTINE)


def choose(facts: Facts, clone: bool) -> Plan:
    """The rung for this node; ``clone``: a person asked for one, whatever else would do."""
    if not facts.primary:
        return Plan(NOTHING, "nobody was ever promoted, so there is nothing to rejoin")
    if facts.promoted or facts.primary == facts.node:
        return Plan(
            NOTHING, f"{facts.node} is the primary: the others rejoin it (hafailover promote moves the role first)"
        )
    if not facts.serving:
        return Plan(NOTHING, f"{facts.primary} was primary last and is not serving now: there is nobody to rejoin")
    if facts.blank:
        return Plan(CLONE, "its data directory is empty")
    if not facts.running:
        if clone:
            return Plan(QUARANTINE, "its server does not run, so nobody can tell what its data hold; they are kept")
        return Plan(NOTHING, "its server does not run: see why with hafailover status, or rebuild it with --clone")
    lost = tuple(str(one) for one in gtid.missing(facts.state, facts.primary_state))
    if lost:
        return Plan(QUARANTINE, f"it holds {','.join(lost)}, which {facts.primary} does not", lost)
    damage = _damage(facts)
    if damage:
        return Plan(CLONE, damage)
    if clone:
        return Plan(CLONE, "asked for")
    if facts.in_sync and facts.replica is not None and not decide.broken_replication(facts.replica):
        return Plan(NOTHING, f"{facts.node} is a healthy replica; --clone rebuilds it all the same")
    return Plan(GTID, f"{facts.primary} holds everything that {facts.node} holds")


def _damage(facts: Facts) -> str | None:
    """Why following by GTID cannot work although nothing would be lost, or None."""
    replica = facts.replica
    if replica is None:
        return None
    if replica.io_errno == _PURGED:
        return f"{facts.primary} cannot send what is missing here (error {_PURGED}: {replica.error})"
    if replica.sql_errno in decide.DIVERGENCE_ERRORS:
        return f"its rows differ from the primary's (error {replica.sql_errno}: {replica.error})"
    return None


def automatic_refusal(plan: Plan, policy: str, quarantined: bool) -> str | None:
    """Say why a clone must not be made without a person, or None. ``quarantined``: data kept from an earlier one lie there still."""
    if policy != _RECLONE:
        return "reclone is not automatic"
    if not plan.clones:
        return f"no clone is needed: {plan.why}"
    if plan.lost:
        return f"only a person may give up what {','.join(plan.lost)} changed"
    if quarantined:
        return "data of an earlier clone are still in quarantine"
    return None


def donors(journal_sync: tuple[str, ...], primary: str, node: str, nodes: tuple[str, ...]) -> tuple[str, ...]:
    """Whom to clone from, best first: a replica in sync spares the primary, but only if another one is left to acknowledge."""
    replicas = [name for name in nodes if name in journal_sync and name not in (node, primary)]
    return (*replicas, primary)


def donor_refusal(node: str, primary: str, writable: bool, in_sync: bool, broken: str | None) -> str | None:
    """Say why ``node`` is not fit to be cloned from, or None."""
    if node == primary:
        return None if writable else f"{node} is the recorded primary but not open for writing"
    if not in_sync:
        return f"{node} is not in sync"
    return f"{node} does not replicate well: {broken}" if broken else None
