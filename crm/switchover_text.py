"""The switchover on a terminal and as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from hafailover.crm.colour import Paint
from hafailover.crm.probe import METHOD
from hafailover.crm.status import Service
from hafailover.crm.status_text import wrapped
from hafailover.crm.switchover import Check
from hafailover.crm.switchover_run import Outcome, Step

SCHEMA = 1


def checklist(checks: Sequence[Check], paint: Paint) -> Iterator[str]:
    """One item a line: ``ok``, ``REFUSED``, ``accepted`` or ``unknown``, and what was found."""
    for check in checks:
        label, colour = _label(check)
        text = check.says + (
            f" (--accept {check.name} goes ahead anyway)" if check.refuses and check.acceptable else ""
        )
        lines = wrapped(text, f"  {label:<8}  ", " " * 12)
        yield "  " + paint(label, colour) + lines[0][2 + len(label) :]
        yield from lines[1:]


def _label(check: Check) -> tuple[str, str]:
    if check.ok is None:
        return "unknown", "yellow"
    if check.ok:
        return "ok", "green"
    return ("accepted", "yellow") if check.accepted else ("REFUSED", "red")


def plan(steps: Sequence[str]) -> Iterator[str]:
    """The numbered steps."""
    for number, step in enumerate(steps, 1):
        yield from wrapped(step, f"  {number:>2}. ", " " * 6)


def step_line(step: Step) -> str:
    """A step as it happens: time of day, seconds since the request, and a sentence."""
    clock = time.strftime("%H:%M:%S", time.localtime(step.at)) + f".{int(step.at % 1 * 1000):03d}"
    return f"  {clock}  {step.after_s:+7.2f} s  {step.says}"


def conclusion(outcome: Outcome, paint: Paint) -> Iterator[str]:
    """How it ended, in a few lines."""
    word, colour = {
        "done": ("DONE", "green"),
        "rolled back": ("ROLLED BACK", "red"),
        "incomplete": ("INCOMPLETE", "yellow"),
    }.get(outcome.result, ("FAILED", "red"))
    lines = wrapped(outcome.says, f"{word}  ", " " * (len(word) + 2))
    yield paint(word, colour) + lines[0][len(word) :]
    yield from lines[1:]
    if outcome.write_gap_s is None:
        yield from wrapped(f"Write gap: {outcome.write_gap_note}", "", "  ")
    else:
        yield from wrapped(f"Write gap: {outcome.write_gap_s:.2f} s ({METHOD})", "", "  ")
    if outcome.result == "done":
        yield "Nothing is left behind: no constraint was made, and the promotion score is normal."
    if outcome.left_to_do:
        yield "Left to do:"
        for item in outcome.left_to_do:
            yield from wrapped(item, "  - ", "    ")


def as_json(
    service: Service,
    node: str,
    result: str,
    exit_code: int,
    checks: Sequence[Check],
    steps: Sequence[str],
    outcome: Outcome | None = None,
) -> dict[str, Any]:
    """The documented shape (docs/switch-over.md)."""
    return {
        "schema": SCHEMA,
        "service": service.name,
        "from": service.primary,
        "to": node,
        "result": result,
        "exit_code": exit_code,
        "primary": outcome.primary if outcome else service.primary,
        "says": outcome.says if outcome else "",
        "checks": [{**asdict(check), "refuses": check.refuses} for check in checks],
        "plan": list(steps),
        "steps": [asdict(step) for step in outcome.steps] if outcome else [],
        "write_gap_s": outcome.write_gap_s if outcome else None,
        "write_gap_method": METHOD,
        "write_gap_note": outcome.write_gap_note if outcome else "",
        "left_to_do": list(outcome.left_to_do) if outcome else [],
    }
