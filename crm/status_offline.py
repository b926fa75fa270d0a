"""What can be said when this node's cluster does not run: what systemd knows, and what the node last knew of the others."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from hafailover.agents.mariadb.journal import Journal
from hafailover.crm.errors import HafailoverError
from hafailover.crm.local import NotInstalled
from hafailover.crm.status import SCHEMA, plain_data
from hafailover.crm.status_database import read_journal
from hafailover.crm.status_facts import database_resources
from hafailover.crm.status_text import Paint, plain, table, wrapped
from hafailover.crm.status_words import clock
from hafailover.crm.status_xml import parse

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run

CIB_ON_DISK = "/var/lib/pacemaker/cib/cib.xml"
UNITS = ("corosync", "pacemaker")


class LastKnown(NamedTuple):
    """The configuration as this node last wrote it to disk; ``written`` is Unix time. It may be out of date."""

    written: float
    nodes: tuple[str, ...]
    journals: tuple[tuple[str, Journal], ...]


class Offline(NamedTuple):
    """A node whose cluster does not run. ``units``: systemd unit → its state."""

    node: str
    reason: str
    units: tuple[tuple[str, str], ...]
    databases: tuple[tuple[str, str], ...]
    last_known: LastKnown | None


def look(run: Run, reason: str, path: str = CIB_ON_DISK) -> Offline:
    """Gather what is there; nothing of it is needed, so nothing fails."""
    known = last_known(path)
    services = [name for name, _ in known.journals] if known else []
    return Offline(
        node=os.uname().nodename,
        reason=reason,
        units=tuple((unit, _unit_state(run, unit)) for unit in UNITS),
        databases=tuple((name, _unit_state(run, f"hafailover-mariadb-{name}")) for name in services),
        last_known=known,
    )


def _unit_state(run: Run, unit: str) -> str:
    try:
        return run(["systemctl", "is-active", unit], timeout=5).out.strip() or "unknown"
    except (NotInstalled, OSError) as error:
        return f"unknown ({error})"


def last_known(path: str) -> LastKnown | None:
    """What the CIB on this node's disk says, or None when there is none to read."""
    try:
        with open(path, encoding="utf-8") as file:
            written = os.fstat(file.fileno()).st_mtime
            cib = parse(file.read())
    except (OSError, HafailoverError):
        return None
    names = [primitive.get("id", "") for _, primitive in database_resources(cib)]
    return LastKnown(
        written=written,
        nodes=tuple(node.get("uname", "") for node in cib.iterfind("configuration/nodes/node")),
        journals=tuple((name, read_journal(cib, name)[0]) for name in names),
    )


def advice(found: Offline) -> str:
    """The one sentence that says how to go on."""
    units = dict(found.units)
    others = [name for name in (found.last_known.nodes if found.last_known else ()) if name != found.node]
    elsewhere = f"ask another node ({', '.join(others)}) with hafailover status" if others else ""
    if units.get("pacemaker") == "active":
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
    lines += ["", paint("On this node", "bold"), *table(units)]
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
    return "\n".join(lines) + "\n"
