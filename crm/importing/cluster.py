"""The cluster itself: its name, nodes and links, how soon a node counts as dead, and who votes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hafailover.crm import applied, corosync, values
from hafailover.crm.corosync_conf import CorosyncConf
from hafailover.crm.errors import UsageError
from hafailover.crm.importing import findings
from hafailover.crm.importing.draft import Draft
from hafailover.crm.importing.names import NAME, Names, fitting, plain, span
from hafailover.crm.model import AttributeSet, Node
from hafailover.crm.urls import is_address

MAX_ID = 65535
MAX_NODES = 384  # of Corosync itself
_REMOTE = ("remote", "ping")
_TIMES = {"token": "token", "token_coefficient": "token_coefficient", "consensus": "consensus"}
_KNET = ("knet_ping_interval", "knet_ping_timeout")
_DEVICE_TIMES = {"timeout": "timeout", "sync_timeout": "sync_timeout", "net.connect_timeout": "connect_timeout"}
_OFF = ("", "none", "off", "no", "0")


def read(draft: Draft, known: Mapping[str, str]) -> None:
    """Fill in cluster, nodes and quorum. ``known``: host name → address, for links that corosync.conf names."""
    _cluster(draft)
    _nodes(draft, known)
    quorum = _quorum(draft)
    if quorum:
        draft.head["quorum"] = quorum


def _cluster(draft: Draft) -> None:
    conf = draft.corosync
    name = draft.resolved.property("cluster-name") or (conf.text("totem.cluster_name") if conf else "") or _scope(draft)
    if not name:
        draft.notes.add(findings.ASSUMED, "cluster.name", "the source names no cluster; it is called cluster here")
    elif not NAME.match(name):
        text = f"{findings.visible(name, 60)} is no name that a topology takes; it is {fitting(name)} here"
        draft.notes.add(findings.ASSUMED, "cluster.name", text)
    cluster: dict[str, Any] = {"name": fitting(name) if name else "cluster"}
    draft.head["cluster"] = cluster
    if conf is None:
        return
    if conf.text("totem.crypto_cipher").lower() in _OFF and not conf.is_on("totem.secauth"):
        cluster["encryption"] = "off"
    detection = {key: _ms(conf, f"totem.{name}") for key, name in _TIMES.items()}
    for key in _KNET:
        found = {section.get(key) for section in conf.every("totem.interface")} - {None}
        texts = {setting.value for setting in found if setting is not None}
        detection[key] = span(int(next(iter(texts)))) if len(texts) == 1 and _is_number(next(iter(texts))) else None
    chosen = {key: value for key, value in detection.items() if value and (key, value) != ("token", "3s")}
    if chosen:
        cluster["detection"] = chosen


def _scope(draft: Draft) -> str:
    """The cluster's name as hafailover has told it to an NFS server."""
    for one in draft.resolved.resources.values():
        scope, service = one.params.get("nfs_server_scope", ""), one.id[: -len("-server")]
        if one.agent == "ocf:heartbeat:nfsserver" and scope.endswith(f"-{service}") and one.id.endswith("-server"):
            return scope[: -len(service) - 1]
    return ""


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _ms(conf: CorosyncConf, path: str) -> str | None:
    text = conf.text(path)
    return span(int(text)) if _is_number(text) else None


def _nodes(draft: Draft, known: Mapping[str, str]) -> None:
    conf, names = draft.corosync, Names()
    told = {one.name or str(one.id): one for one in conf.nodes} if conf else {}
    by_id = {one.id: one for one in conf.nodes if one.id is not None} if conf else {}
    members = [one for one in draft.resolved.nodes.values() if dict(one.attributes).get("type") not in _REMOTE]
    if not members and conf:
        members = [Node(str(one.id or 0), one.called) for one in conf.nodes]
    if len(members) > MAX_NODES:
        raise UsageError(
            f"the source has {len(members)} nodes, and Corosync takes no more than {MAX_NODES}; is it the right file?"
        )
    linked = _first_links(draft)
    ids: set[int] = set()
    short = Counter(one.name.partition(".")[0] for one in members)
    for member in members:
        host = member.name.partition(".")[0]
        # Without its domain, where that tells it from the others.
        name = names.take(host if short[host] == 1 else member.name, "")
        draft.node_names[member.name] = draft.renames[f"node {member.name}"] = name
        if name != member.name:
            text = f"a topology has no such name for a node; it is {name} here, and apply refuses as long as the cluster has another"
            fix = f"write name: {name} into corosync.conf on all nodes while the whole cluster is stopped, before anything is applied"
            draft.notes.add(findings.LEFT_OUT, f"node {member.name}", text, fix)
        source = told.get(member.name)
        number = source.id if source is not None and source.id else int(member.id) if _is_number(member.id) else 0
        if not 1 <= number <= MAX_ID or number in ids:
            number = next(one for one in range(1, MAX_ID + 1) if one not in ids)
            text = f"its number {findings.visible(member.id, 40)} is none from 1 to {MAX_ID}, or used twice; it is {number} here"
            draft.notes.add(findings.LEFT_OUT, f"node {member.name}", text)
        ids.add(number)
        entry: dict[str, Any] = {"id": number}
        source = source or by_id.get(number)
        links = [known.get(link, link) for link in source.links.values()] if source else linked.get(member.name, [])
        if links:
            entry["links"] = links
        draft.nodes[name] = entry
    _links(draft)


def _links(draft: Draft) -> None:
    lacking = [name for name, node in draft.nodes.items() if "links" not in node]
    if lacking:
        text = f"the addresses of {', '.join(lacking[:8])}{' …' if len(lacking) > 8 else ''} are not in a CIB"
        draft.notes.add(findings.ASSUMED, "nodes", text, "import again with --corosync /etc/corosync/corosync.conf")
    elif draft.corosync is None and draft.nodes:
        text = "only the first link of each node is known from the agents' parameters; others are not in a CIB"
        draft.notes.add(findings.ASSUMED, "nodes", text, "import again with --corosync /etc/corosync/corosync.conf")
    named = [link for node in draft.nodes.values() for link in node.get("links", ()) if not is_address(link)]
    if named:
        text = (
            f"{findings.visible(named[0], 60)} is a name; Corosync is given addresses, so that it needs no DNS to begin"
        )
        draft.notes.add(findings.ASSUMED, "nodes", text, "write the addresses into the topology")


def _first_links(draft: Draft) -> dict[str, list[str]]:
    """Node → its first link, from what hafailover's agents are told."""
    found: dict[str, list[str]] = {}
    for one in draft.resolved.resources.values():
        if one.agent.startswith("ocf:hafailover:"):
            for word in one.params.get("nodes", "").split():
                name, _, address = word.partition(":")
                if is_address(address):
                    found.setdefault(name, [address])
    return found


def _quorum(draft: Draft) -> dict[str, Any]:
    conf = draft.corosync
    if conf is None:
        if len(draft.nodes) == 2:
            text = "whether a third machine votes is not in a CIB; two_node is assumed, and fencing decides"
            draft.notes.add(
                findings.ASSUMED, "quorum", text, "import again with --corosync /etc/corosync/corosync.conf"
            )
        return {}
    if not conf.has_device:
        return {"two_node": True} if conf.is_on("quorum.two_node") and len(draft.nodes) != 2 else {}
    base = "quorum.device"
    if conf.text(f"{base}.model") != "net":
        text = f"model {findings.visible(conf.text(f'{base}.model'), 40)} is none that a topology knows"
        draft.notes.add(findings.LEFT_OUT, "quorum device", text)
        return {}
    device: dict[str, Any] = {"host": conf.text(f"{base}.net.host")}
    for key in ("port", "algorithm", "tls", "tie_breaker"):
        value = conf.text(f"{base}.net.{key}")
        # The defaults of the topology, which are not all those of Corosync.
        if value and (key, value) not in (("algorithm", "ffsplit"), ("tls", "required")):
            device[key] = plain(value) if key in ("port", "tie_breaker") else value
    if not conf.text(f"{base}.net.tls"):
        device["tls"] = "on"  # Corosync's own default
    for path, key in _DEVICE_TIMES.items():
        time = _ms(conf, f"{base}.{path}")
        if time:
            device[key] = time
    token = values.milliseconds(draft.head["cluster"].get("detection", {}).get("token")) or 3000
    if device.get("timeout") == span(corosync.device_timeout(token)):
        del device["timeout"]
    return {"device": device}


def properties(draft: Draft) -> None:
    """What the cluster properties say about the state of the cluster."""
    wanted = {
        "maintenance-mode": "the cluster is in maintenance mode",
        "stop-all-resources": "all resources are stopped by stop-all-resources",
    }
    for name, text in wanted.items():
        if values.boolean(draft.resolved.property(name)):
            draft.notes.add(findings.STATE, name, text)
    for node in draft.resolved.nodes.values():
        for child in node.children:
            for pair in child.pairs if isinstance(child, AttributeSet) and child.kind != "utilization" else ():
                where = f"node {node.name}"
                if pair.name in ("standby", "maintenance") and (values.boolean(pair.value) or pair.value == "on"):
                    draft.notes.add(findings.STATE, where, f"is in {pair.name}")
                elif pair.name not in ("standby", "maintenance"):
                    what = f"its attribute {findings.visible(pair.name, 60)} is no part of a topology; apply leaves it alone"
                    draft.notes.add(findings.STATE, where, what)
    for one in draft.resolved.resources.values():
        if one.parent is not None:
            continue
        if one.meta.get("target-role", "").lower() == "stopped":
            draft.notes.add(findings.STATE, one.id, "is stopped by a person (target-role)")
        if values.boolean(one.meta.get("is-managed")) is False or values.boolean(one.meta.get("maintenance")):
            draft.notes.add(findings.STATE, one.id, "is not managed by the cluster")
    for place in draft.resolved.locations:
        if place.id.startswith("cli-"):
            word = "is banned from" if place.score < 0 else "was moved by hand to"
            draft.notes.add(findings.STATE, place.rsc, f"{word} {findings.visible(place.node or 'a node', 80)}", "")


def is_ours(set_id: str) -> bool:
    """Whether a set of cluster properties is hafailover's own record."""
    return set_id == applied.RECORD or set_id.startswith("hafailover-")
