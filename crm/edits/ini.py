"""Set keys in files of the oslo.config dialect, such as st2.conf.

As its reader does: a line that begins with a blank continues a value, a comment is a whole line, sections of one name
are one section, the last assignment of a key counts, and a value in quotes is what stands between them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

from hafailover.crm.edits import marks
from hafailover.crm.errors import UsageError

Values = Mapping[str, Mapping[str, Optional[str]]]
"""Section → key → value in one line, or None for a key that must not be set."""


class _Entry(NamedTuple):
    """An assignment: its section, key and value, and its lines [start, end)."""

    section: str
    key: bytes
    value: tuple[bytes, ...]
    start: int
    end: int


class _Parsed(NamedTuple):
    """headers: section → its first line. comments: (section, line) of each comment."""

    entries: list[_Entry]
    headers: dict[str, int]
    comments: list[tuple[str, int]]


def ini_set(content: bytes, values: Values, file: str = "the file") -> bytes:
    """``content`` with ``values`` and without what an earlier call set or took out; ``file`` is its name in messages.

    UsageError when the content cannot be understood, with the line.
    """
    lines = marks.taken_back(marks.split(content, file), _assigns, _is_empty)
    parsed = _parse(lines, file)
    eol = marks.end_of_line(lines)
    changes: list[tuple[int, int, list[bytes]]] = []
    new_sections: list[bytes] = []
    for section, keys in values.items():
        wanted = []
        for key, value in keys.items():
            mine = [one for one in parsed.entries if (one.section, one.key) == (_normal(section), key.encode())]
            if value is None:
                changes += [(one.start, one.end, marks.replaced(lines[one.start : one.end], eol)) for one in mine]
            elif not mine:
                place = _place(lines, parsed, section, key)
                ours = marks.assigned(key, f"{key} = {_written(value)}", eol)
                if place is None:
                    wanted += ours
                else:
                    changes.append((place, place, ours))
            elif mine[-1].value != _read(_written(value).encode()):
                last = mine[-1]
                before = marks.replaced(lines[last.start : last.end], eol)
                ours = marks.assigned(key, f"{key} = {_written(value)}", eol)
                changes.append((last.start, last.end, [*before, *ours]))
        if wanted:
            new_sections += [*marks.added(section, f"[{section}]", eol), *wanted]
    return b"".join(_changed(lines, changes, new_sections, eol))


def _changed(
    lines: list[bytes], changes: list[tuple[int, int, list[bytes]]], tail: list[bytes], eol: bytes
) -> list[bytes]:
    result: list[bytes] = []
    position = 0
    for start, end, new in sorted(changes, key=lambda change: change[:2]):  # stable: keys of one place keep their order
        result += lines[position:start]
        result = [*marks.finished(result, eol), *new]
        position = end
    result += lines[position:]
    return [*marks.finished(result, eol), *tail] if tail else result


def _place(lines: Sequence[bytes], parsed: _Parsed, section: str, key: str) -> int | None:
    """The line before which ``key`` is to stand: below its commented default, else below the section's header."""
    default = re.compile(rb"[#;][ \t]*" + re.escape(key.encode()) + rb"[ \t]*[=:]")
    for where, index in reversed(parsed.comments):
        if where == _normal(section) and default.match(lines[index]):
            return index + 1
    header = parsed.headers.get(_normal(section))
    return None if header is None else header + 1


def _parse(lines: Sequence[bytes], file: str) -> _Parsed:
    parsed = _Parsed([], {}, [])
    section: str | None = None
    continued = False
    for index, raw in enumerate(lines):
        where = f"{file}:{index + 1}"
        line = raw.rstrip()
        if not line:
            continued = False
        elif line.startswith((b" ", b"\t")):
            if not continued:
                raise UsageError(f"{where}: begins with a blank but continues no value; remove the blank")
            last = parsed.entries[-1]
            parsed.entries[-1] = last._replace(value=(*last.value, line.strip()), end=index + 1)
        elif line.startswith((b"#", b";")):
            continued = False
            parsed.comments.append((section or "", index))
        elif line.startswith(b"["):
            continued = False
            if len(line) < 3 or not line.endswith(b"]"):
                raise UsageError(f"{where}: is not a section; write [NAME] and nothing after it")
            section = _normal(line[1:-1].decode("utf-8", "surrogateescape"))
            parsed.headers.setdefault(section, index)
        else:
            key, value = _split(line)
            if not key:
                raise UsageError(f"{where}: is neither a comment nor KEY = VALUE; correct it")
            if section is None:
                raise UsageError(f"{where}: a key stands before the first [SECTION]; put it into one")
            continued = True
            parsed.entries.append(_Entry(section, key, _read(value), index, index + 1))
    return parsed


def _split(line: bytes) -> tuple[bytes, bytes]:
    """Key and value at the first = or :, or ("", "")."""
    match = re.match(rb"([^=:]*)[=:](.*)", line.rstrip(), re.DOTALL)
    return (match[1].strip(), match[2]) if match else (b"", b"")


def _read(value: bytes) -> tuple[bytes, ...]:
    value = value.strip()
    if len(value) > 1 and value[:1] == value[-1:] and value[:1] in b"\"'":
        value = value[1:-1]
    return (value,)


def _written(value: str) -> str:
    if not value.isprintable():
        raise UsageError("a value for a configuration file must be one line of text")
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return f'"{value}"' if quoted or value != value.strip() else value


def _normal(section: str) -> str:
    return section if section == "DEFAULT" else section.lower()


def _assigns(line: bytes, key: bytes) -> bool:
    return _split(line)[0] == key and line[:1] not in b"#;[ \t"


def _is_empty(lines: Sequence[bytes], index: int, name: bytes) -> bool:
    if lines[index].rstrip() != b"[" + name + b"]":
        return False
    rest = next((line.rstrip() for line in lines[index + 1 :] if line.strip()), b"[")
    return rest.startswith(b"[")
