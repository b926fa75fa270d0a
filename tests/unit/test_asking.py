"""Several questions at once: the answers in their order, and what goes wrong told to whoever asked."""

from __future__ import annotations

import threading
import time

import pytest
from hafailover.agents.asking import Asked, together


def test_questions_are_under_way_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=10)
    assert together(*(lambda number=number: (meeting.wait(), number)[1] for number in range(3))) == [0, 1, 2]
    assert together() == []


def test_the_first_that_failed_is_told() -> None:
    def fail(text: str) -> None:
        raise ValueError(text)

    with pytest.raises(ValueError, match="second"):
        together(lambda: 1, lambda: fail("second"), lambda: fail("third"))


def test_what_is_not_answered_is_not_waited_for() -> None:
    go = threading.Event()
    asked = Asked(lambda: go.wait(30))
    begun = time.monotonic()
    assert not asked.within(0.01)
    assert not asked.within(-1)
    assert time.monotonic() - begun < 20
    go.set()
    assert asked.answer() is True
    assert asked.answer() is True
    assert asked.within(0)
