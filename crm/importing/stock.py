"""Stock agents and plain units that a service of hafailover's can take over, each with what that changes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any, Callable

from hafailover.crm import values
from hafailover.crm.importing import content, findings, gluster, stock_st2
from hafailover.crm.importing.draft import ADDRESSES, Draft
from hafailover.crm.importing.names import duration, is_text, plain
from hafailover.crm.resolved import Resource
from hafailover.crm.secret_names import is_inline

_SAFE = {4: 24, 6: 64}
_NIC = re.compile(r"[^\s/:]{1,15}\Z")
_URL = re.compile(r"http://[^\s/]+(/\S*)?\Z")
_PAIRS = ("mysql", "mariadb")
_REASONS = {
    "drbd": "replicated disks are not a service of a topology",
    "Filesystem": "a file system is a part of a service (nfs-server, glusterfs), not one by itself",
    "LVM-activate": "volume groups are not a service of a topology",
    "haproxy": "a load balancer is not a service of a topology",
    "VirtualDomain": "virtual machines are not a service of a topology",
    "ping": "a topology has no rules about who can be reached",
    "CTDB": "Samba's cluster is not a service of a topology",
    "pgsql": "PostgreSQL is not a service of a topology",
}


def read(draft: Draft) -> None:
    """Recognise what is left, after hafailover's own: the order matters, for who takes a resource has it."""
    gluster.read(draft)
    content.servers(draft)
    _addresses(draft)
    content.stock_mounts(draft)
    stock_st2.read(draft)
    for one in draft.resolved.resources.values():
        if (
            one.kind == "primitive"
            and one.id not in draft.anchors
            and draft.resolved.resources[one.top].kind != "bundle"
        ):
            recogniser = _recogniser(one.agent)
            if recogniser is not None:
                recogniser(draft, one)
    _the_rest(draft)


def _the_rest(draft: Draft) -> None:
    for one in draft.resolved.resources.values():
        if one.id in draft.anchors:
            continue
        if one.kind == "bundle":
            draft.notes.add(findings.LEFT_OUT, one.id, "is a bundle: a topology has no containers")
        elif one.kind == "primitive":
            reason = next(
                (why for name, why in _REASONS.items() if one.agent.endswith(f":{name}")), "no service type takes it"
            )
            draft.notes.add(
                findings.LEFT_OUT, one.id, f"{findings.visible(one.agent, 80)}: {reason}; apply leaves it alone"
            )


def _addresses(draft: Draft) -> None:
    for one in draft.resolved.resources.values():
        if one.agent not in ADDRESSES or one.id in draft.anchors:
            continue
        parent = draft.resolved.resources[one.top]
        if parent.kind not in ("primitive", "group"):
            text = "is an address on several nodes at once; a topology's addresses are on one"
            draft.notes.add(findings.LEFT_OUT, one.id, text)
            draft.anchors[one.id] = ("none", "")
            continue
        ip, prefix = one.params.get("ip", ""), one.params.get("cidr_netmask", "")
        options: dict[str, Any] = {"ip": f"{ip}/{_prefix(draft, one, ip, prefix)}"}
        nic = one.params.get("nic", "").partition(":")[0]
        if _NIC.match(nic):
            options["nic"] = nic
        drain = duration(one.params.get("drain"))
        if drain and one.agent == "ocf:hafailover:vip":
            options["drain"] = drain
        draft.vip(one.id, options, one)
        if one.agent != "ocf:hafailover:vip":
            what = (
                "which also asks the neighbours whether somebody else has the address before it takes it, looks at the link under it "
                "and for a second owner at each monitor"
            )
            draft.becomes(
                one, "ocf:hafailover:vip", what, ("ip", "cidr_netmask", *(("nic",) if "nic" in options else ()))
            )


def _prefix(draft: Draft, one: Resource, ip: str, written: str) -> str:
    """The prefix of an address: as written, or what lets the interface be found from the nodes' links."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return written
    length = written
    try:
        if "." in written:
            length = str(ipaddress.ip_network(f"0.0.0.0/{written}").prefixlen)
    except ValueError:
        return written
    if length and int(length) < address.max_prefixlen if length.isdecimal() else False:
        return length
    chosen = _SAFE[address.version]
    said = f"says prefix {length}" if length else "has no prefix"
    text = f"{said}; /{chosen} is assumed, which has to be that of the interface it belongs to"
    draft.notes.add(findings.ASSUMED, one.id, text, "compare with: ip -brief address")
    return str(chosen)


def _recogniser(agent: str) -> Callable[[Draft, Resource], None] | None:
    kind, _, rest = agent.partition(":")
    name = rest.rpartition(":")[2]
    if kind == "ocf" and name in _PAIRS:
        return _database
    if kind == "ocf" and name == "galera":
        return _galera
    if (kind == "ocf" and name in ("rabbitmq-cluster", "rabbitmq-server", "rabbitmq-server-ha")) or (
        kind in ("systemd", "lsb", "service") and name == "rabbitmq-server"
    ):
        return _rabbitmq
    if name == "memcached" and kind in ("systemd", "lsb", "service", "ocf"):
        return _memcached
    if name in ("apache", "apache2", "httpd"):
        return _apache
    if name in ("tomcat", "cloudstack-management") or re.match(r"tomcat\d*\Z", name):
        return _tomcat
    return None


def _start(draft: Draft, one: Resource, kind: str) -> tuple[dict[str, Any], Resource]:
    """type and on of the service that ``one`` becomes, and what is renamed to it: its clone, or itself."""
    parent = draft.resolved.resources[one.parent] if one.parent else None
    top = parent if parent is not None and parent.kind == "clone" else one
    options: dict[str, Any] = {"type": kind}
    on = draft.where(one.id, top.id, one.top)
    if on:
        options["on"] = on
    return options, top


def _finish(
    draft: Draft, one: Resource, top: Resource, options: dict[str, Any], what: str, told: Iterable[str] = ()
) -> str:
    name = draft.service(one.id, options, top)
    draft.rename_clone(name, top)
    if top.kind != "clone" and one.top == one.id:
        draft.renames[one.id] = name
    if draft.resolved.resources[one.top].kind != "clone":
        what = f"{what}; it runs on every node instead of one, so that nothing has to start when a node dies, and an address follows it"
    draft.becomes(one, f"ocf:hafailover:{options['type']}", what, told)
    return name


def _secrets(draft: Draft, one: Resource, *known: str) -> None:
    for name, value in one.params.items():
        if name not in known and is_inline(name, value):
            text = (
                f"parameter {findings.visible(name)} holds a secret that is needed no more; it goes with the resource"
            )
            draft.notes.add(findings.LEFT_OUT, one.id, text)


def _database(draft: Draft, one: Resource) -> None:
    if not one.promotable:
        text = (
            f"{findings.visible(one.agent, 80)} runs a database on one node at a time, on a disk that moves; a topology's database is a "
            "primary with replicas, each with its own disk"
        )
        draft.notes.add(
            findings.LEFT_OUT, one.id, text, "make a replica, and import again; or leave it as it is: apply does"
        )
        draft.anchors[one.id] = ("none", "")
        return
    options, top = _start(draft, one, "mariadb")
    told = {
        "config",
        "pid",
        "log",
        "test_user",
        "test_table",
        "enable_creation",
        "replication_user",
        "replication_passwd",
    }
    for option, parameter in {
        "datadir": "datadir",
        "socket": "socket",
        "user": "user",
        "port": "replication_port",
    }.items():
        value = one.params.get(parameter, "")
        if value and is_text(value):
            options[option] = plain(value) if option == "port" else value
            told.add(parameter)
    if "binary" in one.params:
        told.add("binary")
        if not one.params["binary"].endswith("_safe") and is_text(one.params["binary"]):
            options["binary"] = one.params["binary"]
    user = one.params.get("replication_user", "")
    if user and is_text(user):
        options["replication"] = {"user": user}
    what = (
        "which replicates by GTID and acknowledges a commit when a replica has it too, and never promotes a server that may miss an "
        "acknowledged write (so it may wait where the other agent would have promoted)"
    )
    name = _finish(draft, one, top, options, what, told)
    if one.params.get("replication_passwd"):
        draft.secret(f"{name}-replication", one, "replication_passwd", "the password of the replication account")
        told.add("replication_passwd")
    _secrets(draft, one, "replication_passwd")
    config = findings.visible(one.params.get("config", "/etc/my.cnf"), 80)
    text = f"the server will be started with /etc/mysql/hafailover-{name}.cnf: what {config} sets belongs below options"
    draft.notes.add(findings.ELSEWHERE, name, text, "hafailover adopt compares both and says what is missing")


def _galera(draft: Draft, one: Resource) -> None:
    options, top = _start(draft, one, "mariadb")
    for key in ("datadir", "socket", "user"):
        if one.params.get(key) and is_text(one.params[key]):
            options[key] = one.params[key]
    what = (
        "which is no Galera: one server takes the writes, the others are read-only replicas. Clients that write to any node have to write "
        "to an address that follows it instead, and the data has to be brought over (wsrep_* settings go away)"
    )
    told = ("wsrep_cluster_address", "cluster_host_map", "config", "datadir", "socket", "user", "binary", "log", "pid")
    _finish(draft, one, top, options, what, told)
    _secrets(draft, one)


def _rabbitmq(draft: Draft, one: Resource) -> None:
    options, top = _start(draft, one, "rabbitmq")
    policy = one.params.get("set_policy", "")
    port = one.params.get("node_port") or one.params.get("rmq_port")
    if port and port != "5672":
        options["port"] = plain(port)
    what = (
        "which brings the brokers together by itself, never wipes the last copy of the data, forgets no node behind your back, and sends a "
        "message through each broker to see that it works"
    )
    if "ha-mode" not in policy:
        what += "; queues get a copy on every node, which the source does not say (queues: single, if they must not)"
    name = _finish(draft, one, top, options, what, ("set_policy", "erlang_cookie", "node_port", "rmq_port"))
    if "ha-mode" in policy and '"all"' not in policy.replace(" ", ""):
        draft.notes.add(
            findings.LEFT_OUT,
            one.id,
            f"set_policy {findings.visible(policy, 100)} is not taken over",
            "write it below policies",
        )
    if one.params.get("erlang_cookie"):
        draft.secret(f"{name}-cookie", one, "erlang_cookie", "the Erlang cookie")
    else:
        text = f"keep the brokers' cookie: copy /var/lib/rabbitmq/.erlang.cookie to the file {name}-cookie in secrets_dir, mode 0600"
        draft.notes.add(findings.SECRET, one.id, text)
    _secrets(draft, one, "erlang_cookie")
    draft.notes.add(
        findings.ASSUMED, name, "the brokers' version is not in a CIB; 3.10 is assumed", "write version, such as '3.12'"
    )
    text = "accounts, virtual hosts and policies are in the broker, not in a CIB: those that are not written below users are not made anew"
    draft.notes.add(findings.ELSEWHERE, name, text)


def _memcached(draft: Draft, one: Resource) -> None:
    options, top = _start(draft, one, "memcached")
    if one.params.get("port", "11211") != "11211":
        options["port"] = plain(one.params["port"])
    what = (
        "which asks the cache itself, never moves or fences anything because of it, and writes /etc/memcached.conf: memory and connections "
        "are the topology's (64 MiB, 4096)"
    )
    _finish(draft, one, top, options, what, ("port",))


def _apache(draft: Draft, one: Resource) -> None:
    options, top = _start(draft, one, "apache")
    file = one.params.get("configfile", "")
    if one.agent.endswith(":httpd") or "httpd" in file:
        options.update(unit="httpd.service", control="apachectl", config="/etc/httpd/conf.d/hafailover.conf")
    port = one.params.get("port", "")
    match = re.match(r"https?://[^/\s]*:(\d{1,5})(/|\Z)", one.params.get("statusurl", ""))
    if port not in ("", "80") or match:
        options["port"] = plain(port or (match[1] if match else ""))
    what = "which asks Apache for an answer of its own by HTTP, and lets requests finish before it stops"
    _finish(draft, one, top, options, what, ("configfile", "statusurl", "port", "httpd", "testregex", "testurl"))
    if file:
        text = f"{findings.visible(file, 100)} is not named any more: the unit's own configuration is used"
        draft.notes.add(findings.LEFT_OUT, one.id, text)


def _tomcat(draft: Draft, one: Resource) -> None:
    options, top = _start(draft, one, "tomcat")
    told = {"catalina_home", "catalina_base", "java_home", "tomcat_user", "tomcat_name", "statusurl", "max_stop_time"}
    if one.agent.startswith("ocf:"):
        keys = {"home": "catalina_home", "base": "catalina_base", "java_home": "java_home", "user": "tomcat_user"}
        for option, parameter in keys.items():
            if one.params.get(parameter) and is_text(one.params[parameter]):
                options[option] = one.params[parameter].rstrip("/") or "/"
        url = one.params.get("statusurl", "")
        if _URL.match(url):
            options["url"] = url
        term = duration(one.params.get("max_stop_time"))
        if term and values.milliseconds(term):
            options["term"] = term
    else:
        options["unit"] = f"{one.agent.rpartition(':')[2]}.service"
    options["sessions"] = "local"
    what = (
        "which asks the JVM itself (AJP), restarts one that hangs, and has mod_jk leave it before a planned stop; jvmRoute and the AJP "
        "connector of server.xml are written from the topology"
    )
    name = _finish(draft, one, top, options, what, told)
    text = "whether sessions are replicated is in server.xml, not in a CIB; local is assumed"
    draft.notes.add(findings.ASSUMED, name, text, "write sessions: replicated if a login shall survive its Tomcat")
    if "cloudstack" in one.agent:
        text = "CloudStack is a Tomcat up to version 4.10; from 4.11 on it brings a Jetty, which this service cannot run: take it out then"
        draft.notes.add(findings.ASSUMED, name, text)
