"""Moving a stack, on a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from hafailover.crm.colour import Paint
from hafailover.crm.probe import METHOD
from hafailover.crm.stack_case import StackCase
from hafailover.crm.stack_checks import Plan
from hafailover.crm.stack_outcome import StackOutcome
from hafailover.crm.status_text import wrapped

SCHEMA = 1
_WORDS = {
    "done": ("DONE", "green"),
    "rolled back": ("ROLLED BACK", "red"),
    "incomplete": ("INCOMPLETE", "yellow"),
}


def how(plan: Plan) -> Iterator[str]:
    """How what is no database is moved."""
    if plan.moves:
        what = "What is no database goes all at the same time" if len(plan.moves) > 1 else f"{plan.moves[0].words} goes"
        before = ", before any database is touched" if plan.services else ""
        text = f"{what}{before}, by a preference that ends by itself and is removed when it is there."
        yield from wrapped(text, "", "  ")


def left_alone(plan: Plan) -> Iterator[str]:
    """What is there already, and what stays where it is and why."""
    if plan.there:
        yield from wrapped(f"Already on {plan.node}: {', '.join(plan.there)}", "", "  ")
    by_reason: dict[str, list[str]] = {}
    for name, why in plan.stack.stays.items():
        by_reason.setdefault(why, []).append(name)
    for why, names in by_reason.items():
        yield from wrapped(f"Not moved: {', '.join(names)} ({why})", "", "  ")


def conclusion(outcome: StackOutcome, paint: Paint) -> Iterator[str]:
    """How it ended, in a few lines."""
    word, colour = _WORDS.get(outcome.result, ("FAILED", "red"))
    lines = wrapped(outcome.says, f"{word}  ", " " * (len(word) + 2))
    yield paint(word, colour) + lines[0][len(word) :]
    yield from lines[1:]
    for one in outcome.databases:
        gap = one.outcome.write_gap_s
        said = one.outcome.write_gap_note if gap is None else f"{gap:.2f} s ({METHOD})"
        yield from wrapped(f"Write gap of {one.name}: {said}", "", "  ")
    if outcome.result == "done":
        yield "Nothing is left behind: the preferences are removed, and promotion scores are"
        yield "  normal."
    if outcome.left_to_do:
        yield "Left to do:"
        for item in outcome.left_to_do:
            yield from wrapped(item, "  - ", "    ")


def as_json(case: StackCase, result: str, exit_code: int, outcome: StackOutcome | None = None) -> dict[str, Any]:
    """The documented shape (docs/switch-over.md)."""
    plan = case.plan
    now = outcome.places if outcome else plan.places
    return {
        "schema": SCHEMA,
        "stack": True,
        "to": plan.node,
        "result": result,
        "exit_code": exit_code,
        "says": outcome.says if outcome else "",
        "checks": [{**asdict(check), "refuses": check.refuses} for check in case.checks],
        "plan": list(case.planned),
        "resources": [
            {
                "id": mover.id,
                "role": mover.role,
                "goes_with": "" if mover.is_root else mover.root,
                "moves": mover in plan.moving or mover.root in plan.services,
                "from": plan.places.get(mover.id, ""),
                "now": now.get(mover.id, ""),
            }
            for mover in plan.stack.movers
        ],
        "not_moved": dict(plan.stack.stays),
        "databases": [_database(case, clone, outcome) for clone in plan.stack.databases],
        "steps": [asdict(step) for step in outcome.steps] if outcome else [],
        "left_to_do": list(outcome.left_to_do) if outcome else [],
    }


def _database(case: StackCase, clone: str, outcome: StackOutcome | None) -> dict[str, Any]:
    service = case.status.service(clone)
    name = service.name if service else clone
    was = service.primary if service else None
    found = next((one.outcome for one in outcome.databases if one.name == name), None) if outcome else None
    return {
        "service": name,
        "from": was,
        "primary": outcome.primaries.get(name, found.primary if found else was) if outcome else was,
        "result": found.result if found else "",
        "says": found.says if found else "",
        "write_gap_s": found.write_gap_s if found else None,
        "write_gap_method": METHOD,
        "write_gap_note": found.write_gap_note if found else "",
    }
