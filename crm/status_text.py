"""The status on a screen of 80 columns, for somebody who was woken up. Readable without colour, and in a log."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from hafailover.agents.mariadb import rejoin_record
from hafailover.crm.colour import Paint, plain
from hafailover.crm.status import (
    DEGRADED,
    DOWN,
    NOTE,
    OK,
    Address,
    External,
    Instance,
    Lag,
    Quorum,
    Resource,
    Service,
    Status,
    Verdict,
)
from hafailover.crm.status_database import (
    BARRED,
    IN_SYNC,
    PRIMARY,
    PROMOTED_ROLES,
    UNPROMOTED_ROLES,
)
from hafailover.crm.status_external import KINDS
from hafailover.crm.status_fencing import FenceDevice, FenceEvent
from hafailover.crm.status_words import RUNGS, clock

WIDTH = 80
_VERDICT_COLOURS = {OK: "green", DEGRADED: "yellow", DOWN: "red", NOTE: "dim"}
_STANDING_COLOURS = {PRIMARY: "green", IN_SYNC: "green", BARRED: "red"}
_BY = {
    "promote": "promoted",
    "regain": "replica in sync again",
    "degrade": "replica lost",
    "accept-data-loss": "decided by a person",
}


def wrapped(text: str, first: str, rest: str, width: int = WIDTH) -> list[str]:
    """``text`` in lines of ``width``; a word longer than a line stays whole, so that commands can be copied.

    Reasons come from agents, servers and other nodes: what would move a terminal's cursor becomes a space.
    """
    if not text.isprintable():
        text = "".join(one if one.isprintable() else " " for one in text)
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    ) or [first.rstrip()]


def table(rows: Sequence[Sequence[str]], indent: str = "  ", width: int = WIDTH) -> Iterator[str]:
    """Columns as wide as they must be; the last one is wrapped under itself."""
    columns = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        first = indent + "".join(f"{cell:<{size}}  " for cell, size in zip(row, columns))
        yield from wrapped(row[-1], first, " " * len(first), max(width, len(first) + 24))


def render(status: Status, verdict: Verdict, paint: Paint = plain) -> str:
    """The whole screen, ending in a newline."""
    word = verdict.word
    lines = wrapped(verdict.reason, f"{word}  ", " " * (len(word) + 2))
    lines[0] = paint(word, _VERDICT_COLOURS[word]) + lines[0][len(word) :]
    lines += ["", *_cluster(status), "", paint("Nodes", "bold"), *_nodes(status)]
    for service in status.services:
        lines += ["", *_service(status, service, paint)]
    if status.addresses:
        lines += ["", paint("Addresses", "bold"), *table([_address(address) for address in status.addresses])]
    if status.resources:
        lines += ["", paint("Other resources", "bold"), *table([_resource(found) for found in status.resources])]
    if status.external:
        lines += ["", paint("Outside of the cluster", "bold"), *table([_external(one) for one in status.external])]
    if verdict.problems:
        lines += ["", paint("What is wrong, and what to do" if word != OK else "Worth knowing", "bold")]
        for problem in verdict.problems:
            lines += _problem(problem.severity, problem.text, problem.advice, paint)
    if status.silent or status.hidden:
        lines += ["", paint("Not known here", "bold")]
        for text in (*status.silent, *status.hidden):
            lines += wrapped(text, "  ", "    ")
    return "\n".join(lines) + "\n"


def _cluster(status: Status) -> Iterator[str]:
    acting = {True: "idle", False: "acting now", None: "activity unknown"}[status.idle]
    if not status.managing:
        acting = "MAINTENANCE: the cluster does not act" if status.maintenance else "EVERYTHING IS TO BE STOPPED"
    dc = f"coordinator {status.coordinator}" if status.coordinator else "no coordinator"
    device = status.quorum.device
    vote = {True: "votes", False: "does NOT vote", None: "state unknown"}[device.voting] if device else ""
    quorum = ("yes" if status.quorum.quorate else "NO") + _votes(status.quorum)
    quorum += f"; quorum device {device.host} {vote}" if device else ""
    name = status.cluster or "(unnamed)"
    yield from table(
        [
            ("Cluster", f"{name}, seen from {status.seen_by} at {clock(status.at, status.at)}; {dc}; {acting}"),
            ("Quorum", quorum),
            ("Fencing", _fencing(status)),
        ],
        indent="",
    )


def _votes(quorum: Quorum) -> str:
    if quorum.votes is None or quorum.expected is None:
        return ""
    needed = "" if quorum.needed is None else f" ({quorum.needed} needed)"
    return f", {quorum.votes} of {quorum.expected} votes{needed}"


def _fencing(status: Status) -> str:
    fencing = status.fencing
    if not fencing.enabled:
        return "OFF"
    devices = ", ".join([_device(device) for device in fencing.devices] + ["SBD"] * fencing.watchdog)
    well = "; their last checks were ok" if {device.checked for device in fencing.devices} == {"ok"} else ""
    # One that is under way has no time yet.
    last = max(fencing.events, key=lambda event: (event.status == "pending", event.at or 0.0), default=None)
    return f"on: {devices or 'NO DEVICE'}{well}{'; ' + _event(last, status.at) if last else ''}"


def _device(device: FenceDevice) -> str:
    if not device.wanted:
        return f"{device.id} SWITCHED OFF"
    if device.failed or device.blocked:
        return f"{device.id} FAILED"
    return f"{device.id} on {device.node}" if device.running else f"{device.id} NOT RUNNING"


def _event(event: FenceEvent, now: float) -> str:
    what = {"success": "last", "failed": "last, FAILED", "pending": "under way"}.get(event.status, event.status)
    return f"{what}: {event.action} of {event.target} {clock(event.at, now) if event.at else ''}".rstrip()


def _nodes(status: Status) -> Iterator[str]:
    return table([(node.name, node.words) for node in status.nodes])


def _service(status: Status, service: Service, paint: Paint) -> Iterator[str]:
    entry = service.journal
    if service.journal_error:
        about = service.journal_error
    elif not entry.epoch:
        about = "no primary was ever recorded"
    else:
        about = f"epoch {entry.epoch}, recorded {clock(entry.at, status.at)} ({_BY.get(entry.by, entry.by)})"
    about += _semi_sync(service)
    lines = wrapped(f"{service.name}: {about}", "Database ", "  ")
    yield paint("Database", "bold") + lines[0][len("Database") :]
    yield from lines[1:]
    rows: list[tuple[str, ...]] = [("NODE", "ROLE", "LAG", "SCORE", "STANDING")]
    rows += [_instance(one) for one in service.instances]
    if all(one.lag is None for one in service.instances):  # nobody was asked
        rows = [(*row[:2], *row[3:]) for row in rows]
    rendered = list(table(rows))
    for line in rendered:
        for standing, colour in _STANDING_COLOURS.items():
            line = line.replace(f"  {standing}", "  " + paint(standing, colour)) if paint is not plain else line
        yield line
    for one in service.instances:
        rejoin = rejoin_record.parse(one.rejoin)
        if rejoin and rejoin.rung not in (
            rejoin_record.GTID,
            rejoin_record.QUARANTINE,
        ):  # the usual, and what STANDING says
            yield from wrapped(f"{one.node} came back by {RUNGS[rejoin.rung]} (epoch {rejoin.epoch})", "  ", "    ")


def _semi_sync(service: Service) -> str:
    if service.semi_sync is None:
        return ""
    if not service.semi_sync.enforcing:
        return "; commits do not wait for a copy"
    replicas = service.semi_sync.replicas
    waiting = f", {service.semi_sync.waiting} wait now" if service.semi_sync.waiting else ""
    return f"; commits wait for a copy ({replicas} replica{'s' * (replicas != 1)} can give it{waiting})"


def lag_words(lag: Lag | None) -> str:
    """``0 s``, ``12 s, 340 trx``, ``stopped``, ``no answer``, or "-"."""
    if lag is None:
        return "-"
    if lag.error:
        return "no answer"
    missing = (lag.to_receive or 0) + (lag.to_apply or 0)
    words = "stopped" if lag.seconds is None else f"{lag.seconds} s"
    return f"{words}, {missing} trx" if missing else words


def _instance(one: Instance) -> tuple[str, ...]:
    role = "primary" if one.role in PROMOTED_ROLES else "replica" if one.role in UNPROMOTED_ROLES else one.role.lower()
    score = "-" if one.score is None else "never" if one.score <= -1000000 else str(one.score)
    flags = [
        word
        for there, word in ((one.failed, "failed"), (one.blocked, "blocked"), (not one.managed, "unmanaged"))
        if there
    ]
    standing = one.standing + (f": {one.reason}" if one.reason else "")
    tail = [one.pending] if one.pending else []
    return one.node, role, lag_words(one.lag), score, standing + "".join(f" ({word})" for word in [*flags, *tail])


def _address(address: Address) -> tuple[str, str, str]:
    where = f"on {', '.join(address.nodes)}" if address.nodes else "NOWHERE"
    flags = [word for there, word in ((address.failed, "failed"), (not address.managed, "unmanaged")) if there]
    tied = f", follows the primary of {address.follows}" if address.follows else ""
    if address.seen is not None and set(address.seen) - set(address.nodes):
        tied += f"; ALSO SEEN ON {', '.join(one for one in address.seen if one not in address.nodes)}"
    return address.id, address.ip, where + tied + "".join(f" ({word})" for word in flags)


def _resource(resource: Resource) -> tuple[str, str, str]:
    where = f"{resource.role} on {', '.join(resource.nodes)}" if resource.nodes else resource.role
    flags = [
        word
        for there, word in (
            (resource.failed, "failed"),
            (resource.blocked, "blocked"),
            (not resource.managed, "unmanaged"),
            (resource.orphaned, "not configured"),
            (not resource.wanted, "switched off"),
            (bool(resource.pending), resource.pending),
        )
        if there
    ]
    return resource.id, resource.agent, where + "".join(f" ({word})" for word in flags)


def _external(external: External) -> tuple[str, str]:
    state = external.state or ("" if external.usable else "CANNOT BE USED")
    wrong = "" if not external.problem else " (see below)" if external.usable else " (CANNOT BE USED)"
    name = f"{KINDS[external.kind]} {external.name}".rstrip()
    return name, state + (wrong if state != "CANNOT BE USED" else "")


def _problem(severity: str, text: str, advice: str, paint: Paint) -> Iterator[str]:
    label = "note" if severity == NOTE else severity
    first = f"  {label:<8}  "
    lines = wrapped(text, first, " " * 12)
    yield "  " + paint(label, _VERDICT_COLOURS[severity]) + lines[0][2 + len(label) :]
    yield from lines[1:]
    if advice:
        yield from wrapped(advice, " " * 12 + "-> ", " " * 15)
