"""How a pcs command is written, and the refusal of what none can be written for."""

from __future__ import annotations

import shlex
from typing import Any


class Unsayable(Exception):
    """pcs has no words for an element; the message says why, if that is not plain."""


_OPTIONS = ("--force", "--no-default-ops")


def command(*words: Any) -> str:
    """One line of the script. Every word is quoted: names and values come from a CIB, and may be meant to do harm.

    The last words may be options; they are put before ``--``, behind which pcs takes nothing (no score, no value) for an option.
    """
    given = [str(word) for word in words]
    if any("\0" in word or "\n" in word for word in given):
        raise Unsayable("a value has a line break")
    last: list[str] = []
    while given and given[-1] in _OPTIONS:
        last.insert(0, given.pop())
    return " ".join(['pcs -f "$cib"', *last, "--", *(shlex.quote(word) for word in given)])


def only(root: Any, *attributes: str, children: tuple[str, ...] = ()) -> None:
    """Unsayable when the element has any other attribute or child, or text."""
    for key in root.attrib:
        if key not in attributes:
            raise Unsayable(f"pcs cannot set {key}")
    for child in root:
        if child.tag not in children:
            raise Unsayable(f"pcs cannot make {child.tag if isinstance(child.tag, str) else 'a comment'} here")
        if child.tail and child.tail.strip():
            raise Unsayable("it holds text")
    if root.text and root.text.strip():
        raise Unsayable("it holds text")


def options(root: Any, *names: str) -> list[str]:
    """name=value for each attribute that is there, in this order."""
    return [f"{name}={root.get(name)}" for name in names if root.get(name)]
