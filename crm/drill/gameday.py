"""A drill on a real cluster: look whether it is safe, run one scenario, put everything right again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from hafailover.agents.mariadb import outside
from hafailover.agents.ocf import OcfError
from hafailover.crm import apply_lock, corosync_conf, local, switchover_facts, waiting
from hafailover.crm.corosync_conf import CorosyncConf
from hafailover.crm.drill import actions, backups, database, fencers, kept, possible, safety
from hafailover.crm.drill.actions import Step
from hafailover.crm.drill.cluster_place import ClusterPlace, clock_offset
from hafailover.crm.drill.conditions import Written
from hafailover.crm.drill.engine import Drill, Say
from hafailover.crm.drill.faults import TABLE as FAULTS
from hafailover.crm.drill.interruption import interrupted_once
from hafailover.crm.drill.ledger import Ledger
from hafailover.crm.drill.possible import Means
from hafailover.crm.drill.reach import Reach, Server
from hafailover.crm.drill.report import Run
from hafailover.crm.drill.scenario import Scenario
from hafailover.crm.drill.stacks import Hafailover
from hafailover.crm.drill.stage import Stage
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import HafailoverError, IncompleteError, RefusedError, UsageError
from hafailover.crm.status import NOTE, Service, Status
from hafailover.crm.status_database import IN_SYNC
from hafailover.crm.status_facts import GLANCE, ClusterDown, Facts, gather, gather_idle
from hafailover.crm.status_judge import judge
from hafailover.crm.status_read import read
from hafailover.crm.switchover import Check

_SOCKET = "/run/mysqld/mysqld.sock"
_SESSIONS = (
    "SELECT COUNT(*) FROM information_schema.processlist WHERE user NOT IN ('root', 'mariadb.sys', 'system user', 'event_scheduler')"
    " AND command NOT LIKE 'Binlog Dump%' AND id <> CONNECTION_ID()"
)
_ASK = 10.0  # seconds
AGAIN = "hafailover drill --restore tries that again"
_START_WITHIN = 300.0
PATIENCE = 900.0
"""Seconds: servers check their memory before they boot."""
_POLL = 1.0


class Case(NamedTuple):
    """A cluster looked at, at one moment: who is who, what can be done from here, what to aim at, and what speaks against a scenario."""

    status: Status
    service: Service
    roles: Mapping[str, str]
    means: Means
    target: Target
    place: ClusterPlace
    checks: tuple[Check, ...] = ()


class GameDay:
    """Drills of the cluster that this node belongs to. ``reach``: a Reach that is open; see :func:`opened`.

    ``patience``: seconds that a node may need to be a replica in sync again.
    """

    def __init__(self, reach: Reach, service: str | None, patience: float = PATIENCE) -> None:
        self._reach = reach
        self._service = service
        self._patience = patience

    def look(self) -> Case:
        """Look at the cluster; HafailoverError when it does not run here or there is nothing to drill."""
        return self._case(gather(local.run))

    def _case(self, found: Facts) -> Case:
        status = read(found)
        service = chosen(status, self._service)
        roles = roles_of(service)
        conf = _conf()
        addresses = status.addresses_of(service)
        target = Target(
            database=service.name,
            clone=service.clone,
            address=addresses[0].id if addresses else "",
            ip=addresses[0].ip if addresses else "",
            prefix=0,
            port=service.port,
            socket=self._reach.server.socket,
            nodes=dict(service.nodes),
            datadir="",
        )
        device = status.quorum.device
        links = {node.name: list(node.links.values()) for node in conf.nodes} if conf else {}
        place = ClusterPlace(status, self._reach, links, [device.host] if device else [])
        means = Means(
            here=status.seen_by,
            runs_on=frozenset(node.name for node in status.nodes if self._reach.works_on(node.name)),
            administers=frozenset(node for node in service.nodes if self._reach.administers(node)),
            fences=frozenset(
                node.name
                for node in status.nodes
                if status.fencing.enabled
                and any(one.running and not one.failed for one in status.fencing.covering(node.name))
            ),
            links={name: len(addresses) for name, addresses in links.items()},
        )
        return Case(status, service, roles, means, target, place)

    def examine(self, scenario: Scenario, accepted: frozenset[str], say: Say) -> Case:
        """Look as soon as the cluster has settled, and check whether it is safe to run ``scenario`` now."""
        case = self._case(gather_idle(local.run, say))
        service, primary = case.service, case.service.primary
        left = kept.unfinished()
        offsets = {node: clock_offset(case.place, node) for node in service.nodes if node != case.place.here}
        case.place.offsets = {node: offset for node, offset in offsets.items() if offset is not None}
        if "status" in accepted:
            case.place.accepted = frozenset(one.what for one in judge(case.status).problems if one.severity != NOTE)
        facts = safety.Facts(
            status=case.status,
            service=service,
            answers=switchover_facts.ask_everybody(service),
            against=possible.against(scenario, case.roles, case.means) if primary else ["there is no primary"],
            fences=possible.needs_fencing(scenario),
            leaves=possible.takes_member(scenario),
            offsets=offsets,
            sessions=_sessions(case) if primary else None,
            unfinished=f"the drill {left['scenario']} was not finished" if left else "",
            schema=_schema(case) if primary else None,
            device=fencers.covering(case.status) if case.status.fencing.enabled else None,
            backups=backups.running(case.place, [node for node in service.nodes if self._reach.works_on(node)]),
            tried=fencers.tried() if case.status.fencing.enabled else {},
        )
        return case._replace(checks=safety.checks(facts, accepted))

    def run(self, scenario: Scenario, case: Case, evidence: Path, say: Say, interval: float) -> tuple[Run, list[str]]:
        """Run it and restore; return the result, and what could not be restored.

        When it is interrupted or breaks off it restores, too, and raises: IncompleteError when something could not be restored.
        """
        steps = [step for one in scenario.steps for step in actions.undo(one)]
        with apply_lock.held(f"drill {scenario.name}"), interrupted_once(say):
            drill = Drill(case.place, case.target, Hafailover(case.place.accepted), evidence, say, interval)
            try:
                drill.note = kept.begin(
                    scenario.name, steps, case.roles, case.service.name, drill.password, case.place.here
                )
                drill.begin()
                done = drill.run(possible.patient(scenario, self._patience), case.roles)
            except BaseException:
                left = self._end(drill, case, say)
                if left:
                    raise IncompleteError(f"not restored: {'; '.join(left)}. {AGAIN}") from None
                raise
            return done, self._end(drill, case, say)

    def _end(self, drill: Drill, case: Case, say: Say) -> list[str]:
        with local.without_interrupts():
            left = drill.end()
            broken = _still_broken(case.place)
            # What is still off does not come back by waiting, and until this is over nobody can interrupt it.
            left = [*left, *broken, *(self._out_of_sync() if broken else self._await_sync(say))]
            if not left:
                kept.end()
            return left

    def _await_sync(self, say: Say) -> list[str]:
        """Wait until every node is there and every replica in sync again; what is not, one sentence each."""
        end = time.monotonic() + self._patience
        said = False
        while True:
            why = self._out_of_sync()
            if not why or time.monotonic() > end:
                return why
            if not said:
                say(f"wait until all is well: {why[0]}")
                said = True
            time.sleep(_POLL)

    def _out_of_sync(self) -> list[str]:
        try:
            status = read(gather(local.run, GLANCE))
            service = chosen(status, self._service)
        except HafailoverError as error:
            return [str(error)]
        # One that was interrupted while it stopped is in sync until it really stops, and starts again only then.
        away = [f"{node.name} is {node.words}" for node in status.nodes if not node.usable]
        if away:
            return away
        if service.primary is None:
            return [f"{service.name} has no primary"]
        bad = [one for one in service.instances if one.node != service.primary and one.standing != IN_SYNC]
        return [f"{one.node} is {one.standing}{f' ({one.reason})' if one.reason else ''}" for one in bad]

    def noted(self) -> dict[str, Any] | None:
        """What a drill of another node has left broken, as it stands in the database; None where nothing does.

        HafailoverError when this node's server cannot be asked, nor the primary's.
        """
        case = self.look()
        asked = [node for node in (case.place.here, case.service.primary) if node in case.service.nodes]
        complaint = HafailoverError(
            "there is no server that could be asked what a drill of another node has left broken"
        )
        for node in asked:
            try:
                found = database.noted(case.place, str(node))
            except HafailoverError as error:
                complaint = error
                continue
            return kept.from_elsewhere(found) if found else None
        raise complaint

    def restore(self, found: Mapping[str, Any], say: Say) -> list[str]:
        """Take back what a drill that was killed has left broken; what could not be taken back, one sentence each.

        RefusedError while that drill goes on, or something else changes the cluster.
        """
        with apply_lock.held("drill --restore"):
            return self._restore(found, say)

    def _restore(self, found: Mapping[str, Any], say: Say) -> list[str]:
        status = read(gather(local.run))
        case = self.look() if status.service(found["service"]) else None
        if case is None:
            raise HafailoverError(
                f"the cluster has no service {found['service']} any more: {kept.directory()} says what was broken"
            )
        conditions = Written(case.place, case.target, Hafailover(), Ledger(), {})
        stage = Stage(case.place, case.target, Hafailover(), conditions, found["roles"])
        failed = []
        for step in found["steps"]:
            try:
                say(f"{step.action} {stage.node(step)}")
                FAULTS[step.action](stage, step)
            except HafailoverError as error:
                failed.append(f"{step.action} {step.parameters['node']}: {error}")
        # Before a server can be asked there has to be a primary: the roles may be moving because of what was broken.
        waited = [] if failed else self._await_sync(say)
        if found["password"]:
            self._reach.know(database.USER, found["password"])
        try:
            if _schema(self.look()) is not False:
                database.clean_up(case.place, database.primary(case.place, case.target))
        except HafailoverError as error:
            failed.append(str(error))
        failed += waited
        if not failed:
            kept.end()
        return failed


def revive(steps: Sequence[Step], roles: Mapping[str, str], say: Say) -> None:
    """Where a drill was killed that had stopped the cluster on this node: start it, for nothing can be asked before.

    HafailoverError when it does not come up."""
    try:
        gather(local.run)
        return
    except ClusterDown:
        stopped = {str(step.parameters["node"]) for step in steps if step.action == "start-cluster"}
        stopped = {roles.get(node, node) for node in stopped}
        here = local.named_here({*roles.values()})
        # What it had stopped on another node is no reason to start anything on this one.
        if not stopped or (here is not None and here not in stopped):
            raise
    say("start the cluster on this node")
    device = (
        ["corosync-qdevice"] if local.run(["systemctl", "--quiet", "is-enabled", "corosync-qdevice"]).rc == 0 else []
    )
    done = local.run(["systemctl", "start", "corosync", *device, "pacemaker"], _ASK * 9)
    if done.rc:
        raise HafailoverError(f"the cluster cannot be started on this node: {(done.err or done.out).strip()}")

    def there() -> bool | None:
        try:
            return True if read(gather(local.run, GLANCE)) else None
        except HafailoverError:
            return None

    waiting.wait("this node is a member again", _START_WITHIN, there, _POLL)


def _still_broken(place: ClusterPlace) -> list[str]:
    states = place.states().items()
    return [
        f"{node} is {'off' if state.power == 'off' else 'cut off'}"
        for node, state in states
        if state.cut or state.power != "on"
    ]


@contextmanager
def opened(service_name: str | None, defaults_file: str | None, patience: float = PATIENCE) -> Iterator[GameDay]:
    """Find the ways to the nodes, and leave nothing behind. HafailoverError as of :meth:`GameDay.look`."""
    status = read(gather(local.run))
    service = chosen(status, service_name)
    reader, _ = switchover_facts.credentials(service)
    server = Server(service.nodes, service.port, _socket(service.name))
    with Reach(status.seen_by, server, reader, defaults_file) as reach:
        reach.look_for_ssh(node.name for node in status.nodes)
        yield GameDay(reach, service_name, patience)


def chosen(status: Status, name: str | None) -> Service:
    """The database service that is meant; UsageError says which there are."""
    names = ", ".join(service.name for service in status.services)
    if not status.services:
        raise UsageError("this cluster has no database service (ocf:hafailover:mariadb), and a drill counts its writes")
    if name is None and len(status.services) > 1:
        raise UsageError(f"there are several database services ({names}): say which with --service NAME")
    found = status.services[0] if name is None else status.service(name)
    if found is None:
        raise UsageError(f"there is no database service {name}; known: {names}")
    return found


def roles_of(service: Service) -> dict[str, str]:
    """Who is primary, replica, replica2 … now, as scenarios call them."""
    if service.primary is None:
        return {}
    replicas = [node for node in service.nodes if node != service.primary]
    return {"primary": service.primary} | {
        f"replica{number if number > 1 else ''}": node for number, node in enumerate(replicas, 1)
    }


def _socket(service: str) -> str:
    try:
        return outside.environment(service).get("OCF_RESKEY_socket", _SOCKET)
    except OcfError:
        return _SOCKET


def _conf() -> CorosyncConf | None:
    try:
        return corosync_conf.read()
    except UsageError:
        return None


def _sessions(case: Case) -> int | None:
    if case.service.primary not in case.means.administers:
        return None
    try:
        return int(database.sql(case.place, str(case.service.primary), _SESSIONS, _ASK)[0][0])
    except (HafailoverError, ValueError, IndexError):
        return None


def _schema(case: Case) -> bool | None:
    """Whether the drill's schema is there; every server has it if one has, so this node's own will do. None if none can be asked."""
    for node in (case.service.primary, case.place.here):
        if node in case.means.administers and node in case.service.nodes:
            with suppress(HafailoverError):
                return database.exists(case.place, str(node))
    return None


def environment(case: Case, interval: float) -> list[tuple[str, str]]:
    """What a reader of the report has to know about the cluster, without secrets: (what, how it is)."""
    status = case.status
    device = status.quorum.device
    rows = [
        ("cluster", f"{case.place.name}, seen from {status.seen_by}"),
        (
            "nodes",
            ", ".join(f"{node.name} ({case.service.nodes.get(node.name) or 'no database'})" for node in status.nodes),
        ),
        ("database", f"{case.service.name}, port {case.service.port}, epoch {case.service.journal.epoch}"),
        ("address", f"{case.target.address} ({case.target.ip})"),
        ("quorum device", f"{device.model} on {device.host}" if device else "none"),
        ("fencing", ", ".join(f"{one.id} ({one.agent})" for one in status.fencing.devices) or "none"),
        ("client", f"one row every {interval * 1000:g} ms through the address, from {status.seen_by}"),
        ("reached by ssh", ", ".join(sorted(case.place.reach.by_ssh)) or "no other node"),
    ]
    programs = (
        ("Pacemaker", ["pacemakerd", "--version"]),
        ("Corosync", ["corosync", "-v"]),
        ("MariaDB", ["mariadbd", "--version"]),
    )
    rows += [(name, said) for name, argv in programs if (said := _first_line(argv))]
    return [*rows, ("kernel", _first_line(["uname", "-sr"]) or "not known"), ("time zone", time.strftime("%Z (%z)"))]


def _first_line(argv: Sequence[str]) -> str:
    try:
        done = local.run(argv, _ASK)
    except HafailoverError:
        return ""
    return done.out.strip().splitlines()[0][:120] if done.rc == 0 and done.out.strip() else ""


def refuse(checks: Sequence[Check]) -> None:
    """RefusedError with the reasons when a check stands in the way."""
    against = [check.says for check in checks if check.refuses]
    if against:
        raise RefusedError(f"refused, nothing was broken: {'; '.join(against)}")
