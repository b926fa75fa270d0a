"""What hafailover itself has generated, back to the keys it was generated from."""

from __future__ import annotations

import json
from typing import Any, Callable

from hafailover.agents.st2.names import SINGLETON, Wanted, base
from hafailover.crm import alerts_section, values
from hafailover.crm.formats import cib
from hafailover.crm.history import KEEP, records
from hafailover.crm.importing import content, findings
from hafailover.crm.importing.draft import Draft, taken
from hafailover.crm.importing.names import duration, plain, words
from hafailover.crm.resolved import Op, Resource
from lxml import etree

_PREFIX = "ocf:hafailover:"
_FILES = {
    "mariadb": "version, options, server_ids and the replication account",
    "rabbitmq": "users, vhosts, policies, partition, detect and options",
    "tomcat": "sessions, port numbers of the replication, and secrets",
    "apache": "detect, reply, repeat, balancer_options and status_from",
    "memcached": "memory, connections, listen, clients and options",
}


def read(draft: Draft) -> None:
    """Recognise every resource of an agent of hafailover's."""
    for top in draft.tops():
        members = draft.members(top)
        agents = {one.agent for one in members}
        if not members or not members[0].agent.startswith(_PREFIX) or len(agents) > 1 or top.kind == "bundle":
            continue
        kind = members[0].agent[len(_PREFIX) :]
        reader = _READERS.get(kind)
        if (
            reader is None
            or (len(members) > 1 and kind != "nfsmount")
            or _depth(draft, top) > (2 if kind == "nfsmount" else 1)
        ):
            continue
        reader(draft, top, members[0])
    _apaches(draft)
    _history(draft)


def _history(draft: Draft) -> None:
    """How much the recorder's alert has the nodes keep, where that is not the default."""
    for name, xml in draft.resolved.configuration.others:
        if name != alerts_section.SECTION:
            continue
        for alert in cib.children_text(xml):
            found = etree.fromstring(alert)
            pair = found.find(f"instance_attributes/nvpair[@name='{KEEP}']")
            kept = "" if pair is None or found.get("id") != alerts_section.RECORDER else pair.get("value", "")
            if len(kept) < 6 and kept.isdecimal() and int(kept) != records.KEEP:
                draft.head["history"] = {"keep": int(kept)}


def _depth(draft: Draft, top: Resource) -> int:
    return 0 if not top.children else 1 + max(_depth(draft, draft.resolved.resources[one]) for one in top.children)


def _common(draft: Draft, top: Resource, one: Resource) -> dict[str, Any]:
    """type and on: by the list that the agent is told, else by where it may run."""
    kind = one.agent[len(_PREFIX) :]
    options: dict[str, Any] = {"type": kind}
    told = [word.partition(":")[0] for word in one.params.get("nodes", "").split()]
    on = [draft.node_names[node] for node in told if node in draft.node_names] or draft.where(top.id, one.id)
    if on and on != list(draft.nodes):
        options["on"] = on
    return options


def _add(draft: Draft, top: Resource, one: Resource, options: dict[str, Any]) -> str:
    name = draft.service(one.id, options, top)
    draft.rename_clone(name, top)
    if options["type"] in _FILES:
        where = "/etc/hafailover/topology.yml on a node has them if hafailover rendered it"
        text = f"{_FILES[options['type']]} are in files, not in a CIB; {where}"
        draft.notes.add(findings.ELSEWHERE, name, text)
    return name


def _vip(draft: Draft, top: Resource, one: Resource) -> None:
    if top.kind != "primitive":
        return
    options: dict[str, Any] = {"ip": f"{one.params.get('ip', '')}/{one.params.get('cidr_netmask', '')}"}
    if "nic" in one.params:
        options["nic"] = one.params["nic"]
    drain = duration(one.params.get("drain"))
    if drain:
        options["drain"] = drain
    draft.vip(one.id, options, one)


def _mariadb(draft: Draft, top: Resource, one: Resource) -> None:
    options = _common(draft, top, one)
    keys = ("port", "datadir", "socket", "binary", "user", "clone_port", "clone_rate", "reclone", "fence_first")
    options.update(taken(one.params, {key: key for key in keys}))
    options.update(_times(one, "stall", "patience"))
    if values.boolean(one.params.get("events")):
        options["options"] = {"event_scheduler": "ON"}
    _add(draft, top, one, options)


def _times(one: Resource, *keys: str) -> dict[str, str]:
    return {key: found for key in keys if (found := duration(one.params.get(key))) is not None}


def _rabbitmq(draft: Draft, top: Resource, one: Resource) -> None:
    options = _common(draft, top, one)
    version = one.params.get("version", "3.10")
    if version != "3.10":
        options["version"] = version
    if version.partition(".")[0].isdecimal() and int(version.partition(".")[0]) >= 4 and _count(draft, options) < 3:
        options["queues"] = "single"  # the only kind that this version and number of nodes can have
    options.update(taken(one.params, {"port": "port", "data": "data"}))
    options.update(_times(one, "patience", "partition_patience"))
    _add(draft, top, one, options)


def _count(draft: Draft, options: dict[str, Any]) -> int:
    return len(options.get("on", draft.nodes))


def _memcached(draft: Draft, top: Resource, one: Resource) -> None:
    options = _common(draft, top, one)
    options.update(taken(one.params, {"port": "port"}))
    options.update(_times(one, "patience"))
    _add(draft, top, one, options)


def _st2(draft: Draft, top: Resource, one: Resource) -> None:
    options: dict[str, Any] = {**_common(draft, top, one), "type": "stackstorm", **_units(one, top.kind == "clone")}
    options.update(_times(one, "drain", "patience"))
    options.update(taken(one.params, {key: key for key in ("api", "auth", "stream", "restarts", "workers")}))
    deep = next((op for op in one.operations if draft.levels.get(op.id) == "20"), None)
    if deep is not None:
        options["deep_check"] = _deep(one, deep)
    _add(draft, top, one, options)


def _units(one: Resource, cloned: bool) -> dict[str, Any]:
    """units and sensors from the agent's parameter."""
    text = one.params.get("units", "")
    known = {
        "active": {"units": "active-active"},
        "singleton": {"units": "singleton"},
        "active st2sensorcontainer": {"units": "active-active", "sensors": "partitioned"},
        "singleton -st2sensorcontainer": {"units": "singleton", "sensors": "partitioned"},
    }
    if text in known:
        return dict(known[text])
    found: dict[str, Any] = {"units": words(text)}
    try:
        once = [unit for unit in Wanted(text).names if base(unit) in SINGLETON]
    except ValueError:
        once = []
    if cloned and once:
        found["sensors"] = "partitioned"
    return found


def _deep(one: Resource, op: Op) -> dict[str, Any]:
    found: dict[str, Any] = {}
    interval = duration(f"{op.interval}ms")
    if interval and interval != "300s":
        found["interval"] = interval
    timeout = duration(one.params.get("deep_timeout"))
    if timeout:
        found["timeout"] = timeout
    if "deep_action" in one.params:
        found["action"] = one.params["deep_action"]
    try:
        parameters = json.loads(one.params.get("deep_parameters", "{}"))
    except (ValueError, RecursionError):
        parameters = {}
    if isinstance(parameters, dict) and parameters:
        found["parameters"] = {
            str(key): value if isinstance(value, (bool, int)) else plain_text(value)
            for key, value in parameters.items()
        }
    return found


def plain_text(value: object) -> str:
    """A value of JSON as text."""
    return value if isinstance(value, str) else json.dumps(value)


def _tomcat(draft: Draft, top: Resource, one: Resource) -> None:
    options, params = _common(draft, top, one), one.params
    if params.get("unit") not in (None, "tomcat10.service"):
        options["unit"] = params["unit"]
    keys = {"home": "catalina_home", "base": "catalina_base", "java_home": "java_home", "url": "url"}
    options.update(taken(params, {**keys, "server_xml": "server_xml", "user": "user"}))
    port = params.get("ajp", "").rpartition(":")[2]
    if port and port != "8009":
        options["port"] = plain(port)
    routes = dict(word.split(":", 1) for word in params.get("workers", "").split() if ":" in word)
    workers = {
        draft.node_names[node]: name for node, name in routes.items() if node in draft.node_names and node != name
    }
    if workers:
        options["workers"] = workers
    if params.get("watch"):
        options["restart_on_move"] = params["watch"].split()
    options.update(_times(one, "patience", "drain", "finish", "term"))
    start = next((op for op in one.operations if op.name == "start"), None)
    if start is not None and start.timeout and start.timeout != 240_000:
        options["start_timeout"] = duration(f"{start.timeout}ms")
    _add(draft, top, one, options)


def _apache(draft: Draft, top: Resource, one: Resource) -> None:
    options = _common(draft, top, one)
    options.update(taken(one.params, {"unit": "unit", "control": "control"}))
    host = one.params.get("url", "").partition("://")[2].partition("/")[0]
    if host.rpartition(":")[2].isdecimal() and ":" in host:
        options["port"] = plain(host.rpartition(":")[2])
    options.update(_times(one, "finish", "patience"))
    _add(draft, top, one, options)


def _apaches(draft: Draft) -> None:
    """Which Apache stands in front of which Tomcats, as the Tomcats are told."""
    for one in draft.resolved.resources.values():
        kind, tomcats = draft.anchors.get(one.id, ("", ""))
        path = one.params.get("workers_file", "")
        if one.agent != f"{_PREFIX}tomcat" or kind != "service" or not path.startswith("/etc/hafailover/"):
            continue
        # The status URLs are node by node, one Apache service after the other.
        first = path[len("/etc/hafailover/") :].rpartition("-workers.properties")[0]
        served = [first, *_others(draft, first, len(one.params.get("status", "").split()))]
        for name in served:
            apache = draft.services.get(name)
            if apache is not None and apache["type"] == "apache":
                apache["tomcats"] = tomcats
                status = next(iter(one.params.get("status", "").split()), "").partition("://")[2]
                if "/" in status and status.partition("/")[2] != "jk-status":
                    apache["status_path"] = f"/{status.partition('/')[2]}"
                text = "mounts are in Apache's configuration, not in a CIB; /* is assumed"
                draft.notes.add(findings.ASSUMED, name, text)


def _others(draft: Draft, first: str, urls: int) -> list[str]:
    """Further Apaches of the same Tomcats: as many as the status URLs go beyond the nodes of the first one."""
    found: list[str] = []
    left = urls - _count(draft, draft.services.get(first, {}))
    for name, service in draft.services.items():
        if left > 0 and name != first and service["type"] == "apache":
            found.append(name)
            left -= _count(draft, service)
    return found


def _nfsmount(draft: Draft, top: Resource, one: Resource) -> None:
    # A mount of a GlusterFS volume of the same cluster is a part of that service.
    if one.params.get("server") == "localhost" and one.params.get("fstype") == "glusterfs":
        return
    content.mounts(draft, top)


_READERS: dict[str, Callable[[Draft, Resource, Resource], None]] = {
    "vip": _vip,
    "mariadb": _mariadb,
    "rabbitmq": _rabbitmq,
    "memcached": _memcached,
    "st2": _st2,
    "tomcat": _tomcat,
    "apache": _apache,
    "nfsmount": _nfsmount,
}
