"""May the primary role of a database move to this node now? Pure: facts in, a list of checks with their reasons out.

What decides about data is asked of ``agents.mariadb.decide``, the same functions that the agent calls when it is told to promote: the
checklist cannot pass what the agent will refuse, nor the other way round, except for what happens in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hafailover.agents.mariadb import decide, gtid
from hafailover.agents.mariadb.decide import Peer, Replica, Standing
from hafailover.crm.status import Address, Failure, Instance, Service, Status
from hafailover.crm.status_database import UNPROMOTED_ROLES
from hafailover.crm.status_words import consequence, describe

MAX_LAG = 2.0
"""Seconds that the new primary may need to apply what it has received: writers wait for it."""

NEVER = decide.SCORE_NEVER


@dataclass(frozen=True)
class Check:
    """One item of the checklist.

    name: stable, for scripts and ``--accept``. ok: None when it could not be checked. says: what was found, one sentence. acceptable:
    a person may decide to go ahead anyway; never so where data could be lost. accepted: somebody did.
    """

    name: str
    ok: bool | None
    says: str
    acceptable: bool = False
    accepted: bool = False

    @property
    def refuses(self) -> bool:
        """Whether it stands in the way."""
        return self.ok is False and not self.accepted


@dataclass(frozen=True)
class Answer:
    """What the server on a node answered.

    error: why it did not; full: because every connection is taken, which does not keep its agent from anything. position: its binary
    log's last GTID. lag: seconds it took to apply what it had received when it was first asked; None when that took longer than MAX_LAG, or
    nobody watched.
    """

    node: str
    error: str = ""
    full: bool = False
    writable: bool = False
    replica: Replica | None = None
    state: str = ""
    position: str = ""
    acknowledges: bool = False
    lag: float | None = None


@dataclass(frozen=True)
class Answers:
    """All servers' answers; ``unasked`` says why nobody was asked, or is "". The primary is asked before its replicas."""

    servers: Mapping[str, Answer]
    unasked: str = ""


@dataclass(frozen=True)
class Forecast:
    """What Pacemaker's own simulation does when the node's promotion score is raised.

    primary: the node promoted afterwards, or "". addresses: address → node, or "". moves: one sentence for each action. error: why there
    is no forecast.
    """

    primary: str
    addresses: Mapping[str, str]
    moves: tuple[str, ...]
    error: str = ""


def preflight(
    status: Status,
    service: Service,
    node: str,
    answers: Answers,
    forecast: Forecast,
    accepted: frozenset[str] = frozenset(),
) -> tuple[Check, ...]:
    """Every check for moving the primary role of ``service`` to ``node``; items in ``accepted`` are let pass if they may be."""
    checks = [
        _node(status, node),
        _quorum(status),
        _managed(status, service),
        _idle(status),
        _primary(status, service, answers),
        _server(service, node),
        _in_sync(status, service, node, answers),
        _score(service, node),
        _failures(status, service, node),
        _bans(status, service, node),
    ]
    if service.primary:  # without one the rest has no meaning, and there is no role to move
        checks += [
            _replication(service, node, answers),
            _lag(node, answers),
            *_addresses(status, service),
            _fencing(status, service),
            _forecast(node, forecast),
        ]
    return tuple(
        Check(check.name, check.ok, check.says, check.acceptable, accepted=True)
        if check.ok is False and check.acceptable and check.name in accepted
        else check
        for check in checks
    )


def cluster_checks(status: Status, node: str) -> tuple[Check, ...]:
    """What has to be so whatever is moved to ``node``: it is usable, this partition has quorum, and nothing is under way."""
    return _node(status, node), _quorum(status), _idle(status)


def refused(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    """The checks that stand in the way."""
    return tuple(check for check in checks if check.refuses)


def nothing_to_do(service: Service, node: str) -> bool:
    """Whether ``node`` is the one primary already, and recorded as such."""
    return service.primary == node and service.journal.primary == node


def steps(service: Service, node: str, addresses: tuple[Address, ...], forecast: Forecast) -> tuple[str, ...]:
    """What will happen, in order, for a person who is asked to agree."""
    old = service.primary
    found = [f"{address.ip} ({address.id}) is taken from {old}" for address in addresses]
    found += [
        f"{old} becomes read-only: what blocks that is ended, and so is every session",
        f"{node} applies what it has received, is recorded as primary of epoch {service.journal.epoch + 1}, and opens",
        *(f"{address.ip} ({address.id}) comes up on {node}" for address in addresses),
        f"{old} follows {node} and is in sync again",
    ]
    return (*found, *(f"also: {move}" for move in forecast.moves))


def _node(status: Status, name: str) -> Check:
    node = status.node(name)
    if node is None:
        return Check("node", False, f"{name} is not a node of this cluster")
    if node.usable:
        return Check("node", True, f"{name} is online and may run resources")
    return Check("node", False, f"{name} is {node.words}")


def _quorum(status: Status) -> Check:
    if status.quorum.quorate:
        return Check("quorum", True, "this partition has quorum")
    return Check("quorum", False, "this partition has no quorum")


def _managed(status: Status, service: Service) -> Check:
    if not status.managing:
        return Check("managed", False, "the cluster is in maintenance mode and would do nothing")
    loose = [one.node for one in service.instances if not one.managed]
    loose += [address.id for address in status.addresses_of(service) if not address.managed]
    if loose:
        return Check("managed", False, f"Pacemaker does not manage {service.name} ({', '.join(loose)})")
    return Check("managed", True, f"Pacemaker manages {service.name}")


def _idle(status: Status) -> Check:
    if status.idle is None:
        return Check("idle", None, "the coordinator did not say whether it is acting right now")
    if status.idle:
        return Check("idle", True, "the cluster is idle")
    return Check("idle", False, "the cluster is acting right now; try again when it has settled", acceptable=True)


def _primary(status: Status, service: Service, answers: Answers) -> Check:
    name = "primary"
    if service.journal_error:
        return Check(name, False, service.journal_error)
    if not service.promoted:
        says = f"{service.name} has no primary: Pacemaker promotes a node by itself as soon as one may be (hafailover status)"
        return Check(name, False, says)
    if service.primary is None:
        return Check(
            name, False, f"{service.name} has {len(service.promoted)} primaries: {', '.join(service.promoted)}"
        )
    if service.journal.primary != service.primary:
        recorded = service.journal.primary or "nobody"
        return Check(name, False, f"{service.primary} is promoted, but {recorded} is recorded as primary")
    answer = answers.servers.get(service.primary)
    if answer and answer.full:
        return Check(name, None, f"{service.primary} is the recorded primary, and every connection to it is taken")
    if answer and answer.error:
        return Check(name, False, f"the primary does not answer: {answer.error}")
    if answer and not answer.writable:
        return Check(name, False, f"{service.primary} is promoted, but its server is read-only")
    writers = [one.node for one in answers.servers.values() if one.writable and one.node != service.primary]
    if writers:
        return Check(name, False, f"{', '.join(writers)} is writable beside the primary {service.primary}")
    return Check(name, True, f"{service.primary} is the one primary, recorded in epoch {service.journal.epoch}")


def _server(service: Service, node: str) -> Check:
    one = service.instance(node)
    if one is None or one.role not in UNPROMOTED_ROLES:
        return Check("server", False, f"{service.name} on {node} is {one.role.lower() if one else 'not configured'}")
    if one.failed or one.blocked or one.pending:
        return Check(
            "server", False, f"{service.name} on {node} {'has failed' if not one.pending else f'is {one.pending}'}"
        )
    return Check("server", True, f"{service.name} runs on {node} as a replica")


def standing(status: Status, service: Service, one: Instance, answers: Answers) -> Standing:
    """What the agent on the node would know; a server that was not asked is taken to replicate well, which is another check."""
    answer = answers.servers.get(one.node)
    working = Replica("", "Yes", True, "", "", 0, 0, "")
    # Whether a third replica is a transaction ahead right now means nothing: the old primary is closed first, and its last position
    # must be reached. Whether that replica can be heard at all does.
    heard = service.nodes if answers.unasked else [name for name, said in answers.servers.items() if not said.error]
    online = frozenset(node.name for node in status.nodes if node.online)
    unheard = service.journal.gtid if service.journal.primary == one.node else ""  # nothing is known against it
    return Standing(
        node=one.node,
        nodes=tuple(service.nodes),
        online=online & frozenset(service.nodes),
        quorate=status.quorum.quorate,
        journal=service.journal,
        incarnation=one.incarnation,
        reigns=service.reigns,
        lives={instance.node: instance.incarnation for instance in service.instances},
        replica=answer.replica if answer and not answer.error else working,
        state=answer.state if answer and not answer.error else unheard,
        positions=dict.fromkeys(heard, ""),
    )


def _in_sync(status: Status, service: Service, node: str, answers: Answers) -> Check:
    one = service.instance(node)
    if one is None:
        return Check("in-sync", False, f"{node} is not a data node of {service.name}")
    if service.journal_error or not service.journal.epoch:
        return Check("in-sync", False, "nothing is recorded about who holds every acknowledged write")
    refusal = decide.standing_refusal(standing(status, service, one, answers))
    if refusal:
        return Check("in-sync", False, f"{node} may not be promoted: {refusal}")
    return Check("in-sync", True, f"{node} holds every acknowledged write")


def _score(service: Service, node: str) -> Check:
    one = service.instance(node)
    if one is None or one.score is None:
        return Check("score", False, f"{node} has no promotion score: its agent has not said that it may be promoted")
    if one.score <= 0:
        return Check("score", False, f"its own agent bars {node}: {one.reason or f'promotion score {one.score}'}")
    return Check("score", True, f"its own agent lets {node} be promoted (score {one.score})")


def _replication(service: Service, node: str, answers: Answers) -> Check:
    name = "replication"
    one, answer = service.instance(node), answers.servers.get(node)
    if answers.unasked or answer is None or one is None:
        return Check(name, None, f"the servers were not asked: {answers.unasked or 'not a data node'}")
    if answer.error:
        return Check(name, False, f"the server on {node} does not answer: {answer.error}")
    address = service.nodes.get(service.primary or "", "")
    if answer.replica is not None and address and answer.replica.source != address:
        return Check(
            name, False, f"{node} replicates from {answer.replica.source}, not from {service.primary} ({address})"
        )
    primary = answers.servers.get(service.primary or "")
    peer = Peer(node, one.incarnation, answer.replica, not answer.writable, answer.acknowledges)
    refusal = decide.regain_refusal(peer, primary.position if primary else "")
    if refusal:
        return Check(name, False, f"{node}: {refusal}")
    return Check(name, True, f"{node} receives and acknowledges what {service.primary} writes")


def _lag(node: str, answers: Answers) -> Check:
    answer = answers.servers.get(node)
    if answer is None or answer.error or answer.replica is None:
        return Check("lag", None, "not known how much it has still to apply")
    if answer.lag is not None:
        return Check("lag", True, f"{node} applies what it receives within {max(answer.lag, 0.1):.1f} s")
    left = gtid.behind(answer.replica.applied, answer.replica.received)
    return Check(
        "lag",
        False,
        f"{node} has not applied within {MAX_LAG:g} s what it had received ({left} transaction{'' if left == 1 else 's'} left): "
        "writers would wait for that",
        acceptable=True,
    )


def _failures(status: Status, service: Service, node: str) -> Check:
    """A failure that was got over is told but refuses nothing; one that was not would stop the switchover half-way.

    A promotion that failed may fail again for the same reason, with the writers waiting for it. If it was refused by the rules, those
    have just been asked again.
    """
    ours = {service.name, *(address.id for address in status.addresses_of(service))}
    found = [one for one in status.failures if one.node == node and one.resource in ours]
    standing = [one for one in found if one.lasting or one.given_up or _may_repeat(one)]
    if standing:
        says = "; ".join(f"{describe(one)} ({consequence(one)})" for one in standing)
        clean = "; ".join(
            f"crm_resource --cleanup -r {one} -N {node}" for one in sorted({one.resource for one in standing})
        )
        return Check("failures", False, f"{says}. When the cause is mended: {clean}", acceptable=True)
    if found:
        return Check(
            "failures", True, f"failures on {node} were all got over: {'; '.join(describe(one) for one in found)}"
        )
    return Check("failures", True, f"no failed action on {node}")


def _may_repeat(failure: Failure) -> bool:
    return failure.task == "promote" and not failure.reason.startswith("not promoted:")


def _bans(status: Status, service: Service, node: str) -> Check:
    ours = {service.name, service.clone, *(address.id for address in status.addresses_of(service))}
    found = [ban for ban in status.bans if ban.node == node and ban.resource in ours and ban.score <= NEVER]
    if found:
        says = "; ".join(
            f"{ban.resource} may not {'be promoted' if ban.promoted_only else 'run'} on {node}" for ban in found
        )
        return Check("bans", False, f"{says} (constraint {', '.join(ban.id for ban in found)})")
    return Check("bans", True, f"no constraint keeps {service.name} or its address off {node}")


def _addresses(status: Status, service: Service) -> Iterator[Check]:
    for address in status.addresses_of(service):
        name = f"{address.ip} ({address.id})"
        if address.failed:
            yield Check("address", False, f"{name} has failed: crm_resource --cleanup -r {address.id}")
        elif len(address.nodes) == 1 and address.nodes[0] == service.primary:
            yield Check("address", True, f"{name} is up on {service.primary} and follows the primary")
        else:
            where = f"on {' and '.join(address.nodes)}" if address.nodes else "nowhere"
            yield Check("address", False, f"{name} is up {where}, not on the primary alone", acceptable=True)


def _fencing(status: Status, service: Service) -> Check:
    if not status.fencing.enabled:
        says = "fencing is switched off: if the old primary cannot be closed, there is nothing to fall back on"
        return Check("fencing", False, says, acceptable=True)
    old = service.primary or ""
    ready = [device.id for device in status.fencing.covering(old) if device.running and not device.failed]
    if ready:
        return Check("fencing", True, f"{old} can be fenced if it cannot be closed ({', '.join(ready)})")
    return Check(
        "fencing", False, f"no working fencing device covers {old}, should it have to be forced", acceptable=True
    )


def _forecast(node: str, forecast: Forecast) -> Check:
    name = "forecast"
    if forecast.error:
        return Check(name, None, f"Pacemaker's simulation could not be run: {forecast.error}")
    if forecast.primary != node:
        where = f"{forecast.primary} would be primary" if forecast.primary else "nobody would be primary"
        return Check(name, False, f"asked for {node}, Pacemaker would not promote it: {where}")
    astray = [f"{name} {where or 'nowhere'}" for name, where in forecast.addresses.items() if where != node]
    if astray:
        return Check(name, False, f"Pacemaker would promote {node}, but leave {', '.join(astray)}")
    return Check(name, True, f"Pacemaker's simulation makes {node} the primary, with its address")
