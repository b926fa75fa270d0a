"""How the reports of a drill write numbers, times and texts."""

from __future__ import annotations

import html
import time
from typing import Any

from hafailover.crm.history.records import clean

LONGEST = 600  # characters of a text that somebody else wrote
NONE = "\u2013"


def text(value: object) -> str:
    """A text as it may stand in a page: bounded, without controls, escaped. ``None`` is a dash."""
    return NONE if value is None else html.escape(clean(str(value), LONGEST))


def seconds(value: Any) -> str:
    """``0.71 s``: two digits below ten seconds, one below a hundred; a dash for None."""
    if not isinstance(value, (int, float)):
        return NONE
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f} s"


def count(value: Any) -> str:
    """``12 345``, with narrow spaces; a dash for None."""
    return f"{value:,}".replace(",", "\u202f") if isinstance(value, (int, float)) else NONE


def moment(at: Any) -> str:
    """A Unix time as a date and time in this machine's zone; a dash where there is none."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
    except (TypeError, ValueError, OverflowError, OSError):
        return NONE


def route(run: Any) -> str:
    """``db1 → db2``, or ``db1`` where the primary stayed, or the run never came to anything."""
    old, new = run.get("from"), run.get("to")
    if new is None and run.get("acknowledged") is None:
        return str(old or NONE)
    return f"{old or NONE} → {new or NONE}" if old != new else str(old or NONE)
