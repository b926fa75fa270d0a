"""YAML read for people: plain data plus the line of every key, bounded in size, depth and expansion.

Scalars follow the YAML 1.2 core rules except that there are no fractions: ``on``, ``off``, ``yes``, ``1:30`` and
``10.10`` stay the text that was written. YAML 1.1 would make them true, false, true, 90 and 10.1, and a topology
has keys named ``on``, server options with the value OFF and a version 10.10.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

import yaml
from hafailover.crm import bounded_file
from hafailover.crm.errors import UsageError
from hafailover.crm.pointing import Mistake, Place, SourceError, Span, may_be_secret, split_lines

Path_ = tuple[Union[str, int], ...]

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 40
# Counted after aliases are expanded: ten lines of nested aliases can name a billion values, and one long text many times.
MAX_VALUES = 100_000
MAX_CHARACTERS = 4 * MAX_BYTES
MAX_NAME = 80  # characters of a key that are shown

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_STR_TAG = "tag:yaml.org,2002:str"
# What no YAML file may hold. The parser says so, too, but not where.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Document:
    """A parsed file: ``data`` (dict, list, str, int, bool, None), ``text`` as read, and where each path was written.

    ``places`` are those of keys and of items of lists, ``values`` those of plain values in one line, ``blocks`` those of longer ones;
    ``secrets`` is what must not be shown.
    """

    file: str
    text: str
    data: Any
    places: dict[Path_, Place]
    values: dict[Path_, Place] = field(default_factory=dict)
    secrets: tuple[Span, ...] = ()
    blocks: dict[Path_, Span] = field(default_factory=dict)

    def spans_below(self, paths: Collection[Path_]) -> list[Span]:
        """Where the plain values stand that are in mappings at ``paths``."""
        found = dict(self.blocks) if paths else {}
        for path, place in self.values.items() if paths else ():
            found[path] = (place.line, place.column, place.line, place.column + place.width)
        wanted = frozenset(paths)
        return [span for path, span in found.items() if _below(path, wanted)]

    def where(self, path: Path_) -> tuple[int, int]:
        """Line and column (from 1) of the key or item at ``path``, or of its nearest ancestor that was written."""
        place = self.place(path)
        return place.line, place.column

    def place(self, path: Path_) -> Place:
        """As :meth:`where`, with the width."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(1, 1))

    def value_place(self, path: Path_) -> Place:
        """Where the value at ``path`` stands; its key when it is no plain one, stands in several lines or may be a secret."""
        for length in range(1, len(path) + 1):
            if isinstance(path[length - 1], str) and may_be_secret(str(path[length - 1])):
                return self.place(path[:length])
        return self.values.get(path) or self.place(path)


@dataclass
class _Node:
    """A scalar (``value``), list (``items``) or mapping (``items`` of key and value), before aliases are expanded."""

    mark: tuple[int, int]
    end: tuple[int, int]
    kind: str
    value: Any = None
    items: list[tuple[_Node | None, _Node]] = field(default_factory=list)

    @property
    def place(self) -> Place:
        """Of a collection, where it begins."""
        same = self.kind == "scalar" and self.end[0] == self.mark[0]
        return Place(*self.mark, max(1, self.end[1] - self.mark[1]) if same else 1)


def read(path: str | Path) -> Document:
    """Read and parse the file at ``path``; UsageError says file, line and what is wrong."""
    file = str(path)
    raw = bounded_file.content(path, MAX_BYTES)
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{file}: is larger than {MAX_BYTES // 1024} KiB, which no such file needs")
    return parse(_decoded(raw, file), file)


def _decoded(raw: bytes, file: str) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"{file}:1: is UTF-16 text; save it as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{file}:{line}: is not UTF-8 text (byte 0x{raw[error.start]:02x}); save it as UTF-8"
        ) from error


def parse(text: str, file: str) -> Document:
    """Parse ``text``; ``file`` is only its name in messages. SourceError says what is wrong, and where."""
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        before = split_lines(text[: forbidden.start()])
        hint = "; is it UTF-16? Save it as UTF-8" if forbidden[0] == "\0" else ""
        message = f"holds a character that no YAML file may hold (U+{ord(forbidden[0]):04X}){hint}"
        raise _refused(file, text, (len(before), len(before[-1]) + 1), message)
    try:
        root = _compose(text, file)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part)
        lines = split_lines(text)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        if line > len(lines) or not lines[line - 1].strip():
            # At the end of the file the parser may stand below the last line.
            line = max((number for number, one in enumerate(lines[:line], 1) if one.strip()), default=1)
            column = len(lines[line - 1]) or 1
        raise _refused(
            file, text, (line, column), f"is not valid YAML: {problem}{_opened(error)}{_advice(lines[line - 1])}"
        ) from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{file}: is not valid YAML: {reason}") from error
    expansion = _Expansion(file, text)
    data = expansion.expand(root, ()) if root else None
    if expansion.twice:
        raise SourceError(file, text, expansion.twice, expansion.secrets)
    return Document(file, text, data, expansion.places, expansion.values, tuple(expansion.secrets), expansion.blocks)


def _opened(error: yaml.MarkedYAMLError) -> str:
    """Where the bracket or quotation mark stands that is not closed."""
    begun = error.context_mark if error.context and ("flow" in error.context or "quoted" in error.context) else None
    return f" (opened in line {begun.line + 1})" if begun else ""


def _advice(line: str) -> str:
    """What is mostly wrong with such a line."""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "; indent with spaces, not tabs"
    return ""


def _refused(file: str, text: str, mark: tuple[int, int], message: str, secret: bool = False) -> SourceError:
    hidden: list[Span] = [(mark[0], 1, mark[0], 1 << 30)] if secret else []
    return SourceError(file, text, [Mistake(Place(*mark), "", message)], hidden)


def _compose(text: str, file: str) -> _Node | None:
    """The node tree of the only document in ``text``; iterative, so that depth costs no stack."""
    root: _Node | None = None
    open_nodes: list[_Node] = []
    pending: list[_Node | None] = []
    anchors: dict[str, _Node] = {}
    documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        mark = _mark(event)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _refused(file, text, mark, "a second document begins here; the file must be one")
            continue
        if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            open_nodes.pop()
            pending.pop()
            continue
        key = pending[-1] if pending else None
        secret = key is not None and may_be_secret(str(key.value[0]))
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                # A password may begin with an asterisk.
                name = "" if secret else f" *{event.anchor}"
                message = f"the alias{name} has no anchor before it; a text that begins with * stands between quotes"
                raise _refused(file, text, mark, message, secret)
            node = anchors[event.anchor]
        elif isinstance(event, (yaml.ScalarEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            if event.tag is not None and not (isinstance(event, yaml.ScalarEvent) and event.tag in (_STR_TAG, "!")):
                name = "" if secret else f" {event.tag[:60]}"
                message = (
                    f"the tag{name} has no meaning here; remove it, or put a text that begins with ! between quotes"
                )
                raise _refused(file, text, mark, message, secret)
            node = _begin(event, mark)
            if event.anchor:
                anchors[event.anchor] = node
        else:
            continue
        if not open_nodes:
            root = node
        elif open_nodes[-1].kind == "list":
            open_nodes[-1].items.append((None, node))
        elif key is None:
            if node.kind != "scalar" or isinstance(event, yaml.AliasEvent):
                raise _refused(file, text, mark, "a key must be plain text")
            if node.value == ("<<", True):
                raise _refused(
                    file,
                    text,
                    mark,
                    "merge keys (<<) are not taken; write the keys out, or use an alias as a whole value",
                )
            pending[-1] = node
        else:
            open_nodes[-1].items.append((key, node))
            pending[-1] = None
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            open_nodes.append(node)
            pending.append(None)
            if len(open_nodes) > MAX_DEPTH:
                raise _refused(file, text, mark, f"is nested deeper than {MAX_DEPTH} levels")
    return root


def _mark(event: yaml.Event) -> tuple[int, int]:
    start: Any = event.start_mark
    return start.line + 1, start.column + 1


def _begin(event: Any, mark: tuple[int, int]) -> _Node:
    end = event.end_mark.line + 1, event.end_mark.column + 1
    if isinstance(event, yaml.ScalarEvent):
        return _Node(mark, end, "scalar", (event.value, event.implicit[0]))
    return _Node(mark, end, "map" if isinstance(event, yaml.MappingStartEvent) else "list")


class _Expansion:
    """Plain data of a tree of nodes. Aliases are repeated here, so depth and size are checked again."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text
        self.places: dict[Path_, Place] = {}
        self.values: dict[Path_, Place] = {}
        self.blocks: dict[Path_, Span] = {}
        self.secrets: list[Span] = []
        self.twice: list[Mistake] = []
        self._count = 0
        self._characters = 0

    def expand(self, node: _Node, path: Path_, secret: bool = False) -> Any:
        """The data of ``node``, which stands at ``path``; ``secret``: below a key that may hold one."""
        self._count += 1
        if self._count > MAX_VALUES:
            raise self._refused(node, f"its aliases expand to more than {MAX_VALUES} values")
        if len(path) > MAX_DEPTH:
            raise self._refused(node, f"is nested deeper than {MAX_DEPTH} levels")
        self.places.setdefault(path, node.place)
        if node.kind == "scalar":
            return self._scalar(node, path, secret)
        if node.kind == "list":
            return [self.expand(item, (*path, index), secret) for index, (_, item) in enumerate(node.items)]
        result: dict[str, Any] = {}
        for key_node, item in node.items:
            assert key_node is not None
            key = key_node.value[0]
            here = (*path, key)
            if key in result:
                first = self.places[here].line
                self.twice.append(Mistake(key_node.place, dotted(here), f"is given twice (first in line {first})"))
                continue
            self.places[here] = key_node.place
            result[key] = self.expand(item, here, secret or may_be_secret(key))
        return result

    def _scalar(self, node: _Node, path: Path_, secret: bool) -> Any:
        text, plain = node.value
        self._characters += len(text)
        if self._characters > MAX_CHARACTERS:
            raise self._refused(node, f"its aliases expand to more than {MAX_CHARACTERS // 1024} KiB")
        if node.mark[0] == node.end[0] and node.mark[1] < node.end[1]:
            self.values[path] = node.place
        elif node.mark != node.end:
            self.blocks[path] = (*node.mark, *node.end)
        if secret and not text.startswith("file:"):
            self.secrets.append((*node.mark, *node.end))
        return _scalar(text) if plain else text

    def _refused(self, node: _Node, message: str) -> SourceError:
        return SourceError(self.file, self.text, [Mistake(node.place, "", message)], self.secrets)


def _scalar(text: str) -> Any:
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    return int(text) if _INT.fullmatch(text) else text


def _below(path: Path_, wanted: Collection[Path_]) -> bool:
    """Whether ``path`` is that of something in a mapping at one of ``wanted``."""
    return any(
        path[:length] in wanted and any(isinstance(part, str) for part in path[length:])
        for length in range(1, len(path))
    )


def without_secret(key: str) -> str:
    """``key`` as it may be shown: without its colon, "password hunter2" is a key."""
    first, _, rest = key.strip().partition(" ")
    return f"{first} ***" if rest and may_be_secret(first[:MAX_NAME]) else key


def dotted(path: Path_) -> str:
    """``nodes.db1.links[0]`` for ("nodes", "db1", "links", 0)."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            # A key may hold anything, also what would move the cursor of a terminal, and be as long as the file.
            whole = without_secret(part)
            short = whole if len(whole) <= MAX_NAME else f"{whole[:MAX_NAME]}..."
            name = short if short.isprintable() and short.strip() else repr(short)
            text += f".{name}" if text else name
    return text
