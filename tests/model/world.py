"""The state of the modelled world: compact, hashable tuples, and what they say in the terms that the real rules read.

A transaction is ``(server, sequence, write)``: the GTID that servers see, and which client's write it really is, which they do not; a
reused GTID has another write, and a skipped one has ``SKIPPED``. Sets of nodes are bit masks.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from hafailover.agents.mariadb.decide import Replica
from hafailover.agents.mariadb.journal import Journal

NAMES = ("db1", "db2", "db3")
NUMBER = {name: number for number, name in enumerate(NAMES)}
DOWN, READ_ONLY, WRITABLE = 0, 1, 2  # Node.server
STOPPED, UNPROMOTED, PROMOTED = 0, 1, 2  # Node.role, as Pacemaker knows it
NOT_HELD, HELD, HELD_LONG = 0, 1, 2  # Node.held
SKIPPED = -1

Log = tuple[tuple[int, int, int], ...]


class Text(NamedTuple):
    """A journal as it stands in a copy of the CIB. ``at`` is left out: two texts that differ only by it are the harder case."""

    epoch: int
    primary: str
    gtid: str
    sync: tuple[tuple[str, str], ...]
    by: str


class Copy(NamedTuple):
    """One node's copy of the CIB: its ``admin_epoch`` and the journal."""

    version: int
    text: Text


class Node(NamedTuple):
    """One node: Corosync and Pacemaker, its copy of the CIB, its server, what it has published, what its agent is doing."""

    on: bool
    members: int  # Corosync's membership as this node believes it
    joined: int  # of those, the ones whose Pacemaker has joined and whose copies are one
    quorate: bool
    complete: bool  # has seen all nodes since it booted (wait_for_all)
    clean: int  # nodes that this partition knows to be off
    cib: Copy
    inbox: Copy | None  # a write of a member, on its way
    recorded: Text | None  # the file in /run
    server: int
    log: Log
    tail: tuple[
        int, bool
    ]  # of a dead server: how many transactions nobody had acknowledged; whether it was writable when it died
    relay: Log
    applied: tuple[int, int] | None  # gtid_slave_pos
    waiting: tuple[int, ...]  # writes whose client waits
    enforcing: bool
    source: int  # node that it is configured to replicate from, -1: none
    io: str  # Yes, No, or Wrong: the position asked for does not exist there
    sql: str  # Yes, No, or Wrong
    strict: bool  # gtid_strict_mode and rpl_semi_sync_slave_enabled were on when replication started
    life: int
    role: int
    reign: int
    published: str  # life
    final: tuple[int, str] | None
    received: tuple[int, str] | None
    admitted: tuple[str, ...]
    diverged: bool
    doing: tuple  # a procedure: (name, step, ...)
    minority: bool = False  # without quorum since its server was proved in sync
    held: int = NOT_HELD  # started for Pacemaker without a server, because its role is not known


class World(NamedTuple):
    """Everything. ``cut``: the nodes on one side of a cut network (0: whole). ``device``: node with the quorum device's vote, or -1."""

    nodes: tuple[Node, ...]
    cut: int
    device: int
    writes: int
    acknowledged: int  # bit mask of writes
    budget: tuple[int, ...]  # faults left, by kind; the last is their total
    banned: int = 0  # nodes that Pacemaker never promotes

    def put(self, number: int, node: Node) -> World:
        return self._replace(nodes=(*self.nodes[:number], node, *self.nodes[number + 1 :]))


def linked(world: World, one: int, other: int) -> bool:
    """Both run, and packets pass between them."""
    return world.nodes[one].on and world.nodes[other].on and (world.cut >> one & 1) == (world.cut >> other & 1)


def reach(world: World, number: int) -> int:
    """Mask of the running nodes that ``number`` can exchange packets with, itself included."""
    on = 0
    for other, node in enumerate(world.nodes):
        if node.on:
            on |= 1 << other
    side = world.cut if world.cut >> number & 1 else ~world.cut
    return on & side if on >> number & 1 else 0


def formed(world: World, number: int) -> bool:
    """Corosync's membership is true and agreed; while it is not, a CIB write blocks."""
    mask = reach(world, number)
    return all(world.nodes[other].members == mask for other in each(mask))


@cache
def each(mask: int) -> tuple[int, ...]:
    """The members of a mask."""
    return tuple(number for number in range(mask.bit_length()) if mask >> number & 1)


@cache
def names(mask: int) -> frozenset[str]:
    return frozenset(NAMES[number] for number in each(mask))


@cache
def journal(text: Text) -> Journal:
    """The real journal of a text."""
    return Journal(text.epoch, text.primary, text.gtid, dict(text.sync), 0, text.by)


def text(entry: Journal) -> Text:
    return Text(entry.epoch, entry.primary, entry.gtid, tuple(sorted(entry.sync.items())), entry.by)


@cache
def position(log: Log) -> str:
    """``@@gtid_binlog_pos``."""
    return f"0-{log[-1][0] + 1}-{log[-1][1]}" if log else ""


@cache
def state(log: Log, applied: tuple[int, int] | None) -> str:
    """``@@gtid_binlog_state`` joined with ``@@gtid_slave_pos``."""
    last = {server: sequence for server, sequence, _ in log}
    parts = [f"0-{server + 1}-{sequence}" for server, sequence in sorted(last.items())]
    return ",".join(parts + ([gtid_text(applied)] if applied else []))


def gtid_text(gtid: tuple[int, int] | None) -> str:
    return f"0-{gtid[0] + 1}-{gtid[1]}" if gtid else ""


def end(node: Node) -> tuple[int, int] | None:
    """The last transaction that a replica has received (Gtid_IO_Pos), or where it will begin."""
    return node.relay[-1][:2] if node.relay else node.applied


def life(number: int, node: Node) -> str:
    """As ``life.of``: with the SQL thread when that runs."""
    if node.server == DOWN:
        return ""
    return f"b{number}.1.{node.life}.7" if node.sql == "Yes" else f"b{number}.1.{node.life}"


def replica(world: World, number: int) -> Replica | None:
    """SHOW SLAVE STATUS."""
    node = world.nodes[number]
    if node.source < 0:
        return None
    return _replica(
        node.source,
        "Wrong"
        if node.io == "Wrong"
        else "No"
        if node.io == "No"
        else "Yes"
        if connected(world, number)
        else "Connecting",
        node.sql,
        gtid_text(end(node)),
        gtid_text(node.applied),
    )


@cache
def _replica(source: int, io: str, sql: str, received: str, applied: str) -> Replica:
    return Replica(
        source=NAMES[source],
        io="No" if io == "Wrong" else io,
        sql=sql == "Yes",
        received=received,
        applied=applied,
        io_errno=1236 if io == "Wrong" else 0,
        sql_errno=1950 if sql == "Wrong" else 0,
        error="no such position" if io == "Wrong" else "",
    )


def connected(world: World, number: int) -> bool:
    """The IO thread of ``number`` has its source's connection."""
    node = world.nodes[number]
    return (
        node.server == READ_ONLY
        and node.source >= 0
        and node.io == "Yes"
        and linked(world, number, node.source)
        and world.nodes[node.source].server != DOWN
    )


def has(node: Node, write: int) -> bool:
    """Whether a write is in the log, or in the relay log of a running replica."""
    return any(entry[2] == write for entry in node.log) or any(entry[2] == write for entry in node.relay)


def unused_life(world: World, number: int) -> int:
    """A number for the next life of a server: only whether two lives are the same matters, so one is used again when nobody knows it."""
    node = world.nodes[number]
    told = f"{world!r}|b{number}.1.{node.life}'"
    life = 1
    while f"b{number}.1.{life}'" in told or f"b{number}.1.{life}.7'" in told:
        life += 1
    return life


def shifted(world: World) -> World:
    """The same world with the oldest copy of the CIB at version 0: only differences between versions matter."""
    least = min(node.cib.version for node in world.nodes)
    least = min([least, *(node.inbox.version for node in world.nodes if node.inbox)])
    if not least:
        return world
    return world._replace(
        nodes=tuple(
            node._replace(
                cib=node.cib._replace(version=node.cib.version - least),
                inbox=node.inbox._replace(version=node.inbox.version - least) if node.inbox else None,
            )
            for node in world.nodes
        )
    )
