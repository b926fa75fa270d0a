"""What was found out about one thing outside of the cluster."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """usable: whether it serves. words: how it is, as far as known. problem: what is wrong, or "". since: Unix time of that, if known."""

    usable: bool
    words: str
    problem: str = ""
    advice: str = ""
    since: float | None = None


def listed(count: int, noun: str) -> str:
    """``1 voter``, ``3 voters``."""
    return f"{count} {noun}{'s' * (count != 1)}"
