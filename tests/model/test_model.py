"""The model of the decision core: without a bug nothing is found, and each planted bug is.

Deeper, for as long as one likes: HAFAILOVER_MODEL_STATES=2000000 bin/test tests/model, or one search by hand: python -m tests.model --help
"""

from __future__ import annotations

import os
import pathlib

import pytest

from model import bugs
from model.bugs import BUGS, COVERED, KNOWN, SOUND, Bug, Known
from model.invariants import ALL, NEEDLESS, PRIMARY
from model.search import Search, tell
from model.setup import PROMOTES_IN_TIME, Setup

STATES = int(os.environ.get("HAFAILOVER_MODEL_STATES", "400000"))
# Whether a state can come back to health is asked where a bug is about that; it costs several times as much as the rest.
LIVENESS = (PRIMARY, NEEDLESS)


def _liveness() -> dict[Setup, bool]:
    asked = dict.fromkeys(SOUND, True)
    for bug in BUGS:
        asked[bug.setup] = asked.get(bug.setup, False) or bug.breaks in LIVENESS
    known = {weakness.setup for weakness in KNOWN if weakness.breaks != NEEDLESS}
    return {setup: liveness for setup, liveness in asked.items() if setup not in known}


SETUPS = _liveness()


def _name(setup: Setup) -> str:
    faults = "+".join(kind for kind, count in setup.faults for _ in range(count))
    more = ["two_node"] * setup.two_node + ["fence_first"] * setup.fence_first + sorted(setup.assume)
    return ", ".join([f"{setup.nodes} nodes", setup.start, faults, f"{setup.writes} writes", *more])


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{' and '.join(bug.without)}: {_name(bug.setup)}")
def test_a_planted_bug_is_found(bug: Bug) -> None:
    setup = bug.setup._replace(without=frozenset(bug.without))
    found = Search(setup).run(STATES, liveness=bug.breaks in LIVENESS, ignore=ALL - {bug.breaks})
    assert found.violation is not None, f"nothing found in {found.states} states: {bug.why}"
    assert found.violation.startswith(bug.breaks), tell(found)


@pytest.mark.parametrize("setup", SETUPS, ids=_name)
def test_without_a_bug_nothing_is_found(setup: Setup) -> None:
    # A dead primary that loses patience just before its heir is promoted needs hafailover rejoin, without any loss.
    ignore = frozenset() if PROMOTES_IN_TIME in setup.assume else frozenset({NEEDLESS})
    found = Search(setup).run(STATES, liveness=SETUPS[setup], ignore=ignore)
    assert found.violation is None, tell(found)
    assert found.complete, f"not all of the states are within the first {found.states}"


@pytest.mark.parametrize(
    ("without", "by", "setup"), COVERED, ids=lambda value: _name(value) if isinstance(value, Setup) else str(value)
)
def test_a_rule_is_covered_by_another(without: tuple[str, ...], by: str, setup: Setup) -> None:
    assert any(set(bug.without) == {*without, by} for bug in BUGS)
    ignore = frozenset() if PROMOTES_IN_TIME in setup.assume else frozenset({NEEDLESS})
    found = Search(setup._replace(without=frozenset(without))).run(STATES, ignore=ignore)
    assert found.violation is None and found.complete, tell(found)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: _name(known.setup))
def test_a_known_weakness_is_still_one(known: Known) -> None:
    found = Search(known.setup).run(STATES, liveness=known.breaks in LIVENESS, ignore=ALL - {known.breaks})
    assert found.violation is not None, f"no longer found, so it belongs to SOUND: {known.why}"


def test_the_documentation_lists_what_is_found() -> None:
    text = pathlib.Path(__file__).parents[2].joinpath("docs", "proof.md").read_text(encoding="utf-8")
    for part in (bugs.table(), bugs.weaknesses()):
        assert part in text, f"docs/proof.md is to have this:\n{part}"
