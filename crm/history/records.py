"""One record of the history: its shape, its text, which records are kept. Pure, and the same on every node.

Records are written by the node where they were seen, numbered by their writer, and copied to all others unchanged. Everything that a
person is shown is made from the records alone, so two nodes that have the same records show the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

KEEP = 500
"""How many records of each writer and class are kept, when nobody says otherwise."""
FEWEST, MOST = 50, 2000
LONGEST = 2048  # bytes of one line; with the number of records this bounds the size of a file
AHEAD = 120_000_000
"""µs by which a clock may be ahead and still order the others' records. They are placed right behind its own until theirs have come as far,
so that what happens in that time seems to be at one moment: two minutes of it can be borne, and are still less than what entries span.
"""
WRITER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}~[a-z0-9]{4}")
AUDIT, ROLE, MEMBER, FAILURE, DETAIL = "audit", "role", "member", "failure", "detail"
_KEY = re.compile(r"[a-z0-9_.-]{1,32}")
_VALUE = 1000  # characters
_FACTS = 24
# What moves a terminal's cursor, hides text or turns its direction: controls, format characters, separators of lines, surrogates.
_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_MEMBER_KINDS = ("node", "fencing", "clock")
_ROLE_EVENTS = (
    "promoted", "demoted", "demote.killed", "degrade", "regain", "hand-over", "reign.taken-back", "died",
    "rejoin", "rejoined", "clone.begin", "rejoin.failed", "rejoin.incomplete", "quarantine.discarded",
)  # fmt: skip


class Record(NamedTuple):
    """``seq`` counts a ``writer``'s records from 1. ``order`` places it among all: its time, or just after the last one its writer had
    heard of by then, where that is later (µs of Unix time). ``at``: by the writer's clock, the same unit. ``facts``: texts by name.
    """

    writer: str
    seq: int
    order: int
    at: int
    kind: str
    facts: Mapping[str, str]

    @property
    def node(self) -> str:
        """The writer's node."""
        return self.writer.partition("~")[0]

    @property
    def id(self) -> str:
        """Its name among all."""
        return f"{self.writer}-{self.seq}"

    @property
    def event(self) -> str:
        """The name of an agent's event without the agent's; "" for other kinds."""
        return self.facts.get("event", "").rpartition(".")[2] if self.kind == "event" else ""

    @property
    def failed(self) -> bool:
        """Whether an action did not end as it was meant to."""
        if self.kind == "resource":
            return self.facts.get("rc") != self.facts.get("target_rc", "0")
        return self.kind == "fencing" and self.facts.get("rc", "0") != "0"

    @property
    def klass(self) -> str:
        """What it is kept with: of each class the newest, so that a flood of one leaves the others."""
        if self.kind == "audit":
            return AUDIT
        if self.kind in _MEMBER_KINDS:
            return MEMBER
        if self.kind == "resource":
            if self.failed:
                return FAILURE
            return ROLE if self.facts.get("task") in ("promote", "demote") else DETAIL
        if self.facts.get("event") in _ROLE_EVENTS:
            return ROLE
        return FAILURE if self.kind == "lost" or self.facts.get("level") in ("warning", "error", "critical") else DETAIL


def place(record: Record) -> tuple[int, str, int]:
    """The key by which records are sorted, on every node the same."""
    return record.order, record.writer, record.seq


def clean(text: str, longest: int = _VALUE) -> str:
    """``text`` as it may be stored and shown: no control characters, bounded."""
    return _HARMFUL.sub("\ufffd", text[:longest])


def facts(found: Mapping[Any, object]) -> dict[str, str]:
    """Of ``found`` what a record may have: names of letters, clean and bounded texts, not too many."""
    pairs = [(key, value) for key, value in found.items() if isinstance(key, str) and _KEY.fullmatch(key)]
    return {key: clean(str(value)) for key, value in sorted(pairs)[:_FACTS] if value not in ("", None)}


def write(record: Record) -> bytes:
    """Its line, without the line's end, at most LONGEST bytes."""
    line = _line(record)
    while len(line) > LONGEST:
        longest = max(record.facts, key=lambda key: len(record.facts[key].encode()))
        cut = record.facts[longest][: len(record.facts[longest]) // 2]
        record = record._replace(facts={**record.facts, longest: cut})
        line = _line(record)
    return line


def _line(record: Record) -> bytes:
    named = {
        "w": record.writer,
        "n": record.seq,
        "o": record.order,
        "t": record.at,
        "k": record.kind,
        "f": dict(record.facts),
    }
    return json.dumps(named, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8", "replace")


def read(line: bytes) -> Record | None:
    """A line's record; None when it is none, as after a crash in the middle of writing it."""
    if len(line) > LONGEST:
        return None
    try:
        return of(json.loads(line))
    except (ValueError, RecursionError):
        return None


def of(named: object) -> Record | None:
    """The record in a JSON object; None when it is none."""
    if not isinstance(named, dict) or not isinstance(named.get("f"), dict):
        return None
    writer, kind = named.get("w"), named.get("k")
    numbers = (named.get("n"), named.get("o"), named.get("t"))
    if not (isinstance(writer, str) and WRITER.fullmatch(writer) and isinstance(kind, str) and _KEY.fullmatch(kind)):
        return None
    if not all(type(number) is int and 0 < number < 1 << 62 for number in numbers):
        return None
    return Record(writer, *numbers, kind, facts(named["f"]))  # type: ignore[arg-type]


def trimmed(found: Iterable[Record], keep: int) -> list[Record]:
    """The records of one writer that are kept, in their order: of each class the newest ``keep``.

    What is kept of a whole is kept of any part: so it does not matter in which pieces records came, nor how often this was done. (That
    is why they are counted, not weighed: a sum of bytes leaves a gap, into which an older record fits in one order and not in another.)
    """
    kept: dict[int, Record] = {}
    count: dict[str, int] = {}
    for record in sorted({record.seq: record for record in found}.values(), key=lambda one: -one.seq):
        klass = record.klass
        count[klass] = count.get(klass, 0) + 1
        if count[klass] <= keep:
            kept[record.seq] = record
    return [kept[seq] for seq in sorted(kept)]


def ordered(at: int, known: int) -> int:
    """Where a record of the time ``at`` belongs when its writer has heard of one at ``known`` (0: of none)."""
    return known + 1 if at <= known <= at + AHEAD else at
