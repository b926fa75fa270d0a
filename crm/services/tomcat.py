"""Tomcats behind mod_jk: resources and files of the service type ``tomcat``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hafailover.agents.tomcat import agent
from hafailover.crm import mod_jk, model, tomcat_cluster
from hafailover.crm.edits import server_xml_set
from hafailover.crm.edits.server_xml import Wanted
from hafailover.crm.errors import UsageError
from hafailover.crm.files import FileEdit, RenderedFile
from hafailover.crm.schema import (
    Problem,
    choice,
    duration,
    milliseconds,
    number,
    path,
    seconds,
    secret,
    text,
    unknown,
)
from hafailover.crm.service import (
    TIRELESS,
    Anchor,
    Part,
    Port,
    ReadSecret,
    ServiceType,
    clone_name,
    on_each_of_its_nodes,
)

if TYPE_CHECKING:
    from hafailover.crm.topology import Service, Topology

_TO_KILL = 30_000  # ms that a stop may take beyond draining and the JVM's own end
_KEY_BYTES = (16, 24, 32)


class Tomcat(ServiceType):
    """A clone, one Tomcat on each node of the service."""

    name = "tomcat"
    summary = "Tomcats whose sessions survive the loss of one, drained by mod_jk before a planned stop."
    schema = {
        "unit": text(
            "the systemd unit; tomcat10.service when neither it nor home is given", pattern=r"^[A-Za-z0-9_.@:-]+$"
        ),
        "home": path("CATALINA_HOME, for a Tomcat without a unit"),
        "base": path("CATALINA_BASE; /var/lib/UNIT, or home, when not given"),
        "server_xml": path("the file; conf/server.xml below base when not given"),
        "java_home": path("the Java to use with home"),
        "user": text("system user, with home", default="tomcat", pattern=r"^[a-z_][a-z0-9_-]{0,31}$"),
        "group": text(
            "group that may read server.xml when it is new", default="tomcat", pattern=r"^[a-z_][a-z0-9_-]{0,31}$"
        ),
        "port": number("TCP port of the AJP connector", 1, 65535, default=8009),
        "secret": secret("the secret of AJP; file:SERVICE-ajp when not given"),
        "workers": {
            "type": "object",
            "description": "node → name of its worker, which is its jvmRoute; the node's name when not given",
            "additionalProperties": text("a worker", pattern=r"^[A-Za-z0-9_-]+$", expect="letters, digits, - and _"),
            "expect": "a mapping of nodes to workers, such as {cs1: jvm1, cs2: jvm2}",
            "default": {},
        },
        "sessions": choice(
            "replicated: a session survives the loss of its Tomcat, if the application says <distributable/>; local: it does not",
            ["replicated", "local"],
            default="replicated",
        ),
        "session_port": number("TCP port for the replication of sessions", 1, 65535, default=4000),
        "session_key": secret("key for the replication, hexadecimal; file:SERVICE-sessions when not given"),
        "url": text(
            "an HTTP URL of the application on each node",
            pattern=r"^http://[^\s/]+(/\S*)?$",
            expect="a URL such as http://127.0.0.1:8080/client/",
        ),
        "patience": duration("how long a JVM that lives may not answer before it is restarted; 8 s when not given"),
        "drain": duration(
            "how long a planned stop leaves sessions to their Tomcat; 0s with replicated sessions, else 60s, when not given"
        ),
        "finish": duration("how long a planned stop waits for requests under way", default="20s"),
        "term": duration("how long the JVM may take to end", default="30s"),
        "restart_on_move": {
            "type": "array",
            "items": text("a service"),
            "uniqueItems": True,
            "default": [],
            "description": "databases whose move restarts each Tomcat in turn; for pools that do not test connections",
            "expect": "a list of services such as [db]",
        },
        "start_timeout": duration("how long a start may take, with all applications", default="240s"),
    }

    def cloned(self, service: Service) -> bool:
        """One on each node."""
        return True

    def check(self, service: Service, topology: Topology) -> Iterator[Problem]:
        """Names of workers, ports, what to restart on, times that do not fit."""
        options = service.options
        if "unit" in options and "home" in options:
            yield Problem(("home",), "and unit exclude each other: a Tomcat with a unit is run by it")
        for node in options["workers"]:
            if node not in service.nodes:
                yield Problem(("workers", node), unknown("node", node, service.nodes))
        names = list(mod_jk.routes(service).values())
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield Problem(("workers",), f"{name} is the worker of two nodes; a jvmRoute belongs to one")
        for name in sorted({mod_jk.BALANCER, mod_jk.STATUS, "template", "list", "maintain"} & set(names)):
            yield Problem(("workers",), f"{name} is the name of something else in workers.properties")
        if options["session_port"] == options["port"]:
            yield Problem(("session_port",), "is the port of AJP")
        for index, name in enumerate(options["restart_on_move"]):
            found = topology.services.get(name)
            if found is None or found.type != "mariadb":
                known = [one.name for one in topology.services.values() if one.type == "mariadb"]
                yield Problem(("restart_on_move", index), unknown("database", name, known))
        if milliseconds(options["term"]) < 1000:
            yield Problem(("term",), "is shorter than 1s")

    def claims(self, service: Service) -> Iterator[tuple[str, str]]:
        """Ports, and the file that is edited."""
        yield "port", str(service.options["port"])
        if service.options["sessions"] == "replicated":
            yield "port", str(service.options["session_port"])
        yield "server_xml", server_xml(service)

    def ports(self, service: Service, topology: Topology) -> Iterator[Port]:
        """AJP for the Apaches, and replication among the Tomcats."""
        yield Port(str(service.options["port"]), "tcp", "nodes", "AJP")
        if service.options["sessions"] == "replicated":
            yield Port(str(service.options["session_port"]), "tcp", "nodes", "session replication")

    def secrets(self, service: Service) -> Iterator[tuple[tuple[str, ...], str]]:
        """AJP's, and the key of the replication."""
        yield ("secret",), str(service.options.get("secret", f"file:{service.name}-ajp"))
        if service.options["sessions"] == "replicated":
            yield ("session_key",), str(service.options.get("session_key", f"file:{service.name}-sessions"))

    def part(self, service: Service, topology: Topology) -> Part:
        """The clone."""
        name, options = service.name, service.options
        params = {"unit": _unit(service)} if "home" not in options else {"catalina_home": options["home"]}
        for key, parameter in (("base", "catalina_base"), ("java_home", "java_home"), ("url", "url")):
            if key in options:
                params[parameter] = options[key]
        if "server_xml" in options:
            params["server_xml"] = options["server_xml"]
        if "home" in options and options["user"] != agent.parameters["user"].default:
            params["user"] = options["user"]
        params["nodes"] = " ".join(f"{node}:{topology.nodes[node].links[0]}" for node in service.nodes)
        params["ajp"] = f"127.0.0.1:{options['port']}"
        apaches = _apaches(service, topology)
        if apaches:
            params["status"] = " ".join(url for apache in apaches for url in mod_jk.status_urls(apache, topology))
            params["workers"] = " ".join(f"{node}:{worker}" for node, worker in mod_jk.routes(service).items())
            params["workers_file"] = mod_jk.workers_path(apaches[0])
        times = {key: options[key] for key in ("patience", "finish", "term") if key in options}
        times["drain"] = _drain(service)
        for key, value in times.items():
            if seconds(value) != agent.parameters[key].default:
                params[key] = seconds(value)
        if options["restart_on_move"]:
            params["watch"] = " ".join(options["restart_on_move"])
        stop = sum(milliseconds(times[key]) for key in ("drain", "finish", "term")) + _TO_KILL
        operations = (
            model.operation(name, "start", "0", timeout=seconds(options["start_timeout"])),
            model.operation(name, "stop", "0", timeout=f"{max(120, -(-stop // 1000))}s"),
            model.operation(name, "monitor", "5s", timeout="60s"),
        )
        return on_each_of_its_nodes(
            service, topology, model.primitive(name, ("ocf", "hafailover", "tomcat"), params, operations, TIRELESS)
        )

    def anchor(self, service: Service, role: str | None) -> Anchor:
        """Followers come after the Tomcat on their own node."""
        return Anchor(clone_name(service), None, "start", service.nodes)

    def files(self, service: Service, topology: Topology, node: str, read: ReadSecret) -> list[RenderedFile]:
        """None of its own: all is in server.xml."""
        return []

    def edits(self, service: Service, topology: Topology, node: str, read: ReadSecret) -> list[FileEdit]:
        """jvmRoute, the AJP connector and session replication in server.xml."""
        if node not in service.nodes:
            return []
        secrets = dict(self.secrets(service))
        key = _key(service, read(secrets["session_key",]).decode()) if ("session_key",) in secrets else ""
        where = server_xml(service)
        wanted = Wanted(
            mod_jk.routes(service)[node],
            {
                "address": topology.nodes[node].links[0],
                "port": str(service.options["port"]),
                "secret": read(secrets["secret",]).decode(),
                "secretRequired": "true",
                "connectionTimeout": str(mod_jk.IDLE * 1000),
                # While it starts, connections are refused at once; else mod_jk would wait for an answer each time.
                "bindOnInit": "false",
            },
            tomcat_cluster.lines(service, topology, node, key),
        )
        return [
            FileEdit(
                where,
                lambda old: server_xml_set(old, wanted, where),
                0o640,
                "root",
                service.options["group"],
                secret=True,
                exposes=lambda new: True,
            )
        ]


def server_xml(service: Service) -> str:
    """The file of the service's Tomcats."""
    options = service.options
    unit = _unit(service).partition(".")[0]
    base = options.get("base") or options.get("home") or f"/var/lib/{unit}"
    return str(options.get("server_xml", f"{base}/conf/server.xml"))


def notes(topology: Topology) -> list[str]:
    """What a person has to see to, though it stops nothing."""
    found = []
    for service in topology.services.values():
        if service.type == "tomcat" and service.options["sessions"] == "replicated" and len(service.nodes) > 1:
            found.append(
                f"{service.name}: sessions are replicated only for applications whose web.xml has <distributable/> and whose session "
                "attributes are Serializable; without that a login ends with its Tomcat"
            )
    return found


def _unit(service: Service) -> str:
    unit: str = service.options.get("unit", "tomcat10.service")
    return unit if unit.endswith(".service") else f"{unit}.service"


def _drain(service: Service) -> str:
    written: str | None = service.options.get("drain")
    return written or ("0s" if service.options["sessions"] == "replicated" else "60s")


def _apaches(service: Service, topology: Topology) -> list[Service]:
    return [
        one for one in topology.services.values() if one.type == "apache" and one.options.get("tomcats") == service.name
    ]


def _key(service: Service, text_: str) -> str:
    try:
        size = len(bytes.fromhex(text_))
    except ValueError:
        size = 0
    if size not in _KEY_BYTES:
        raise UsageError(f"services.{service.name}.session_key: must be 32, 48 or 64 hexadecimal digits")
    return text_


SERVICE_TYPE = Tomcat()
