"""Rules about Tomcat behind mod_jk: both must call a node the same, know the same secret, and not everybody may switch workers off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from hafailover.crm.lint import ERROR, Facts, Found, jk_files, rule
from hafailover.crm.lint.about import is_loopback, kind
from hafailover.crm.lint.cluster import primitives
from hafailover.crm.lint.jk_files import Ajp, Tomcat, Worker

if TYPE_CHECKING:
    from hafailover.crm.lint.node_files import NodeFiles

_SHOWN = 60


def _pairs(facts: Facts) -> Iterator[tuple[Tomcat, Ajp, Worker]]:
    """Each AJP connector of this node's Tomcats with the worker of mod_jk that leads to it."""
    assert facts.node is not None
    files: NodeFiles | None = facts.node.files
    if files is None:
        return
    here = _names(facts)
    seen: set[tuple[str, str]] = set()
    for one in primitives(facts.cluster):
        if kind(one) != "tomcat" and "tomcat" not in one.agent and "cloudstack" not in one.agent:
            continue
        workers = jk_files.workers(files, [one.params.get("workers_file", "")])
        for tomcat in jk_files.tomcats(files, one):
            for connector in tomcat.connectors:
                ajp = [
                    worker
                    for worker in workers.values()
                    if worker.type.startswith("ajp") and worker.port == connector.port
                ]
                for worker in ajp:
                    # Of several that are on this machine by their files, nobody can tell which is this one.
                    mine = worker.host.lower() in here or (is_loopback(worker.host) and len(ajp) == 1)
                    if mine and (tomcat.file, worker.name) not in seen:
                        seen.add((tomcat.file, worker.name))
                        yield tomcat, connector, worker


def _names(facts: Facts) -> set[str]:
    """Every name and address by which somebody may mean this node."""
    assert facts.node is not None
    name = facts.node.name
    found = {name.lower(), *(one.lower() for one in facts.node.interfaces if not is_loopback(one))}
    if facts.corosync is not None:
        found |= {link.lower() for node in facts.corosync.nodes if node.name == name for link in node.links.values()}
    return found


@rule(
    "jvm-route",
    ERROR,
    code="L32",
    needs=("resolved", "node"),
    remedy="give the Engine in server.xml the name of the node's worker as its jvmRoute",
    why="a session's cookie ends with the jvmRoute: where no worker is called so, every request goes to any Tomcat, and people are "
    "logged out at random",
)
def jvm_route(facts: Facts) -> Iterator[Found]:
    """The jvmRoute of this node's Tomcat is not the name of the worker that leads to it."""
    assert facts.node is not None
    for tomcat, _, worker in _pairs(facts):
        if tomcat.route != worker.route:
            said = f"is {tomcat.route[:_SHOWN]!r}" if tomcat.route else "is not given"
            text = (
                f"jvmRoute {said}, and mod_jk calls this Tomcat {worker.route[:_SHOWN]!r} ({worker.file}:{worker.line})"
            )
            yield Found(f"{facts.node.name}: {tomcat.file}:{tomcat.line}", text, f"jvmRoute={quoteattr(worker.route)}")


@rule(
    "ajp-secret",
    ERROR,
    code="L32b",
    needs=("resolved", "node"),
    remedy="write the same secret into the AJP connector of server.xml and the worker of workers.properties (hafailover render does both)",
    why="Tomcat answers each request with 403, which mod_jk takes for an answer: the worker looks well and everybody sees an error",
)
def ajp_secret(facts: Facts) -> Iterator[Found]:
    """Tomcat's AJP connector and mod_jk's worker have different secrets, or one has none."""
    assert facts.node is not None
    for tomcat, connector, worker in _pairs(facts):
        if connector.secret == worker.secret:
            continue
        both = connector.secret is not None and worker.secret is not None
        lacking = f"{worker.file}:{worker.line}" if worker.secret is None else f"{tomcat.file}:{connector.line}"
        said = "have different secrets" if both else f"do not agree about a secret: there is none at {lacking}"
        text = f"the AJP connector and worker {worker.name[:_SHOWN]!r} ({worker.file}:{worker.line}) {said}"
        yield Found(
            f"{facts.node.name}: {tomcat.file}:{connector.line}",
            text,
            f"worker.{worker.name[:_SHOWN]}.secret=<THE-CONNECTORS-SECRET>",
        )


@rule(
    "jk-status-open",
    ERROR,
    code="L32c",
    needs=("resolved", "node"),
    remedy="let only the nodes of the Tomcats in (Require ip), or make the worker read_only where nothing drains through it",
    why="anybody who finds the page switches every Tomcat off with one click, and mod_jk says that all is well",
)
def jk_status_open(facts: Facts) -> Iterator[Found]:
    """mod_jk's status worker, which can switch Tomcats off, is open to everybody."""
    assert facts.node is not None
    files: NodeFiles | None = facts.node.files
    ours = [one for one in primitives(facts.cluster) if kind(one) in ("apache", "apache2", "httpd", "tomcat")]
    if files is None or not ours:
        return
    known = jk_files.workers(files, [one.params.get("workers_file", "") for one in ours])
    status = {name: one for name, one in known.items() if one.type == "status" and not one.read_only}
    for mount in jk_files.status_mounts(files, status):
        if not mount.restricted:
            nodes = sorted(_names(facts) - {facts.node.name.lower()})
            allowed = " ".join(["127.0.0.1", *(one for one in nodes if one[:1].isdigit())])
            fix = f"<Location {mount.path}>\n  Require ip {allowed} <ADDRESSES-OF-THE-OTHER-NODES>\n</Location>"
            text = f"{mount.path[:_SHOWN]} shows the status worker {mount.worker[:_SHOWN]!r}, which may change everything, to everybody"
            yield Found(f"{facts.node.name}: {mount.place}", text, fix)
