"""The pictures of a report, as SVG that stands in the page: who was told what when, how long what took, and how it was before. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hafailover.crm.drill.words import seconds, text

WIDTH = 760
_LEFT, _RIGHT = 118, 14
_ROW, _BAR = 30, 14
_LABEL = 14  # characters of a name that fit beside a row
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600)
_CLASSES = {"acknowledged": "ack", "refused": "ref", "unknown": "unk"}
_NEAREST = 17  # px between two marks
_LANE = 20  # px above the rows, where it stands how long a silence was

PATTERNS = (
    '<svg width="0" height="0" aria-hidden="true" class="defs"><defs>'
    '<pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="5" height="5" class="hatch-ground"/><line x1="0" y1="0" x2="0" y2="5" class="hatch-line"/></pattern>'
    '<pattern id="dots" width="4" height="4" patternUnits="userSpaceOnUse"><rect width="4" height="4" class="dots-ground"/>'
    '<circle cx="2" cy="2" r="1.1" class="dots-dot"/></pattern></defs></svg>'
)
"""What the other pictures fill with; stands once in a page."""


class _Scale:
    """Seconds to pixels."""

    def __init__(self, start: float, end: float, left: float = _LEFT, right: float = WIDTH - _RIGHT) -> None:
        self.start, self.end = start, max(end, start + 0.001)
        self.left, self.right = left, right

    def x(self, at: float) -> float:
        inside = min(max(at, self.start), self.end)
        return round(self.left + (inside - self.start) / (self.end - self.start) * (self.right - self.left), 2)

    def bar(self, start: float, end: float, least: float) -> tuple[float, float]:
        """Where a bar begins and how wide it is: so that it can be seen, and no part of it is outside."""
        x = self.x(start)
        width = max(round(self.x(end) - x, 2), least)
        return round(min(x, self.right - width), 2), width

    def ticks(self, most: int = 9) -> list[float]:
        span = self.end - self.start
        step = next((one for one in _TICKS if span / one <= most), _TICKS[-1] * math.ceil(span / _TICKS[-1] / most))
        first = math.ceil(self.start / step - 1e-9)
        return [round(number * step, 6) for number in range(first, math.floor(self.end / step + 1e-9) + 1)]


def writes(look: Mapping[str, Any], run: Mapping[str, Any], marks: Sequence[tuple[str, str, float]], title: str) -> str:
    """Who was told what: a row for each writer. ``marks``: (sign, name, seconds from the fault); the signs stand above the rows."""
    scale = _Scale(float(look["from"]), float(look["to"]))
    rows = list(look["writers"].items())
    shown = [mark for mark in marks if scale.start <= mark[2] <= scale.end]
    top = (34 if shown else 8) + (_LANE if _has_silence(scale, run) else 4)
    bottom = top + len(rows) * _ROW
    parts = [_open(bottom + 26, title), *_axis(scale, top, bottom)]
    parts += _silence(scale, run, top, bottom)
    for number, (name, found) in enumerate(rows):
        y = top + number * _ROW + (_ROW - _BAR) / 2
        parts.append(_name(str(name), y + _BAR - 3))
        parts.append(
            f'<line x1="{scale.left}" x2="{scale.right}" y1="{y + _BAR / 2}" y2="{y + _BAR / 2}" class="rail"/>'
        )
        for start, end, outcome, answers in found:
            x, width = scale.bar(start, end, 0.8)
            kind = _CLASSES.get(outcome, "unk")
            height, drop = (_BAR, 0.0) if kind != "ref" else (_BAR / 2, _BAR / 4)
            parts.append(
                f'<rect x="{x}" y="{y + drop}" width="{width}" height="{height}" class="{kind}">'
                f"<title>{text(outcome)}: {answers} answers, {start:.2f} to {end:.2f} s</title></rect>"
            )
    zero = scale.x(0)
    parts.append(f'<line x1="{zero}" x2="{zero}" y1="{top - 2}" y2="{bottom + 4}" class="fault"/>')
    parts += _marks(scale, shown, top, bottom)
    parts += _how_long(scale, run, top)
    return "".join([*parts, "</svg>"])


def _open(height: float, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{text(title)}" preserveAspectRatio="xMidYMid meet">'
        f"<title>{text(title)}</title>"
    )


def _axis(scale: _Scale, top: float, bottom: float) -> Iterator[str]:
    for at in scale.ticks():
        x = scale.x(at)
        yield f'<line x1="{x}" x2="{x}" y1="{top}" y2="{bottom}" class="grid"/>'
        label = "fault" if at == 0 else f"{at:+g} s"
        anchor = "end" if x > scale.right - 16 else "middle"
        yield f'<text x="{x}" y="{bottom + 17}" class="tick{" zero" if at == 0 else ""}" text-anchor="{anchor}">{label}</text>'


def _name(name: str, y: float) -> str:
    short = name if len(name) <= _LABEL else name[: _LABEL - 1] + "…"
    return (
        f'<text x="{_LEFT - 10}" y="{y}" class="name" text-anchor="end"><title>{text(name)}</title>{text(short)}</text>'
    )


def _silence(scale: _Scale, run: Mapping[str, Any], top: float, bottom: float) -> Iterator[str]:
    if not _has_silence(scale, run):
        return
    x, width = scale.bar(*_from_to(run), 1)
    yield f'<rect x="{x}" y="{top - 2}" width="{width}" height="{bottom - top + 4}" class="silence"/>'


def _how_long(scale: _Scale, run: Mapping[str, Any], top: float) -> Iterator[str]:
    """Drawn over everything else: it is what one looks for first."""
    if not _has_silence(scale, run):
        return
    x, width = scale.bar(*_from_to(run), 1)
    yield f'<path d="M{x} {top - 2} V{top - 6} H{x + width} V{top - 2}" class="bracket"/>'
    middle = min(max(x + width / 2, scale.left + 60), scale.right - 60)
    words = f"no write for {seconds(run['write_gap_s'])}"
    yield f'<text x="{middle:.2f}" y="{top - 10}" class="silent" text-anchor="middle">{words}</text>'


def _has_silence(scale: _Scale, run: Mapping[str, Any]) -> bool:
    known = (run.get("details") or {}).get("gap_from_s") is not None and run.get("write_gap_s") is not None
    return known and _from_to(run)[1] >= scale.start and _from_to(run)[0] <= scale.end


def _from_to(run: Mapping[str, Any]) -> tuple[float, float]:
    begun = float(run["details"]["gap_from_s"])
    return begun, begun + float(run["write_gap_s"])


def _marks(scale: _Scale, marks: Sequence[tuple[str, str, float]], top: float, bottom: float) -> Iterator[str]:
    # Two that are near each other are moved apart; a line leads from each to its moment.
    place = -math.inf
    for sign, name, at in sorted(marks, key=lambda mark: mark[2]):
        x = scale.x(at)
        place = min(max(x, place + _NEAREST), WIDTH - 9)
        yield f'<path d="M{place} 19 L{x} 29 L{x} {bottom}" class="mark"/>'
        yield (
            f'<g class="sign"><title>{text(name)}: {seconds(at)}</title><circle cx="{place}" cy="11" r="8"/>'
            f'<text x="{place}" y="14.6" text-anchor="middle">{text(sign)}</text></g>'
        )


def span(start: float, end: float, longest: float) -> str:
    """A bar of a table's row: from ``start`` to ``end`` of ``longest`` seconds."""
    scale = _Scale(0, longest, 0, 200)
    x, width = scale.bar(start, end, 1.5)
    return (
        '<svg viewBox="0 0 200 12" class="span" role="img" aria-hidden="true" preserveAspectRatio="none">'
        '<line x1="0" x2="200" y1="6" y2="6" class="rail"/>'
        f'<rect x="{x}" y="1" width="{width}" height="10" class="took"/></svg>'
    )


def earlier(gaps: Sequence[tuple[str, float, bool, bool]], title: str) -> str:
    """How long nobody could write, run by run: (when, seconds, ok, whether it is this run), the oldest first."""
    highest = max((gap for _, gap, _, _ in gaps), default=1.0) * 1.15 or 1.0
    top, bottom = 22, 140
    ticks = _Scale(0, highest, 0, 1).ticks(4)
    left = 24.0 + 7 * max(len(f"{at:g} s") for at in ticks)
    step = min(64.0, (WIDTH - left - _RIGHT) / max(len(gaps), 1))
    parts = [_open(bottom + 24, title)]
    for at in ticks:
        y = round(bottom - at / highest * (bottom - top), 2)
        parts.append(f'<line x1="{left}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}" class="grid"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4}" class="tick" text-anchor="end">{at:g} s</text>')
    for number, (when, gap, ok, this) in enumerate(gaps):
        height = max(gap / highest * (bottom - top), 1.5)
        x = left + number * step + step * 0.2
        kind = ("this" if this else "past") + ("" if ok else " bad")
        parts.append(
            f'<rect x="{x:.2f}" y="{bottom - height:.2f}" width="{step * 0.6:.2f}" height="{height:.2f}" class="{kind}">'
            f"<title>{text(when)}: {seconds(gap)}{'' if ok else ', failed'}</title></rect>"
        )
        middle = x + step * 0.3
        if step >= 40 or this:
            parts.append(
                f'<text x="{middle:.2f}" y="{bottom - height - 5:.2f}" class="value" text-anchor="middle">{gap:.2f}</text>'
            )
        if this:
            parts.append(
                f'<text x="{middle:.2f}" y="{bottom + 17}" class="tick now" text-anchor="middle">this run</text>'
            )
        elif step >= 40:
            parts.append(
                f'<text x="{middle:.2f}" y="{bottom + 17}" class="tick" text-anchor="middle">{text(when[5:10])}</text>'
            )
    return "".join([*parts, "</svg>"])
