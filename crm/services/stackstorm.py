"""StackStorm's services: resources, constraints and files of the service type ``stackstorm``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hafailover.agents import web
from hafailover.agents.st2 import agent
from hafailover.agents.st2.names import ACTIVE, HTTP, SINGLETON, Wanted, base, urls
from hafailover.crm import model, st2_conf
from hafailover.crm.files import FileEdit, RenderedFile
from hafailover.crm.model import Primitive
from hafailover.crm.schema import (
    Problem,
    choice,
    duration,
    mapping,
    milliseconds,
    number,
    scalars,
    seconds,
    secret,
    text,
)
from hafailover.crm.service import (
    Anchor,
    Part,
    Port,
    ReadSecret,
    ServiceType,
    clone_name,
    on_each_of_its_nodes,
    on_its_nodes,
    service_types,
)

if TYPE_CHECKING:
    from hafailover.crm.topology import Service, Topology

_WORDS = {"active-active": "active", "singleton": "singleton"}
_URL = r"^http://[^\s/]+(/\S*)?$"
_SENSORS = "st2sensorcontainer"
_URLS = {name: str(agent.parameters[name].default) for name in ("api", "auth", "stream")}

# What of other services tells when its users must begin anew, and what that is for StackStorm.
_KINDS = {"rabbitmq": "broker", "mariadb": "database", "nfsmount": "content"}

_TO_KILL = 60_000  # ms that a stop may take beyond the drain: for killing, and for an overloaded systemd
_DEEP_EXTRA = 30_000


def _url(description: str) -> dict[str, Any]:
    return text(description, pattern=_URL, expect="a URL such as http://127.0.0.1:9101")


class StackStorm(ServiceType):
    """A clone on every node for the active services, one resource for the singletons."""

    name = "stackstorm"
    summary = "StackStorm's services: those that run on every node, or those that run once."
    required = ("units",)
    schema = {
        "units": {
            "anyOf": [
                {"enum": list(_WORDS)},
                {
                    "type": "array",
                    "items": {"type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9_.@:-]*$"},
                    "minItems": 1,
                },
            ],
            "description": "active-active: what runs on every node; singleton: what runs once; or a list of units",
            "expect": "active-active, singleton, or a list of units such as [st2api, st2auth]",
        },
        "sensors": choice(
            "whether sensors are partitioned in st2.conf, so that st2sensorcontainer runs on every node",
            ["single", "partitioned"],
            default="single",
        ),
        "drain": duration("how long a stop lets running actions finish", default="60s"),
        "api": _url("where st2api answers on each node; http://127.0.0.1:9101 when not given"),
        "auth": _url("where st2auth answers on each node; http://127.0.0.1:9100 when not given"),
        "stream": _url("where st2stream answers on each node; http://127.0.0.1:9102 when not given"),
        "patience": duration("how long an HTTP answer may take; 5 s when not given"),
        "restarts": number(
            "restarts in place within ten minutes before the cluster recovers the resource; 3 when not given", 0, 100
        ),
        "workers": number("action runners on a node; what the packages are configured for when not given", 1, 500),
        "deep_check": mapping(
            "Run an action from end to end, now and then.",
            {
                "interval": duration("how often", default="5m"),
                "timeout": duration("how long the action may take", default="60s"),
                "action": text("the action", default="core.noop", pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$"),
                "parameters": scalars("its parameters", default={}),
                "api_key": secret("the API key it is submitted with; file:SERVICE-api-key when not given"),
            },
        ),
    }

    def cloned(self, service: Service) -> bool:
        """Whether none of its units may run only once."""
        return not any(base(unit) in SINGLETON and not _partitioned(service, unit) for unit in _names(service))

    def check(self, service: Service, topology: Topology) -> Iterator[Problem]:
        """Units of both kinds in one service, and times that do not fit."""
        names = _names(service)
        if not names:
            yield Problem(("units",), "leaves no unit to run")
        once = [unit for unit in names if base(unit) in SINGLETON and not _partitioned(service, unit)]
        if once and len(once) < len(names) and any(base(unit) in ACTIVE for unit in names):
            yield Problem(
                ("units",),
                f"{', '.join(once)} may run only once in the cluster, the others run on every node: make two services of it",
            )
        for key, word in (("drain", "3600s"), ("patience", "15s")):
            if key in service.options and milliseconds(service.options[key]) > milliseconds(word):
                yield Problem((key,), f"is longer than {word}")
        if "patience" in service.options and milliseconds(service.options["patience"]) < 1000:
            yield Problem(("patience",), "is shorter than 1s")
        deep = service.options.get("deep_check")
        if deep and milliseconds(deep["interval"]) < 30_000:
            yield Problem(("deep_check", "interval"), "is shorter than 30s: every check is an execution in the history")
        if deep and milliseconds(deep["timeout"]) < 1000:
            yield Problem(("deep_check", "timeout"), "is shorter than 1s")
        yield from st2_conf.problems(service, topology)

    def claims(self, service: Service) -> Iterator[tuple[str, str]]:
        """A unit belongs to one service."""
        for unit in _names(service):
            yield "units", unit

    def ports(self, service: Service, topology: Topology) -> Iterator[Port]:
        """What people and programs use: the web server of StackStorm's packages, and the interfaces behind it."""
        found = [unit for unit in _names(service) if base(unit) in HTTP]
        if found:
            # The web server is the packages' own; the cluster does not run it.
            yield Port("443", "tcp", "clients", "StackStorm's web server", listens=False)
        for unit, url in urls(_URLS, found).items():
            _, port, _ = web.parse(service.options.get(base(unit)[len("st2") :], url))
            yield Port(str(port), "tcp", "clients", base(unit))

    def secrets(self, service: Service) -> Iterator[tuple[tuple[str, ...], str]]:
        """The deep check's API key."""
        if "deep_check" in service.options:
            yield ("deep_check", "api_key"), _key(service)

    def part(self, service: Service, topology: Topology) -> Part:
        """A clone, or one resource; on no other node than the service's."""
        resource = self._primitive(service, topology)
        place = on_each_of_its_nodes if self.cloned(service) else on_its_nodes
        return place(service, topology, resource)

    def _primitive(self, service: Service, topology: Topology) -> Primitive:
        name, options = service.name, service.options
        params = {"units": _units(service)}
        watch = _watch(service, topology)
        if watch:
            params["watch"] = watch
        for key in ("drain", "patience"):
            if key in options and seconds(options[key]) != agent.parameters[key].default:
                params[key] = seconds(options[key])
        for key in ("api", "auth", "stream", "restarts", "workers"):
            if key in options:
                params[key] = str(options[key])
        stop = milliseconds(options["drain"]) + _TO_KILL
        operations = [
            # Twenty interpreters that import a large program at once: on small machines this takes minutes.
            model.operation(name, "start", "0", timeout="180s"),
            model.operation(name, "stop", "0", timeout=f"{-(-stop // 1000)}s"),
            model.operation(name, "monitor", "10s", timeout="30s"),
        ]
        if not self.cloned(service):
            # Where it must not run: somebody may start a timer by hand, or a boot may, and everything would be done twice.
            # No deep check may be as frequent: Pacemaker needs different intervals.
            operations.append(model.operation(name, "monitor", "27s", role="Stopped", timeout="30s"))
        if "deep_check" in options:
            operations.append(_deep_operation(service))
            params.update(_deep_parameters(service))
        meta = {
            # Single services are restarted in place, and counted, by the agent. What fails here is more than that: three
            # times, and the node is left to the others for two minutes, in which a database or broker comes back.
            "migration-threshold": "3",
            "failure-timeout": "120s",
        }
        if not self.cloned(service):
            meta["multiple-active"] = "stop_unexpected"  # the one that runs where it should goes on
        return model.primitive(name, ("ocf", "hafailover", "st2"), params, tuple(operations), meta)

    def anchor(self, service: Service, role: str | None) -> Anchor:
        """After the start of the clone or the resource."""
        name = clone_name(service) if self.cloned(service) else service.name
        return Anchor(name, None, "start", service.nodes)

    def files(self, service: Service, topology: Topology, node: str, read: ReadSecret) -> list[RenderedFile]:
        """The API key of the deep check."""
        if node not in service.nodes or "deep_check" not in service.options:
            return []
        key = read(_key(service)).decode("utf-8", "strict")
        return [RenderedFile(_credentials_path(service), f"[st2]\napi_key={key}\n".encode(), 0o600, secret=True)]

    def edits(self, service: Service, topology: Topology, node: str, read: ReadSecret) -> list[FileEdit]:
        """Where broker, database and coordination are, in st2.conf."""
        return st2_conf.edits(service, topology, node, read)


def _units(service: Service) -> str:
    """The agent's parameter ``units``."""
    given = service.options["units"]
    words = [_WORDS[given]] if isinstance(given, str) else list(given)
    if service.options["sensors"] == "partitioned" and isinstance(given, str):
        words.append(_SENSORS if given == "active-active" else f"-{_SENSORS}")
    return " ".join(words)


def _names(service: Service) -> tuple[str, ...]:
    try:
        return Wanted(_units(service)).names
    except ValueError:
        return ()


def _partitioned(service: Service, unit: str) -> bool:
    return base(unit) == _SENSORS and service.options["sensors"] == "partitioned"


def _watch(service: Service, topology: Topology) -> str:
    """The resources of the services it comes after that tell when they began anew."""
    names = []
    for reference in service.after:
        vip = topology.vips.get(reference)
        name = (vip.follows if vip and vip.follows else reference).partition(".")[0]
        if name in topology.services:
            names.append(name)
    found = []
    for name in dict.fromkeys(names):
        supplier = topology.services[name]
        resources = service_types()[supplier.type].part(supplier, topology).resources
        for resource in model.Configuration(resources=resources).primitives():
            kind = _KINDS.get(resource.agent[2]) if resource.agent[:2] == ("ocf", "hafailover") else None
            if kind:
                found.append(f"{resource.id}={kind}")
    # Sorted: an order that means nothing must not restart anything when somebody writes it down anew.
    return " ".join(sorted(found))


def _deep_operation(service: Service) -> model.Operation:
    deep = service.options["deep_check"]
    interval = seconds(deep["interval"])
    limit = -(-(milliseconds(deep["timeout"]) + _DEEP_EXTRA) // 1000)
    identity = f"{service.name}-monitor-{interval}"
    level = model.attribute_set("instance_attributes", identity, {"OCF_CHECK_LEVEL": "20"})
    return model.Operation(identity, "monitor", interval, (("timeout", f"{limit}s"),), (level,))


def _deep_parameters(service: Service) -> dict[str, str]:
    deep = service.options["deep_check"]
    params = {"credentials": _credentials_path(service)}
    if deep["action"] != agent.parameters["deep_action"].default:
        params["deep_action"] = deep["action"]
    if deep["parameters"]:
        params["deep_parameters"] = json.dumps(deep["parameters"], sort_keys=True)
    if seconds(deep["timeout"]) != agent.parameters["deep_timeout"].default:
        params["deep_timeout"] = seconds(deep["timeout"])
    return params


def _credentials_path(service: Service) -> str:
    return f"/etc/hafailover/{service.name}.cred"


def _key(service: Service) -> str:
    reference: str = service.options["deep_check"].get("api_key", f"file:{service.name}-api-key")
    return reference


SERVICE_TYPE = StackStorm()
