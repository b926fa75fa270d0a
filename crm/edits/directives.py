"""Directives of an Apache configuration file that may be given only once, when they are given elsewhere from now on."""

from __future__ import annotations

from collections.abc import Collection

from hafailover.crm.edits import marks


def directives_off(content: bytes, names: Collection[str], file: str) -> bytes:
    """``content`` with every line of these directives commented out, and those that are not named any more back in place.

    UsageError when it is not text.
    """
    lines = marks.taken_back(marks.split(content, file), lambda line, key: False, lambda lines, index, name: False)
    eol = marks.end_of_line(lines)
    lower = {name.lower().encode() for name in names}
    kept: marks.Lines = []
    for line in lines:
        words = line.split(None, 1)
        kept += marks.replaced([line], eol) if words and words[0].lower() in lower else [line]
    return b"".join(kept)
