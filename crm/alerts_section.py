"""The section ``alerts`` of the CIB: which programs Pacemaker tells what happens, first of them the recorder of the history."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hafailover.crm import alerting
from hafailover.crm.errors import RefusedError
from hafailover.crm.history import ALERT, KEEP
from hafailover.crm.model import Verbatim
from hafailover.crm.topology import Topology
from lxml import etree

RECORDER = ALERT
RECORDER_PATH = "/usr/lib/hafailover/alert-history"
"""The program of the recorder's alert, which ``hafailover install`` writes."""
SECTION = "alerts"
_DEFAULT = ("fencing", "nodes", "resources")


@dataclass(frozen=True)
class Alert:
    """An alert agent: ``path`` of its program, ``timeout_ms`` after which Pacemaker ends it, ``recipients`` for each of which it runs once
    (once without one if there are none), ``attributes`` that it gets in its environment, and which kinds of events it wants (``select``;
    Pacemaker's default is everything but attributes).
    """

    id: str
    path: str
    timeout_ms: int = 30000
    timestamp_format: str = ""
    recipients: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    select: tuple[str, ...] = _DEFAULT


def section(topology: Topology) -> tuple[Verbatim, ...]:
    """The elements ``alert`` of ``topology``, the recorder first."""
    return tuple(Verbatim(str(etree.tostring(_element(alert), encoding="unicode"))) for alert in alerts(topology))


def alerts(topology: Topology) -> tuple[Alert, ...]:
    """Every alert of ``topology``."""
    recorder = Alert(RECORDER, RECORDER_PATH, timeout_ms=15000, attributes=((KEEP, str(topology.history_keep)),))
    return (recorder, *deliveries(topology))


def deliveries(topology: Topology) -> tuple[Alert, ...]:
    """What leaves the events for the recipients of the key ``alerts``; nothing when nobody wants any."""
    select = alerting.selected(topology)
    # No recipients: one program for each event; who is told is the service's business, and no address gets into the CIB.
    return (Alert(alerting.ID, alerting.AGENT, timeout_ms=alerting.TIMEOUT, select=select),) if select else ()


def text(topology: Topology) -> str:
    """The whole section as XML."""
    return f"<{SECTION}>" + "".join(alert.xml for alert in section(topology)) + f"</{SECTION}>"


def merge(live: Any, wanted: Any, ours: set[str], given_up: set[str]) -> Iterator[tuple[str, str, str]]:
    """Bring the alerts of the element configuration ``wanted`` into ``live``, as they are asked for: (action, what, detail) of each change.

    ``ours`` are the ids that an earlier apply has made, ``given_up`` those of them that go. Alerts of others stay. RefusedError.
    """
    elements = list(wanted.iterfind(f"{SECTION}/alert"))
    section = live.find(SECTION)
    if section is None and elements:
        section = etree.SubElement(live, SECTION)
    there = {} if section is None else {alert.get("id"): alert for alert in section.iterfind("alert")}
    for alert in elements:
        name, path = alert.get("id"), alert.get("path")
        found = there.get(name)
        if found is None:
            section.append(copy.deepcopy(alert))
            yield "add", f"alert {name}", path
        elif name not in ours and found.get("path") != path:
            raise RefusedError(
                f"the cluster has an alert {name} ({found.get('path')}) that hafailover did not make, and the topology wants {path} "
                "under that name; rename one of them"
            )
        elif _text(found) != _text(alert):
            section.replace(found, copy.deepcopy(alert))
            yield "change", f"alert {name}", path
    for name in sorted(given_up):
        if name in there:
            section.remove(there[name])
            yield "remove", f"alert {name}", ""


def _element(alert: Alert) -> Any:
    found = etree.Element("alert", id=alert.id, path=alert.path)
    meta = {"timeout": f"{alert.timeout_ms}ms"}
    if alert.timestamp_format:
        meta["timestamp-format"] = alert.timestamp_format
    _set(found, "meta_attributes", f"{alert.id}-meta_attributes", meta)
    if alert.attributes:
        _set(found, "instance_attributes", f"{alert.id}-instance_attributes", dict(alert.attributes))
    # The default is not written: pcs has no words for a choice, and the alert would be missing from what it is told.
    if set(alert.select) != set(_DEFAULT):
        chosen = etree.SubElement(found, "select")
        for kind in alert.select:
            etree.SubElement(chosen, f"select_{kind}")
    for number, recipient in enumerate(alert.recipients, 1):
        etree.SubElement(found, "recipient", id=f"{alert.id}-recipient-{number}", value=recipient)
    return found


def _set(parent: Any, kind: str, set_id: str, values: dict[str, str]) -> None:
    pairs = etree.SubElement(parent, kind, id=set_id)
    for name, value in values.items():
        etree.SubElement(pairs, "nvpair", id=f"{set_id}-{name}", name=name, value=value)


def _text(element: Any) -> bytes:
    return bytes(etree.tostring(element, method="c14n", with_tail=False))
