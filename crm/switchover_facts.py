"""Ask the database servers, and Pacemaker's simulation, what the switchover's checks want to know. Changes nothing."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from hafailover.agents.mariadb import gtid, replication, roles, sql
from hafailover.agents.mariadb.decide import SCORE_REQUESTED
from hafailover.agents.mariadb.replication import Login
from hafailover.agents.mariadb.sql import Connection, SqlError
from hafailover.agents.ocf import OcfError
from hafailover.crm.errors import HafailoverError
from hafailover.crm.status import Service, Status
from hafailover.crm.status_database import PROMOTED_ROLES
from hafailover.crm.status_xml import instances, parse
from hafailover.crm.switchover import MAX_LAG, Answer, Answers, Forecast

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run

_TIMEOUT = 3.0  # seconds for a server's answer
_COMMIT = 1.0  # seconds that a commit may be on its way to the replica
_BETWEEN = 0.1  # seconds


def credentials(service: Service) -> tuple[Login | None, str]:
    """The replication account of ``service``, or why it cannot be read on this node."""
    if not service.credentials:
        return None, f"{service.name} has no parameter credentials"
    try:
        return replication.login(service.credentials), ""
    except OcfError as error:
        return None, str(error)


def ask(service: Service, target: str) -> Answers:
    """Ask the primary first, then all others; the target again if it only seems to lag."""
    login, wrong = credentials(service)
    if login is None:
        return Answers({}, wrong)
    found: dict[str, Answer] = {}
    if service.primary:
        found[service.primary] = _ask(service, service.primary, login)
    others = [name for name in service.nodes if name != service.primary]
    threads = [
        threading.Thread(target=lambda name=name: found.update({name: _ask(service, name, login)})) for name in others
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    primary = found.get(service.primary or "")
    if target in found and found[target].replica is not None:
        found[target] = _watch(service, target, login, found[target], primary.position if primary else "")
    return Answers(found)


def ask_everybody(service: Service) -> Answers:
    """Ask every server once, all at the same time."""
    login, wrong = credentials(service)
    if login is None:
        return Answers({}, wrong)
    found: dict[str, Answer] = {}
    threads = [
        threading.Thread(target=lambda name=name: found.update({name: _ask(service, name, login)}))
        for name in service.nodes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Answers({name: found[name] for name in service.nodes})


def _watch(service: Service, target: str, login: Login, first: Answer, position: str) -> Answer:
    """Look at the target until it has received ``position`` and applied what it had received at first, or MAX_LAG has passed.

    A commit on its way is in the primary's binary log before it is on the replica, so one look may call a good replica behind.
    """
    goal = gtid.latest(first.replica.received, first.replica.applied) if first.replica else ""
    begin = time.monotonic()
    answer = first
    while answer.replica is not None:
        waited = time.monotonic() - begin
        received = gtid.latest(answer.replica.received, answer.replica.applied)
        if gtid.reached(answer.replica.applied, goal) and (gtid.reached(received, position) or waited > _COMMIT):
            return replace(answer, lag=waited)
        if waited > MAX_LAG:
            break
        time.sleep(_BETWEEN)
        answer = _ask(service, target, login)
    return answer


def _ask(service: Service, node: str, login: Login) -> Answer:
    try:
        with sql.remote(service.nodes[node], service.port, login.user, login.password, _TIMEOUT) as server:
            return _answers_of(node, server)
    except SqlError as error:
        return Answer(node, error=str(error), full=error.errno == sql.TOO_MANY_CONNECTIONS)


def _answers_of(node: str, server: Connection) -> Answer:
    writable = server.writable()
    position = server.binlog_position()
    state, replica = roles.state_and_replica(server)
    return Answer(
        node,
        writable=writable,
        replica=replica,
        state=state,
        position=position,
        acknowledges=server.acknowledges(),
    )


def forecast(run: Run, cib: str, status: Status, service: Service, node: str) -> Forecast:
    """Let ``crm_simulate`` say what raising the promotion score of ``node`` would do."""
    try:
        raised = with_score(cib, service.name, node, SCORE_REQUESTED)
        with tempfile.NamedTemporaryFile("w", prefix="hafailover-", suffix=".xml", encoding="utf-8") as file:
            file.write(raised)
            file.flush()
            os.fsync(file.fileno())
            result = run(["crm_simulate", "--xml-file", file.name, "--simulate", "--output-as=xml"], timeout=10)
        if result.rc:
            said = (result.err or result.out).strip().splitlines()
            return Forecast("", {}, (), error=said[-1] if said else f"crm_simulate ended with {result.rc}")
        return read_forecast(parse(result.out), status, service)
    except HafailoverError as error:
        return Forecast("", {}, (), error=str(error))


def with_score(cib: str, resource: str, node: str, score: int) -> str:
    """The CIB with another promotion score for ``resource`` on ``node``; HafailoverError when the node has none yet."""
    root = parse(cib)
    for state in root.iterfind("status/node_state"):
        if state.get("uname") != node:
            continue
        for pair in state.iterfind("transient_attributes/instance_attributes/nvpair"):
            if pair.get("name") == f"master-{resource}":
                pair.set("value", str(score))
                return ElementTree.tostring(root, encoding="unicode")
    raise HafailoverError(f"{node} has no promotion score for {resource}")


def read_forecast(simulated: Element, status: Status, service: Service) -> Forecast:
    """From ``crm_simulate``'s XML: who is primary afterwards, where the addresses are, and what else happens."""
    after = simulated.find("revised_cluster_status")
    running = instances(after) if after is not None else {}
    promoted = [one.node for one in running.get(service.name, []) if one.role in PROMOTED_ROLES]
    addresses = {
        address.id: next((one.node for one in running.get(address.id, []) if one.node), "")
        for address in status.addresses_of(service)
    }
    return Forecast(
        primary=promoted[0] if len(promoted) == 1 else "",
        addresses=addresses,
        moves=tuple(_moves(simulated, {service.name, *addresses})),
    )


def _moves(simulated: Element, ours: set[str]) -> list[str]:
    """The actions on anything but the database and its addresses, as sentences."""
    found = []
    for action in simulated.iterfind("actions/rsc_action"):
        name = action.get("resource", "").split(":")[0]
        if name in ours:
            continue
        source, dest, task = action.get("source", ""), action.get("dest", ""), action.get("action", "")
        node = action.get("node", "") or source or dest
        found.append(f"{task} {name} {f'from {source} to {dest}' if source and dest else f'on {node}'}".strip())
    for action in simulated.iterfind("actions/node_action"):
        found.append(f"{action.get('task', 'action')} of node {action.get('node', '')}: {action.get('reason', '')}")
    return found
