"""What Tomcat and mod_jk say to each other on a node: jvmRoute and AJP in server.xml, workers, where Apache shows a status worker.

Secrets are compared and never handed out: ``Ajp.secret`` and ``Worker.secret`` are for equality only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.parsers import expat

if TYPE_CHECKING:
    from hafailover.crm.lint.node_files import NodeFiles
    from hafailover.crm.resolved import Resource

_SERVER_XML = (
    "/var/lib/tomcat10/conf/server.xml", "/var/lib/tomcat9/conf/server.xml", "/etc/tomcat10/server.xml", "/etc/tomcat9/server.xml",
    "/etc/tomcat/server.xml", "/etc/cloudstack/management/server.xml",
)  # fmt: skip
_WORKERS = (
    "/etc/libapache2-mod-jk/workers.properties", "/etc/apache2/workers.properties", "/etc/httpd/conf/workers.properties",
    "/etc/httpd/conf.d/workers.properties",
)  # fmt: skip
_APACHE = (
    "/etc/apache2/apache2.conf", "/etc/apache2/conf-enabled/*.conf", "/etc/apache2/mods-enabled/*.conf", "/etc/apache2/sites-enabled/*",
    "/etc/httpd/conf/httpd.conf", "/etc/httpd/conf.d/*.conf", "/etc/httpd/conf.modules.d/*.conf",
)  # fmt: skip
_AJP = ("AJP/1.3", "org.apache.coyote.ajp.")
_MOST = 5000  # elements


@dataclass(frozen=True)
class Ajp:
    """An AJP connector: its port, address ("" for all or the default), and whether a secret is asked for."""

    port: str
    address: str
    secret: str | None = field(repr=False)
    line: int = 0


@dataclass(frozen=True)
class Tomcat:
    """A server.xml: the file, the engine's jvmRoute (None: none) and its line, the AJP connectors."""

    file: str
    route: str | None
    line: int
    connectors: tuple[Ajp, ...]


@dataclass(frozen=True)
class Worker:
    """A worker of mod_jk, with what it takes over from another by ``reference``."""

    name: str
    file: str
    line: int
    type: str
    host: str
    port: str
    route: str
    read_only: bool
    secret: str | None = field(repr=False, default=None)


@dataclass(frozen=True)
class StatusMount:
    """Where Apache shows a status worker: the path, where it is mounted, and whether anybody is kept out of it."""

    path: str
    worker: str
    place: str
    restricted: bool


def tomcats(files: NodeFiles, resource: Resource) -> Iterator[Tomcat]:
    """The server.xml of a resource that runs Tomcat: what it names, or the first of the usual ones."""
    params = resource.params
    unit = params.get("unit", "tomcat10.service").partition(".")[0]
    base = params.get("catalina_base") or params.get("catalina_home") or f"/var/lib/{unit}"
    named = [params.get("server_xml", ""), f"{base}/conf/server.xml"]
    for path in [*(one for one in named if one.startswith("/")), *_SERVER_XML]:
        found = _tomcat(files, path)
        if found is not None:
            yield found
            return


def _tomcat(files: NodeFiles, path: str) -> Tomcat | None:
    content = files.content(path)
    if not content:
        return None
    routes: list[tuple[str | None, int]] = []
    connectors: list[Ajp] = []
    parser = expat.ParserCreate()
    count = 0

    def start(name: str, given: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > _MOST:
            raise ValueError("too many elements")
        line = parser.CurrentLineNumber
        if name == "Engine":
            routes.append((given.get("jvmRoute"), line))
        elif name == "Connector" and given.get("protocol", "").startswith(_AJP):
            secret = given.get("secret") or given.get("requiredSecret") or None
            connectors.append(Ajp(given.get("port", "8009"), given.get("address", ""), secret, line))

    def refuse(*_: object) -> None:
        raise ValueError("an entity")

    parser.StartElementHandler = start
    parser.EntityDeclHandler = refuse  # so that a file of a few lines cannot fill the memory
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError):
        return None
    route, line = routes[0] if routes else (None, 0)
    return Tomcat(path, route, line, tuple(connectors)) if routes else None


def workers(files: NodeFiles, named: list[str]) -> dict[str, Worker]:
    """Every worker of this node's workers.properties, by name."""
    paths = [
        *named,
        *_WORKERS,
        *files.matching("/etc/hafailover/*-workers.properties"),
        *_directive(files, "JkWorkersFile"),
    ]
    found: dict[str, Worker] = {}
    for path in dict.fromkeys(paths):
        text = files.text(path)
        if text is not None:
            for one in _workers(path, text):
                found.setdefault(one.name, one)
    return found


def _workers(path: str, text: str) -> Iterator[Worker]:
    keys: dict[str, dict[str, str]] = {}
    lines: dict[str, int] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        key, equals, value = raw.strip().partition("=")
        parts = key.strip().split(".")
        if not equals or raw.lstrip().startswith("#") or len(parts) < 3 or parts[0] != "worker":
            continue
        name, attribute = ".".join(parts[1:-1]), parts[-1].strip()
        keys.setdefault(name, {})[attribute] = value.strip()
        lines.setdefault(name, number)
    models = {one.get("reference", "").partition("worker.")[2] for one in keys.values()}
    for name, own in keys.items():
        if name in models and "host" not in own:
            continue  # something that others refer to, and no worker
        merged: dict[str, str] = {}
        there, seen = own, set()
        while there is not None:
            merged = {**there, **merged}
            reference = there.get("reference", "").partition("worker.")[2]
            if not reference or reference in seen or reference not in keys:
                break
            seen.add(reference)
            there = keys[reference]
        yield Worker(
            name,
            path,
            lines[name],
            merged.get("type", "ajp13"),
            merged.get("host", "localhost"),
            merged.get("port", "8009"),
            merged.get("route") or merged.get("jvm_route") or name,
            merged.get("read_only", "").lower() in ("1", "true", "t", "yes", "y"),
            merged.get("secret") or None,
        )


def status_mounts(files: NodeFiles, status: Mapping[str, Worker]) -> Iterator[StatusMount]:
    """Where Apache shows one of the status workers."""
    mounts: list[tuple[str, str, str]] = []
    restricted: dict[str, bool] = {}
    for path in _configs(files):
        inside: list[str] = []
        for number, raw in enumerate((files.text(path) or "").splitlines(), 1):
            words = [word.strip("\"'") for word in raw.split()]
            if not words or words[0].startswith("#"):
                continue
            first = words[0].lower()
            if first in ("<location", "<locationmatch") and len(words) > 1:
                inside.append(_plain(words[-1].rstrip(">").strip("\"'")))
            elif first in ("</location>", "</locationmatch>") and inside:
                inside.pop()
            elif first == "jkmount" and len(words) > 1:
                where, worker = (words[1], words[2]) if len(words) > 2 else (inside[-1] if inside else "", words[1])
                if worker in status:
                    mounts.append((_plain(where), worker, f"{path}:{number}"))
            elif inside and _keeps_out(words):
                restricted[inside[-1]] = True
    for where, worker, place in mounts:
        kept = any(one == where or where.startswith(one.rstrip("/") + "/") or one == "/" for one in restricted)
        yield StatusMount(where or "/", worker, place, kept)


def _plain(path: str) -> str:
    """/jk-status, /jk-status/ and /jk-status/* are one place."""
    return re.sub(r"[*|/]+$", "", path.lstrip("^").rstrip("$")) or "/"


def _keeps_out(words: list[str]) -> bool:
    """Whether a directive of Apache lets in only some; the old language (Deny, Allow) too."""
    said = [word.lower() for word in words]
    if said[0] == "require":
        return said[1:3] != ["all", "granted"]
    if said[0] in ("deny", "allow"):
        return said[0] == "deny" or said[1:3] != ["from", "all"]
    return said[0] in ("authtype", "authuserfile")


def _configs(files: NodeFiles) -> list[str]:
    return [path for pattern in _APACHE for path in (files.matching(pattern) if "*" in pattern else [pattern])]


def _directive(files: NodeFiles, name: str) -> Iterator[str]:
    for path in _configs(files):
        for line in (files.text(path) or "").splitlines():
            words = line.split()
            if len(words) == 2 and words[0].lower() == name.lower() and words[1].strip("\"'").startswith("/"):
                yield words[1].strip("\"'")
