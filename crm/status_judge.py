"""From the facts to a verdict: what is wrong, how bad, what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from hafailover.agents.mariadb.decide import DIVERGENCE_ERRORS, OLD_DATA
from hafailover.crm import hooks_text, status_judge_fencing, status_leftovers
from hafailover.crm.corosync_links import CONNECTED
from hafailover.crm.status import (
    DEGRADED,
    DOWN,
    NOTE,
    OK,
    Address,
    External,
    Instance,
    Problem,
    Resource,
    Service,
    Status,
    Verdict,
)
from hafailover.crm.status_database import BARRED, IN_SYNC, PROMOTABLE, UNKNOWN
from hafailover.crm.status_external import KINDS
from hafailover.crm.status_judge_fencing import being_fenced
from hafailover.crm.status_words import advice, clock, consequence, describe
from hafailover.crm.status_xml import LOST

LATE = 60
"""Seconds that a replica may be behind before somebody should know: so long, or longer, is what a promotion of it would wait."""

_STALE = "STALE"  # how the agent begins the reason of a server that may lack acknowledged writes
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
    yield from _links(status)
    yield from _nodes(status)
    yield from _leftovers(status)
    for service in status.services:
        yield from _service(status, service)
    for address in status.addresses:
        yield from _address(status, address)
    for resource in status.resources:
        yield from _resource(status, resource)
    yield from _failures(status)
    yield from status_judge_fencing.problems(status)
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
        # This is what a switchover looks like from outside, so by itself it is no fault; and what has expired does nothing.
        harmless = ("promotion score", status_leftovers.MOVING, status_leftovers.EXPIRED)
        # What is switched off on purpose: where it is missed, that is told besides.
        quiet = leftover.what.startswith(harmless) or leftover.what.endswith(f" is {status_leftovers.DISABLED}")
        severity = NOTE if quiet else DEGRADED
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


def _links(status: Status) -> Iterator[Problem]:
    """Links that are cut to a node that is there: over all of them, the node is away, and told as that."""
    reached = {link.node for link in status.links if link.state == CONNECTED}
    cut = [link for link in status.links if link.state != CONNECTED and link.node in reached]
    if cut:
        yield Problem(
            DEGRADED,
            "; ".join(f"Corosync's link {link.number} from {status.seen_by} to {link.node} is cut" for link in cut),
            "when the link that is left fails too, one of the nodes is fenced",
            "corosync-cfgtool -s; then its cable, switch port and firewall (udp 5405 and up)",
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
                todo = (
                    ""
                    if one.pending or _listed(status, name, one.node)
                    else f"crm_resource --why -r {name} -N {one.node}"
                )
                yield Problem(DEGRADED, f"{name} does not run on {one.node}", one.pending, todo)
        elif (one.standing == BARRED and not _waits(service, one)) or (one.standing == PROMOTABLE and service.primary):
            why = one.reason or "the journal does not call it in sync"
            yield Problem(DEGRADED, f"{name} on {one.node} cannot take over", why, _replica_advice(one))
        elif one.standing == UNKNOWN:
            yield Problem(DOWN, f"the role of {name} on {one.node} is not clear", one.reason)
        if one.lag is not None and one.lag.error and one.pending == "":
            yield Problem(NOTE, f"the server of {name} on {one.node} did not answer {status.seen_by}", one.lag.error)
        if (one.failed or one.blocked) and not _listed(status, name, one.node):
            yield _failed(name, one.blocked, f"-r {name} -N {one.node}")
    if status.idle:  # while the role moves, Pacemaker and the servers need not agree
        yield from _writers(service)
    yield from _replication(status, service)
    yield from hooks_text.problems(service)


def _writers(service: Service) -> Iterator[Problem]:
    """Servers that accept writes and are not the primary, and a primary that accepts none."""
    for one in service.instances:
        if one.writable and one.node not in service.promoted:
            ran = (
                "the cluster does not run it there"
                if one.role == "Stopped"
                else f"{service.primary or 'nobody'} is primary"
            )
            yield Problem(
                DOWN,
                f"{service.name} on {one.node} accepts writes",
                f"{ran}: what is written there is in no other copy",
                f"there: mariadb -e 'SET GLOBAL read_only = ON'; then hafailover rejoin {one.node} --dry-run shows what it holds alone",
            )
        elif one.writable is False and one.node == service.primary:
            yield Problem(
                DOWN,
                f"{service.name} on {one.node} is primary, but accepts no writes",
                "it is read-only",
                f"its agent says why: journalctl -t hafailover-mariadb on {one.node}",
            )


def _replication(status: Status, service: Service) -> Iterator[Problem]:
    """What a failover now would lose, or wait for, though every server runs and says that it is well."""
    name, semi = service.name, service.semi_sync
    in_sync = [one for one in service.instances if one.standing == IN_SYNC]
    if semi and not semi.enforcing and in_sync and status.idle:  # on its way from one state to the other it is neither
        yield Problem(
            DEGRADED,
            f"commits on {service.primary} do not wait for a copy",
            f"semi-synchronous replication of {name} is off, though {', '.join(one.node for one in in_sync)} counts as in sync: what is "
            "acknowledged now is lost with the primary",
            f"its agent repairs that within seconds; else on {service.primary}: mariadb -e 'SET GLOBAL rpl_semi_sync_master_enabled = ON'",
        )
    if semi and semi.enforcing and semi.waiting and not semi.replicas:
        yield Problem(
            DEGRADED,
            f"writes to {name} hang on {service.primary}",
            "commits wait for a copy, and no replica can give one",
            "its agent ends that within seconds; else look at the replicas' threads: mariadb -e 'SHOW SLAVE STATUS\\G'",
        )
    for one in in_sync:
        if one.lag is not None and (one.lag.seconds or 0) >= LATE:
            yield Problem(
                DEGRADED,
                f"{name} on {one.node} is {one.lag.seconds} s behind",
                "nothing is lost, but a failover to it is over only when it has applied the rest",
                f"wait for it; on {one.node}: mariadb -e 'SHOW FULL PROCESSLIST' shows what it works on",
            )


def _no_primary(status: Status, service: Service) -> Problem:
    if any(one.pending == "promoting" for one in service.instances):
        return Problem(DOWN, f"{service.name} has no primary", "a promotion is under way")
    away = ", ".join(node.name for node in status.nodes if node.name in service.nodes and not node.online)
    todo = (
        f"bring back {away}; hafailover explain says why nobody else may be promoted"
        if away
        else "hafailover explain says why"
    )
    older = next((one.node for one in service.instances if one.reason.startswith(OLD_DATA)), "")
    if older:
        todo = (
            f"crm node standby {older}, mount what belongs there, crm node online {older}; if those data are gone: "
            "hafailover promote NODE --accept-data-loss --dry-run shows what each node would lose"
        )
    if not status.managing:
        todo = "leave maintenance mode" if status.maintenance else "the cluster has stop-all-resources: take it back"
    todo = _switched_on(status, service.name, service.clone) or todo
    why = "; ".join(f"{one.node}: {one.reason or one.standing}" for one in service.instances)
    return Problem(DOWN, f"{service.name} has no primary", why or "no data node is configured", todo)


def _waits(service: Service, one: Instance) -> bool:
    """Whether it waits for a primary that there is not: why there is none says that already."""
    return not service.promoted and one.reason.startswith(_STALE)


def _switched_on(status: Status, *names: str) -> str:
    """How to take back that one of ``names`` is switched off, or ""."""
    off = [f"{name} is {status_leftovers.DISABLED}" for name in names]
    return next((left.remedy for left in status.leftovers if left.what in off), "")


def _replica_advice(one: Instance) -> str:
    if "DIVERGED" in one.reason or "did not come from the primary" in one.reason:
        return f"hafailover rejoin {one.node} rebuilds it and keeps what it holds now (--dry-run shows what that is)"
    if one.reason.startswith(_STALE):
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
        todo = _switched_on(status, address.id)
        if not todo and (service is None or service.primary):  # else it only waits for a primary
            todo = f"crm_resource --why -r {address.id}"
        yield Problem(severity, f"{name} is up nowhere", "", todo)
    elif len(address.nodes) > 1:
        yield Problem(DOWN, f"{name} is up on {' and '.join(address.nodes)}")
    elif service and service.primary and service.primary != address.nodes[0]:
        yield Problem(DOWN, f"{name} is on {address.nodes[0]}", f"but {service.primary} is primary of {service.name}")
    if (
        address.seen is not None and status.idle
    ):  # while it moves it is seen where the cluster no longer, or not yet, has it
        yield from _really(status, address, name)


def _really(status: Status, address: Address, name: str) -> Iterator[Problem]:
    """What the network says of an address against what the cluster believes."""
    seen = address.seen or ()
    believed = ", ".join(address.nodes) or "nowhere"
    for other in seen:
        if other not in address.nodes:
            machine = other if status.node(other) else f"another machine ({other})"
            # What answers for a node's address beside it may also be a router's proxy.
            severity = DOWN if status.node(other) or not set(seen) & set(address.nodes) else DEGRADED
            yield Problem(
                severity,
                f"{name} is on {machine}",
                f"the cluster has it {'on ' if address.nodes else ''}{believed}: clients reach one or the other",
                f"there: ip address show to {address.ip.partition('/')[0]}, and ip address del it",
            )
    if status.seen_by in address.nodes and status.seen_by not in seen:
        why = f"the cluster believes that it is on {status.seen_by}"
        todo = f"the next check of it repairs that; at once: crm_resource --refresh -r {address.id}"
        yield Problem(DOWN, f"{name} is not on {status.seen_by}", why, todo)
    elif address.nodes and not seen:
        todo = f"ip address show on {believed}; the network between it and {status.seen_by}"
        yield Problem(NOTE, f"nobody answers for {name}", f"the cluster has it on {believed}", todo)


def _nodes(status: Status) -> Iterator[Problem]:
    for node in status.nodes:
        if node.unclean:
            yield Problem(
                DEGRADED,
                f"{node.name} must be fenced",
                "what it ran is not started elsewhere before it is known to be off"
                + ("; that is under way" if being_fenced(status, node.name) else ""),
                "if that takes longer than a minute or two: make sure by hand that it is off, then "
                f"stonith_admin --confirm {node.name}; stonith_admin --history {node.name} says what was tried",
            )
        elif node.stopped:
            todo = f"if it is not just booting: systemctl start pacemaker on {node.name}"
            yield Problem(DEGRADED, f"Pacemaker does not run on {node.name}", "", todo)
        elif node.pending:
            yield Problem(DEGRADED, f"{node.name} is joining")
        elif not node.online:
            todo = f"power it on, or systemctl start pacemaker on {node.name}"
            yield Problem(DEGRADED, f"{node.name} is offline", "", todo)
        elif node.shutting_down:
            yield Problem(DEGRADED, f"{node.name} is shutting down", "what it runs is stopped, or moves")
    if status.mixed:
        yield Problem(NOTE, "the nodes run different versions of Pacemaker", "", "hafailover doctor names them")


def _resource(status: Status, resource: Resource) -> Iterator[Problem]:
    if resource.orphaned:
        todo = f"crm_resource --refresh -r {resource.id}"
        yield Problem(NOTE, f"{resource.id} runs but is no longer configured", "", todo)
    elif resource.blocked or resource.failed:
        if not any(_listed(status, resource.id, node) for node in resource.nodes):
            yield _failed(resource.id, resource.blocked, f"-r {resource.id}")
    elif not resource.nodes and resource.wanted:
        yield Problem(DEGRADED, f"{resource.id} runs nowhere", "", f"crm_resource --why -r {resource.id}")
    elif resource.missing and status.idle is not False:
        todo = f"crm_resource --why -r {resource.id} -N {resource.missing[0]}"
        yield Problem(DEGRADED, f"{resource.id} does not run on {', '.join(resource.missing)}", "", todo)


def _failures(status: Status) -> Iterator[Problem]:
    for one in status.failcounts:
        count = "a failure that cannot be retried" if one.fails >= 1000000 else f"{one.fails} failures"
        yield Problem(
            DEGRADED,
            f"{one.resource} may not run on {one.node}",
            f"Pacemaker keeps it off after {count}, of which no record is left",
            f"crm_resource --cleanup -r {one.resource} -N {one.node}; if that changes nothing: "
            f"crm_failcount -D -r {one.resource} -N {one.node}",
        )
    for failure in status.failures:
        severity = DEGRADED if failure.lasting or failure.given_up else NOTE
        unit = f"-t hafailover-mariadb -u hafailover-mariadb-{failure.resource}"
        logs = unit if status.service(failure.resource) else "-u pacemaker"
        why = "; ".join(part for part in (failure.reason, consequence(failure)) if part)
        yield Problem(severity, f"{describe(failure)} ({clock(failure.at, status.at)})", why, advice(failure, logs))
