"""Names and values as a topology takes them, from those of a CIB, which may be anything."""

from __future__ import annotations

import re
from typing import Union

from hafailover.crm import values

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}\Z")
# What a topology takes for a plain number; anything else stays text, so that it is written back as it was.
_NUMBER = re.compile(r"(?:0|-?[1-9][0-9]{0,17})\Z")
_RESERVED = "fence-"

Plain = Union[str, int, bool]


class Names:
    """Hands out names that are good for a topology, each only once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def take(self, wanted: str, reserved: str = _RESERVED) -> str:
        """``wanted``, or the nearest name to it that is allowed and free."""
        name = fitting(wanted)
        if reserved and name.startswith(reserved):
            name = f"x-{name}"[:63]
        base = name
        while name in self._taken:
            number = self._next[base] = self._next.get(base, 1) + 1
            name = f"{base[:55]}-{number}"
        self._taken.add(name)
        return name


def fitting(wanted: str) -> str:
    """``wanted`` when it is a name as topologies have them, else what is left of it."""
    if NAME.match(wanted):
        return wanted
    word = re.sub(r"[^A-Za-z0-9_]+", "-", wanted[:200]).strip("-")
    if not word or not word[0].isalpha():
        word = f"x-{word}".rstrip("-")
    return word[:55].rstrip("-")


def is_text(value: str) -> bool:
    """Whether it is one line, without control characters."""
    return not any(ord(c) < 32 or ord(c) == 127 for c in value)


def plain(value: str) -> Plain:
    """``value`` as a person would write it: a number or truth value where that comes back as the same text."""
    if value in ("true", "false"):
        return value == "true"
    return int(value) if _NUMBER.match(value) else value


def duration(text: str | None) -> str | None:
    """A time of a CIB as a topology has it, "90s" or "1500ms"; None when it is none."""
    count = values.milliseconds(text)
    return None if count is None or count < 0 else span(count)


def span(count: int) -> str:
    """Milliseconds as a topology has them, with at most nine digits."""
    count = min(count, 999_999_999_000)
    return f"{count // 1000}s" if count % 1000 == 0 else f"{count}ms"


def words(text: str | None) -> list[str]:
    """The words of a list that is joined by spaces, commas or semicolons."""
    return [word for word in re.split(r"[\s,;]+", text or "") if word]
