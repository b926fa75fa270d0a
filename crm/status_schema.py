"""The JSON Schema of ``hafailover status -o json``, made of the model itself, so that the two cannot differ."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from typing import Any

from hafailover.agents.mariadb.journal import Journal
from hafailover.crm import status

_PLAIN: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "None": {"type": "null"},
}


def schema() -> dict[str, Any]:
    """Draft 7. A cluster that could be asked, or (``available`` is false) one that could not."""
    always = {
        "schema": {"const": status.SCHEMA},
        "healthy": {"type": "boolean"},
        "reason": {"type": "string"},
        "seen_by": {"type": "string"},
    }
    there = {
        **always,
        "available": {"const": True},
        "verdict": {"enum": [status.OK, status.DEGRADED, status.DOWN]},
        "problems": {"type": "array", "items": {"$ref": "#/definitions/Problem"}},
        **_properties(status.Status),
    }
    texts = {"type": "object", "additionalProperties": {"type": "string"}}
    gone = {
        **always,
        "available": {"const": False},
        "verdict": {"const": "UNKNOWN"},
        "advice": {"type": "string"},
        "units": texts,
        "databases": texts,
        "corosync": {"type": "string"},
        "servers": {"type": "object", "additionalProperties": texts},
        "hidden": {"type": "array", "items": {"type": "string"}},
        "last_known": {
            "oneOf": [
                {"type": "null"},
                _object(
                    {
                        "written": {"type": "number"},
                        "nodes": {"type": "array", "items": {"type": "string"}},
                        "journals": {"type": "object", "additionalProperties": _journal()},
                    }
                ),
            ]
        },
    }
    definitions: dict[str, Any] = {
        "Problem": _object(_properties(status.Problem)),
        "Journal": _object(_properties(Journal)),
    }
    _define(status.Status, definitions)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "hafailover status -o json",
        "oneOf": [_object(there), _object(gone)],
        "definitions": dict(sorted(definitions.items())),
    }


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    """An object with exactly these keys: a key is only ever added, and then this says so."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _journal() -> dict[str, Any]:
    return {"oneOf": [{"type": "null"}, {"$ref": "#/definitions/Journal"}]}


def _properties(record: type) -> dict[str, Any]:
    found = {name: _type(hint) for name, hint in _hints(record).items()}
    # Where there is none yet, it is null, and not a journal of epoch 0.
    return {name: _journal() if one == {"$ref": "#/definitions/Journal"} else one for name, one in found.items()}


def _hints(record: type) -> dict[str, ast.expr]:
    """The annotations of a named tuple as expressions: Python 3.9 cannot evaluate ``int | None``."""
    written = {name: str(getattr(hint, "__forward_arg__", hint)) for name, hint in record.__annotations__.items()}
    return {name: ast.parse(written[name], mode="eval").body for name in record._fields}  # type: ignore[attr-defined]


def _define(record: type, definitions: dict[str, Any]) -> None:
    for hint in _hints(record).values():
        for node in ast.walk(hint):
            name = node.id if isinstance(node, ast.Name) else ""
            found: Any = getattr(sys.modules[record.__module__], name, None)
            if hasattr(found, "_fields") and name not in definitions:
                definitions[name] = _object(_properties(found))
                _define(found, definitions)


def _type(hint: ast.expr) -> dict[str, Any]:
    if isinstance(hint, ast.BinOp):
        return {"oneOf": [_type(hint.left), _type(hint.right)]}
    if isinstance(hint, ast.Constant):
        return _PLAIN[str(hint.value)]
    if isinstance(hint, ast.Subscript):
        assert isinstance(hint.value, ast.Name)
        assert isinstance(hint.slice, ast.Tuple)
        first, second = hint.slice.elts
        if hint.value.id == "tuple":
            return {"type": "array", "items": _type(first)}
        return {"type": "object", "additionalProperties": _type(second)}
    assert isinstance(hint, ast.Name)
    return _PLAIN.get(hint.id) or {"$ref": f"#/definitions/{hint.id}"}
