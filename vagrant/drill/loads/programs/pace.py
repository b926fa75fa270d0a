"""What the programs have in common: their orders, when the next turn is due, and how they say what came of it."""

from __future__ import annotations

import json
import select
import sys
import time
from collections.abc import Iterator
from typing import Any


def orders() -> dict[str, Any]:
    """The one line of JSON that a program is told."""
    found: dict[str, Any] = json.loads(sys.stdin.readline())
    return found


def turns(every: float) -> Iterator[None]:
    """A turn every so many seconds, until standard input ends.

    Turns that could not be taken in time are left out: a burst afterwards would hide the gap.
    """
    due = time.monotonic()
    while not _ended(max(0.0, due - time.monotonic())):
        due = max(due, time.monotonic() - every) + every
        yield


def _ended(seconds: float) -> bool:
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready) and not sys.stdin.readline()


def say(entry: dict[str, Any]) -> None:
    """One line of JSON on standard output, at once."""
    sys.stdout.write(json.dumps(entry) + "\n")
    sys.stdout.flush()
