"""The state of the cluster as one object, which the screen, the JSON and the switchover's checks all read.

Made by crm/status_read.py from what Pacemaker says, judged by crm/status_judge.py. Named tuples, not dataclasses: making thirty
classes costs 3 ms instead of 20, and the whole answer is to be there within 300. The JSON of ``hafailover status -o json`` is this
object field by field (docs/status.md); a field is only ever added, or SCHEMA rises.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from hafailover.agents.mariadb.journal import Journal
from hafailover.crm.status_fencing import FenceDevice, Fencing

SCHEMA = 1

OK, DEGRADED, DOWN = "OK", "DEGRADED", "DOWN"
NOTE = "NOTE"
"""Severity of a problem that is worth a line but takes nothing away."""


class Node(NamedTuple):
    """A cluster node.

    pending: joining. stopped: in the membership, but without Pacemaker, and that was expected: it was stopped in good order, or it was
    fenced and boots. coordinator: it is the DC. kind: member or remote.
    """

    name: str
    id: str
    online: bool
    standby: bool
    maintenance: bool
    pending: bool
    stopped: bool
    unclean: bool
    shutting_down: bool
    coordinator: bool
    kind: str

    @property
    def usable(self) -> bool:
        """Whether it can run resources now."""
        hindered = self.standby or self.maintenance or self.pending or self.unclean or self.shutting_down
        return self.online and not hindered

    @property
    def words(self) -> str:
        """Its state for a person: ``online``, ``online, standby``, ``offline, waits to be fenced`` …"""
        state = "joining" if self.pending else "online" if self.online else "offline"
        if self.stopped:
            state = "no Pacemaker"
        flags = (
            (self.unclean, "waits to be fenced"),
            (self.standby, "standby"),
            (self.maintenance, "maintenance"),
            (self.shutting_down and self.online, "shutting down"),
        )
        return ", ".join([state, *(word for there, word in flags if there)])


class QuorumDevice(NamedTuple):
    """The quorum device that corosync.conf names. running: its daemon on this node. voting: for this node. None: corosync did not tell."""

    model: str
    host: str
    running: bool | None
    voting: bool | None


class Quorum(NamedTuple):
    """Whether this partition has quorum, and the quorum device if there is one.

    votes: those that this partition has; expected: all that there are; needed: those that make a quorum. None: corosync did not tell.
    """

    quorate: bool
    device: QuorumDevice | None
    votes: int | None = None
    expected: int | None = None
    needed: int | None = None


class Lag(NamedTuple):
    """How far a replica is behind, as its server and the primary's say.

    seconds: how old the newest is that it has applied, None while it does not replicate. to_receive, to_apply: transactions; None when the
    primary, or the replica, does not say. error: why the server did not answer, or "".
    """

    seconds: int | None = None
    to_receive: int | None = None
    to_apply: int | None = None
    error: str = ""


class SemiSync(NamedTuple):
    """Whether commits on the primary wait for a copy (``enforcing``), how many replicas can give one, and how many commits wait now."""

    enforcing: bool
    replicas: int
    waiting: int


class Instance(NamedTuple):
    """A database server on one node.

    role: Promoted, Unpromoted or Stopped. pending: the action under way (``promoting`` …), or "". score: its promotion score, or None.
    standing: ``primary``, ``in sync``, ``cannot be promoted``, ``stopped`` or ``unknown``, and ``reason`` says why it is not better.
    rejoin: by which rung of the ladder it came back, in which epoch, and why (``RUNG epoch reason``), or "".
    lag: of a replica, and of any server that did not answer; None when nobody was asked.
    writable: whether the server says that it accepts writes, wherever one answers; None when none did.
    """

    node: str
    role: str
    pending: str
    score: int | None
    standing: str
    reason: str
    incarnation: str
    managed: bool
    failed: bool
    blocked: bool
    rejoin: str = ""
    lag: Lag | None = None
    writable: bool | None = None


class Service(NamedTuple):
    """A database service.

    primary: the promoted node if there is exactly one. nodes: data nodes and their addresses, in the topology's order. journal: the
    promotion journal, ``journal.NONE`` when there is none yet or it cannot be read, and then ``journal_error`` says why. reigns: node →
    the epoch whose primary it became since it joined the cluster.
    credentials: path of the file with the replication account. clone_port: where each node hears its peers.
    hooks: node → how its promotion hooks went, as crm/promotion_run.py reads it.
    semi_sync: as the primary says; None when it was not asked, or did not answer.
    """

    name: str
    clone: str
    primary: str | None
    promoted: tuple[str, ...]
    journal: Journal
    journal_error: str
    instances: tuple[Instance, ...]
    reigns: dict[str, int]
    nodes: dict[str, str]
    port: int
    credentials: str
    clone_port: int = 0
    hooks: dict[str, str] = {}
    semi_sync: SemiSync | None = None

    def instance(self, node: str) -> Instance | None:
        """The server on ``node``."""
        return next((found for found in self.instances if found.node == node), None)


class Resource(NamedTuple):
    """A resource that is not a database service: where it runs and in what state. ``parent`` is its clone or group, or "".

    missing: of a clone, the nodes that it should run on, too, as far as no constraint has a say in that.
    """

    id: str
    agent: str
    parent: str
    role: str
    pending: str
    nodes: tuple[str, ...]
    managed: bool
    failed: bool
    blocked: bool
    orphaned: bool
    wanted: bool
    missing: tuple[str, ...] = ()


class Address(NamedTuple):
    """A virtual address; ``follows`` is the database service whose primary it must be with, or "".

    nodes: where the cluster has it. seen: where it really is: the nodes (or, of a machine that is none, the hardware address) that have it,
    or answer for it; None when that cannot be seen from this node.
    """

    id: str
    ip: str
    nodes: tuple[str, ...]
    follows: str
    managed: bool
    failed: bool
    seen: tuple[str, ...] | None = None


class Failure(NamedTuple):
    """A failed action.

    rc: the agent's exit code. status: Pacemaker's word (``complete``, ``Timed Out``). reason: the agent's own.

    lasting: the last action of this kind still ended so. fails: the failures counted there; threshold: at how many Pacemaker gives up on
    that node (0: never).
    """

    resource: str
    node: str
    task: str
    rc: int
    status: str
    reason: str
    at: float | None
    lasting: bool
    fails: int
    threshold: int

    @property
    def given_up(self) -> bool:
        """Whether Pacemaker keeps the resource off the node because of this."""
        return 0 < self.threshold <= self.fails


class Failcount(NamedTuple):
    """``fails`` failures of ``resource`` on ``node``, as many as (``threshold``) it takes for Pacemaker to keep it off."""

    resource: str
    node: str
    fails: int
    threshold: int


class Link(NamedTuple):
    """What Corosync says of its link ``number`` from this node to ``node``: ``connected`` or ``disconnected``."""

    number: str
    node: str
    state: str


class Ban(NamedTuple):
    """A location constraint that keeps ``resource`` off ``node`` (score -INFINITY), or makes it less likely there."""

    id: str
    resource: str
    node: str
    score: int
    promoted_only: bool


class Leftover(NamedTuple):
    """Something a person (or a tool) left behind, what it does, and how to remove it."""

    what: str
    effect: str
    remedy: str


class Problem(NamedTuple):
    """Something a person should know. severity: DOWN, DEGRADED or NOTE. why and advice (what to do) may be empty."""

    severity: str
    what: str
    why: str = ""
    advice: str = ""

    @property
    def text(self) -> str:
        """What, and why."""
        return f"{self.what}: {self.why}" if self.why else self.what


class External(NamedTuple):
    """A service outside of the cluster, as seen from this node.

    kind: mongodb, redis, rabbitmq, mariadb or storage; or list, when the file that names them (``name``) cannot be read. name: its replica
    set, or the name its sentinels use, or "". usable: whether it serves now. state: how it is. problem: what is wrong, or "".
    since: Unix time since when, if that is known.
    """

    kind: str
    name: str
    addresses: tuple[str, ...]
    usable: bool
    state: str
    problem: str
    advice: str
    since: float | None


class Status(NamedTuple):
    """Everything.

    idle: None when the coordinator did not say whether it is acting. constraints: ids of all constraints. unanswered: what could not be
    asked, and why. silent: whose answer did not come in time. hidden: what this user may not see, and who may.
    mixed: nodes run different versions of Pacemaker. failcounts: where Pacemaker has given up without any failed action that tells of it.
    links: to each other node over each of Corosync's links; () where there is a single one, or nobody said.
    """

    cluster: str
    seen_by: str
    at: float
    coordinator: str
    idle: bool | None
    maintenance: bool
    managing: bool
    quorum: Quorum
    nodes: tuple[Node, ...]
    fencing: Fencing
    services: tuple[Service, ...]
    addresses: tuple[Address, ...]
    resources: tuple[Resource, ...]
    failures: tuple[Failure, ...]
    bans: tuple[Ban, ...]
    constraints: tuple[str, ...]
    leftovers: tuple[Leftover, ...]
    unanswered: tuple[str, ...]
    external: tuple[External, ...] = ()
    silent: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    mixed: bool = False
    failcounts: tuple[Failcount, ...] = ()
    links: tuple[Link, ...] = ()

    def node(self, name: str) -> Node | None:
        """The node called ``name``."""
        return next((node for node in self.nodes if node.name == name), None)

    def service(self, name: str) -> Service | None:
        """The database service called ``name`` (its primitive or its clone)."""
        return next((found for found in self.services if name in (found.name, found.clone)), None)

    def addresses_of(self, service: Service) -> tuple[Address, ...]:
        """The addresses that go where the primary of ``service`` is."""
        return tuple(address for address in self.addresses if address.follows == service.name)

    def broken_fences(self) -> Iterator[FenceDevice]:
        """The fencing devices that do not work."""
        return (
            device
            for device in self.fencing.devices
            if device.failed or device.blocked or not device.wanted or not device.running
        )


class Verdict(NamedTuple):
    """One word, why, and whether everything is as it should be (then the cluster is idle, too)."""

    word: str
    reason: str
    healthy: bool
    problems: tuple[Problem, ...]


def plain_data(value: Any) -> Any:
    """Named tuples as dictionaries, other tuples as lists, all the way down."""
    if hasattr(value, "_asdict"):
        return {key: plain_data(one) for key, one in value._asdict().items()}
    if isinstance(value, dict):
        return {key: plain_data(one) for key, one in value.items()}
    return [plain_data(one) for one in value] if isinstance(value, tuple) else value


def as_json(status: Status, verdict: Verdict) -> dict[str, Any]:
    """The documented shape: the verdict first, then the facts."""
    facts = plain_data(status)
    for service in facts["services"]:
        service["journal"] = service["journal"] if service["journal"]["epoch"] else None
    return {
        "schema": SCHEMA,
        "available": True,
        "healthy": verdict.healthy,
        "verdict": verdict.word,
        "reason": verdict.reason,
        "problems": plain_data(verdict.problems),
        **facts,
    }
