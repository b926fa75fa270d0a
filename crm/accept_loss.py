"""When nobody may be promoted any more: may a person make one node the primary all the same, and what would be lost? Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from hafailover.agents.mariadb import gtid, salvage
from hafailover.agents.mariadb.decide import OLD_DATA
from hafailover.crm.explain import MAY, PRIMARY, Explanation
from hafailover.crm.status import Instance, Service, Status
from hafailover.crm.status_database import UNPROMOTED_ROLES
from hafailover.crm.status_words import clock
from hafailover.crm.switchover import Answer, Answers

SCHEMA = 1


class Loss(NamedTuple):
    """What promoting the one node would lose of ``node``'s data. number: of transactions, None when nobody can know."""

    node: str
    number: int | None
    says: str


def refusal(
    status: Status, service: Service, node: str, explained: Explanation, published: Mapping[str, Mapping[str, str]]
) -> str | None:
    """Say why ``node`` must not be made the primary by decision, or None."""
    if not status.quorum.quorate:
        return "this partition has no quorum: the other side may have a primary. Bring back the other nodes or the quorum device"
    if service.journal_error:
        return service.journal_error
    if service.promoted:
        return (
            f"it is not needed: {', '.join(service.promoted)} is the primary (hafailover promote {node} moves the role)"
        )
    if not status.managing:
        return "the cluster is in maintenance mode and would not promote anybody: end that first"
    one = service.instance(node)
    if one is None or one.role not in UNPROMOTED_ROLES:
        return f"{service.name} does not run on {node}: start it there first (hafailover status says what keeps it)"
    if one.pending:
        return f"{service.name} on {node} is just {one.pending}: wait until that is done"
    able = [case.node for case in explained.cases if case.verdict in (PRIMARY, MAY)]
    if able:
        return f"it is not needed: {' or '.join(able)} can be promoted without any loss, and Pacemaker will do that"
    last = service.instance(service.journal.primary)
    waits = last is not None and last.role in UNPROMOTED_ROLES and not last.reason.startswith(OLD_DATA)
    if last and waits and last.node != node and _online(status, last.node):
        return (
            f"{last.node} was primary last and is back: wait for it (hafailover explain {last.node}). If it will never serve "
            f"again, take it out first: crm_attribute -N {last.node} -n standby -v on"
        )
    if last and last.node != node and _is_starting(status, service, last):
        return (
            f"{last.node} was primary last and is in the cluster again: wait until its server has started. If it will never serve again, "
            f"take it out first: crm_attribute -N {last.node} -n standby -v on"
        )
    saved = salvage.parse(published.get("salvage", {}).get(node, ""))
    if saved and saved.state == salvage.APPLYING:
        return f"{node} is still applying what it received before its restart: wait, hafailover explain {node} says how much is left"
    return None


def _is_starting(status: Status, service: Service, one: Instance) -> bool:
    """Whether Pacemaker is about to start this instance, or does; nothing has kept it from that so far."""
    node = status.node(one.node)
    kept = any(
        failure.lasting or failure.given_up
        for failure in status.failures
        if failure.node == one.node and failure.resource == service.name
    )
    return (
        bool(node and (node.usable or (node.online and node.pending))) and one.role not in UNPROMOTED_ROLES and not kept
    )


def losses(status: Status, service: Service, node: str, answers: Answers) -> tuple[Loss, ...]:
    """What every other node may hold that ``node`` does not."""
    mine = answers.servers.get(node)
    return tuple(_loss(status, service, mine, other, answers) for other in service.nodes if other != node)


def _loss(status: Status, service: Service, mine: Answer | None, other: str, answers: Answers) -> Loss:
    answer = answers.servers.get(other)
    if mine is not None and not mine.error and answer is not None and not answer.error:
        extra = gtid.missing(answer.state, mine.state)
        if not extra:
            return Loss(other, 0, "nothing: the other holds all of its data")
        # On another branch the numbers may be equal: at least the last transaction is its own.
        number = max(1, gtid.behind(gtid.latest(mine.state), gtid.latest(answer.state)))
        return Loss(other, number, f"{number} transaction{'s' * (number != 1)}, up to {gtid.text(extra)}")
    return Loss(other, None, "; ".join(_unknown(status, service, other, answer)))


def _unknown(status: Status, service: Service, other: str, answer: Answer | None) -> Iterator[str]:
    entry = service.journal
    if not _online(status, other):
        fenced = [event.at for event in status.fencing.events if event.target == other and event.at]
        since = f" since {clock(max(fenced), status.at)}" if fenced else ""
        yield f"unknown: {other} has been down{since}"
    else:
        yield f"unknown: its server does not answer ({answer.error if answer else 'not asked'})"
    if entry.primary == other:
        yield (
            f"it was primary of epoch {entry.epoch}, which opened at GTID {entry.gtid or '(none)'}, and all that it acknowledged "
            f"after {clock(entry.at, status.at)} ({entry.by}) may be there alone"
        )
    elif entry.epoch:
        yield f"it may have been promoted after epoch {entry.epoch} ({clock(entry.at, status.at)}) without {status.seen_by} knowing"


def _online(status: Status, name: str) -> bool:
    node = status.node(name)
    return bool(node and node.online)


def position_words(answer: Answer | None) -> str:
    """Where the chosen server stands."""
    if answer is None or answer.error:
        return "its server does not run yet: it will recover all that it has and open there"
    return f"it stands at GTID {gtid.latest(answer.position, answer.state) or '(an empty history)'}"


def as_json(
    service: Service, node: str, result: str, exit_code: int, says: str, lost: tuple[Loss, ...]
) -> dict[str, Any]:
    """The documented shape (docs/total-outage.md)."""
    return {
        "schema": SCHEMA,
        "service": service.name,
        "to": node,
        "result": result,
        "exit_code": exit_code,
        "says": says,
        "losses": [{"node": loss.node, "transactions": loss.number, "says": loss.says} for loss in lost],
    }
