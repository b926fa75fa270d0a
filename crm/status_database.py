"""The database services of the status: what Pacemaker, the journal and the servers' own word come to, by the agent's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from hafailover.agents.mariadb import decide, journal, told
from hafailover.agents.mariadb.decide import Replica, Standing
from hafailover.agents.mariadb.journal import Journal, JournalError
from hafailover.agents.mariadb.peer_port import peer_port
from hafailover.agents.nodes import addresses
from hafailover.crm.status import Instance, Service
from hafailover.crm.status_facts import Facts, database_resources
from hafailover.crm.status_xml import LOST, Running, flag, pairs

PRIMARY = "primary"
IN_SYNC = "in sync"
PROMOTABLE = "can be promoted"
BARRED = "cannot be promoted"
STOPPED = "stopped"
UNKNOWN = "unknown"

PROMOTED_ROLES = ("Promoted", "Master")
UNPROMOTED_ROLES = ("Unpromoted", "Slave")

# The journal's rules alone, as if the replication threads worked: the node itself publishes what is wrong with them.
_WORKING = Replica(source="", io="Yes", sql=True, received="", applied="", io_errno=0, sql_errno=0, error="")


def read_services(
    facts: Facts, mon: Element, cib: Element, running: Mapping[str, list[Running]], quorate: bool
) -> tuple[Service, ...]:
    """Every clone of the database agent."""
    online = frozenset(node.get("name", "") for node in mon.iterfind("nodes/node") if flag(node, "online"))
    return tuple(
        _service(facts, mon, cib, clone, primitive, running, quorate, online)
        for clone, primitive in database_resources(cib)
    )


def _service(
    facts: Facts,
    mon: Element,
    cib: Element,
    clone: Element,
    primitive: Element,
    running: Mapping[str, list[Running]],
    quorate: bool,
    online: frozenset[str],
) -> Service:
    name = primitive.get("id", "")
    params = pairs(primitive.find("instance_attributes"))
    try:
        nodes = addresses(params.get("nodes", ""))
    except ValueError:
        nodes = {}
    entry, wrong = read_journal(cib, name)
    incarnations = facts.published.get(f"hafailover-{name}-incarnation", {})
    said = told.sorted_out(facts.published.get(told.attribute(name), {}))
    reasons = said[told.WHY]
    reigns = {
        node: int(value)
        for node, value in facts.published.get(f"hafailover-{name}-reign", {}).items()
        if value.isdigit()
    }
    there = placed(running.get(name, []), tuple(nodes))
    instances = []
    for node in dict.fromkeys([*nodes, *there]):
        one = there.get(node)
        score = promotion_score(mon, name, node)
        alive = incarnations.get(node, "")
        standing, reason = (
            (STOPPED, "nobody knows what it does there")
            if one and one.pending == LOST
            else _standing(
                Standing(
                    node=node,
                    nodes=tuple(nodes),
                    online=online & frozenset(nodes),
                    quorate=quorate,
                    journal=entry,
                    incarnation=alive,
                    reigns=reigns,
                    lives=incarnations,
                    replica=_WORKING,
                    state="",
                    positions=dict.fromkeys(nodes, ""),
                ),
                one.role if one else "Stopped",
                score,
                reasons.get(node, ""),
                wrong,
            )
        )
        instances.append(
            Instance(
                node=node,
                role=one.role if one else "Stopped",
                pending=one.pending if one else "",
                score=score,
                standing=standing,
                reason=reason,
                incarnation=alive,
                managed=one.managed if one else True,
                failed=one.failed if one else False,
                blocked=one.blocked if one else False,
                rejoin=said[told.REJOIN].get(node, ""),
            )
        )
    promoted = tuple(one.node for one in instances if one.role in PROMOTED_ROLES)
    port = int(params.get("port", "3306")) if params.get("port", "3306").isdigit() else 3306
    clone_port = params.get("clone_port", "")
    return Service(
        name=name,
        clone=clone.get("id", ""),
        primary=promoted[0] if len(promoted) == 1 else None,
        promoted=promoted,
        journal=entry,
        journal_error=wrong,
        instances=tuple(instances),
        reigns=reigns,
        nodes=nodes,
        port=port,
        credentials=params.get("credentials", ""),
        clone_port=peer_port(port, int(clone_port) if clone_port.isdigit() else None),
        hooks=said[told.HOOKS],
    )


def placed(running: Sequence[Running], nodes: tuple[str, ...]) -> dict[str, Running]:
    """Node → instance; one that is just being demoted is shown without its node, which is then the only one missing."""
    there = {one.node: one for one in running if one.node}
    passing = [one for one in running if not one.node and one.pending]
    missing = [node for node in nodes if node not in there]
    if len(passing) == 1 and len(missing) == 1:
        there[missing[0]] = passing[0]
    return there


def read_journal(cib: Element, resource: str) -> tuple[Journal, str]:
    """The promotion journal of ``resource``, and why it cannot be read, or ""."""
    group = cib.find(f"configuration/crm_config/cluster_property_set[@id='hafailover-{resource}']")
    try:
        return journal.read(pairs(group).get("journal")), ""
    except JournalError as error:
        return journal.NONE, str(error)


def promotion_score(mon: Element, resource: str, node: str) -> int | None:
    """The promotion score of ``resource`` on ``node``, infinities as ±1000000, or None."""
    for attributes in mon.iterfind("node_attributes/node"):
        if attributes.get("name") != node:
            continue
        for attribute in attributes.iterfind("attribute"):
            if attribute.get("name") == f"master-{resource}":
                text = attribute.get("value", "")
                if text.lstrip("+-") == "INFINITY":
                    return -decide.SCORE_NEVER if not text.startswith("-") else decide.SCORE_NEVER
                return int(text) if text.lstrip("+-").isdigit() else None
    return None


def _standing(facts: Standing, role: str, score: int | None, why: str, journal_error: str) -> tuple[str, str]:
    """One word and its reason. What the node published goes before what the rules say from here: it has seen its own server."""
    entry = facts.journal
    if role in PROMOTED_ROLES:
        if journal_error:
            return UNKNOWN, journal_error
        if entry.primary != facts.node:
            return UNKNOWN, f"promoted, but the journal names {entry.primary or 'nobody'} as primary"
        return PRIMARY, ""
    if role not in UNPROMOTED_ROLES:
        return STOPPED, ""
    if journal_error:
        return BARRED, journal_error
    refusal = decide.standing_refusal(facts) if entry.epoch and entry.primary != facts.node else None
    published = why if why not in ("", "ok") else ""
    if score is not None and score > 0:
        if refusal:
            return BARRED, refusal
        return (IN_SYNC, "") if entry.in_sync(facts.node, facts.incarnation) else (PROMOTABLE, "")
    return BARRED, published or refusal or "its agent has not said yet that it may be"
