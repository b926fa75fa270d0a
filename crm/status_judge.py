"""From the facts to a verdict: what is wrong, how bad, what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from hafailover.agents.mariadb.decide import DIVERGENCE_ERRORS, OLD_DATA
from hafailover.crm.status import (
    DEGRADED,
    DOWN,
    NOTE,
    OK,
    Address,
    External,
    FenceEvent,
    Instance,
    Problem,
    Resource,
    Service,
    Status,
    Verdict,
)
from hafailover.crm.status_database import BARRED, IN_SYNC, PROMOTABLE, UNKNOWN
from hafailover.crm.status_external import KINDS
from hafailover.crm.status_words import advice, clock, consequence, describe
from hafailover.crm.status_xml import LOST

_RANK = {DOWN: 0, DEGRADED: 1, NOTE: 2}


def judge(status: Status) -> Verdict:
    """The verdict with every problem, the worst first."""
    problems = tuple(sorted(_problems(status), key=lambda problem: _RANK[problem.severity]))
    serious = [problem for problem in problems if problem.severity != NOTE]
    if not serious:
        return Verdict(OK, _all_well(status), status.idle is not False, problems)
    served = [f"{service.primary} is primary of {service.name}" for service in status.services if service.primary]
    worst = serious[0]
    reason = "; ".join([*served, worst.what] if worst.severity == DEGRADED else [worst.what])
    more = len(serious) - 1
    return Verdict(worst.severity, reason + (f" (and {more} more)" if more else ""), False, problems)


def _all_well(status: Status) -> str:
    parts = []
    for service in status.services:
        replicas = sum(1 for one in service.instances if one.standing == IN_SYNC)
        parts.append(
            f"{service.primary} is primary of {service.name}, {replicas} replica{'s' * (replicas != 1)} in sync"
        )
    if not parts:
        parts.append("everything that is configured runs; there is no database service")
    if status.idle is False:
        parts.append("the cluster is acting right now")
    return "; ".join(parts)


def _problems(status: Status) -> Iterator[Problem]:
    for said in status.unanswered:
        yield Problem(DEGRADED, "not everything could be asked", said, "systemctl status pacemaker on this node")
    # Causes before what follows from them: problems of one severity stay in this order.
    yield from _quorum(status)
    yield from _nodes(status)
    yield from _leftovers(status)
    for service in status.services:
        yield from _service(status, service)
    for address in status.addresses:
        yield from _address(status, address)
    for resource in status.resources:
        yield from _resource(status, resource)
    yield from _failures(status)
    yield from _fencing(status)
    for external in status.external:
        yield from _external(status, external)


def _external(status: Status, external: External) -> Iterator[Problem]:
    if not external.problem:
        return
    name = f"{KINDS[external.kind]} {external.name}".rstrip()
    what = f"{name} (outside) has a problem" if external.usable else f"{name} (outside) cannot be used"
    since = f" (since {clock(external.since, status.at)})" if external.since else ""
    yield Problem(DEGRADED, what, external.problem + since, external.advice)


def _leftovers(status: Status) -> Iterator[Problem]:
    for leftover in status.leftovers:
        # A raised score is what a switchover looks like from outside, so by itself it is no fault.
        severity = NOTE if leftover.what.startswith("promotion score") else DEGRADED
        yield Problem(severity, f"left behind: {leftover.what}", leftover.effect, leftover.remedy)


def _quorum(status: Status) -> Iterator[Problem]:
    if not status.quorum.quorate:
        missing = ", ".join(node.name for node in status.nodes if not node.online) or "the other nodes"
        yield Problem(
            DOWN,
            f"this partition ({status.seen_by}) has no quorum",
            "nothing may run or be promoted in it",
            f"bring back {missing}, or the network to them",
        )
    device = status.quorum.device
    if device and device.voting is False:
        yield Problem(
            DEGRADED,
            f"the quorum device {device.host} does not vote for this node",
            "the loss of one more node may stop the cluster",
            f"corosync-qdevice-tool -s here; systemctl status corosync-qnetd on {device.host}"
            if device.running
            else f"systemctl start corosync-qdevice on {status.seen_by}",
        )


def _service(status: Status, service: Service) -> Iterator[Problem]:
    name = service.name
    if service.journal_error:
        yield Problem(DOWN, f"the promotion journal of {name} cannot be trusted", service.journal_error)
    if len(service.promoted) > 1:
        yield Problem(
            DOWN, f"{name} has {len(service.promoted)} primaries", ", ".join(service.promoted), "stop the writers"
        )
    elif not service.promoted:
        yield _no_primary(status, service)
    for one in service.instances:
        node = status.node(one.node)
        if one.role == "Stopped":
            if node is not None and node.usable and one.pending != LOST:
                yield Problem(DEGRADED, f"{name} does not run on {one.node}", one.pending)
        elif one.standing == BARRED or (one.standing == PROMOTABLE and service.primary):
            why = one.reason or "the journal does not call it in sync"
            yield Problem(DEGRADED, f"{name} on {one.node} cannot take over", why, _replica_advice(one))
        elif one.standing == UNKNOWN:
            yield Problem(DOWN, f"the role of {name} on {one.node} is not clear", one.reason)
        if (one.failed or one.blocked) and not _listed(status, name, one.node):
            yield _failed(name, one.blocked, f"-r {name} -N {one.node}")


def _no_primary(status: Status, service: Service) -> Problem:
    if any(one.pending == "promoting" for one in service.instances):
        return Problem(DOWN, f"{service.name} has no primary", "a promotion is under way")
    away = ", ".join(node.name for node in status.nodes if node.name in service.nodes and not node.online)
    todo = f"bring back {away}" if away else ""
    older = next((one.node for one in service.instances if one.reason.startswith(OLD_DATA)), "")
    if older:
        todo = (
            f"crm node standby {older}, mount what belongs there, crm node online {older}; if those data are gone: "
            "hafailover promote NODE --accept-data-loss --dry-run shows what each node would lose"
        )
    if not status.managing:
        todo = "leave maintenance mode"
    why = "; ".join(f"{one.node}: {one.reason or one.standing}" for one in service.instances)
    return Problem(DOWN, f"{service.name} has no primary", why or "no data node is configured", todo)


def _replica_advice(one: Instance) -> str:
    if "DIVERGED" in one.reason or "did not come from the primary" in one.reason:
        return f"hafailover rejoin {one.node} rebuilds it and keeps what it holds now (--dry-run shows what that is)"
    if one.reason.startswith("STALE"):
        return "wait: once it has caught up, the primary confirms it by itself"
    if any(f"(error {number})" in one.reason for number in DIVERGENCE_ERRORS):
        return f"hafailover rejoin {one.node} --dry-run shows what a repair takes"
    if "thread" in one.reason:
        return f"look into it on {one.node}: mariadb -e 'SHOW SLAVE STATUS\\G'"
    return ""


def _failed(name: str, blocked: bool, which: str) -> Problem:
    given_up = "Pacemaker has given up on it" if blocked else ""
    return Problem(DEGRADED, f"{name} has failed", given_up, f"crm_resource --cleanup {which}")


def _listed(status: Status, resource: str, node: str) -> bool:
    return any((failure.resource, failure.node) == (resource, node) for failure in status.failures)


def _address(status: Status, address: Address) -> Iterator[Problem]:
    severity = DOWN if address.follows else DEGRADED
    name = f"the address {address.ip} ({address.id})"
    service = status.service(address.follows)
    if not address.nodes:
        yield Problem(severity, f"{name} is up nowhere")
    elif len(address.nodes) > 1:
        yield Problem(DOWN, f"{name} is up on {' and '.join(address.nodes)}")
    elif service and service.primary and service.primary != address.nodes[0]:
        yield Problem(DOWN, f"{name} is on {address.nodes[0]}", f"but {service.primary} is primary of {service.name}")


def _nodes(status: Status) -> Iterator[Problem]:
    for node in status.nodes:
        if node.unclean:
            yield Problem(
                DEGRADED,
                f"{node.name} must be fenced",
                "what it ran is not started elsewhere before it is known to be off",
            )
        elif node.stopped:
            todo = f"if it is not just booting: systemctl start pacemaker on {node.name}"
            yield Problem(DEGRADED, f"Pacemaker does not run on {node.name}", "", todo)
        elif node.pending:
            yield Problem(DEGRADED, f"{node.name} is joining")
        elif not node.online:
            todo = f"power it on, or systemctl start pacemaker on {node.name}"
            yield Problem(DEGRADED, f"{node.name} is offline", "", todo)


def _fencing(status: Status) -> Iterator[Problem]:
    fencing = status.fencing
    if not fencing.enabled:
        yield Problem(
            DEGRADED,
            "fencing is switched off",
            "a node that hangs may go on writing",
            "crm_attribute -t crm_config -n stonith-enabled -v true",
        )
        return
    for node in status.nodes:
        if node.kind == "member" and not fencing.covering(node.name):
            yield Problem(DEGRADED, f"no fencing device covers {node.name}", "", "add one to the topology and apply it")
    for device in status.broken_fences():
        if device.failed:
            todo = f"once it can be reached: crm_resource --cleanup -r {device.id}"
            yield Problem(DEGRADED, f"the fencing device {device.id} has failed", "", todo)
        elif all(node.usable for node in status.nodes):
            todo = f"crm_resource --why -r {device.id}"
            yield Problem(DEGRADED, f"the fencing device {device.id} is not monitored", "it runs on no node", todo)
    for event in failed_fencing(fencing.events):
        yield Problem(
            DEGRADED,
            f"fencing of {event.target} failed",
            event.reason,
            f"make sure by hand that it is off, then stonith_admin --confirm {event.target}; "
            f"stonith_admin --cleanup --history {event.target} removes the entry",
        )


def failed_fencing(events: tuple[FenceEvent, ...]) -> Iterator[FenceEvent]:
    """Failures that no later success of the same target has made good."""
    good: dict[str, float] = {}
    for event in events:
        if event.status == "success" and event.at is not None:
            good[event.target] = max(good.get(event.target, 0.0), event.at)
    for event in events:
        if event.status == "failed" and (event.at is None or event.at > good.get(event.target, 0.0)):
            yield event


def _resource(status: Status, resource: Resource) -> Iterator[Problem]:
    if resource.orphaned:
        todo = f"crm_resource --refresh -r {resource.id}"
        yield Problem(NOTE, f"{resource.id} runs but is no longer configured", "", todo)
    elif resource.blocked or resource.failed:
        if not any(_listed(status, resource.id, node) for node in resource.nodes):
            yield _failed(resource.id, resource.blocked, f"-r {resource.id}")
    elif not resource.nodes and resource.wanted:
        yield Problem(DEGRADED, f"{resource.id} runs nowhere", "", f"crm_resource --why -r {resource.id}")


def _failures(status: Status) -> Iterator[Problem]:
    for failure in status.failures:
        severity = DEGRADED if failure.lasting or failure.given_up else NOTE
        unit = f"-t hafailover-mariadb -u hafailover-mariadb-{failure.resource}"
        logs = unit if status.service(failure.resource) else "-u pacemaker"
        why = "; ".join(part for part in (failure.reason, consequence(failure)) if part)
        yield Problem(severity, f"{describe(failure)} ({clock(failure.at, status.at)})", why, advice(failure, logs))
