"""Is it safe to start a drill on this cluster now? Pure: facts in, a checklist with reasons out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from hafailover.crm.status import OK, Failure, Service, Status
from hafailover.crm.status_database import IN_SYNC
from hafailover.crm.status_judge import judge
from hafailover.crm.status_judge_fencing import failed_fencing
from hafailover.crm.switchover import Answers, Check

MAX_OFFSET = 1.0
"""Seconds by which clocks may differ; times that nodes tell are corrected by it, but a clock that far off is a fault of its own."""
_DAY = 86400.0


class Facts(NamedTuple):
    """What was found. ``against``: why the scenario cannot be run here. ``moves``, ``fences``: what it needs of the cluster.

    ``offsets``: node → seconds that its clock is ahead. ``sessions``: how many clients are connected to the primary, None if not known.
    ``unfinished``: what an earlier drill left broken. ``schema``: there is one of the drill's name already; None if nobody could ask.
    ``device``: the answer of fencing itself about who can fence whom (node → devices), None where it was not asked. ``tried``: what each
    device that this node can use said when it was tried ("" for good). ``backups``: the programs that make one now.
    ``leaves``: whether a member leaves for a while.
    """

    status: Status
    service: Service
    answers: Answers
    against: Sequence[str]
    fences: bool
    offsets: Mapping[str, float | None]
    sessions: int | None = None
    unfinished: str = ""
    schema: bool | None = None
    device: Mapping[str, Sequence[str]] | None = None
    tried: Mapping[str, str] = {}
    backups: Sequence[str] = ()
    leaves: bool = False


def checks(facts: Facts, accepted: frozenset[str] = frozenset()) -> tuple[Check, ...]:
    """Every check; those in ``accepted`` are let pass if they may be."""
    return tuple(
        replace(check, accepted=True) if check.ok is False and check.acceptable and check.name in accepted else check
        for check in _checks(facts)
    )


def _checks(facts: Facts) -> Iterator[Check]:
    yield _possible(facts)
    yield _unfinished(facts)
    yield _quorum(facts.status, facts.leaves)
    yield _members(facts.status)
    yield _managed(facts.status)
    yield _primary(facts)
    yield from _replicas(facts)
    yield _address(facts)
    yield _fencing(facts)
    yield _failures(facts.status)
    yield _leftovers(facts)
    yield _status(facts.status)
    yield _clocks(facts)
    yield _schema(facts)
    yield _backup(facts)
    yield _clients(facts)


def _possible(facts: Facts) -> Check:
    if facts.against:
        return Check("here", False, "; ".join(facts.against))
    return Check("here", True, f"everything that the scenario needs can be done from {facts.status.seen_by}")


def _unfinished(facts: Facts) -> Check:
    if facts.unfinished:
        return Check("unfinished", False, f"{facts.unfinished}: hafailover drill --restore takes that back")
    return Check("unfinished", True, "no earlier drill has left anything broken")


def _quorum(status: Status, leaves: bool) -> Check:
    if not status.quorum.quorate:
        return Check("quorum", False, "this partition has no quorum")
    device, votes, needed = status.quorum.device, status.quorum.votes, status.quorum.needed
    if leaves and votes is not None and needed is not None and votes - 1 < needed:
        says = f"without the node that leaves the others would have no quorum, and all would stop ({votes} votes now, {needed} needed)"
        return Check("quorum", False, says, acceptable=True)
    if device is None:
        return Check("quorum", True, "the cluster has quorum; there is no quorum device")
    if device.running is False or device.voting is False:
        return Check(
            "quorum", False, f"the quorum device on {device.host} does not vote for this node", acceptable=True
        )
    return Check("quorum", True, f"the cluster has quorum, and the quorum device on {device.host} votes")


def _members(status: Status) -> Check:
    bad = [f"{node.name} is {node.words}" for node in status.nodes if not node.usable]
    if bad:
        return Check("nodes", False, "; ".join(bad))
    return Check("nodes", True, f"all {len(status.nodes)} nodes are online, none in standby or maintenance")


def _managed(status: Status) -> Check:
    if status.maintenance or not status.managing:
        return Check(
            "managed", False, "the cluster is in maintenance mode or told to stop everything: it would do nothing"
        )
    if status.idle is False:
        return Check("managed", False, "the cluster is acting right now; wait until it is idle")
    if status.idle is None:
        return Check("managed", None, "the cluster manages its resources; whether it is idle it does not say now")
    return Check("managed", True, "the cluster manages its resources and is idle")


def _primary(facts: Facts) -> Check:
    service = facts.service
    if service.primary is None:
        return Check(
            "primary", False, f"there is no one primary of {service.name} ({', '.join(service.promoted) or 'none'})"
        )
    if service.journal.primary != service.primary:
        recorded = service.journal.primary or "nobody"
        return Check("primary", False, f"{service.primary} is promoted, but the journal records {recorded}")
    return Check("primary", True, f"{service.primary} is the primary of {service.name}, and recorded as such")


def _replicas(facts: Facts) -> Iterator[Check]:
    service = facts.service
    replicas = [one for one in service.instances if one.node != service.primary]
    bad = [
        f"{one.node} is {one.standing}{f': {one.reason}' if one.reason else ''}"
        for one in replicas
        if one.standing != IN_SYNC
    ]
    missing = [node for node in service.nodes if service.instance(node) is None]
    bad += [f"{node} runs no server" for node in missing]
    if bad or not replicas:
        yield Check("replicas", False, "; ".join(bad) or "there is no replica")
        return
    names = " and ".join(one.node for one in replicas)
    yield Check("replicas", True, f"{names} {'is' if len(replicas) == 1 else 'are'} in sync")
    silent = [
        f"{one.node}: {answer.error}"
        for one in replicas
        if (answer := facts.answers.servers.get(one.node)) and answer.error
    ]
    if facts.answers.unasked or silent:
        yield Check("servers", False, f"not every server could be asked: {facts.answers.unasked or '; '.join(silent)}")


def _address(facts: Facts) -> Check:
    mine = facts.status.addresses_of(facts.service)
    if not mine:
        return Check(
            "address",
            False,
            f"no address follows the primary of {facts.service.name}: there is nothing to write through",
        )
    off = [
        f"{one.id} is on {' and '.join(one.nodes) or 'no node'}"
        for one in mine
        if list(one.nodes) != [facts.service.primary]
    ]
    if off:
        return Check("address", False, "; ".join(off))
    return Check("address", True, f"{', '.join(f'{one.id} ({one.ip})' for one in mine)} is where the primary is")


def _fencing(facts: Facts) -> Check:
    fencing, may = facts.status.fencing, not facts.fences
    if not fencing.enabled:
        return Check(
            "fencing", False, "fencing is switched off: a node that does not answer stays as it is", acceptable=may
        )
    broken = [device.id for device in facts.status.broken_fences()]
    if broken:
        return Check("fencing", False, f"{', '.join(broken)} does not run, or has failed", acceptable=may)
    bare = [node.name for node in facts.status.nodes if node.kind == "member" and not fencing.covering(node.name)]
    bare += [node for node, devices in (facts.device or {}).items() if not devices and node not in bare]
    if bare:
        return Check("fencing", False, f"no device can fence {', '.join(bare)}", acceptable=may)
    silent = [f"{device}: {why}" for device, why in facts.tried.items() if why]
    if silent:
        return Check(
            "fencing", False, f"tried now, a fence device does not answer: {'; '.join(silent)}", acceptable=may
        )
    failed = list(failed_fencing(fencing.events))
    if failed:
        return Check(
            "fencing",
            False,
            f"the last fencing of {failed[0].target} failed: {failed[0].reason or 'no reason given'}",
            acceptable=may,
        )
    done = [event for event in fencing.events if event.status == "success" and event.at is not None]
    when = (
        f"a node was last fenced {_ago(facts.status.at - float(done[0].at or 0))}"
        if done
        else "none has fenced since the cluster was started"
    )
    tried = f"; {' and '.join(facts.tried)} answered just now" if facts.tried else ""
    return Check("fencing", True, f"a device that runs covers every node{tried}; {when}")


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s ago"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min ago"
    return f"{seconds / 3600:.0f} h ago" if seconds < 2 * _DAY else f"{seconds / _DAY:.0f} days ago"


def _failures(status: Status) -> Check:
    bad = [one for one in status.failures if one.lasting or one.given_up]
    if bad:
        return Check("failures", False, f"{_named(bad)}; crm_resource --cleanup forgets what is over", acceptable=True)
    if status.failures:
        return Check("failures", True, f"nothing fails now; still on record is what is over: {_named(status.failures)}")
    return Check("failures", True, "no failed action is on record")


def _named(failures: Sequence[Failure]) -> str:
    shown = [f"{one.task} of {one.resource} on {one.node} ({one.reason or one.status})" for one in failures[:3]]
    return "; ".join(shown) + (" …" if len(failures) > 3 else "")


def _leftovers(facts: Facts) -> Check:
    service = facts.service
    mine = {service.name, service.clone, *(one.id for one in facts.status.addresses_of(service))}
    found = [f"{ban.resource} is kept off {ban.node} by {ban.id}" for ban in facts.status.bans if ban.resource in mine]
    found += [leftover.what for leftover in facts.status.leftovers]
    if found:
        return Check("leftovers", False, "; ".join(dict.fromkeys(found)), acceptable=True)
    return Check("leftovers", True, "no ban and nothing temporary is left in the configuration")


def _status(status: Status) -> Check:
    verdict = judge(status)
    if verdict.word != OK:
        return Check("status", False, f"hafailover status says {verdict.word}: {verdict.reason}", acceptable=True)
    return Check("status", True, "hafailover status says OK")


def _clocks(facts: Facts) -> Check:
    known = {node: offset for node, offset in facts.offsets.items() if offset is not None}
    silent = sorted(facts.offsets.keys() - known.keys())
    if silent:
        return Check("clocks", None, f"the clock of {', '.join(silent)} could not be compared")
    far = [
        f"{node} is {abs(offset):.1f} s {'ahead' if offset > 0 else 'behind'}"
        for node, offset in known.items()
        if abs(offset) > MAX_OFFSET
    ]
    if far:
        return Check("clocks", False, f"the clocks differ: {'; '.join(far)}", acceptable=True)
    most = max((abs(offset) for offset in known.values()), default=0.0)
    return Check("clocks", True, f"the clocks agree within {max(most, 0.01):.2f} s")


def _schema(facts: Facts) -> Check:
    if facts.schema:
        says = (
            "there is a schema hafailover_drill already: hafailover drill --restore takes back what a drill of another node has left; "
            "where none has, and nothing of it is needed, drop it"
        )
        return Check("schema", False, says)
    if facts.schema is None:
        return Check("schema", None, "whether there is a schema hafailover_drill already could not be asked")
    return Check("schema", True, "the drill's schema is not there yet; no other is touched")


def _backup(facts: Facts) -> Check:
    if facts.backups:
        says = f"a backup is being made ({', '.join(facts.backups)}): it would be broken off, or hold things up"
        return Check("backup", False, says, acceptable=True)
    return Check("backup", None, "how old the last good backup is cannot be known from here: make sure of it yourself")


def _clients(facts: Facts) -> Check:
    if facts.sessions is None:
        return Check(
            "clients", None, "how many clients are connected is not known from here: each of them will feel it"
        )
    many = (
        f"{facts.sessions or 'no'} client session{'s are' if facts.sessions != 1 else ' is'} connected to the primary"
    )
    return Check("clients", None if facts.sessions else True, many + (": each will feel it" if facts.sessions else ""))
