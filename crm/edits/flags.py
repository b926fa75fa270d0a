"""Files of command-line options, one in a line, such as /etc/memcached.conf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hafailover.crm.edits import marks

Aliases = Mapping[str, str]
"""Long option → short one: ``{"--listen": "-l"}``."""


def flags_set(content: bytes, wanted: Mapping[str, str | None], aliases: Aliases, file: str = "the file") -> bytes:
    """``content`` with each option of ``wanted`` (``-p`` → its value) set so, once; None: not there at all.

    Options that are not named, and everything else, stay. One that already is as it is wanted is left alone. UsageError when the
    content is not text.
    """
    lines = marks.split(content, file)
    eol = marks.end_of_line(lines)
    lines = marks.taken_back(lines, lambda line, key: _flag(line, aliases)[0] == key.decode(), _no_header)
    for flag, value in wanted.items():
        places = [index for index, line in enumerate(lines) if _flag(line, aliases)[0] == flag]
        if value is not None and [_flag(lines[index], aliases)[1] for index in places] == [value]:
            continue
        ours = [] if value is None else marks.assigned(flag, f"{flag} {value}", eol)
        if not places:
            lines = [*marks.finished(lines, eol), *ours] if ours else lines
        for index in reversed(places):
            lines[index : index + 1] = [*marks.replaced([lines[index]], eol), *(ours if index == places[0] else [])]
    return b"".join(lines)


def _flag(line: bytes, aliases: Aliases) -> tuple[str, str]:
    """The short name and the value of the option in a line; ("", "") for a comment and the like."""
    text = line.decode("utf-8", "surrogateescape").partition("#")[0].strip()
    if not text.startswith("-"):
        return "", ""
    if text.startswith("--"):
        name, _, value = text.replace("=", " ", 1).partition(" ")
        return aliases.get(name, name), value.strip()
    return text[:2], text[2:].lstrip("= ")


def _no_header(lines: Sequence[bytes], index: int, name: bytes) -> bool:
    return False
