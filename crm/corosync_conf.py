"""A reader of corosync.conf: what Corosync itself would read, with the line of each setting.

As in Corosync's own parser, sections of one name are one section (only ``nodelist.node`` and ``totem.interface`` are lists), the last of
two settings counts, a ``#`` begins a comment only as the first character of a line, and a value is text to the end of its line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hafailover.crm import bounded_file
from hafailover.crm.errors import UsageError

PATH = "/etc/corosync/corosync.conf"
MAX_BYTES = 1 << 20
_MAX_LINE = 510  # Corosync refuses longer ones
_MAX_DEPTH = 16
_BLANK = " \t\xa0"
_YES = frozenset({"1", "yes", "on", "true"})


class Setting(NamedTuple):
    """A value as written, and its line (from 1)."""

    value: str
    line: int


@dataclass(frozen=True)
class Section:
    """A section: its name and line, its settings and the sections inside, in order."""

    name: str
    line: int
    settings: tuple[tuple[str, Setting], ...] = ()
    sections: tuple[Section, ...] = ()

    def get(self, key: str) -> Setting | None:
        """The last setting of this key, or None."""
        return next((one for name, one in reversed(self.settings) if name == key), None)


@dataclass(frozen=True)
class ClusterNode:
    """A member of the node list: ``links`` maps a link's number to its address; ``name`` is "" and ``id`` None when not given."""

    name: str
    id: int | None
    links: Mapping[int, str]
    votes: int
    line: int

    @property
    def called(self) -> str:
        """How a person finds it: by its name, number or first address."""
        return self.name or (f"node {self.id}" if self.id is not None else next(iter(self.links.values()), "a node"))


@dataclass(frozen=True)
class CorosyncConf:
    """A whole corosync.conf; ``file`` is its name in messages."""

    file: str
    sections: tuple[Section, ...]

    def every(self, path: str) -> tuple[Section, ...]:
        """Every section at ``path``, such as nodelist.node, in order."""
        found = self.sections
        *above, last = path.split(".")
        for name in above:
            found = tuple(inner for one in found if one.name == name for inner in one.sections)
        return tuple(one for one in found if one.name == last)

    def get(self, path: str) -> Setting | None:
        """The setting that counts at ``path``, such as quorum.device.votes, or None."""
        section, _, key = path.rpartition(".")
        found = [setting for one in self.every(section) if (setting := one.get(key)) is not None]
        return found[-1] if found else None

    def text(self, path: str, default: str = "") -> str:
        """The value at ``path``, or ``default``."""
        found = self.get(path)
        return default if found is None else found.value

    def number(self, path: str) -> int | None:
        """The value at ``path`` as a number; None when it is absent, or none."""
        return _number(self.text(path))

    def is_on(self, path: str) -> bool:
        """Whether the value at ``path`` switches something on."""
        return self.text(path).lower() in _YES

    def place(self, path: str) -> str:
        """Where ``path`` is set, as file:line; for a section its beginning, and the file alone for what is not there."""
        setting = self.get(path) if "." in path else None
        line = setting.line if setting else next((one.line for one in self.every(path)), 0)
        return f"{self.file}:{line}" if line else self.file

    @property
    def nodes(self) -> tuple[ClusterNode, ...]:
        """The members of the node list."""
        return tuple(_node(one) for one in self.every("nodelist.node"))

    @property
    def has_device(self) -> bool:
        """Whether a quorum device votes: Corosync takes one for configured as soon as it has a model."""
        return self.get("quorum.device.model") is not None

    @property
    def waits_for_all(self) -> bool:
        """Whether a node that boots alone waits until it has seen all others: as written, else as two_node is."""
        written = self.get("quorum.wait_for_all")
        return self.is_on("quorum.two_node") if written is None else self.is_on("quorum.wait_for_all")

    @property
    def token(self) -> int:
        """The silence, in ms, after which a node is suspected, with what each node above two adds; Corosync's defaults where not set."""
        token = self.number("totem.token")
        coefficient = self.number("totem.token_coefficient")
        base, each = 3000 if token is None else token, 650 if coefficient is None else coefficient
        return base + max(0, len(self.nodes) - 2) * each


def parse(text: str, file: str = PATH) -> CorosyncConf:
    """What is in ``text``; UsageError with the line when Corosync would not start with it."""
    if len(text) > MAX_BYTES:
        raise UsageError(f"{file}: is larger than {MAX_BYTES >> 20} MiB, which no corosync.conf is")
    root = _Open("", 0)
    stack = [root]
    for number, raw in enumerate(text.lstrip("\ufeff").split("\n"), 1):
        where = f"{file}:{number}"
        if len(raw) > _MAX_LINE:
            raise UsageError(f"{where}: is longer than {_MAX_LINE} characters, and Corosync reads no such line")
        line = raw.rstrip("\r").strip(_BLANK)
        if not line or line.startswith("#"):
            continue
        if "{" in line:
            stack.append(_begin(line, number, where, len(stack)))
        elif ":" in line:
            key, _, value = line.partition(":")
            key = key.rstrip(_BLANK + ":")
            if not key:
                raise UsageError(f"{where}: there is no key before the colon; write KEY: VALUE")
            stack[-1].settings.append((key, Setting(value.strip(_BLANK), number)))
        elif line == "}":
            if len(stack) == 1:
                raise UsageError(f"{where}: this brace closes nothing; remove it, or write the section that it ends")
            closed = stack.pop()
            stack[-1].sections.append(closed.done())
        else:
            hint = "give the closing brace a line of its own" if "}" in line else "write KEY: VALUE, SECTION { or }"
            raise UsageError(f"{where}: is no setting and no section; {hint}")
    if len(stack) > 1:
        raise UsageError(f"{file}:{stack[-1].line}: section {stack[-1].name} is never closed; add a }} at its end")
    return CorosyncConf(file, root.done().sections)


def read(path: str | Path = PATH) -> CorosyncConf:
    """The file at ``path``; UsageError when it cannot be read or understood."""
    content = bounded_file.content(path, MAX_BYTES)
    return parse(content.decode("utf-8", "replace"), str(path))


@dataclass
class _Open:
    """A section that is not closed yet."""

    name: str
    line: int
    settings: list[tuple[str, Setting]] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)

    def done(self) -> Section:
        return Section(self.name, self.line, tuple(self.settings), tuple(self.sections))


def _begin(line: str, number: int, where: str, depth: int) -> _Open:
    name, _, after = line.partition("{")
    name = name.rstrip(_BLANK + ":")
    if not name:
        raise UsageError(f"{where}: a section begins without a name; write NAME {{")
    if after.strip(_BLANK):
        raise UsageError(f"{where}: something stands behind the {{ of section {name}; put it into the next line")
    if depth > _MAX_DEPTH:
        raise UsageError(f"{where}: sections are more than {_MAX_DEPTH} deep; is a }} missing above?")
    return _Open(name, number)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _node(section: Section) -> ClusterNode:
    links: dict[int, str] = {}
    for key, setting in section.settings:
        number = _number(key[len("ring") : -len("_addr")]) if key.startswith("ring") and key.endswith("_addr") else None
        if number is not None:
            links[number] = setting.value
    name, node_id, votes = section.get("name"), section.get("nodeid"), section.get("quorum_votes")
    counted = _number(votes.value) if votes else None
    return ClusterNode(
        name.value if name else "",
        _number(node_id.value) if node_id else None,
        dict(sorted(links.items())),
        1 if counted is None else counted,
        section.line,
    )
