"""How long an action may still take before Pacemaker kills it."""

from __future__ import annotations

import time

UNITS = {
    "": 1.0, "us": 1e-6, "usec": 1e-6, "ms": 1e-3, "msec": 1e-3, "s": 1.0, "sec": 1.0,
    "m": 60.0, "min": 60.0, "h": 3600.0, "hr": 3600.0, "d": 86400.0,
}  # fmt: skip


def seconds(text: str) -> float:
    """Seconds of a time as Pacemaker spells it: 30, 30s, 500ms, 2m, 1h. ValueError if it is none."""
    digits = text.strip().rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text.strip()[len(digits) :].strip()
    if unit not in UNITS or not digits or not digits.replace(".", "", 1).isdecimal():
        raise ValueError("not a time such as 30, 30s, 500ms or 2m")
    return float(digits) * UNITS[unit]


class Deadline:
    """A point in monotonic time at which the caller is killed, with a margin to say why before that."""

    __slots__ = ("_end", "_margin")

    def __init__(self, timeout: float) -> None:
        """Start counting now; ``timeout`` in seconds."""
        self._end = time.monotonic() + timeout
        # An action that is killed can give no reason, and what it started lives on for a moment.
        # The interpreter's own start (10 ms, more under load) has already passed when counting begins.
        self._margin = min(max(timeout * 0.05, 0.2), 2.0)

    def remaining(self) -> float:
        """Seconds until the kill; negative afterwards."""
        return self._end - time.monotonic()

    def bound(self, limit: float) -> float:
        """``limit`` seconds, or what is left minus the margin if that is less; never below 0."""
        return max(0.0, min(limit, self._end - time.monotonic() - self._margin))

    @property
    def expired(self) -> bool:
        """No time is left in which anything should still be begun."""
        return self.remaining() <= self._margin
