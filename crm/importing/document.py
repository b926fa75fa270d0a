"""The topology as YAML with comments, and what of it does not load yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import yaml
from hafailover.crm import schema, topology, yamldoc
from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.crm.importing import findings, loading
from hafailover.crm.importing.draft import Draft
from hafailover.crm.pointing import SourceError

_WIDTH = 116
_MAX_COMMENTS = 300
_TITLES = {
    findings.BECOMES: "What another agent takes over, and what that changes",
    findings.ASSUMED: "What is assumed: look at each",
    findings.SECRET: "Files with secrets that have to be made",
    findings.LEFT_OUT: "What a topology cannot say: it is not in here",
    findings.ELSEWHERE: "What no CIB knows: write it in",
    findings.STATE: "State of the cluster, which is no part of a topology",
}


def unfinished(draft: Draft, document: yamldoc.Document) -> list[tuple[int, str]]:
    """Why the finished text does not load: (line, the loader's own sentence), none when it does; line 0 is none.

    The loader looks at references only when all keys are right: what it would say then is told here at once.
    """
    try:
        topology.parse(document)
    except SourceError as error:
        found = [(one.place.line, f"{one.key}: {one.message}") for one in error.mistakes]
        told = {one.key for one in error.mistakes}
        written, invented = loading.with_links(draft)
        if invented:
            later = [(yamldoc.dotted(one.path), one.message) for one in loading.said(written, schema.MAX_PROBLEMS)]
            found += [
                (0, f"{key}: {message}") for key, message in later if key not in told and not key.startswith("vips.")
            ]
        return found
    except UsageError as error:
        return [(0, str(error))]
    return []


def shifted(lacking: Sequence[tuple[int, str]]) -> list[str]:
    """What is lacking as sentences, with the lines where they stand once these sentences are at the top."""
    lines = len(lacking) + 1
    return [findings.visible(f"line {line + lines}: {what}" if line else what, 400) for line, what in lacking]


def body(draft: Draft) -> str:
    """The topology itself, with what is said about its parts."""
    lines: list[str] = []
    for key, value in loading.data(draft).items():
        lines += _comments(draft.comments.get((key,), []))
        if key in ("nodes", "vips", "services") and value:
            lines.append(f"{key}:")
            for name, entry in value.items():
                lines += [f"  {line}" for line in _comments(draft.comments.get((key, name), []))]
                lines += _lines(name, entry, 1)
        else:
            lines += _lines(key, value, 0)
    return "\n".join(lines)


def read_back(draft: Draft, written: str) -> yamldoc.Document:
    """The body as the loader reads it, with the first line of the file above it; it must be the draft."""
    document = yamldoc.parse(f"#\n{written}\n", "topology")
    if document.data != loading.data(draft):
        raise HafailoverError("the topology cannot be written so that it is read back as it is; please report this")
    return document


def text(draft: Draft, source: str, written: str, lacking: Sequence[str], differences: Iterable[str]) -> str:
    """The whole file around its body; what it lacks to load stands at its top, all notes and differences at its end."""
    lines = [f"# Imported from {findings.visible(source)} by hafailover import."]
    if lacking:
        lines += _comments(["It does not load yet. What is missing:", *(f"- {one}" for one in lacking)])
    return "\n".join([*lines, written, *_end(draft, differences)]) + "\n"


def _lines(key: str, value: Any, depth: int) -> list[str]:
    """A key with its value: what is flat and short in one line, the rest indented."""
    head = f"{'  ' * depth}{_flow([key])[1:-1]}:"
    flat = f"{head} {_flow([value])[1:-1]}"
    inner = list(value.values()) if isinstance(value, dict) else []
    deep = any(isinstance(one, dict) for one in inner) or (inner and depth == 0)
    if not inner or not (deep or len(flat) > _WIDTH):
        return [flat]
    return [head, *(line for name, one in value.items() for line in _lines(str(name), one, depth + 1))]


def _flow(value: Any) -> str:
    text = _dumped(value, readable=True)
    # Some characters end a line to YAML, or turn the direction of what stands behind them.
    return text if text.isprintable() else _dumped(value, readable=False)


def _dumped(value: Any, readable: bool) -> str:
    dumper, wide = _Dumper, 10**9
    text = yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=readable, width=wide, default_flow_style=True)
    return text.strip()


_Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_Base):  # type: ignore[misc]
    """Without aliases: what happens to be one object is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _end(draft: Draft, differences: Iterable[str]) -> list[str]:
    found: list[str] = []
    for kind, title in _TITLES.items():
        notes = draft.notes.of(kind)
        if notes:
            found += ["", f"{title}:", *(f"- {line}" for line in findings.lines(notes))]
    listed = list(differences)
    if listed:
        found += ["", "What this topology makes different from the source:", *(f"- {one}" for one in listed)]
    if len(found) > _MAX_COMMENTS:
        found = [
            *found[:_MAX_COMMENTS],
            f"… and {len(found) - _MAX_COMMENTS} lines more: hafailover import -o json has them all",
        ]
    return _comments(found)


def _comments(lines: Iterable[str]) -> list[str]:
    return ["# " + findings.visible(line, 600) if line else "#" for line in lines]


__all__ = ["body", "read_back", "shifted", "text", "unfinished"]
