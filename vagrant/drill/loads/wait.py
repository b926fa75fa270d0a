"""Waiting for something until it is so, or saying why it is not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Callable

from hafailover.crm.errors import HafailoverError

GOES_ON_WITHIN = 180.0
"""Seconds within which a load has to go on, whatever was broken."""

Count = Callable[[], int]


def until_none(reason: Callable[[], str | None], within: float, interval: float = 0.5) -> None:
    """Ask for a reason until there is none; HafailoverError with the last one after ``within`` s.

    A tool that does not answer is a reason, too: nodes go away and come back meanwhile.
    """
    end = time.monotonic() + within
    while why := _asked(reason):
        if time.monotonic() >= end:
            raise HafailoverError(f"{why} (after {within:g} s)")
        time.sleep(interval)


def _asked(reason: Callable[[], str | None]) -> str | None:
    try:
        return reason()
    except HafailoverError as error:
        return str(error)


def until_more(counts: Mapping[str, tuple[Count, int]], stalled: Callable[[list[str]], str]) -> None:
    """Wait until each count has grown by its number; HafailoverError with what ``stalled`` says of those that have not."""
    wanted = {name: count() + more for name, (count, more) in counts.items()}

    def reason() -> str | None:
        behind = [name for name, (count, _) in counts.items() if count() < wanted[name]]
        return stalled(behind) if behind else None

    until_none(reason, GOES_ON_WITHIN, 0.1)
