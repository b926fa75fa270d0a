"""The report of a drill as one document, from which the page, the ticket's text and the JSON are made: so they cannot disagree. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from hafailover.agents import __version__
from hafailover.crm.drill import recovery
from hafailover.crm.drill.report import Run
from hafailover.crm.errors import UsageError
from hafailover.crm.history.records import clean

SCHEMA = 1
LARGEST = 4 << 20
"""Bytes of a document that is read."""
_SUMMARY = (
    "scenario",
    "agents",
    "from",
    "to",
    "write_gap_s",
    "first_write_s",
    "rejoined_s",
    "acknowledged",
    "lost",
    "ok",
)
_EARLIER = 20  # of each scenario


class Scene(NamedTuple):
    """Where and when: ``kind`` is "cluster" or "lab". ``environment``: (what, how it is) for people. ``client``: where it wrote from.

    ``topology``: what else of the place has to be the same, for runs to be comparable.
    ``checks``: what was looked at before, as (name, ok, says). ``who``, ``reason``: who ran it and why, or "".
    ``began``: Unix seconds.
    """

    kind: str
    name: str
    began: float
    client: str
    environment: Sequence[tuple[str, str]] = ()
    checks: Sequence[tuple[str, bool | None, str]] = ()
    who: str = ""
    reason: str = ""
    topology: Mapping[str, Any] = {}


def make(runs: Sequence[Run], scene: Scene, earlier: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The document. ``earlier`` are documents of older drills."""
    shown = [run.as_json() for run in runs]
    before = _earlier(earlier, {(str(run["scenario"]), str(run["agents"])) for run in shown})
    for run in shown:
        run["recovery"] = [phase._asdict() for phase in recovery.phases(run)]
        run["next"] = recovery.advice(run, recovery.alike(before, run))
    return {
        "schema": SCHEMA,
        "made_by": f"hafailover {__version__}",
        "place": place(scene),
        "began": round(scene.began, 3),
        "client": scene.client,
        "who": scene.who,
        "reason": scene.reason,
        "environment": [list(pair) for pair in scene.environment],
        "checks": [{"name": name, "ok": ok, "says": says} for name, ok, says in scene.checks],
        "runs": shown,
        "earlier": before,
    }


def place(scene: Scene) -> dict[str, Any]:
    """Where it was, as the document says it: drills of the same place are compared with each other."""
    return {"kind": scene.kind, "name": scene.name, **scene.topology}


def _earlier(documents: Iterable[Mapping[str, Any]], kinds: set[tuple[str, str]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for document in documents:
        for run in document["runs"]:
            one = {"at": document.get("began"), **{key: run.get(key) for key in _SUMMARY}}
            # What is kept here may be given as a file, too.
            if (run.get("scenario"), run.get("agents")) in kinds and one not in found:
                found.append(one)
    found.sort(key=lambda one: one["at"] or 0)
    kept: list[dict[str, Any]] = []
    for kind in sorted(kinds):
        kept += [one for one in found if (one["scenario"], one["agents"]) == kind][-_EARLIER:]
    return kept


def as_text(document: Mapping[str, Any]) -> str:
    """As JSON."""
    return json.dumps(document, indent=1, ensure_ascii=False)


def read(text: str, file: str) -> dict[str, Any]:
    """A document that was written before; UsageError when it is none. Texts in it are what somebody wrote: clean, but not to be trusted."""
    if len(text) > LARGEST:
        raise UsageError(f"{file}: is too large for the report of a drill")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"{file}: is not JSON; give the output of hafailover drill -o json") from None
    runs = found.get("runs") if isinstance(found, dict) else None
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        raise UsageError(f"{file}: is not the report of a drill; give the output of hafailover drill -o json")
    return {
        "began": _number(found.get("began")),
        "place": found.get("place") if isinstance(found.get("place"), dict) else {},
        "runs": [{key: _plain(key, run.get(key)) for key in _SUMMARY} for run in runs],
    }


def _plain(key: str, value: Any) -> Any:
    if key in ("scenario", "agents", "from", "to"):
        return clean(value, 80) if isinstance(value, str) else None
    if key == "ok":
        return value if isinstance(value, bool) else None
    return _number(value)


def _number(value: Any) -> float | int | None:
    good = (
        isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < 1e12
    )
    return value if good else None
