"""The model of the decision core: without a bug nothing is found, and each planted bug is.

Deeper, for as long as one likes: HAFAILOVER_MODEL_STATES=2000000 bin/test tests/model
"""

from __future__ import annotations

import os

import pytest

from model.bugs import BUGS, Bug
from model.invariants import NEEDLESS, PRIMARY
from model.search import Search, tell
from model.setup import Setup

STATES = int(os.environ.get("HAFAILOVER_MODEL_STATES", "60000"))
# Whether a state can come back to health is asked where a bug is about that; it costs several times as much as the rest.
LIVENESS = (PRIMARY, NEEDLESS)


def _liveness(bug: Bug) -> bool:
    return bool(set(bug.breaks) & set(LIVENESS))


SETUPS = {bug.setup: _liveness(bug) for bug in BUGS}


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: " and ".join(bug.without))
def test_a_planted_bug_is_found(bug: Bug) -> None:
    setup = bug.setup._replace(without=frozenset(bug.without))
    found = Search(setup).run(STATES, liveness=_liveness(bug))
    assert found.violation is not None, f"nothing found in {found.states} states: {bug.why}"
    assert found.violation.startswith(bug.breaks), tell(found)


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: f"{setup.start} {dict(setup.faults)} {setup.nodes}")
def test_without_a_bug_nothing_is_found(setup: Setup) -> None:
    # A dead primary that recovers just while its replica becomes promotable can need hafailover rejoin, without any loss.
    found = Search(setup).run(STATES, liveness=SETUPS[setup], ignore=frozenset({NEEDLESS}))
    assert found.violation is None, tell(found)
    assert found.states > 1
