"""Where a key belongs that stands in the wrong place of a topology, such as a top-level key that is indented too far."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from hafailover.crm import topology_schema
from hafailover.crm.schema import Problem, Schema, nearest
from hafailover.crm.service import service_types
from hafailover.crm.yamldoc import Path_

_MANY = 3
_COMMON = frozenset({"type", "on", "after", "with"})
_NAMED = ("nodes", "vips", "services")


def improved(found: list[Problem], data: Mapping[str, Any]) -> list[Problem]:
    """``found``, with unknown keys told where they belong; what follows from a key in the wrong place is left out."""
    strayed = {
        problem.path[:2]
        for problem in found
        if _strayed(problem.path[:2]) and (problem.at_key or len(problem.path) == 2)
    }
    kept = [problem for problem in found if problem.path[:2] not in strayed]
    kept += [
        Problem(
            path,
            f"{path[1]} belongs to the top level of the file, not below {path[0]}; take its indentation away",
            at_key=True,
        )
        for path in sorted(strayed, key=str)
    ]
    # What stands in the wrong place is not missing in the right one.
    elsewhere = {str(path[1]) for path in strayed}
    elsewhere |= {str(problem.path[-1]) for problem in kept if problem.message.startswith("unknown key")}
    kept = [
        one
        for one in kept
        if not (len(one.path) == 1 and one.path[0] in elsewhere and one.message.startswith("is missing"))
    ]
    kept = [_without_domain(problem) for problem in kept]
    return [_with_place(problem, data) if problem.message.startswith("unknown key") else problem for problem in kept]


def _without_domain(problem: Problem) -> Problem:
    """A node that is called by its whole name in the DNS: what to write for it."""
    name = str(problem.path[1]) if len(problem.path) == 2 and problem.path[0] == "nodes" and problem.at_key else ""
    host = name.partition(".")[0]
    if not host or "." not in name or "cannot be used here" not in problem.message:
        return problem
    hint = (
        f"a node has no domain in its name: leave the domain out ({host}), and give the node the same name in corosync.conf "
        "while the whole cluster is stopped"
    )
    return dataclasses.replace(problem, message=f"{problem.message}; {hint}")


def _strayed(path: Path_) -> bool:
    """Whether the name at ``path``, of a node, an address or a service, is a key of the top level."""
    return len(path) == 2 and path[0] in _NAMED and path[1] in topology_schema.SCHEMA["properties"]


def _with_place(problem: Problem, data: Mapping[str, Any]) -> Problem:
    key = str(problem.path[-1])
    deep = len(problem.path) > 1
    if (
        deep
        and key in _homes(None)
        and "did you mean" in problem.message
        and key not in topology_schema.SCHEMA["properties"]
    ):
        return problem
    kind = None
    if problem.path[0] == "services" and len(problem.path) > 2:
        kind = data["services"][problem.path[1]].get("type")
    hint = _home(key, kind)
    if hint is None and "did you mean" not in problem.message:
        near = nearest(key, (name for name in topology_schema.SCHEMA["properties"] if len(problem.path) > 1))
        hint = _home(near, kind) if near and abs(len(near) - len(key)) < 3 else None
    if hint is None:
        return problem
    return dataclasses.replace(problem, message=f"{problem.message.partition('; did you mean')[0]}; {hint}")


def _home(key: str, kind: str | None) -> str | None:
    """``'vips' belongs to the top level of the file``, when that is where the key is known."""
    homes = _homes(kind).get(key, ())
    if "" in homes:
        return f"'{key}' belongs to the top level of the file"
    if homes and len(homes) <= _MANY:
        return f"'{key}' belongs {' or '.join(homes)}"
    return None


@cache
def _homes(kind: str | None) -> Mapping[str, tuple[str, ...]]:
    """Key → the places where it is known, as words, "" for the top level; what services of type ``kind`` know, only there."""
    types = service_types()
    own = types.get(kind) if isinstance(kind, str) else None
    if own is not None:
        known = _homes(None)
        here: dict[str, list[str]] = {}
        for path, key in _keys(topology_schema.service_schema(own), ""):
            if key not in _COMMON and "" not in known.get(key, ()):
                here.setdefault(key, []).append(f"below services.NAME{'.' + path if path else ''} (type {kind})")
        return {**known, **{key: tuple(places) for key, places in here.items()}}
    found: dict[str, list[str]] = {}
    for path, key in _keys(topology_schema.SCHEMA, ""):
        found.setdefault(key, []).append(f"below {path}" if path else "")
    for name, one in types.items():
        for path, key in _keys(topology_schema.service_schema(one), ""):
            if key in _COMMON and not path:
                continue
            found.setdefault(key, []).append(f"below services.NAME{'.' + path if path else ''} (type {name})")
    return {key: tuple(dict.fromkeys(places)) for key, places in found.items()}


def _keys(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    """Every key of ``schema`` with the dotted path of the mapping that it belongs to."""
    for key, part in schema.get("properties", {}).items():
        yield path, key
        yield from _keys(part, f"{path}.{key}" if path else key)
    rest = schema.get("additionalProperties")
    if isinstance(rest, dict):
        yield from _keys(rest, f"{path}.NAME" if path else "NAME")
