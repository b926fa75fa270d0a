"""What can be said when this node's cluster does not run: what systemd knows, and what the node last knew of the others."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree.ElementTree import Element

from hafailover.agents.mariadb.journal import Journal
from hafailover.crm.colour import Paint, plain
from hafailover.crm.corosync_glance import votes
from hafailover.crm.errors import HafailoverError
from hafailover.crm.local import NotInstalled
from hafailover.crm.status import SCHEMA, plain_data
from hafailover.crm.status_database import read_journal
from hafailover.crm.status_facts import database_resources
from hafailover.crm.status_text import table, wrapped
from hafailover.crm.status_words import clock
from hafailover.crm.status_xml import parse

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run

CIB_ON_DISK = "/var/lib/pacemaker/cib/cib.xml"
UNITS = ("corosync", "corosync-qdevice", "pacemaker")
_TIMEOUT = 2.0  # seconds for each program


class LastKnown(NamedTuple):
    """The configuration as this node last wrote it to disk; ``written`` is Unix time. It may be out of date."""

    written: float
    nodes: tuple[str, ...]
    journals: tuple[tuple[str, Journal], ...]


class Offline(NamedTuple):
    """A node whose cluster does not run, or may not be asked by this user (``denied``).

    units: systemd unit → its state. corosync: quorum and votes as Corosync says, or "". servers: service → node → what the server there
    says of itself. hidden: what this user may not see. installed: whether Pacemaker is.
    """

    node: str
    reason: str
    units: tuple[tuple[str, str], ...]
    databases: tuple[tuple[str, str], ...]
    last_known: LastKnown | None
    corosync: str = ""
    servers: Mapping[str, Mapping[str, str]] = {}
    hidden: tuple[str, ...] = ()
    denied: bool = False
    installed: bool = True


def look(run: Run, reason: str, path: str = CIB_ON_DISK, denied: bool = False, installed: bool = True) -> Offline:
    """Gather what is there; nothing of it is needed, so nothing fails, and nothing is waited for longer than two seconds."""
    cib, known = _on_disk(path)
    services = [name for name, _ in known.journals] if known else []
    servers = None
    if cib is not None:
        from hafailover.crm import status_servers

        servers = status_servers.Look(cib)
    names = [*UNITS, *(f"hafailover-mariadb-{name}" for name in services)]
    states: dict[str, str] = {}
    threads = [
        threading.Thread(target=lambda name=name: states.update({name: _unit_state(run, name)})) for name in names
    ]
    membership: list[str] = []
    threads.append(threading.Thread(target=lambda: membership.append(_corosync(run))))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hidden = []
    if known is None and os.geteuid() != 0:
        hidden.append("what this node last knew of the others: only root and members of haclient may read it")
    return Offline(
        node=os.uname().nodename,
        reason=reason,
        # Not every cluster has a quorum device.
        units=tuple((unit, states[unit]) for unit in UNITS if unit != "corosync-qdevice" or states[unit] != "inactive"),
        databases=tuple((name, states[f"hafailover-mariadb-{name}"]) for name in services),
        last_known=known,
        corosync=membership[0],
        servers={name: {node: one.words for node, one in said.items()} for name, said in servers.said().items()}
        if servers
        else {},
        hidden=(*hidden, *(servers.hidden if servers else ())),
        denied=denied,
        installed=installed,
    )


def _unit_state(run: Run, unit: str) -> str:
    try:
        result = run(["systemctl", "is-active", unit], timeout=_TIMEOUT)
    except (NotInstalled, OSError) as error:
        return f"unknown ({error})"
    return result.out.strip() or f"unknown ({result.err.strip() or 'no answer'})"


def _corosync(run: Run) -> str:
    """Quorum and votes as Corosync says, which may run without Pacemaker; "" when it says nothing."""
    try:
        said = run(["corosync-quorumtool", "-s"], timeout=_TIMEOUT).out
    except (NotInstalled, OSError):
        return ""
    there, expected, needed = votes(said)
    if there is None:
        return ""
    quorate = any(line.split() == ["Quorate:", "Yes"] for line in said.splitlines())
    return f"{'has quorum' if quorate else 'has NO quorum'}: {there} of {expected} votes, {needed} needed"


def last_known(path: str) -> LastKnown | None:
    """What the CIB on this node's disk says, or None when there is none to read."""
    return _on_disk(path)[1]


def _on_disk(path: str) -> tuple[Element | None, LastKnown | None]:
    try:
        with open(path, encoding="utf-8") as file:
            written = os.fstat(file.fileno()).st_mtime
            cib = parse(file.read())
    except (OSError, HafailoverError):
        return None, None
    return cib, _known(cib, written)


def _known(cib: Element, written: float) -> LastKnown:
    names = [primitive.get("id", "") for _, primitive in database_resources(cib)]
    return LastKnown(
        written=written,
        nodes=tuple(node.get("uname", "") for node in cib.iterfind("configuration/nodes/node")),
        journals=tuple((name, read_journal(cib, name)[0]) for name in names),
    )


def advice(found: Offline) -> str:
    """The one sentence that says how to go on."""
    if found.denied:
        return "run it again with sudo, or have root add you to the group haclient (usermod -aG haclient USER), and log in anew"
    units = dict(found.units)
    others = [name for name in (found.last_known.nodes if found.last_known else ()) if name != found.node]
    elsewhere = f"ask another node ({', '.join(others)}) with hafailover status" if others else ""
    if not found.installed:
        start = "run it on a node of the cluster" if not elsewhere else ""
    elif units.get("pacemaker") == "active":
        start = "systemctl status pacemaker corosync, if it stays so"
    elif units.get("pacemaker") == "failed" or units.get("corosync") == "failed":
        start = "see journalctl -u corosync -u pacemaker, then systemctl start pacemaker"
    else:
        start = "systemctl start pacemaker joins this node again"
    return "; ".join(part for part in (elsewhere, start) if part)


def as_json(found: Offline) -> dict[str, Any]:
    """The documented shape: ``available`` is false, and there is no verdict on the cluster."""
    known = found.last_known
    return {
        "schema": SCHEMA,
        "available": False,
        "healthy": False,
        "verdict": "UNKNOWN",
        "reason": found.reason,
        "advice": advice(found),
        "seen_by": found.node,
        "units": dict(found.units),
        "databases": dict(found.databases),
        "corosync": found.corosync,
        "servers": {name: dict(said) for name, said in found.servers.items()},
        "hidden": list(found.hidden),
        "last_known": known
        and {
            **plain_data(known),
            "journals": {name: entry._asdict() if entry.epoch else None for name, entry in known.journals},
        },
    }


def render(found: Offline, paint: Paint = plain) -> str:
    """The same for a person."""
    now = time.time()
    lines = wrapped(f"{found.reason} ({found.node})", "UNKNOWN  ", " " * 9)
    lines[0] = paint("UNKNOWN", "red") + lines[0][len("UNKNOWN") :]
    lines += wrapped(advice(found), " " * 9 + "-> ", " " * 12)
    units = [*found.units, *((f"database {name}", state) for name, state in found.databases)]
    units += [("membership", found.corosync)] if found.corosync else []
    lines += ["", paint("On this node", "bold"), *table(units)]
    rows = [(f"{name} on {node}", words) for name, said in found.servers.items() for node, words in said.items()]
    if rows:
        lines += ["", paint("What the database servers say now", "bold"), *table(rows)]
    known = found.last_known
    if known:
        title = f"What this node last knew ({clock(known.written, now)}; the others may have gone on without it)"
        lines += ["", *(paint(line, "bold") for line in wrapped(title, "", ""))]
        rows = [("nodes", " ".join(known.nodes))]
        for name, entry in known.journals:
            sync = ", ".join(sorted(entry.sync)) or "none"
            said = (
                f"{entry.primary} was primary (epoch {entry.epoch}), replicas in sync: {sync}"
                if entry.epoch
                else "no primary was ever recorded"
            )
            rows.append((f"database {name}", said))
        lines += table(rows)
    if found.hidden:
        lines += [
            "",
            paint("Not known here", "bold"),
            *(line for text in found.hidden for line in wrapped(text, "  ", "    ")),
        ]
    return "\n".join(lines) + "\n"
