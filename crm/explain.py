"""Why each server of a database may or may not be promoted: the facts, the rule, the verdict. Pure.

The verdicts are those of ``agents.mariadb.decide``, which the agent asks when it is told to promote; here they only get their words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from hafailover.agents.mariadb import decide, gtid, rejoin_record, salvage
from hafailover.agents.mariadb.salvage import Salvage
from hafailover.crm.status import Instance, Service, Status, plain_data
from hafailover.crm.status_database import PROMOTED_ROLES, UNPROMOTED_ROLES
from hafailover.crm.status_words import RUNGS, clock
from hafailover.crm.switchover import Answer, Answers, standing

SCHEMA = 1

PRIMARY = "is the primary"
MAY = "can be promoted"
MAY_NOT = "cannot be promoted"
UNKNOWN = "unknown"

PUBLISHED = ("salvage", "final", "position")
"""What the database agent publishes of each node that only the explanation reads."""

_RULE_FIRST = "The first primary is the server that holds all the others' data, once all of them have shown theirs."
_RULE_LAST = (
    "The last primary may be promoted again if nobody can have been promoted since: it has not left the cluster, or all data nodes "
    "are present."
)
_RULE_REPLICA = (
    "A replica may be promoted if the journal says that this life of its server holds every acknowledged write, its SQL thread "
    "works, and it holds nothing that the primary does not."
)
_RULE_PRIMARY = "The promoted server must be the one that the journal records, and writable."


class Case(NamedTuple):
    """One node: ``verdict`` (PRIMARY, MAY, MAY_NOT or UNKNOWN) and why, the rule it follows from, the facts, and what to do."""

    node: str
    verdict: str
    reason: str
    rule: str
    facts: tuple[str, ...]
    advice: str

    @property
    def sentence(self) -> str:
        """The verdict as a sentence without a full stop."""
        if self.verdict == UNKNOWN:
            return f"what may become of {self.node} is not clear: {self.reason}"
        return f"{self.node} {self.verdict}" + (f": {self.reason}" if self.reason else "")


class Explanation(NamedTuple):
    """One database service. ``journal``: the promotion journal in words. ``outlook``: what happens next, and for whom it waits."""

    service: str
    journal: str
    cases: tuple[Case, ...]
    outlook: str


def explain(
    status: Status, service: Service, answers: Answers, published: Mapping[str, Mapping[str, str]]
) -> Explanation:
    """Explain every node of ``service``. ``published``: attribute (of PUBLISHED) → node → value."""
    cases = tuple(_case(status, service, one, answers, published) for one in service.instances)
    return Explanation(service.name, journal_words(service, status.at), cases, _outlook(status, service, cases))


def journal_words(service: Service, now: float) -> str:
    """The promotion journal as sentences."""
    entry = service.journal
    if service.journal_error:
        return service.journal_error
    if not entry.epoch:
        return "no primary was ever recorded"
    sync = ", ".join(sorted(entry.sync)) or "no replica"
    words = f"{entry.primary} is the primary of epoch {entry.epoch}, which opened at GTID {entry.gtid or '(none)'}; "
    words += f"{sync} held every acknowledged write when it was last written, {clock(entry.at, now)} ({entry.by})"
    if entry.forced:
        words += f"; epoch {entry.forced} began by a person's decision to accept a loss"
    return words


def _case(
    status: Status,
    service: Service,
    one: Instance,
    answers: Answers,
    published: Mapping[str, Mapping[str, str]],
) -> Case:
    answer = answers.servers.get(one.node)
    facts = tuple(_facts(status, service, one, answer, answers.unasked, published))
    entry = service.journal
    if one.role in PROMOTED_ROLES:
        wrong = _wrong_primary(service, one, answer)
        if wrong:
            return Case(one.node, UNKNOWN, wrong, _RULE_PRIMARY, facts, "")
        return Case(one.node, PRIMARY, "", _RULE_PRIMARY, facts, "")
    rule = _RULE_FIRST if not entry.epoch else _RULE_LAST if entry.primary == one.node else _RULE_REPLICA
    if service.journal_error:
        return Case(one.node, MAY_NOT, service.journal_error, rule, facts, "")
    node = status.node(one.node)
    if node is None or not node.online:
        away = "it is not a member of this cluster now"
        if entry.epoch and entry.primary != one.node and one.node not in entry.sync:
            away += f", and STALE at the latest since {clock(entry.at, status.at)}"
        return Case(one.node, MAY_NOT, away, rule, facts, f"bring {one.node} back")
    if one.role not in UNPROMOTED_ROLES:
        return Case(one.node, MAY_NOT, f"its server is {one.role.lower()}", rule, facts, "hafailover status says why")
    refusal = _refusal(status, service, one, answers)
    if refusal:
        return Case(one.node, MAY_NOT, refusal, rule, facts, "")
    if one.score is None or one.score <= 0:
        return Case(one.node, MAY_NOT, one.reason or "its agent has not said yet that it may be", rule, facts, "")
    return Case(one.node, MAY, _why_it_may(service, one), rule, facts, "")


def _refusal(status: Status, service: Service, one: Instance, answers: Answers) -> str | None:
    """Why the rules bar this node, with how much it misses if that can be told."""
    answer = answers.servers.get(one.node)
    asked = answer is not None and not answer.error
    if (not asked and one.reason) or not service.journal.epoch:
        return one.reason or None  # its own agent has seen more than can be seen from here
    facts = standing(status, service, one, answers)
    # Only on the node itself is it known how many votes there were; its score tells what came of it.
    facts = facts._replace(witnessed=one.score is not None and one.score > 0)
    refusal = decide.standing_refusal(facts)
    if refusal and refusal.startswith("STALE"):
        return stale_words(service, one.node, answers, status.at) or refusal
    return refusal


def stale_words(service: Service, node: str, answers: Answers, now: float) -> str | None:
    """Since when a replica is STALE and what it misses, or None when the primary cannot be compared with it."""
    entry = service.journal
    primary, replica = answers.servers.get(entry.primary), answers.servers.get(node)
    since = f"STALE since {clock(entry.at, now)}"
    if entry.sync:
        since = "STALE: its server has restarted since it was called in sync"
    if primary is None or primary.error or not primary.writable or replica is None or replica.error:
        return (
            f"{since}; {entry.primary} was primary last and does not answer, so what it acknowledged since is not known"
        )
    missing = gtid.behind(_received(replica), primary.position)
    if not missing:
        return f"{since}; it has all that {entry.primary} has written, which {entry.primary} confirms next"
    writes = "1 write" if missing == 1 else f"{missing} writes"
    return f"{since}, {entry.primary} acknowledged {writes} alone"


def _received(answer: Answer) -> str:
    positions = [answer.state] if answer.replica is None else [answer.replica.received, answer.replica.applied]
    return gtid.latest(*positions)


def _why_it_may(service: Service, one: Instance) -> str:
    if service.journal.in_sync(one.node, one.incarnation):
        return "it holds every acknowledged write"
    return "nobody can have been promoted since it was primary" if service.journal.epoch else "it is the first"


def _wrong_primary(service: Service, one: Instance, answer: Answer | None) -> str:
    if service.journal.primary != one.node:
        return f"promoted, but the journal records {service.journal.primary or 'nobody'}"
    if answer and not answer.error and not answer.writable:
        return "promoted, but its server is read-only"
    return ""


def _facts(
    status: Status,
    service: Service,
    one: Instance,
    answer: Answer | None,
    unasked: str,
    published: Mapping[str, Mapping[str, str]],
) -> Iterator[str]:
    node = status.node(one.node)
    score = "no score" if one.score is None else f"score {one.score}"
    yield f"Pacemaker: {node.words if node else 'not a node of this cluster'}; {one.role.lower()}{_pending(one)}, {score}"
    if answer is None or answer.error:
        yield f"server: not asked, {unasked}" if unasked else f"server: {answer.error if answer else 'not asked'}"
    else:
        yield from server_facts(answer)
    life = service.journal.sync.get(one.node)
    if service.journal.epoch and service.journal.primary != one.node:
        said = f"in sync in its life {life}" if life else "not in sync"
        yield f"journal: {said}" + (f"; its present life is {one.incarnation}" if one.incarnation else "")
    if one.reason and one.role in UNPROMOTED_ROLES:
        yield f"its agent says: {one.reason}"
    rejoin = rejoin_record.parse(one.rejoin)
    if rejoin:
        how = RUNGS[rejoin.rung]
        came = f"is in {how}" if rejoin.rung == rejoin_record.QUARANTINE else f"came back by {how}"
        yield f"{came} (epoch {rejoin.epoch}): {rejoin.reason}"
    saved = salvage.parse(published.get("salvage", {}).get(one.node, ""))
    if saved and saved.state != salvage.NONE:
        yield _saved(saved)


def server_facts(answer: Answer) -> Iterator[str]:
    """What a server said of itself."""
    yield f"server: {'writable' if answer.writable else 'read-only'}, binary log at {answer.position or '(empty)'}"
    replica = answer.replica
    if replica is not None:
        broken = "not begun" if decide.not_begun(replica) else decide.broken_replication(replica)
        how = broken or {"Yes": "connected", "Connecting": "trying to connect"}.get(replica.io, replica.io)
        yield (
            f"replicates from {replica.source} ({how}): received {replica.received or '(nothing yet)'}, "
            f"applied {replica.applied or '(nothing)'}"
        )


def _saved(saved: Salvage) -> str:
    what = f"{saved.number} transactions received before the server's restart (up to {saved.target or 'unknown'})"
    if saved.state == salvage.DONE:
        return f"relay log: {what} were applied"
    if saved.state == salvage.APPLYING:
        return f"relay log: {what} are being applied"
    return f"relay log: not applied: {saved.note}"


def _pending(one: Instance) -> str:
    return f", {one.pending}" if one.pending else ""


def _outlook(status: Status, service: Service, cases: tuple[Case, ...]) -> str:
    if any(case.verdict in (PRIMARY, UNKNOWN) for case in cases):
        return ""
    able = [case.node for case in cases if case.verdict == MAY]
    if able:
        return f"Nobody is primary now; {' or '.join(able)} will be promoted."
    away = [name for name in service.nodes if not ((node := status.node(name)) and node.online)]
    wait = f"It waits for {', '.join(away)}. " if away else ""
    return (
        f"Nobody is primary, and nobody may be. {wait}The way out, if what is missing will not come back: "
        "hafailover promote NODE --accept-data-loss, which shows first what would be lost."
    )


def as_json(explanations: list[Explanation], seen_by: str, at: float) -> dict[str, Any]:
    """The documented shape (docs/explain.md)."""
    return {
        "schema": SCHEMA,
        "available": True,
        "seen_by": seen_by,
        "at": at,
        "services": plain_data(tuple(explanations)),
    }
