"""Make a Status from what the tools printed. Pure: XML and text in, the model out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from hafailover.crm import corosync_links, fence_hosts, status_failures
from hafailover.crm.corosync_glance import device_state, quorum_device, votes
from hafailover.crm.errors import HafailoverError
from hafailover.crm.status import (
    Address,
    Ban,
    Link,
    Node,
    Quorum,
    QuorumDevice,
    Resource,
    Status,
)
from hafailover.crm.status_database import read_services
from hafailover.crm.status_facts import ClusterDown, Facts
from hafailover.crm.status_fencing import FenceDevice, FenceEvent, Fencing, watchdog
from hafailover.crm.status_leftovers import find_leftovers
from hafailover.crm.status_xml import Running, flag, instances, pairs, parse

ADDRESS_AGENTS = ("ocf:hafailover:vip", "ocf:heartbeat:IPaddr2", "ocf:heartbeat:IPv6addr", "ocf:heartbeat:IPaddr")


def read(facts: Facts) -> Status:
    """Return the model.

    ClusterDown while no coordinator is elected: then this node does not know what the others do, and shows them as lost.
    HafailoverError when what the tools printed is not what they print.
    """
    mon, cib = parse(facts.mon), parse(facts.cib)
    if mon.tag != "pacemaker-result" or not (mon.get("api-version") or "").startswith("2."):
        raise HafailoverError(
            f"crm_mon speaks {mon.tag} {mon.get('api-version') or '(no version)'}; this hafailover reads pacemaker-result 2.x"
        )
    dc = mon.find("summary/current_dc")
    if dc is None or not flag(dc, "present"):
        raise ClusterDown(
            "no coordinator (DC) is elected: this node is just joining, or the nodes are agreeing on one; ask again in a moment"
        )
    running = instances(mon)
    nodes = tuple(_nodes(mon))
    quorate = flag(dc, "with_quorum")
    services = read_services(facts, mon, cib, running, quorate)
    databases = {service.name for service in services}
    properties = _properties(cib)
    addresses = tuple(_addresses(cib, running, {service.clone: service.name for service in services}))
    options = mon.find("summary/cluster_options")
    maintenance = flag(options, "maintenance-mode")
    failures = tuple(status_failures.failures(mon, cib, facts.published))
    return Status(
        cluster=properties.get("cluster-name", ""),
        seen_by=facts.here,
        at=facts.at,
        coordinator=dc.get("name", ""),
        idle=(facts.coordinator_state == "S_IDLE") if facts.coordinator_state else None,
        maintenance=maintenance,
        managing=not (maintenance or flag(options, "stop-all-resources")),
        quorum=Quorum(quorate, _device(facts), *votes(facts.quorumtool)),
        nodes=nodes,
        fencing=Fencing(
            flag(options, "stonith-enabled"),
            tuple(_fence_devices(cib, running)),
            tuple(_events(mon)),
            watchdog(properties),
        ),
        services=services,
        addresses=addresses,
        resources=tuple(_resources(cib, running, databases | {address.id for address in addresses}, nodes)),
        failures=failures,
        bans=tuple(_bans(mon)),
        constraints=tuple(one.get("id", "") for one in cib.iterfind("configuration/constraints/*")),
        unanswered=facts.unanswered,
        silent=facts.silent,
        leftovers=tuple(find_leftovers(cib, nodes, services, _effective(properties, options), facts.at, running)),
        mixed=flag(dc, "mixed_version"),
        failcounts=tuple(status_failures.failcounts(mon, {(one.resource, one.node) for one in failures})),
        links=tuple(_links(facts.links, cib)),
    )


def _effective(properties: Mapping[str, str], options: Element | None) -> dict[str, str]:
    """The properties, and what of them Pacemaker goes by: a rule, or another set, may decide."""
    return {
        **properties,
        **{name: "true" for name in ("maintenance-mode", "stop-all-resources") if flag(options, name)},
    }


def _links(said: str, cib: Element) -> Iterator[Link]:
    names = {node.get("id", ""): node.get("uname", "") for node in cib.iterfind("configuration/nodes/node")}
    for number, states in corosync_links.parse(said).items():
        for node, state in states.items():
            if state != corosync_links.SELF:
                yield Link(number, names.get(node, f"node {node}"), state)


def _properties(cib: Element) -> dict[str, str]:
    found: dict[str, str] = {}
    for group in cib.iterfind("configuration/crm_config/cluster_property_set"):
        if not (group.get("id") or "").startswith("hafailover-"):
            found = {**pairs(group), **found}
    return found


def _nodes(mon: Element) -> Iterator[Node]:
    for node in mon.iterfind("nodes/node"):
        # A node that is in the membership without Pacemaker is shown as pending and, though nobody asked for it, as standby.
        pending = flag(node, "pending")
        down = pending and node.get("expected_up") == "false"
        yield Node(
            name=node.get("name", ""),
            id=node.get("id", ""),
            online=flag(node, "online") and not down,
            standby=not pending and (flag(node, "standby") or flag(node, "standby_onfail")),
            maintenance=flag(node, "maintenance"),
            pending=pending and not down,
            stopped=down,
            unclean=flag(node, "unclean"),
            shutting_down=flag(node, "shutdown"),
            coordinator=flag(node, "is_dc"),
            kind=node.get("type", "member"),
        )


def _device(facts: Facts) -> QuorumDevice | None:
    named = quorum_device(facts.corosync_conf)
    return QuorumDevice(*named, *device_state(facts.quorumtool)) if named else None


def _fence_devices(cib: Element, running: Mapping[str, list[Running]]) -> Iterator[FenceDevice]:
    templates = {one.get("id", ""): one for one in cib.iterfind("configuration/resources/template")}
    for primitive in cib.iter("primitive"):
        template = templates.get(primitive.get("template", ""))
        made_of = primitive if template is None else template
        if made_of.get("class") != "stonith":
            continue
        name = primitive.get("id", "")
        params, meta = (
            {**pairs(made_of.find(part)), **pairs(primitive.find(part))}
            for part in ("instance_attributes", "meta_attributes")
        )
        found = running.get(name, [])
        hosts = fence_hosts.read(params)
        yield FenceDevice(
            id=name,
            agent=made_of.get("type", ""),
            node=next((one.node for one in found if one.node), ""),
            running=any(one.active for one in found),
            failed=any(one.failed for one in found),
            targets=hosts.names if hosts.check == fence_hosts.STATIC else (),
            wanted=meta.get("target-role", "").lower() != "stopped",
            blocked=any(one.blocked for one in found),
            **_checked(cib, name, next((one.node for one in found if one.node), "")),
        )


def _checked(cib: Element, device: str, node: str) -> dict[str, Any]:
    """How the last check of a fencing device on the node that watches it ended: fields of FenceDevice."""
    operations = [
        operation
        for state in cib.iterfind("status/node_state")
        if state.get("uname") == node
        for history in state.iterfind("lrm/lrm_resources/lrm_resource")
        if history.get("id") == device
        for operation in history.iterfind("lrm_rsc_op")
        if operation.get("operation") in ("monitor", "start") and operation.get("op-status") != "-1"
    ]
    # Starting a device is its first check; where no other recurs, that is all there is.
    last = max(
        operations, key=lambda one: (one.get("operation") == "monitor", status_failures.changed(one)), default=None
    )
    if last is None:
        return {}
    ended = last.get("rc-code", "")
    why = last.get("exit-reason", "") or f"its agent ended with {ended}"
    return {"checked": "ok" if ended == "0" else why, "since": status_failures.changed(last) or None}


def _events(mon: Element) -> list[FenceEvent]:
    found = [
        FenceEvent(
            target=event.get("target", ""),
            action=event.get("action", ""),
            status=event.get("status", ""),
            at=status_failures.moment(event.get("completed", "")),
            by=event.get("delegate", event.get("origin", "")),
            reason=event.get("exit-reason", event.get("extended-status", "")),
        )
        for event in mon.iterfind("fence_history/fence_event")
    ]
    return sorted(found, key=lambda event: event.at or 0.0, reverse=True)


def _addresses(cib: Element, running: Mapping[str, list[Running]], clones: Mapping[str, str]) -> Iterator[Address]:
    groups = {
        member.get("id", ""): group.get("id", "")
        for group in cib.iter("group")
        for member in group.iterfind("primitive")
    }
    follows: dict[str, str] = {}
    for constraint in cib.iterfind("configuration/constraints/rsc_colocation"):
        role = constraint.get("with-rsc-role", "")
        if role in ("Promoted", "Master") and constraint.get("with-rsc") in clones:
            follows[constraint.get("rsc", "")] = clones[constraint.get("with-rsc", "")]
    for primitive in cib.iter("primitive"):
        if agent_of(primitive) not in ADDRESS_AGENTS:
            continue
        name = primitive.get("id", "")
        found = running.get(name, [])
        yield Address(
            id=name,
            ip=pairs(primitive.find("instance_attributes")).get("ip", ""),
            nodes=tuple(one.node for one in found if one.node and one.role != "Stopped"),
            follows=follows.get(name, follows.get(groups.get(name, ""), "")),
            managed=all(one.managed for one in found),
            failed=any(one.failed or one.blocked for one in found),
        )


def agent_of(primitive: Element) -> str:
    """Its agent as class:provider:type."""
    return ":".join(part for part in (primitive.get(key) for key in ("class", "provider", "type")) if part)


def _resources(
    cib: Element, running: Mapping[str, list[Running]], shown: set[str], nodes: tuple[Node, ...]
) -> Iterator[Resource]:
    unwanted = {
        element.get("id")
        for kind in ("primitive", "group", "clone", "master")
        for element in cib.iter(kind)
        if pairs(element.find("meta_attributes")).get("target-role", "").lower() == "stopped"
    }
    for name, found in running.items():
        if name in shown or any(one.agent.startswith("stonith:") for one in found):
            continue
        first = found[0]
        wanted = not unwanted & {name, *first.parents}
        yield Resource(
            id=name,
            agent=first.agent,
            parent=first.parents[0] if first.parents else "",
            role=next((one.role for one in found if one.active), first.role),
            pending=next((one.pending for one in found if one.pending), ""),
            nodes=tuple(one.node for one in found if one.node),
            managed=all(one.managed for one in found),
            failed=any(one.failed for one in found),
            blocked=any(one.blocked for one in found),
            orphaned=any(one.orphaned for one in found),
            wanted=wanted,
            missing=_missing(cib, name, found, nodes) if wanted and len(found) > 1 else (),
        )


def _missing(cib: Element, name: str, found: list[Running], nodes: tuple[Node, ...]) -> tuple[str, ...]:
    """The usable nodes that an instance of a clone has no place on, though it has no constraint that says why."""
    there = {one.node for one in found if one.node}
    free = tuple(node.name for node in nodes if node.usable and node.kind == "member" and node.name not in there)
    idle = any(not one.node and one.role == "Stopped" and not one.pending for one in found)
    if not (there and free and idle):
        return ()
    names = {name, *found[0].parents}
    for constraint in cib.iterfind("configuration/constraints/*"):
        members = [
            constraint.get("rsc"),
            constraint.get("then"),
            *(one.get("id") for one in constraint.iter("resource_ref")),
        ]
        if names & set(members) or constraint.get("rsc-pattern"):
            return ()
    return free


def _bans(mon: Element) -> Iterator[Ban]:
    for ban in mon.iterfind("bans/ban"):
        yield Ban(
            id=ban.get("id", ""),
            resource=ban.get("resource", ""),
            node=ban.get("node", ""),
            score=int(ban.get("weight", "0")),
            promoted_only=flag(ban, "promoted-only"),
        )
