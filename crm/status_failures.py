"""Failed actions, and failures that are only counted, from what crm_mon and the operation history say. Pure."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from xml.etree.ElementTree import Element

from hafailover.agents import restated
from hafailover.crm.status import Failcount, Failure
from hafailover.crm.status_facts import DEGRADED_CODES

_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d+))? ?(?:Z|([+-])(\d\d):?(\d\d)?)?")

INFINITY = 1000000


def failcounts(mon: Element, told: set[tuple[str, str]]) -> Iterator[Failcount]:
    """Where Pacemaker keeps a resource off though no failed action is listed, as after its history was lost or a count was set by hand.

    A count that is past its failure-timeout stands there until the scheduler comes round to it, and keeps off nothing that it manages.
    """
    runs = {
        (one.get("id", "").split(":")[0], node.get("name", ""))
        for one in mon.iter("resource")
        if one.get("active") == "true" and one.get("managed") == "true"
        for node in one.iterfind("node")
    }
    for (resource, node), (fails, threshold) in _counts(mon).items():
        if 0 < threshold <= fails and (resource, node) not in told | runs:
            yield Failcount(resource, node, fails, threshold)


def _counts(mon: Element) -> dict[tuple[str, str], tuple[int, int]]:
    """(resource, node) → failures, and how many make Pacemaker give up (0: none)."""
    counts = {}
    for node in mon.iterfind("node_history/node"):
        for history in node.iterfind("resource_history"):
            threshold = history.get("migration-threshold", "0")
            counts[history.get("id", "").split(":")[0], node.get("name", "")] = (
                _count(history.get("fail-count", "0")),
                0 if threshold == "INFINITY" else int(threshold),
            )
    return counts


def failures(mon: Element, cib: Element, published: Mapping[str, Mapping[str, str]]) -> Iterator[Failure]:
    """Every failed action that crm_mon lists, with what is known of it since."""
    counts = _counts(mon)
    for failure in mon.iterfind("failures/failure"):
        key, where = failure.get("op_key", failure.get("id", "")), failure.get("node", "")
        named, _, interval = key.rpartition("_")
        resource, _, task = named.rpartition("_")
        resource = resource.split(":")[0]
        at, lasting = _history(cib, where, resource, key, failure.get("exitcode", ""))
        fails, limit = counts.get((resource, where), (0, 0))
        reason = _unescaped(failure.get("exitreason", "")).strip()
        of, _, newer = published.get(restated.attribute(resource), {}).get(where, "").partition(" ")
        if newer and of == interval and failure.get("exitcode") in DEGRADED_CODES:
            reason = newer
        yield Failure(
            resource=resource,
            node=where,
            task=task,
            rc=int(failure.get("exitcode", "1")),
            status=failure.get("status", ""),
            reason=reason,
            at=at if at is not None else moment(failure.get("last-rc-change", "")),
            lasting=lasting,
            fails=fails,
            threshold=limit,
        )


def _unescaped(text: str) -> str:
    """Pacemaker 2.1 escapes a reason twice."""
    if "&" not in text:
        return text
    import html  # rarely needed, and a table of two thousand names

    return html.unescape(text)


def _count(text: str) -> int:
    return INFINITY if text == "INFINITY" else int(text)


def _history(cib: Element, node: str, resource: str, key: str, rc: str) -> tuple[float | None, bool]:
    """When the failure was, and whether the last action of its kind still ended so.

    Pacemaker keeps ``…_last_failure_0`` beside the latest result until somebody cleans up, so a listed failure may be long over. The result
    of a recurring action that failed, or is degraded, is in that entry alone: its own one tells of the last success, or that it runs.
    """
    at, lasting = None, False
    states = [state for state in cib.iterfind("status/node_state") if state.get("uname") == node]
    for history in (one for state in states for one in state.iterfind("lrm/lrm_resources/lrm_resource")):
        if history.get("id", "").split(":")[0] != resource:
            continue
        entries = [one for one in history.iterfind("lrm_rsc_op") if one.get("operation_key") == key]
        failed = [one for one in entries if one.get("id", "").endswith("_last_failure_0") and one.get("rc-code") == rc]
        begun = max((_call(one) for one in history.iterfind("lrm_rsc_op") if one.get("operation") in _LIVES), default=0)
        for entry in entries:
            own = not entry.get("id", "").endswith("_last_failure_0")
            if entry.get("rc-code") == rc:
                at = changed(entry) or at
            outlived = any(_call(one) > begun and _outlives(one, entry) for one in failed)
            lasting = lasting or (own and (entry.get("rc-code") == rc or outlived))
    return at, lasting


# What begins or ends a life of a resource, or of its role: a check that failed before it says nothing any more.
_LIVES = ("start", "stop", "promote", "demote")


def _call(entry: Element) -> int:
    return int(entry.get("call-id", "0"))


def changed(entry: Element) -> float:
    """Unix time since when the result of an action's entry in the history has been the same."""
    return float(entry.get("last-rc-change", "0"))


def _outlives(failed: Element, entry: Element) -> bool:
    """Whether a failure came after what the action's own entry tells; one that is pending tells nothing.

    It stays so while a monitor is degraded from its first run on, and when Pacemaker schedules it anew meanwhile.
    """
    return entry.get("op-status") == "-1" or changed(failed) > changed(entry)


def moment(text: str) -> float | None:
    """Unix time of a time stamp as Pacemaker prints it, or None.

    ``2026-01-02 03:04:05 +01:00`` and ``…Z``, also with a fraction; ``Sat Nov 21 03:22:36 2026`` (local time) from older code paths.
    """
    found = _ISO.fullmatch(text.strip())
    if found is None:
        try:
            return time.mktime(time.strptime(text.strip(), "%a %b %d %H:%M:%S %Y"))
        except ValueError:
            return None
    day, clock, fraction, sign, hours, minutes = found.groups(default="0")
    offset = int(hours) * 3600 + int(minutes) * 60
    try:  # strptime would load its parser and the calendar for 5 ms
        base = datetime.fromisoformat(f"{day}T{clock}+00:00").timestamp()
    except ValueError:
        return None
    return base - (-offset if sign == "-" else offset) + float(f"0.{fraction}")
