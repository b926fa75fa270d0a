"""Drills for the tests: one that was really run on a cluster, and what has been made worse about it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from hafailover.crm.drill import document
from hafailover.crm.drill.document import Scene
from hafailover.crm.drill.report import Run
from hafailover.crm.drill.timeline import Phases

RECORD = Path(__file__).resolve().parent / "data" / "drill" / "power-off-primary.json"


def recorded() -> Run:
    """A primary that lost its power by its fence device, on a pair; from ``hafailover drill -o json``."""
    found = json.loads(RECORD.read_text())["runs"][0]
    return Run(
        found["scenario"], found["agents"], found["from"], found["to"], found["write_gap_s"], found["first_write_s"],
        found["acknowledged"], found["lost"], found["extra"], found["concurrent_writers"], found["rejoined_s"],
        Phases(**found["phases"]), found["problems"], found["details"], found["story"], found["steps"],
    )  # fmt: skip


def scene(**changes: Any) -> Scene:
    found = json.loads(RECORD.read_text())
    checks = [(check["name"], check["ok"], check["says"]) for check in found["checks"]]
    known = Scene(
        "cluster",
        "shop",
        found["began"],
        found["client"],
        [tuple(pair) for pair in found["environment"]],
        checks,
        "ada",
        "game day",
    )
    return known._replace(**changes)


def broken() -> Run:
    """The same with lost rows."""
    return replace(
        recorded(),
        lost=2,
        concurrent_writers=1,
        problems=["2 acknowledged rows are missing: 17, 18", "db2 was not fenced"],
    )


def unreached() -> Run:
    """One that never came to its fault."""
    return Run(
        "kill-primary", "hafailover", "db1", None, problems=["not begun: not all servers are in sync after 180 s"]
    )


def older(gaps: list[float], name: str = "power-off-primary") -> list[dict[str, Any]]:
    """Documents of earlier drills with these silences, a month apart."""
    run = recorded().as_json()
    began = scene().began
    return [
        {"began": began - (len(gaps) - number) * 2592000, "runs": [{**run, "scenario": name, "write_gap_s": gap}]}
        for number, gap in enumerate(gaps)
    ]


def made(*runs: Run, earlier: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return document.make(runs or [recorded()], scene(), earlier or [])
