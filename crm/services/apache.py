"""Apache HTTP Servers: resources and files of the service type ``apache``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hafailover.agents.apache import agent
from hafailover.crm import mod_jk, model
from hafailover.crm.edits import directives_off
from hafailover.crm.files import FileEdit, RenderedFile
from hafailover.crm.schema import (
    Problem,
    address,
    choice,
    duration,
    milliseconds,
    number,
    path,
    scalars,
    seconds,
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
    service_types,
)

if TYPE_CHECKING:
    from hafailover.crm.topology import Service, Topology

_TO_KILL = (
    25_000  # ms that a stop may take beyond what requests may: to terminate, to kill, and for an overloaded systemd
)
_MOUNT = r"^/[^\s\"'<>#]*$"


class Apache(ServiceType):
    """A clone, one Apache on each node of the service; an address follows it."""

    name = "apache"
    summary = "Apache HTTP Servers; in front of Tomcats by mod_jk."
    schema = {
        "unit": text("the systemd unit", default="apache2.service", pattern=r"^[A-Za-z0-9_.@:-]+$"),
        "control": text(
            "the program that tests the configuration", default="apache2ctl", pattern=r"^[A-Za-z0-9_./-]+$"
        ),
        "config": path(
            "where the file with what the cluster needs is put; it must be read in the main server",
            default="/etc/apache2/conf-enabled/hafailover.conf",
        ),
        "port": number("a TCP port on which it answers plain HTTP on every address of the node", 1, 65535, default=80),
        "finish": duration("how long a stop lets requests finish", default="20s"),
        "patience": duration("how long it may leave the monitor without an answer; 4 s when not given"),
        "tomcats": text("the service of type tomcat that it passes requests to"),
        "mounts": {
            "type": "array",
            "items": text("a path", pattern=_MOUNT, expect="a path such as /client/*"),
            "uniqueItems": True,
            "default": ["/*"],
            "description": "the paths that are the Tomcats'",
            "expect": "a list of paths such as [/client, /client/*]",
        },
        "status_path": text("path of mod_jk's status worker", default="/jk-status", pattern=r"^/[A-Za-z0-9_/-]+$"),
        "status_from": {
            "type": "array",
            "items": address("an address"),
            "uniqueItems": True,
            "default": [],
            "description": "who may use the status worker, besides the nodes of the Tomcats",
            "expect": "a list of addresses",
        },
        "detect": duration(
            "how long a Tomcat may take to answer a ping on a new connection; 2s, or 10s with local sessions, when not given"
        ),
        "reply": duration("how long a Tomcat may take between two packets of an answer; 0s for ever", default="60s"),
        "repeat": choice(
            "what is sent to another Tomcat when the first one died with it: never what it had been given already; "
            "get: GET requests, for applications in which they change nothing",
            ["never", "get"],
            default="never",
        ),
        "balancer_options": scalars(
            "further keys of the balancer in workers.properties",
            propertyNames={"pattern": r"^[a-z_]+$", "expect": "a key of mod_jk, such as method"},
            default={},
        ),
        "module_config": path(
            "the module's own configuration, in which what may be given only once is commented out",
            default=mod_jk.MODULE_CONFIG,
        ),
        "log": path("mod_jk's log", default="/var/log/apache2/mod_jk.log"),
    }

    def cloned(self, service: Service) -> bool:
        """One on each node."""
        return True

    def check(self, service: Service, topology: Topology) -> Iterator[Problem]:
        """The Tomcats, mounts that would take the status worker's place, times that do not fit."""
        name = service.options.get("tomcats")
        if name is not None:
            found = topology.services.get(name)
            tomcats = [one.name for one in topology.services.values() if one.type == "tomcat"]
            if found is None or found.type != "tomcat":
                yield Problem(("tomcats",), unknown("service of type tomcat", name, tomcats))
        for index, mount in enumerate(service.options["mounts"]):
            if mount == service.options["status_path"]:
                yield Problem(("mounts", index), "is the path of the status worker")
        for key in sorted(set(mod_jk.OWN) & set(service.options["balancer_options"])):
            yield Problem(("balancer_options", key), "follows from the Tomcats; it is not set here")
        if milliseconds(service.options.get("detect", "2s")) < 100:
            yield Problem(("detect",), "is shorter than 100ms: every Tomcat would be left now and then")

    def claims(self, service: Service) -> Iterator[tuple[str, str]]:
        """A unit, and its port."""
        yield "port", str(service.options["port"])
        yield "unit", service.options["unit"]

    def ports(self, service: Service, topology: Topology) -> Iterator[Port]:
        """HTTP for everybody."""
        yield Port(str(service.options["port"]), "tcp", "clients", "HTTP")

    def part(self, service: Service, topology: Topology) -> Part:
        """The clone."""
        name, options = service.name, service.options
        params = {"url": mod_jk.alive_url(service)}
        for key in ("unit", "control"):
            if options[key] != agent.parameters[key].default:
                params[key] = options[key]
        for key in ("finish", "patience"):
            if key in options and seconds(options[key]) != agent.parameters[key].default:
                params[key] = seconds(options[key])
        stop = milliseconds(options["finish"]) + _TO_KILL
        operations = (
            model.operation(name, "start", "0", timeout="60s"),
            model.operation(name, "stop", "0", timeout=f"{max(60, -(-stop // 1000))}s"),
            model.operation(name, "monitor", "3s", timeout="30s"),
        )
        return on_each_of_its_nodes(
            service, topology, model.primitive(name, ("ocf", "hafailover", "apache"), params, operations, TIRELESS)
        )

    def anchor(self, service: Service, role: str | None) -> Anchor:
        """An address is where one of them runs."""
        return Anchor(clone_name(service), None, "start", service.nodes)

    def files(self, service: Service, topology: Topology, node: str, read: ReadSecret) -> list[RenderedFile]:
        """The configuration, and the workers with their secret."""
        if node not in service.nodes:
            return []
        name = service.options.get("tomcats")
        tomcat = topology.services[name] if name else None
        found = [RenderedFile(service.options["config"], mod_jk.config(service, tomcat, topology))]
        if tomcat:
            reference = dict(service_types()["tomcat"].secrets(tomcat))[("secret",)]
            content = mod_jk.workers(service, tomcat, topology, read(reference).decode())
            found.append(RenderedFile(mod_jk.workers_path(service), content, 0o600, secret=True))
        return found

    def edits(self, service: Service, topology: Topology, node: str, read: ReadSecret) -> list[FileEdit]:
        """The module's own configuration, where Debian gives what may be given only once."""
        if node not in service.nodes or "tomcats" not in service.options:
            return []
        path_ = service.options["module_config"]
        return [FileEdit(path_, lambda old: directives_off(old, mod_jk.ONLY_ONCE, path_))]


SERVICE_TYPE = Apache()
