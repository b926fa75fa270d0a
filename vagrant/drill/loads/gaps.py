"""The times in which a load had nothing: pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Gap(NamedTuple):
    """A time without: from and until (Unix times)."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end - self.begin


def longest_gap(moments: Iterable[float]) -> Gap | None:
    """The longest time between two moments that follow each other; None of fewer than two."""
    ordered = sorted(moments)
    gaps = [Gap(begin, end) for begin, end in zip(ordered, ordered[1:])]
    return max(gaps, key=lambda gap: gap.seconds, default=None)


def longest(moments: Iterable[float]) -> float | None:
    """The seconds of the longest gap."""
    found = longest_gap(moments)
    return found and found.seconds
