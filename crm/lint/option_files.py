"""MariaDB's option files as the server reads them: groups, includes, the last setting counts; and where other daemons say to listen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hafailover.crm.lint.node_files import NodeFiles

MAIN = ("/etc/my.cnf", "/etc/mysql/my.cnf")
_DEPTH = 10
_MOST = 200  # files
_SERVER_GROUPS = re.compile(r"(mysqld|server|mariadb|mariadbd)(-\d+(\.\d+)?)?", re.IGNORECASE)


class Option(NamedTuple):
    """A setting: its value, "" for a bare one, and where it stands, as file:line."""

    value: str
    place: str


def server_options(files: NodeFiles, path: str | None = None) -> Mapping[str, Option]:
    """What a server reads that is started with the defaults-file ``path``, or with the usual ones; names with underscores."""
    found: dict[str, Option] = {}
    read: set[str] = set()
    for one in [path] if path else MAIN:
        for name, option in _options(files, one, read, 0):
            found[name] = option
    return found


def _options(files: NodeFiles, path: str, read: set[str], depth: int) -> Iterator[tuple[str, Option]]:
    text = files.text(path) if len(read) < _MOST and depth < _DEPTH else None
    if text is None or path in read:
        return
    read.add(path)
    group = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith("["):
            group = line[1:].partition("]")[0].strip()
        elif line.startswith("!"):
            word, _, target = line[1:].partition(" ")
            target = target.strip()
            if word == "include":
                yield from _options(files, target, read, depth + 1)
            elif word == "includedir":
                for name in files.names(target, "*.cnf"):
                    yield from _options(files, f"{target.rstrip('/')}/{name}", read, depth + 1)
        elif line and line[0] not in "#;" and _SERVER_GROUPS.fullmatch(group):
            name, _, value = line.partition("=")
            yield _plain(name), Option(_value(value), f"{path}:{number}")


def _plain(name: str) -> str:
    return re.sub(r"^loose_", "", name.strip().lower().replace("-", "_"))


def _value(text: str) -> str:
    plain = text.strip()
    if len(plain) > 1 and plain[0] == plain[-1] and plain[0] in "\"'":
        return plain[1:-1]
    return re.split(r"\s+#", plain)[0].strip() if "#" in plain else plain


def flags(text: str) -> Mapping[str, str]:
    """Options among the words of a command line, such as additional_parameters: --server-id=1 → server_id: 1."""
    found: dict[str, str] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if name.startswith("--") and equals:
            found[_plain(name[2:])] = value.strip("'\"")
    return found
