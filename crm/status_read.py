"""Make a Status from what the tools printed. Pure: XML and text in, the model out."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

from hafailover.agents import restated
from hafailover.crm.errors import HafailoverError
from hafailover.crm.status import (
    Address,
    Ban,
    Failure,
    FenceDevice,
    FenceEvent,
    Fencing,
    Node,
    Quorum,
    QuorumDevice,
    Resource,
    Status,
)
from hafailover.crm.status_database import read_services
from hafailover.crm.status_facts import DEGRADED_CODES, ClusterDown, Facts, corosync_device, device_state
from hafailover.crm.status_leftovers import find_leftovers
from hafailover.crm.status_xml import Running, flag, instances, pairs, parse

INFINITY = 1000000
_ADDRESS_AGENTS = ("ocf:hafailover:vip", "ocf:heartbeat:IPaddr2", "ocf:heartbeat:IPv6addr", "ocf:heartbeat:IPaddr")


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
    return Status(
        cluster=properties.get("cluster-name", ""),
        seen_by=facts.here,
        at=facts.at,
        coordinator=dc.get("name", ""),
        idle=(facts.coordinator_state == "S_IDLE") if facts.coordinator_state else None,
        maintenance=maintenance,
        managing=not (maintenance or flag(options, "stop-all-resources")),
        quorum=Quorum(quorate, _device(facts)),
        nodes=nodes,
        fencing=Fencing(flag(options, "stonith-enabled"), tuple(_fence_devices(cib, running)), tuple(_events(mon))),
        services=services,
        addresses=addresses,
        resources=tuple(_resources(cib, running, databases | {address.id for address in addresses})),
        failures=tuple(_failures(mon, cib, facts.published)),
        bans=tuple(_bans(mon)),
        constraints=tuple(one.get("id", "") for one in cib.iterfind("configuration/constraints/*")),
        unanswered=facts.unanswered,
        leftovers=tuple(find_leftovers(cib, nodes, services, properties)),
    )


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
    named = corosync_device(facts.corosync_conf)
    return QuorumDevice(*named, *device_state(facts.quorumtool)) if named else None


def _fence_devices(cib: Element, running: Mapping[str, list[Running]]) -> Iterator[FenceDevice]:
    for primitive in cib.iter("primitive"):
        if primitive.get("class") != "stonith":
            continue
        name = primitive.get("id", "")
        params = pairs(primitive.find("instance_attributes"))
        found = running.get(name, [])
        listed = params.get("pcmk_host_list", "").replace(",", " ").replace(";", " ").split()
        mapped = [entry.split(":")[0] for entry in params.get("pcmk_host_map", "").replace(";", " ").split()]
        yield FenceDevice(
            id=name,
            agent=primitive.get("type", ""),
            node=next((one.node for one in found if one.node), ""),
            running=any(one.active for one in found),
            failed=any(one.failed for one in found),
            targets=tuple(dict.fromkeys([*listed, *mapped])),
        )


def _events(mon: Element) -> list[FenceEvent]:
    found = [
        FenceEvent(
            target=event.get("target", ""),
            action=event.get("action", ""),
            status=event.get("status", ""),
            at=moment(event.get("completed", "")),
            by=event.get("delegate", event.get("origin", "")),
            reason=event.get("exit-reason", event.get("extended-status", "")),
        )
        for event in mon.iterfind("fence_history/fence_event")
    ]
    return sorted(found, key=lambda event: event.at or 0.0, reverse=True)


def moment(text: str) -> float | None:
    """Unix time of a time stamp as Pacemaker prints it, or None.

    ``2026-01-02 03:04:05 +01:00`` and ``…Z``, also with a fraction; ``Sat Nov 21 03:22:36 2026`` (local time) from older code paths.
    """
    import calendar  # rarely needed, like the format parser that strptime loads

    words = text.split()
    if len(words) == 5:
        try:
            return time.mktime(time.strptime(text.strip(), "%a %b %d %H:%M:%S %Y"))
        except ValueError:
            return None
    joined = "".join(words[1:])
    if not words or not joined:
        return None
    clock, sign, zone = joined, "", ""
    for mark in "+-":
        if mark in joined:
            clock, sign, zone = joined.partition(mark)
    fraction = clock.rstrip("Z").partition(".")
    try:
        base = calendar.timegm(time.strptime(f"{words[0]} {fraction[0]}", "%Y-%m-%d %H:%M:%S"))
        hours, _, minutes = zone.partition(":")
        offset = (int(hours) * 3600 + int(minutes or 0) * 60) * (-1 if sign == "-" else 1) if zone else 0
        return base - offset + float(f"0.{fraction[2] or 0}")
    except ValueError:
        return None


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
        if _agent(primitive) not in _ADDRESS_AGENTS:
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


def _agent(primitive: Element) -> str:
    return ":".join(part for part in (primitive.get(key) for key in ("class", "provider", "type")) if part)


def _resources(cib: Element, running: Mapping[str, list[Running]], shown: set[str]) -> Iterator[Resource]:
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
            wanted=not unwanted & {name, *first.parents},
        )


def _failures(mon: Element, cib: Element, published: Mapping[str, Mapping[str, str]]) -> Iterator[Failure]:
    counts = {}
    for node in mon.iterfind("node_history/node"):
        for history in node.iterfind("resource_history"):
            text = history.get("fail-count", "0")
            fails = 1000000 if text == "INFINITY" else int(text)
            threshold = history.get("migration-threshold", "0")
            counts[history.get("id", ""), node.get("name", "")] = (
                fails,
                0 if threshold == "INFINITY" else int(threshold),
            )
    for failure in mon.iterfind("failures/failure"):
        key, where = failure.get("op_key", failure.get("id", "")), failure.get("node", "")
        named, _, interval = key.rpartition("_")
        resource, _, task = named.rpartition("_")
        resource = resource.split(":")[0]
        at, lasting = _history(cib, where, resource, key, failure.get("exitcode", ""))
        fails, limit = counts.get((resource, where), (0, 0))
        reason = html.unescape(failure.get("exitreason", "")).strip()  # Pacemaker 2.1 escapes it twice
        of, _, newer = published.get(restated.attribute(resource), {}).get(where, "").partition(" ")
        if newer and of == interval and failure.get("exitcode") in DEGRADED_CODES:
            reason = newer
        yield Failure(
            resource=resource,
            node=where,
            task=task,
            rc=int(failure.get("exitcode", "1")),
            status=failure.get("status", ""),
            reason=reason,
            at=at if at is not None else moment(failure.get("last-rc-change", "")),
            lasting=lasting,
            fails=fails,
            threshold=limit,
        )


def _count(text: str) -> int:
    return INFINITY if text == "INFINITY" else int(text)


def _history(cib: Element, node: str, resource: str, key: str, rc: str) -> tuple[float | None, bool]:
    """When the failure was, and whether the last action of its kind still ended so.

    Pacemaker keeps ``…_last_failure_0`` beside the latest result until somebody cleans up, so a listed failure may be long over. The result
    of a recurring action that failed, or is degraded, is in that entry alone: its own one tells of the last success, or that it runs.
    """
    at, lasting = None, False
    states = [state for state in cib.iterfind("status/node_state") if state.get("uname") == node]
    for history in (one for state in states for one in state.iterfind("lrm/lrm_resources/lrm_resource")):
        if history.get("id", "").split(":")[0] != resource:
            continue
        entries = [one for one in history.iterfind("lrm_rsc_op") if one.get("operation_key") == key]
        failed = [one for one in entries if one.get("id", "").endswith("_last_failure_0") and one.get("rc-code") == rc]
        begun = max((_call(one) for one in history.iterfind("lrm_rsc_op") if one.get("operation") in _LIVES), default=0)
        for entry in entries:
            own = not entry.get("id", "").endswith("_last_failure_0")
            if entry.get("rc-code") == rc:
                at = _changed(entry) or at
            outlived = any(_call(one) > begun and _outlives(one, entry) for one in failed)
            lasting = lasting or (own and (entry.get("rc-code") == rc or outlived))
    return at, lasting


# What begins or ends a life of a resource, or of its role: a check that failed before it says nothing any more.
_LIVES = ("start", "stop", "promote", "demote")


def _call(entry: Element) -> int:
    return int(entry.get("call-id", "0"))


def _changed(entry: Element) -> float:
    return float(entry.get("last-rc-change", "0"))


def _outlives(failed: Element, entry: Element) -> bool:
    """Whether a failure came after what the action's own entry tells; one that is pending tells nothing.

    It stays so while a monitor is degraded from its first run on, and when Pacemaker schedules it anew meanwhile.
    """
    return entry.get("op-status") == "-1" or _changed(failed) > _changed(entry)


def _bans(mon: Element) -> Iterator[Ban]:
    for ban in mon.iterfind("bans/ban"):
        yield Ban(
            id=ban.get("id", ""),
            resource=ban.get("resource", ""),
            node=ban.get("node", ""),
            score=int(ban.get("weight", "0")),
            promoted_only=flag(ban, "promoted-only"),
        )
