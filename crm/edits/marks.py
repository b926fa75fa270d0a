"""The comments that tell our changes in a file from what people wrote, and taking those changes back.

``# hafailover replaced: LINE`` holds a line as it was; ``# hafailover set KEY:`` says that the next line, if it still
assigns KEY, is ours; ``# hafailover added NAME:`` says so of the header in the next line, as long as nothing else
stands below it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Callable

from hafailover.crm.errors import UsageError

_REPLACED = b"# hafailover replaced: "
_SET = b"# hafailover set "
_ADDED = b"# hafailover added "

Lines = list[bytes]
"""The lines of a file, each with its end of line; only the last may lack it."""


def is_marked(content: bytes) -> bool:
    """Whether something in ``content`` may be ours."""
    return any(mark in content for mark in (_REPLACED, _SET, _ADDED))


def split(content: bytes, file: str) -> Lines:
    """The lines of ``content``; UsageError when it is not text, or its lines end in a way nobody's do."""
    odd = re.search(rb"[\x00-\x08\x0e-\x1f]", content) or re.search(rb"\r(?!\n)", content)
    if odd:
        line = content.count(b"\n", 0, odd.start()) + 1
        where = f"{file}:{line}"
        if odd[0] != b"\r":
            raise UsageError(
                f"{where}: is not a text file (it holds the byte 0x{odd[0].hex()}); restore it from a backup"
            )
        raise UsageError(f"{where}: has a carriage return inside of the line; remove it")
    return content.splitlines(keepends=True)


def end_of_line(lines: Sequence[bytes]) -> bytes:
    """How lines end in this file."""
    return b"\r\n" if lines and lines[0].endswith(b"\r\n") else b"\n"


def finished(lines: Sequence[bytes], eol: bytes) -> Lines:
    """``lines`` with an end at the last one, too."""
    if not lines or lines[-1].endswith(b"\n"):
        return list(lines)
    return [*lines[:-1], lines[-1] + eol]


def replaced(lines: Sequence[bytes], eol: bytes) -> Lines:
    """The lines in whose place something else stands now."""
    return [_REPLACED + line for line in finished(lines, eol)]


def assigned(key: str, line: str, eol: bytes, indent: bytes = b"") -> Lines:
    """A line of ours that sets ``key``."""
    return _marked(_SET, key, line, eol, indent)


def added(name: str, line: str, eol: bytes, indent: bytes = b"") -> Lines:
    """A header of ours."""
    return _marked(_ADDED, name, line, eol, indent)


def _marked(mark: bytes, name: str, line: str, eol: bytes, indent: bytes) -> Lines:
    texts = (text.encode("utf-8", "surrogateescape") for text in (f"{name}:", line))
    return [indent + start + text + eol for start, text in zip((mark, b""), texts)]


def taken_back(
    lines: Sequence[bytes],
    assigns: Callable[[bytes, bytes], bool],
    is_empty: Callable[[Sequence[bytes], int, bytes], bool],
) -> Lines:
    """``lines`` as they were before us.

    ``assigns(line, key)``: whether a line sets a key. ``is_empty(lines, index, name)``: whether the line there is the
    header ``name`` and nothing but blank lines belongs to it.
    """
    current = list(lines)
    while True:
        before = current
        current = _without_added(_restored(_without_set(current, assigns)), is_empty)
        if current == before:
            return current


def _without_set(lines: Sequence[bytes], assigns: Callable[[bytes, bytes], bool]) -> Lines:
    kept: Lines = []
    index = 0
    while index < len(lines):
        key = _name(lines[index], _SET)
        if key is None:
            kept.append(lines[index])
        elif index + 1 < len(lines) and assigns(lines[index + 1], key):
            index += 1
        index += 1
    return kept


def _restored(lines: Sequence[bytes]) -> Lines:
    return [line[len(_REPLACED) :] if line.startswith(_REPLACED) else line for line in lines]


def _without_added(lines: Sequence[bytes], is_empty: Callable[[Sequence[bytes], int, bytes], bool]) -> Lines:
    kept = list(lines)
    for index in reversed(range(len(kept))):  # the innermost first: it may be all that its parent holds
        name = _name(kept[index], _ADDED)
        if name is not None:
            header = index + 1 < len(kept) and is_empty(kept, index + 1, name)
            del kept[index : index + 1 + header]
    return kept


def _name(line: bytes, mark: bytes) -> bytes | None:
    text = line.strip(b" \t\r\n")
    return text[len(mark) : -1] if text.startswith(mark) and text.endswith(b":") else None
