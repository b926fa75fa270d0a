"""Mistakes in a text file, shown where they stand: file, line, column, the line itself and a caret under the place.

A line may hold a secret that somebody wrote where a reference belongs. What looks like one is masked, and a line of which that
cannot be told is not shown: a terminal is copied into chats and tickets.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from hafailover.crm import secret_names
from hafailover.crm.errors import UsageError

MAX_SHOWN = 20
_WIDTH = 110  # columns of a source line that are shown
_MASK = "***"
# As the YAML parser counts lines; str.splitlines also breaks at form feeds and separators, and everything below would be off.
_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
_KEY = re.compile(r"""(?P<key>[\w.-]{1,64})["']?\s*:(?=\s|$|["'\[{])\s*""")
# The colon is forgotten easily: "password hunter2".
_NO_COLON = re.compile(r"(?P<key>[\w.-]{1,64})[ \t]+(?=[^\s:#])")
_REFERENCE = re.compile(r"""["']?file:[A-Za-z0-9_./-]+["']?\s*(?=[,}\]#]|$)""")
_SECRET_NAME = re.compile(
    r"pass|pwd|secret|token|cookie|communit|credential|auth_?key|private|priv_|login_key|api_?key", re.IGNORECASE
)
# In the query of a URL.
_QUERY = re.compile(r"[\w.-]{0,40}(?:pass|pwd|secret|token|key)[\w.-]{0,40}=([^&\s\"']+)", re.IGNORECASE)
_SECRET_WORDS = ("password", "passwd", "passphrase", "secret", "community", "credentials")
# Names that hold such a word and no secret: a time, a path.
_NO_SECRET = re.compile(r"(_(script|file|path|dir)|^secrets_dir|^token(_coefficient)?)$", re.IGNORECASE)
_MANY_KEYS = 200
_LONG = 10_000  # a longer line is not looked through for secrets, and so not shown

Span = tuple[int, int, int, int]
"""From line and column to line and column (from 1; the last column is not in it)."""


@dataclass(frozen=True)
class Place:
    """Where something stands: line and column from 1, and how many characters it is long."""

    line: int
    column: int
    width: int = 1


@dataclass(frozen=True)
class Mistake:
    """One thing wrong in a file: where, at which dotted key ("" for the file itself), and the sentence."""

    place: Place
    key: str
    message: str


class SourceError(UsageError):
    """What is wrong in ``file``: ``mistakes`` in the order of the file. The text has each with its line and a caret."""

    def __init__(self, file: str, text: str, mistakes: Iterable[Mistake], secrets: Sequence[Span] = ()) -> None:
        self.file = file
        self.mistakes = tuple(
            sorted(mistakes, key=lambda one: (one.place.line, one.place.column, one.key, one.message))
        )
        shown = []
        lines = split_lines(text)
        for one in self.mistakes[:MAX_SHOWN]:
            key = f"{one.key}: " if one.key else ""
            shown.append(f"{file}:{one.place.line}:{one.place.column}: {key}{one.message}")
            shown += excerpt(lines, one.place, secrets)
        if len(self.mistakes) > MAX_SHOWN:
            shown.append(f"and {len(self.mistakes) - MAX_SHOWN} more")
        super().__init__("\n".join(shown))


def split_lines(text: str) -> list[str]:
    """The lines of ``text`` as a YAML parser counts them, without their ends."""
    return _BREAK.split(text)


@lru_cache(maxsize=4096)
def may_be_secret(key: str) -> bool:
    """Whether a key of this name may hold a secret; also when it is misspelt."""
    if _NO_SECRET.search(key):
        return False
    if _SECRET_NAME.search(key) or secret_names.names_secret(key):
        return True
    word = key.lower()
    return 4 <= len(word) <= 16 and word[0] in "psc" and bool(difflib.get_close_matches(word, _SECRET_WORDS, 1, 0.75))


def excerpt(lines: Sequence[str], place: Place, secrets: Sequence[Span] = ()) -> list[str]:
    """The line at ``place`` with its number, and below it a caret; nothing when there is no such line or it may not be shown."""
    line = lines[place.line - 1] if 1 <= place.line <= len(lines) else ""
    if not line.strip() or len(line) > _LONG or _inside_secret(lines, place.line - 1):
        return []
    spans = _spans_in(line, place.line, secrets)
    if spans is None:
        return []
    line, begin, width = _masked(line, spans, place.column - 1, place.width)
    line, begin = _window(line, begin)
    width = max(1, min(width, len(line) - begin))
    number = f"{place.line:5} | "
    before = sum(_columns(character) for character in line[:begin])
    under = sum(_columns(character) for character in line[begin : begin + width]) or 1
    return [
        number + "".join(_visible(character) for character in line).rstrip(),
        f"{'':5} | {' ' * before}{'^' * under}",
    ]


def _spans_in(line: str, number: int, secrets: Sequence[Span]) -> list[tuple[int, int]] | None:
    """What of a line must not be seen, as (from, to); None when it cannot be told."""
    found = []
    for first, begin, last, end in secrets:
        if first <= number <= last:
            found.append((begin - 1 if number == first else 0, end - 1 if number == last else len(line)))
    for count, match in enumerate(_KEY.finditer(line)):
        if count > _MANY_KEYS:
            return None
        if may_be_secret(match["key"]) and match.end() < len(line) and not _REFERENCE.match(line, match.end()):
            # Where such a value ends is not known here: it may hold commas and braces.
            found.append((match.end(), len(line)))
    for match in _NO_COLON.finditer(line):
        if may_be_secret(match["key"]):
            found.append((match.end(), len(line)))
            break
    account = line.find("://")
    if account >= 0 and "@" in line[account:]:
        found.append((account + 3, line.rindex("@")))
    return found + [match.span(1) for match in _QUERY.finditer(line)]


def _masked(line: str, spans: list[tuple[int, int]], begin: int, width: int) -> tuple[str, int, int]:
    """``line`` without what is in ``spans``, and where the place from ``begin`` on is then."""
    merged: list[list[int]] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    parts, position, column = [], 0, begin
    for start, end in merged:
        parts += [line[position:start], _MASK]
        position = end
        if begin >= end:
            column += len(_MASK) - (end - start)
        elif begin >= start:
            column, width = column - (begin - start), len(_MASK)
        elif begin + width > start:
            width = start - begin
    return "".join([*parts, line[position:]]), column, width


def _window(line: str, begin: int) -> tuple[str, int]:
    """The part of a long line around ``begin``."""
    if len(line) <= _WIDTH:
        return line, begin
    start = max(0, min(begin - _WIDTH // 2, len(line) - _WIDTH))
    part = line[start : start + _WIDTH]
    ahead = "…" if start else ""
    return ahead + part + ("…" if start + _WIDTH < len(line) else ""), begin - start + len(ahead)


def _inside_secret(lines: Sequence[str], index: int) -> bool:
    """Whether the line may continue a secret that begins in a line above it: in a block, between quotes, or below its key."""
    here = _indent(lines[index])
    apart = _KEY.search(lines[index]) is not None
    for above in range(index - 1, max(-1, index - 200), -1):
        line = lines[above]
        if len(line) > _LONG:
            return True
        for match in _KEY.finditer(line):
            if may_be_secret(match["key"]) and _continues(
                line[match.end() :].strip(), here > _indent(line) or not apart
            ):
                return True
        apart = apart or _KEY.search(line) is not None
        if line.strip() and _indent(line) == 0 and not line.startswith(("#", " ")):
            return False
    return False


def _continues(value: str, below: bool) -> bool:
    """Whether a value that begins like this may go on in a later line; ``below``: it is indented more, or no key is between."""
    if value[:1] in ("'", '"'):
        return value.count(value[0]) % 2 == 1
    return (value == "" or value[0] in "|>#&!") and below


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


def _columns(character: str) -> int:
    """Columns of a terminal that ``character`` takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _visible(character: str) -> str:
    """``character`` without what would move the cursor or turn the direction of the text."""
    kind = unicodedata.category(character)
    if character == "\t" or kind == "Zs":
        return " "
    return "\N{REPLACEMENT CHARACTER}" if kind[0] == "C" or kind in ("Zl", "Zp") else character
