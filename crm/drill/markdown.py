"""The report as text for a ticket: Markdown that is read as well where nobody renders it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hafailover.crm.drill.recovery import KNOWN, alike, longer_later
from hafailover.crm.drill.words import LONGEST, NONE, count, moment, route, seconds
from hafailover.crm.history.records import clean

# What Markdown would take for markup, and the angle brackets of HTML.
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&!])")


def render(document: Mapping[str, Any]) -> str:
    """The text of a document of crm/drill/document.py."""
    place = document["place"]
    lines = [f"# Drill of the {place['kind']} {_plain(place['name'])}, {moment(document['began'])}", ""]
    by = [f"run by {_plain(document['who'])}"] if document.get("who") else []
    by += [_plain(document["reason"])] if document.get("reason") else []
    if by:
        lines += [f"{': '.join(by)}", ""]
    for number, run in enumerate(document["runs"], 1):
        lines += _run(document, run, number if len(document["runs"]) > 1 else 0)
    if document.get("checks"):
        lines += ["## Checked before it began", ""]
        lines += [f"- {_state(check['ok'])}: {_plain(check['says'])}" for check in document["checks"]]
        lines.append("")
    if document.get("environment"):
        lines += [
            "## Environment",
            "",
            *(f"- {_plain(what)}: {_plain(how)}" for what, how in document["environment"]),
            "",
        ]
    lines.append(f"Made by {_plain(document.get('made_by'))}. All times are seconds from the fault.")
    return "\n".join(lines) + "\n"


def _plain(value: object) -> str:
    text = NONE if value is None else clean(str(value), LONGEST)
    return _SPECIAL.sub(r"\\\1", text)


def _state(ok: object) -> str:
    return "ok" if ok else "accepted" if ok is False else "not known"


def _run(document: Mapping[str, Any], run: Mapping[str, Any], number: int) -> Iterator[str]:
    title = f"{number}. " if number else ""
    yield f"## {title}{_plain(run['scenario'])}: {'held' if run['ok'] else 'FAILED'}"
    yield ""
    for problem in run["problems"]:
        yield f"- **{_plain(problem)}**"
    if run["problems"]:
        yield ""
    jitter = (run.get("details") or {}).get("baseline_gap_s")
    yield from _table(
        ("figure", "value"),
        [
            ("primary", _plain(route(run))),
            ("acknowledged writes lost", f"{count(run['lost'])} of {count(run['acknowledged'])}"),
            ("rows too many", count(run["extra"])),
            ("two writers at once", count(run["concurrent_writers"])),
            (
                "longest silence",
                seconds(run["write_gap_s"]) + (f" ({seconds(jitter)} before the fault)" if jitter is not None else ""),
            ),
            *([("longest silence later on", seconds(later))] if (later := longer_later(run)) is not None else []),
            ("first write after", seconds(run["first_write_s"])),
            ("in sync again after", seconds(run["rejoined_s"])),
        ],
    )
    if run.get("recovery") and run["first_write_s"] is not None:
        yield from ("### Where the time went", "")
        yield from _table(
            ("phase", "until", "from the fault", "took"),
            [
                (_plain(one["name"]), _plain(one["means"]), seconds(one["at"]), seconds(one["took"]))
                if one["state"] == KNOWN
                else (_plain(one["name"]), _plain(one["means"]), _plain(one["state"]), NONE)
                for one in run["recovery"]
            ],
        )
    if run.get("next"):
        yield from ("### What to do now", "")
        yield from (f"{place}. {_plain(sentence)}" for place, sentence in enumerate(run["next"], 1))
        yield ""
    older = alike(document.get("earlier", ()), run)
    if older:
        yield from ("### Earlier runs", "")
        yield from _table(
            ("when", "primary", "silence", "first write", "lost", "outcome"),
            [
                (moment(one["at"]), _plain(route(one)), seconds(one["write_gap_s"]), seconds(one["first_write_s"]), count(one["lost"]),
                 "ok" if one["ok"] else "failed")
                for one in older[::-1][:8]
            ],
        )  # fmt: skip
    if run.get("steps"):
        yield from ("### What was done", "")
        for step in run["steps"]:
            why = f": {_plain(step['why'])}" if step.get("why") else ""
            yield f"- {step['at']:+.2f} s: {_plain(step['says'])} ({seconds(step['took'])}){why}"
        yield ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""
