"""Topologies to begin with, as ``hafailover init`` prints them: one file each, the first line says what it is for."""

from __future__ import annotations

from pathlib import Path

DIRECTORY = Path(__file__).parent

HEAD = """\
# {title}
#
# What is marked CHANGE names something of yours. The addresses are of networks that belong to nobody (RFC 5737).
# An editor that knows JSON Schema completes and checks this file: hafailover schema --help.
#
#   hafailover lint FILE                      what is dangerous in it
#   hafailover render FILE --create-secrets   the nodes' files, and the secrets that nobody else has to know
#   hafailover generate FILE                  the cluster's configuration
#
# docs/topology.md lists every key, docs/set-up.md goes from here to a running cluster.
"""


def names() -> list[str]:
    """The examples' names."""
    return sorted(path.stem for path in DIRECTORY.glob("*.yml"))


def summary(name: str) -> str:
    """What an example is for: the sentence in its first lines, up to the first full stop or colon."""
    comment = []
    for line in _text(name).splitlines():
        if not line.startswith("# "):
            break
        comment.append(line[2:])
    return " ".join(comment).partition(". ")[0].partition(": ")[0].rstrip(".") + "."


def topology(name: str) -> str:
    """The whole topology of an example, with how to use it."""
    return HEAD.format(title=f"Made by: hafailover init --example {name}") + "\n" + _text(name)


def _text(name: str) -> str:
    return (DIRECTORY / f"{name}.yml").read_text(encoding="utf-8")
