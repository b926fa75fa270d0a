from __future__ import annotations

import json

from hafailover.crm.drill.report import Run, as_json, as_table
from hafailover.crm.drill.timeline import Phases

GOOD = Run(
    *("power-off-primary", "hafailover", "db1", "db2"),
    *(3.0412, 3.0398, 12345, 0, 0, 0, 123.4567),
    phases=Phases(2.7, 3.0, None, 3.5),
)
BAD = Run("cut-primary", "null", None, None, problems=["no write was acknowledged"])


def test_json_has_the_documented_shape():
    [good, bad] = json.loads(as_json([GOOD, BAD]))["runs"]
    assert {key: good[key] for key in list(good)[:13]} == {
        "scenario": "power-off-primary",
        "agents": "hafailover",
        "from": "db1",
        "to": "db2",
        "write_gap_s": 3.041,
        "first_write_s": 3.04,
        "acknowledged": 12345,
        "lost": 0,
        "extra": 0,
        "concurrent_writers": 0,
        "rejoined_s": 123.457,
        "phases": {
            "detected": 2.7,
            "fenced": 3.0,
            "promoted": None,
            "address_up": 3.5,
            "drained": None,
            "services_up": None,
            "demoted": None,
        },
        "ok": True,
    }
    assert bad["ok"] is False and bad["acknowledged"] is None and bad["problems"] == ["no write was acknowledged"]


def test_the_table_fits_a_terminal_and_says_what_failed():
    lines = as_table([GOOD, BAD]).splitlines()
    assert all(len(line) <= 80 for line in lines), lines
    assert lines[1].endswith(" ok") and lines[2].endswith(" FAILED")
    assert "run 2, cut-primary: no write was acknowledged" in lines
    assert lines[-1].endswith("1 failed")


def test_all_ok_is_said():
    assert as_table([GOOD]).splitlines()[-1] == "1 runs with hafailover agents, all ok"
