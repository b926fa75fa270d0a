"""Colour, and whether there is any: on a terminal that knows it, unless NO_COLOR is set (https://no-color.org)."""

from __future__ import annotations

import os
import sys
from typing import IO, Any, Callable

Paint = Callable[[str, str], str]
"""(text, colour name) → the text in that colour, or as it was."""

_CODES = {"red": "31;1", "yellow": "33", "green": "32", "bold": "1", "dim": "2"}


def plain(text: str, _colour: str) -> str:
    """No colour."""
    return text


def coloured(text: str, colour: str) -> str:
    """Colour for a terminal."""
    return f"\033[{_CODES[colour]}m{text}\033[0m"


def moves(stream: IO[Any]) -> bool:
    """Whether ``stream`` is a screen on which the cursor can be moved, and a line written over."""
    try:
        return stream.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
    except ValueError:  # it is closed
        return False


def wanted(stream: IO[Any]) -> bool:
    """Whether what goes to ``stream`` may have colour."""
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
    except ValueError:
        return False


def paint(err: bool = False) -> Paint:
    """What colours a text for standard output, or with ``err`` for standard error."""
    return coloured if wanted(sys.stderr if err else sys.stdout) else plain
