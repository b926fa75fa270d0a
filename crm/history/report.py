"""The history for people and for scripts: which entries are asked for, and their text and JSON. Pure."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from hafailover.crm.colour import Paint
from hafailover.crm.errors import UsageError
from hafailover.crm.history.entry import DETAILS, Entry
from hafailover.crm.history.records import Record, clean
from hafailover.crm.history.words import Step
from hafailover.crm.status_text import wrapped

SCHEMA = 1
_SHOWN_SKEW = 1.0  # seconds
_NARROW = 24  # columns that a text must have
_UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_AGO = re.compile(r"-?(\d{1,9})\s*([a-z]+)(?: ago)?")
_FORMATS = (
    *(f"%Y-%m-%d{gap}{clock}" for gap in (" ", "T") for clock in ("%H:%M:%S.%f", "%H:%M:%S", "%H:%M")),
    *(f"%Y-%m-%d{gap}%H:%M:%S{rest}%z" for gap in (" ", "T") for rest in (".%f ", ".%f", " ", "")),
    "%Y-%m-%d",
)
_COLOURS = {"failover": "yellow", "fencing": "red", "failure": "red", "degrade": "yellow"}


def moment(text: str, now: float) -> float:
    """The Unix time that ``text`` means: "2h", "30min", "-3d", "today", "yesterday", "2026-01-31 04:00", "04:00", "@1767225600".

    A time of the day is the latest one that has been. UsageError for what is no time, and for one to come: "nothing happened" would be a
    wrong answer to a mistake.
    """
    found = _moment(text.strip(), now)
    if found is None:
        raise UsageError(
            f"--since {clean(text, 80)!r} is no time; give 2h, 30min, 3d, today, 2026-01-31, '2026-01-31 04:00' or 04:00"
        )
    if found > now:
        raise UsageError(f"--since {clean(text, 80)!r} is still to come: it is {_local(now):%Y-%m-%d %H:%M} here")
    return found


def _moment(text: str, now: float) -> float | None:
    ago = _AGO.fullmatch(text)
    if ago and ago[2] in _UNITS:
        return now - int(ago[1]) * _UNITS[ago[2]]
    if re.fullmatch(r"@\d{1,12}", text):
        return float(text[1:])
    today = _local(now).replace(hour=0, minute=0, second=0, microsecond=0)
    if text in ("today", "yesterday"):
        return (today - timedelta(days=text == "yesterday")).timestamp()
    for form in _FORMATS:
        with suppress(ValueError, OverflowError):
            return datetime.strptime(text, form).timestamp()
    with suppress(ValueError):
        hour = datetime.strptime(text, "%H:%M")
        at = today.replace(hour=hour.hour, minute=hour.minute)
        return (at if at.timestamp() <= now else at - timedelta(days=1)).timestamp()
    return None


def _local(now: float) -> datetime:
    return datetime.fromtimestamp(now)


def chosen(
    found: Sequence[Entry], since: float | None, node: str | None, kinds: Sequence[str], everything: bool
) -> list[Entry]:
    """The entries that are asked for. Those of DETAILS only if ``everything`` or their kind is."""
    return [
        entry
        for entry in found
        if (since is None or entry.until >= since)
        and (node is None or node in entry.nodes)
        and (entry.kind in kinds if kinds else everything or entry.kind not in DETAILS)
    ]


class Names:
    """Short names of entries: ``db1-57`` where one writer is meant, ``db1~k3x9-57`` where a node has had several lives."""

    def __init__(self, found: Sequence[Entry]) -> None:
        self._entries = found
        lives: dict[str, set[str]] = {}
        for entry in found:
            for step in entry.steps:
                lives.setdefault(step.record.node, set()).add(step.record.writer)
        self._unique = {node for node, writers in lives.items() if len(writers) == 1}

    def of(self, record: Record) -> str:
        """The shortest name of a record that no other has."""
        return f"{record.node}-{record.seq}" if record.node in self._unique else record.id

    def entry(self, entry: Entry) -> str:
        """An entry's name: that of the record that it is made around."""
        return self.of(next(step.record for step in entry.steps if step.record.id == entry.id))

    def find(self, name: str) -> list[Entry]:
        """The entries that hold the record ``name``, by either name."""
        return [
            entry
            for entry in self._entries
            if any(name in (step.record.id, f"{step.record.node}-{step.record.seq}") for step in entry.steps)
        ]


def listed(found: Sequence[Entry], names: Names, paint: Paint, width: int = 100) -> Iterator[str]:
    """The list: when, what, about whom, with what outcome, why, and by whom."""
    if not found:
        yield "Nothing of that kind is recorded."
    for entry in found:
        head = f"{when(entry.steps[0])}  {entry.kind:<10}  {names.entry(entry):<10}  "
        indent = " " * 21
        beside = len(head) + _NARROW <= width  # names of nodes may be as long as a line
        lines = wrapped(_headline(entry), head if beside else indent, indent, width)
        painted = head.replace(entry.kind, paint(entry.kind, _COLOURS.get(entry.kind, "bold")), 1)
        yield painted + lines[0][len(head) :] if beside else painted.rstrip()
        yield from lines[1:] if beside else lines
        if entry.why:
            yield from wrapped(entry.why, f"{indent}why: ", indent + " " * 5, width)
        if entry.who != "the cluster":
            yield f"{indent}by:  {entry.who}"


def _headline(entry: Entry) -> str:
    if not entry.outcome or re.match(rf"{re.escape(entry.subject)}(?!\w)", entry.outcome):
        return entry.outcome or entry.subject
    return f"{entry.subject}: {entry.outcome}"


def shown(entry: Entry, names: Names, paint: Paint, width: int = 100) -> Iterator[str]:
    """One entry with its timeline: seconds from the beginning, the step, where, and what was told."""
    yield paint(f"{entry.kind} {names.entry(entry)}", "bold") + f"  {entry.subject}"
    rows = {
        "began": when(entry.steps[0], with_zone=True),
        "asked by": entry.who,
        "why": entry.why,
        "outcome": entry.outcome,
    }
    for name, text in rows.items():
        if text:
            yield from wrapped(text, f"  {name:<9} ", " " * 12, width)
    yield ""
    long = min(max(len(step.node) for step in entry.steps), 30)
    for step in entry.steps:
        mark = f"  {step.at - entry.at:+9.2f} s  {step.name or '·':<9}  {step.node:<{long}}  "
        beside = len(mark) + _NARROW <= width
        indent = " " * (len(mark) if beside else 14)
        lines = wrapped(step.says, "", "", width - len(indent))
        lines = [paint(lines[0], "red") if step.bad else lines[0], *lines[1:]]
        yield mark + lines[0] if beside else mark.rstrip()
        for line in lines[1:] if beside else lines:
            yield indent + line
    if entry.skew > _SHOWN_SKEW:
        yield ""
        yield from wrapped(skew_words(entry), "  ", "  ", width)


def skew_words(entry: Entry) -> str:
    """What is known of clocks that do not agree."""
    behind = sorted({step.record.node for step in entry.steps if step.skew > _SHOWN_SKEW})
    return (
        f"The clock of {', '.join(behind)} was at least {entry.skew:.1f} s behind another node's: it wrote down what it had heard of "
        "before with an earlier time. The order of the steps is right, their seconds are not."
    )


def when(step: Step, with_zone: bool = False) -> str:
    """When its writer's clock said it was, in this machine's time zone."""
    seconds = step.record.at / 1e6
    try:
        text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
        zone = time.strftime("%z", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "(no time)          "
    return f"{text}.{step.record.at % 1_000_000 // 1000:03d} {zone}" if with_zone else text


def as_json(found: Sequence[Entry], names: Names, seen_by: str, at: float, notes: Mapping[str, Any]) -> dict[str, Any]:
    """All of it for scripts; docs/history.md has the fields."""
    return {"schema": SCHEMA, "seen_by": seen_by, "at": at, **notes, "entries": [_entry(one, names) for one in found]}


def _entry(entry: Entry, names: Names) -> dict[str, Any]:
    return {
        "id": names.entry(entry),
        "kind": entry.kind,
        "at": entry.steps[0].record.at / 1e6,
        "took_s": round(entry.until - entry.at, 3),
        "subject": entry.subject,
        "nodes": list(entry.nodes),
        "who": entry.who,
        "why": entry.why,
        "outcome": entry.outcome,
        "clock_skew_s": round(entry.skew, 3) if entry.skew > _SHOWN_SKEW else 0.0,
        "steps": [
            {
                "after_s": round(step.at - entry.at, 3),
                "at": step.record.at / 1e6,
                "name": step.name,
                "node": step.node,
                "resource": step.resource,
                "says": step.says,
                "bad": step.bad,
                "seen_by": list(step.seen_by),
                "record": step.record.id,
                "facts": {key: value for key, value in step.record.facts.items() if key != "src"},
            }
            for step in entry.steps
        ],
    }
