"""Twice the cluster costs twice the work: counted, not timed, so that a busy machine changes nothing."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import scale

STEPS = ("read topology", "generate", "read cib", "model", "write cib", "write crmsh", "write pcs")


def counted(step):
    """How many calls of functions, Python's and C's, ``step`` makes."""
    calls = 0

    def see(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(see)
    try:
        step()
    finally:
        sys.setprofile(None)
    return calls


@pytest.fixture(scope="module")
def curve():
    # Whatever is remembered after the first time is remembered before both.
    sizes = ((4, 30), (4, 60), (8, 120))
    counts = [{name: counted(step) for name, step in scale.work(*size) if name in STEPS} for size in sizes]
    return counts[1:]


@pytest.mark.parametrize("name", STEPS)
def test_the_work_grows_no_faster_than_the_cluster(name, curve):
    small, large = (counts[name] for counts in curve)
    assert small > 50
    assert large < 2.3 * small


def test_what_is_quadratic_is_seen():
    def quadratic(size):
        return counted(lambda: [len((a, b)) for a in range(size) for b in range(size)])

    assert quadratic(60) > 2.3 * quadratic(30)


def test_the_largest_cluster_takes_less_than_a_second_for_each():
    for name, step in scale.work(32, 500):
        # Three times what it may be, for a machine that is busy; the bench has the figures.
        assert scale.measure(step, 1) < 3.0, name
