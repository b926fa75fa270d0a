"""A run as a picture needs it: what each writer was told in each short piece of time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from hafailover.crm.drill.ledger import ACKNOWLEDGED, CLIENT, REFUSED, UNKNOWN, Attempt

PIECES = 400
"""Into how many pieces a stretch of time is divided."""
_LEAD = 2.0  # seconds before the fault that are looked at closely
_TAIL = 3.0  # and after the last thing that happened
_CLOSE = 60.0  # the longest close look

JOINED = 0.2
"""Seconds: a shorter pause between two answers of a kind is not drawn; writers have their pace."""

_WORTH = {ACKNOWLEDGED: 3, UNKNOWN: 2, REFUSED: 1}
"""Of several answers in one piece, which is shown: that a write was acknowledged says most."""


class Segment(NamedTuple):
    """From ``start`` to ``end`` (seconds from the fault) a writer was told ``outcome``, ``answers`` times."""

    start: float
    end: float
    outcome: str
    answers: int


def segments(attempts: Iterable[Attempt], zero: float, start: float, end: float, pieces: int = PIECES) -> list[Segment]:
    """One writer's answers between ``start`` and ``end`` (seconds from ``zero``), neighbours that are the same as one segment."""
    width = (end - start) / pieces
    if width <= 0:
        return []
    found: dict[int, list[str]] = {}
    for attempt in attempts:
        at = attempt.end - zero
        if start <= at < end:
            found.setdefault(int((at - start) / width), []).append(attempt.outcome)
    drawn: list[Segment] = []
    for piece in sorted(found):
        outcome = max(found[piece], key=lambda one: _WORTH.get(one, 0))
        begin, until = start + piece * width, start + (piece + 1) * width
        last = drawn[-1] if drawn else None
        if last is not None and last.outcome == outcome and begin - last.end < max(width / 2, JOINED):
            drawn[-1] = last._replace(end=until, answers=last.answers + len(found[piece]))
        else:
            drawn.append(Segment(begin, until, outcome, len(found[piece])))
    return [Segment(round(one.start, 3), round(one.end, 3), one.outcome, one.answers) for one in drawn]


def story(
    attempts: Sequence[Attempt], fault: float, marks: Iterable[float | None], writers: Sequence[str]
) -> dict[str, Any]:
    """What a report draws: the whole run and, where that is long, what is around the fault, each with every writer's segments.

    ``marks`` are the moments that must be seen closely, in seconds from the fault. Attempts that nobody saw end are left out.
    """
    ended = [attempt for attempt in attempts if attempt.end != float("inf")]
    if not ended:
        return {}
    begin = min(attempt.start for attempt in ended) - fault
    end = max(attempt.end for attempt in ended) - fault
    last = max([mark for mark in marks if mark is not None], default=0.0)
    close = (max(begin, -_LEAD), min(end, last + _TAIL, _CLOSE))
    names = [CLIENT, *(name for name in writers if name != CLIENT)]
    by_writer = {name: [one for one in ended if one.writer == name] for name in names}

    def look(start: float, until: float) -> dict[str, Any]:
        rows = {name: [list(one) for one in segments(by_writer[name], fault, start, until)] for name in names}
        return {"from": round(start, 3), "to": round(until, 3), "writers": rows}

    return {"close": look(*close), "whole": look(begin, end)}
