"""Do server.xml and workers.properties of this node agree? Each difference is a sentence that says what to write where."""

from __future__ import annotations

from hafailover.agents.record import NamedTuple
from hafailover.agents.tomcat import place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.ocf import Context

_AJP = ("AJP/1.3", "org.apache.coyote.ajp.")
_REFERENCES = 20  # as deep as mod_jk follows them


class Connector(NamedTuple):
    """An AJP connector as server.xml has it; ``secret`` None when it has none and refuses nobody for that; the ``routes`` of the
    engines behind it ("" for none).
    """

    port: str
    address: str
    secret: str | None
    needs_secret: bool
    routes: tuple[str, ...] = ()


class Server(NamedTuple):
    """What of server.xml mod_jk has to agree with: the AJP connectors; ``whole``: nothing of it lies in another file."""

    connectors: tuple[Connector, ...]
    whole: bool = True


def read_server(content: bytes) -> Server:
    """Parse server.xml, in whatever it is encoded. ValueError when it is not well formed."""
    from xml.parsers import expat  # only a start and validate-all read it

    parser = expat.ParserCreate()
    services: list[tuple[list[Connector], list[str]]] = []
    elsewhere: list[str | None] = []

    def begin(name: str, attributes: dict[str, str]) -> None:
        if name == "Service":
            services.append(([], []))
        elif name == "Engine" and services:
            services[-1][1].append(attributes.get("jvmRoute", ""))
        elif name == "Connector" and services and attributes.get("protocol", "").startswith(_AJP):
            # requiredSecret is what Tomcat 7 and 8 called it first.
            secret = attributes.get("secret") or attributes.get("requiredSecret")
            needs = attributes.get("secretRequired", "true").lower() != "false"
            where = attributes.get("port", "8009"), attributes.get("address", "localhost")
            services[-1][0].append(Connector(*where, secret, needs))

    def other_file(context: str, base: str | None, system: str | None, public: str | None) -> int:
        elsewhere.append(system)
        return 1

    parser.StartElementHandler = begin
    parser.ExternalEntityRefHandler = other_file
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise ValueError(f"{expat.ErrorString(error.code)}: line {error.lineno}") from None
    connectors = (one._replace(routes=tuple(routes)) for found, routes in services for one in found)
    return Server(tuple(connectors), not elsewhere)


def _is_given(value: str | None) -> bool:
    """Whether a value stands there itself, and not a property such as ${ajp.secret}, which Tomcat is told elsewhere."""
    return "${" not in (value or "")


def read_workers(text: str) -> dict[str, str]:
    """The lines of workers.properties as key and value."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def fault(ctx: Context) -> str | None:
    """What in this node's files would break the service, or None."""
    path = place.server_xml(ctx)
    try:
        with open(path, "rb") as file:
            server = read_server(file.read())
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}; correct catalina_base"
    except ValueError as error:
        return f"{path} is no XML that Tomcat could load: {error}"
    workers: dict[str, str] | None = None
    if ctx.params["workers_file"]:
        try:
            with open(ctx.params["workers_file"], errors="replace") as file:
                workers = read_workers(file.read())
        except FileNotFoundError:  # Apache runs on other nodes
            workers = None
    routed = bool(ctx.params["status"] or ctx.params["workers"])
    port = place.address(ctx)[1]
    return disagreement(server, workers, place.worker(ctx) if routed else None, str(port), path)


def disagreement(
    server: Server, workers: dict[str, str] | None, worker: str | None, port: str, path: str
) -> str | None:
    """The rule of ``fault``: ``workers`` None when there are none here, ``worker`` None when none is expected."""
    connector = next((found for found in server.connectors if found.port == port), None)
    if connector is None:
        if not server.whole or not all(_is_given(found.port) for found in server.connectors):
            return None  # it may be there
        others = ", ".join(found.port for found in server.connectors)
        return f"{path} has no AJP connector on port {port}{f', only on {others}' if others else ''}; add it, or correct ajp"
    if connector.needs_secret and not connector.secret:
        return f"{path}: the AJP connector on port {port} needs a secret and has none, so Tomcat does not start it"
    if worker is None:
        return None
    unseen = not all(_is_given(route) for route in connector.routes) or not (connector.routes or server.whole)
    if worker not in connector.routes and not unseen:
        found = " and ".join(route or "none" for route in connector.routes) or "no Engine"
        return (
            f"{path}: jvmRoute is {found}, mod_jk's worker for this node is {worker}: sessions would leave their Tomcat with "
            f'every request; write jvmRoute="{worker}" at Engine'
        )
    if workers is None:
        return None
    if not any(key.startswith(f"worker.{worker}.") for key in workers):
        return f"mod_jk's worker {worker} is not in workers.properties; render the files again"
    known = _setting(workers, worker, "secret")
    if _is_given(connector.secret) and "$(" not in known and (connector.secret or "") != known:
        return (
            f"the AJP secret in {path} is not that of worker {worker} in workers.properties: Tomcat would refuse every request "
            "(403); render the files again on all nodes"
        )
    return None


def _setting(workers: dict[str, str], worker: str, key: str) -> str:
    """What a worker has for ``key``, or what it refers to has; "" when nobody has any."""
    name = f"worker.{worker}"
    for _ in range(_REFERENCES):
        if f"{name}.{key}" in workers:
            return workers[f"{name}.{key}"]
        name = workers.get(f"{name}.reference", "")
    return ""
