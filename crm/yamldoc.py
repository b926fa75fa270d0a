"""YAML read for people: plain data plus the line of every key, bounded in size, depth and expansion.

Scalars follow the YAML 1.2 core rules except that there are no fractions: ``on``, ``off``, ``yes``, ``1:30`` and
``10.10`` stay the text that was written. YAML 1.1 would make them true, false, true, 90 and 10.1, and a topology
has keys named ``on``, server options with the value OFF and a version 10.10.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

import yaml
from hafailover.crm.errors import UsageError

Path_ = tuple[Union[str, int], ...]

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 40
# Counted after aliases are expanded: ten lines of nested aliases can name a billion values.
MAX_VALUES = 100_000

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_STR_TAG = "tag:yaml.org,2002:str"


@dataclass(frozen=True)
class Document:
    """A parsed file: ``data`` (dict, list, str, int, bool, None), ``text`` as read, and where each path was written."""

    file: str
    text: str
    data: Any
    marks: dict[Path_, tuple[int, int]]

    def where(self, path: Path_) -> tuple[int, int]:
        """Line and column (from 1) of the key or item at ``path``, or of its nearest ancestor that was written."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path, (1, 1))


@dataclass
class _Node:
    """A scalar (``value``), list (``items``) or mapping (``items`` of key and value), before aliases are expanded."""

    mark: tuple[int, int]
    kind: str
    value: Any = None
    items: list[tuple[_Node | None, _Node]] = field(default_factory=list)


def read(path: str | Path) -> Document:
    """Read and parse the file at ``path``; UsageError says file, line and what is wrong."""
    file = str(path)
    try:
        with open(path, "rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{file}: is larger than {MAX_BYTES // 1024} KiB, which no such file needs")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{file}:{line}: is not UTF-8 text (byte 0x{raw[error.start]:02x}); save it as UTF-8"
        ) from error
    return parse(text, file)


def parse(text: str, file: str) -> Document:
    """Parse ``text``; ``file`` is only its name in messages."""
    try:
        root = _compose(text, file)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # At the end of the file the parser may stand one line below the last.
        line = f":{min(mark.line + 1, len(text.splitlines()))}" if mark else ""
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise UsageError(f"{file}{line}: is not valid YAML: {problem}") from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{file}: is not valid YAML: {reason}") from error
    marks: dict[Path_, tuple[int, int]] = {}
    budget = iter(range(MAX_VALUES))
    data = _expand(root, (), marks, budget, file) if root else None
    return Document(file, text, data, marks)


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
                raise UsageError(f"{file}:{mark[0]}: a second document begins here; the file must be one")
            continue
        if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            open_nodes.pop()
            pending.pop()
            continue
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise UsageError(f"{file}:{mark[0]}: the alias *{event.anchor} has no anchor before it")
            node = anchors[event.anchor]
        elif isinstance(event, (yaml.ScalarEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            node = _begin(event, mark, file)
            if event.anchor:
                anchors[event.anchor] = node
        else:
            continue
        if not open_nodes:
            root = node
        elif open_nodes[-1].kind == "list":
            open_nodes[-1].items.append((None, node))
        elif pending[-1] is None:
            if node.kind != "scalar" or isinstance(event, yaml.AliasEvent):
                raise UsageError(f"{file}:{mark[0]}: a key must be plain text")
            pending[-1] = node
        else:
            open_nodes[-1].items.append((pending[-1], node))
            pending[-1] = None
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            open_nodes.append(node)
            pending.append(None)
            if len(open_nodes) > MAX_DEPTH:
                raise UsageError(f"{file}:{mark[0]}: is nested deeper than {MAX_DEPTH} levels")
    return root


def _mark(event: yaml.Event) -> tuple[int, int]:
    start: Any = event.start_mark
    return start.line + 1, start.column + 1


def _begin(event: Any, mark: tuple[int, int], file: str) -> _Node:
    if event.tag is not None and not (isinstance(event, yaml.ScalarEvent) and event.tag in (_STR_TAG, "!")):
        raise UsageError(f"{file}:{mark[0]}: the tag {event.tag} has no meaning here; remove it")
    if isinstance(event, yaml.ScalarEvent):
        return _Node(mark, "scalar", (event.value, event.implicit[0]))
    return _Node(mark, "map" if isinstance(event, yaml.MappingStartEvent) else "list")


def _expand(node: _Node, path: Path_, marks: dict[Path_, tuple[int, int]], budget: Iterator[int], file: str) -> Any:
    """Plain data of ``node``. Aliases are repeated here, so depth and number are checked again."""
    if next(budget, None) is None:
        raise UsageError(f"{file}:{node.mark[0]}: its aliases expand to more than {MAX_VALUES} values")
    if len(path) > MAX_DEPTH:
        raise UsageError(f"{file}:{node.mark[0]}: is nested deeper than {MAX_DEPTH} levels")
    marks.setdefault(path, node.mark)
    if node.kind == "scalar":
        text, plain = node.value
        return _scalar(text) if plain else text
    if node.kind == "list":
        return [_expand(item, (*path, index), marks, budget, file) for index, (_, item) in enumerate(node.items)]
    result: dict[str, Any] = {}
    for key_node, item in node.items:
        assert key_node is not None
        key = key_node.value[0]
        here = (*path, key)
        if key in result:
            first = marks[here][0]
            raise UsageError(f"{file}:{key_node.mark[0]}: {dotted(here)}: is given twice (first in line {first})")
        marks[here] = key_node.mark
        result[key] = _expand(item, here, marks, budget, file)
    return result


def _scalar(text: str) -> Any:
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    return int(text) if _INT.fullmatch(text) else text


def dotted(path: Path_) -> str:
    """``nodes.db1.links[0]`` for ("nodes", "db1", "links", 0)."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            # A key may hold anything, also what would move the cursor of a terminal.
            name = part if part.isprintable() and part.strip() else repr(part)
            text += f".{name}" if text else name
    return text
