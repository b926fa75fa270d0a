"""docs/scenarios.md lists every scenario in the words of its own file."""

from __future__ import annotations

from pathlib import Path

from hafailover.crm.drill import scenario

PAGE = Path(__file__).parents[2] / "docs" / "scenarios.md"


def rows() -> dict[str, tuple[str, str]]:
    found = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 4 and cells[1].startswith("`"):
            found[cells[1].strip("`")] = (cells[2], cells[3])
    return found


def test_the_page_says_what_the_files_say():
    known = {name: scenario.load(name) for name in scenario.known()}
    expected = {name: (item.summary + (" (long)" if item.long else ""), item.outcome) for name, item in known.items()}
    assert rows() == expected


def test_every_scenario_says_what_the_right_outcome_is():
    assert [name for name in scenario.known() if not scenario.load(name).outcome] == []
