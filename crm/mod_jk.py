"""What Apache needs for mod_jk: workers.properties, and a configuration file with mounts and the status worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hafailover.crm.schema import milliseconds

if TYPE_CHECKING:
    from hafailover.crm.topology import Service, Topology

BALANCER, STATUS = "wlb", "jk-status"
IDLE = 600
"""Seconds after which both sides of an idle AJP connection close it: connection_pool_timeout and connectionTimeout."""
ALIVE = "/hafailover-alive"
"""The path that Apache answers by itself, for the monitor."""

MODULE_CONFIG = "/etc/apache2/mods-available/jk.conf"
"""Debian's configuration of the module; what may be given only once there is given in our file."""
ONLY_ONCE = ("JkWorkersFile", "JkLogFile", "JkLogLevel", "JkShmFile", "JkWatchdogInterval")

OWN = ("type", "balance_workers")
"""Keys of the balancer that follow from the topology."""

# A silence counts for everybody at once. By default, as long as another request waits for a JVM that hangs, mod_jk has every session
# find it out by itself for half of recover_time. Not where a session that leaves its Tomcat is lost: one broken answer is an error, too.
_AT_ONCE = {"error_escalation_time": 0}
_LEAST = 100  # ms: every JVM pauses so long now and then
_QUICK = 4  # a pooled connection's share of the time for an answer
_RECOVER_TIME = 10  # seconds until a worker that failed is tried again; mod_jk's own is 60
# 1: not after Tomcat was given the request; 2: not after it began to answer. 16: but always a GET. Never 8 (HEAD) with 16: in
# mod_jk's source the test of 16 is the else of that of 8.
_RECOVERY = {"never": 1 + 2, "get": 1 + 2 + 16}


def routes(tomcat: Service) -> dict[str, str]:
    """Node → name of its worker and jvmRoute."""
    return {node: tomcat.options["workers"].get(node, node) for node in tomcat.nodes}


def workers(apache: Service, tomcat: Service, topology: Topology, secret: str) -> bytes:
    """workers.properties: a worker for each Tomcat, the balancer over them, and the status worker."""
    options = apache.options
    is_replicated = tomcat.options["sessions"] == "replicated"
    detect = milliseconds(options.get("detect", "2s" if is_replicated else "10s"))
    template: dict[str, Any] = {
        "type": "ajp13",
        "port": tomcat.options["port"],
        "lbfactor": 1,
        # A JVM that hangs still takes connections: ask it after connecting, before each request, and while idle (A).
        "ping_mode": "A",
        # Of a pooled connection: mod_jk asks on each idle one of the process, one after the other, before it tries a new one,
        # which has the whole time. Idle ones are asked under the pool's lock.
        "ping_timeout": max(_LEAST, detect // _QUICK),
        "connect_timeout": detect,
        "connection_ping_interval": 30,
        "socket_connect_timeout": detect,
        "socket_keepalive": 1,
        "connection_pool_timeout": IDLE,
        "reply_timeout": milliseconds(options["reply"]),
        "recovery_options": _RECOVERY[options["repeat"]],
        # A connection of the pool that a restarted JVM has closed is replaced within one attempt; a second one would only ask again
        # a JVM that hangs, before the next worker has its turn.
        "retries": 1,
    }
    written = [f"worker.list={BALANCER},{STATUS}", ""]
    written += [f"worker.template.{key}={value}" for key, value in template.items()]
    names = routes(tomcat)
    for node, name in names.items():
        written += [
            "",
            f"worker.{name}.reference=worker.template",
            f"worker.{name}.host={topology.nodes[node].links[0]}",
            f"worker.{name}.secret={secret}",
        ]
    balancer: dict[str, Any] = {
        "type": "lb",
        "balance_workers": ",".join(names.values()),
        "sticky_session": 1,
        "sticky_session_force": 0,
        "recover_time": _RECOVER_TIME,
        **(_AT_ONCE if is_replicated else {}),
        # By default a request is tried at two workers, however many there are.
        "lb_retries": len(names),
        **options["balancer_options"],
    }
    written += ["", *(f"worker.{BALANCER}.{key}={value}" for key, value in balancer.items())]
    written += ["", f"worker.{STATUS}.type=status"]
    return ("# Written by hafailover from the topology.\n" + "\n".join(written) + "\n").encode()


def config(apache: Service, tomcat: Service | None, topology: Topology) -> bytes:
    """The configuration file: what the monitor asks for, and mounts."""
    written = [
        "# Written by hafailover from the topology.",
        "# The cluster's monitor asks for this; no application has a part in it.",
        f"Redirect 204 {ALIVE}",
    ]
    if tomcat:
        options = apache.options
        allowed = [
            "127.0.0.1",
            "::1",
            *(topology.nodes[node].links[0] for node in tomcat.nodes),
            *options["status_from"],
        ]
        written += [
            f"JkWorkersFile {workers_path(apache)}",
            f"JkLogFile {options['log']}",
            "JkLogLevel info",
            "JkShmFile /run/hafailover-jk.shm",
            "JkWatchdogInterval 10",
            *(f"JkMount {mount} {BALANCER}" for mount in options["mounts"]),
            f"JkUnMount {ALIVE} {BALANCER}",
            f"JkMount {options['status_path']} {STATUS}",
            # In the main server: every virtual host has them.
            "JkMountCopy All",
            f"<Location {options['status_path']}>",
            f"  Require ip {' '.join(dict.fromkeys(allowed))}",
            "</Location>",
        ]
    return ("\n".join(written) + "\n").encode()


def alive_url(apache: Service) -> str:
    """What an Apache answers by itself, on its own node."""
    port = apache.options["port"]
    return f"http://127.0.0.1{'' if port == 80 else f':{port}'}{ALIVE}"


def workers_path(apache: Service) -> str:
    """Where an Apache's workers.properties is."""
    return f"/etc/hafailover/{apache.name}-workers.properties"


def status_urls(apache: Service, topology: Topology) -> list[str]:
    """The status worker of each Apache of the service, as the Tomcats' nodes reach it."""
    port, path = apache.options["port"], apache.options["status_path"]
    hosts = (topology.nodes[node].links[0] for node in apache.nodes)
    return [f"http://{f'[{host}]' if ':' in host else host}{'' if port == 80 else f':{port}'}{path}" for host in hosts]
