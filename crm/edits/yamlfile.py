"""Set scalars in YAML files in block style, such as mongod.conf, without writing the rest anew."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Union

import yaml
from hafailover.crm.edits import marks
from hafailover.crm.errors import UsageError

Scalar = Union[str, int, bool]

_INDENT = 2
_LOADER = yaml.SafeLoader
# What PyYAML takes for the end of a line, or refuses, though it may stand in a comment of somebody's editor.
_ODD = re.compile("[\x7f-\x9f\u2028\u2029\ufffe\uffff\ud800-\udfff\x00-\x08\x0b-\x1f]")


class _Change(NamedTuple):
    start: int
    end: int
    lines: list[bytes]


def yaml_data(content: bytes, file: str = "the file") -> Any:
    """The data of ``content`` as it is without our changes; UsageError when it is not YAML."""
    lines = marks.taken_back(marks.split(content, file), _assigns, _is_empty)
    return _load(lines, file)


def yaml_set(content: bytes, values: Mapping[str, Scalar], file: str = "the file") -> bytes:
    """``content`` with the scalar at each dotted path, and without what an earlier call set.

    UsageError when the content cannot be understood, or not be changed line by line (braces, a list in the way).
    """
    lines = marks.taken_back(marks.split(content, file), _assigns, _is_empty)
    eol = marks.end_of_line(lines)
    wanted = _load(lines, file) or {}
    tail_paths: dict[str, dict[str, Scalar]] = {}
    changes: list[_Change] = []
    for path, value in values.items():
        change = _change(lines, path.split("."), value, eol, file)
        if change is None:
            parent, _, key = path.rpartition(".")
            tail_paths.setdefault(parent, {})[key] = value
        else:
            changes.append(change)
        _put(wanted, path.split("."), value)
    result = _apply(lines, changes, eol)
    for parent, keys in tail_paths.items():
        result = [*marks.finished(result, eol), *_tail(lines, parent.split("."), keys, eol, file)]
    if not _reads_as(result, wanted):
        named = ", ".join(values)
        raise UsageError(f"{file}: {named} cannot be set here without a person; set it by hand and run this again")
    return b"".join(result)


def _reads_as(lines: Sequence[bytes], wanted: Any) -> bool:
    """The last word on every edit: an anchor, a second document or a stray tag may change what our lines mean."""
    try:
        return bool((_load(lines, "") or {}) == wanted)
    except UsageError:
        return False


def _apply(lines: Sequence[bytes], changes: Sequence[_Change], eol: bytes) -> list[bytes]:
    result: list[bytes] = []
    position = 0
    for change in sorted(changes, key=lambda change: change[:2]):
        result += lines[position : change.start]
        result = [*marks.finished(result, eol), *change.lines]
        position = change.end
    return [*result, *lines[position:]]


def _change(lines: Sequence[bytes], path: list[str], value: Scalar, eol: bytes, file: str) -> _Change | None:
    """What to change for ``path``; None when its first part is not there yet."""
    node = _compose(lines, file)
    if node is not None and not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{file}:1: is not a mapping of settings; restore it from a backup")
    for depth, part in enumerate(path):
        if node is not None and node.flow_style:
            line = node.start_mark.line + 1
            what = ".".join(path[:depth]) or "the whole"
            raise UsageError(f"{file}:{line}: {what} is written in braces; write one key per line, and no braces")
        pairs = [] if node is None else [pair for pair in node.value if pair[0].value == part]
        where = ".".join(path[: depth + 1])
        if len(pairs) > 1:
            line = pairs[1][0].start_mark.line + 1
            raise UsageError(f"{file}:{line}: {where} is given twice; remove one")
        if not pairs:
            return _insertion(node, path, depth, value, eol, file) if depth else None
        key, node = pairs[0]
        line = key.start_mark.line
        if depth + 1 == len(path):
            return _replacement(lines, key, node, value, eol, f"{file}:{line + 1}: {where}")
        if isinstance(node, yaml.ScalarNode) and node.value in ("", "~", "null"):
            rest = path[depth + 1 :]
            return _Change(line + 1, line + 1, _nested(rest, value, key.start_mark.column + _INDENT, eol))
        if not isinstance(node, yaml.MappingNode):
            raise UsageError(f"{file}:{line + 1}: {where} is not a mapping; it must hold {path[depth + 1]}")
    raise AssertionError("a path has at least one part")


def _insertion(node: Any, path: list[str], depth: int, value: Scalar, eol: bytes, file: str) -> _Change:
    first = node.value[0][0].start_mark
    return _Change(first.line, first.line, _nested(path[depth:], value, first.column, eol))


def _replacement(lines: Sequence[bytes], key: Any, node: Any, value: Scalar, eol: bytes, where: str) -> _Change:
    start = key.start_mark.line
    if not isinstance(node, yaml.ScalarNode):
        raise UsageError(f"{where} is not one value; write one")
    if yaml.safe_load(_written(value)) == _plain(node):
        return _Change(start, start, [])
    # A block of text ends where the next thing begins.
    end = node.end_mark.line + (node.end_mark.column > 0 or node.end_mark.line == start)
    indent = b" " * key.start_mark.column
    before = marks.replaced(lines[start:end], eol)
    return _Change(start, end, [*before, *marks.assigned(key.value, f"{key.value}: {_written(value)}", eol, indent)])


def _nested(path: list[str], value: Scalar, column: int, eol: bytes) -> list[bytes]:
    indent = b" " * column
    if len(path) == 1:
        return marks.assigned(path[0], f"{path[0]}: {_written(value)}", eol, indent)
    return [*marks.added(path[0], f"{path[0]}:", eol, indent), *_nested(path[1:], value, column + _INDENT, eol)]


def _tail(lines: Sequence[bytes], parent: list[str], keys: Mapping[str, Scalar], eol: bytes, file: str) -> list[bytes]:
    root = _compose(lines, file)
    column = root.value[0][0].start_mark.column if root is not None else 0
    result: list[bytes] = []
    if parent != [""]:
        for depth, part in enumerate(parent):
            result += marks.added(part, f"{part}:", eol, b" " * (column + depth * _INDENT))
        column += len(parent) * _INDENT
    for key, value in keys.items():
        result += _nested([key], value, column, eol)
    return result


def _put(data: dict[str, Any], path: list[str], value: Scalar) -> None:
    for part in path[:-1]:
        if not isinstance(data.get(part), dict):
            data[part] = {}
        data = data[part]
    data[path[-1]] = value


def _written(value: Scalar) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    plain = re.fullmatch(r"[A-Za-z0-9_./][A-Za-z0-9_./,:-]*", value) and not value.endswith(":")
    return value if plain and yaml.safe_load(value) == value else json.dumps(value)


def _plain(node: Any) -> Any:
    return yaml.SafeLoader("").construct_object(node)


def _readable(lines: Sequence[bytes]) -> str:
    return _ODD.sub(" ", b"".join(lines).decode("utf-8", "replace").replace("\r\n", "\n"))


def _compose(lines: Sequence[bytes], file: str) -> Any:
    return _guarded(lines, file, lambda text: yaml.compose(text, Loader=_LOADER))


def _load(lines: Sequence[bytes], file: str) -> Any:
    return _guarded(lines, file, yaml.safe_load)


def _guarded(lines: Sequence[bytes], file: str, parse: Any) -> Any:
    try:
        return parse(_readable(lines))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # At the end of the file the parser may stand one line below the last.
        where = f"{file}:{min(mark.line + 1, len(lines))}" if mark else file
        raise UsageError(f"{where}: is not valid YAML: {error.problem or error.context}; correct it") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{file}: is not valid YAML: {' '.join(str(error).split())}; correct it") from error


def _assigns(line: bytes, key: bytes) -> bool:
    return line.lstrip(b" ").startswith(key + b":")


def _is_empty(lines: Sequence[bytes], index: int, name: bytes) -> bool:
    header = lines[index].rstrip()
    if header.lstrip(b" ") != name + b":":
        return False
    indent = len(header) - len(header.lstrip(b" "))
    for line in lines[index + 1 :]:
        text = line.strip()
        if text and not text.startswith(b"#"):
            return len(line) - len(line.lstrip(b" ")) <= indent and not text.startswith(b"- ")
    return True
