"""Writes numbered files into a directory of a node.

Its orders: ``directory``, ``prefix`` (of the files' names), ``every`` (seconds); the end of its input stops it.
What it says is in a place that outlives the node: ``{"name", "sum", "at"}`` when a file and its name are on the disks, ``{"name", "error",
"at"}`` when that failed.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from .pace import orders, say, turns

_SIZES = (100, 5_000, 70_000)  # bytes, in turn: less than a block, some, and more than one network write


def main() -> None:
    """Write until standard input ends."""
    told = orders()
    Path(told["directory"]).mkdir(parents=True, exist_ok=True)
    for number, _ in enumerate(turns(told["every"])):
        name = f"{told['prefix']}-{number:06d}"
        content = hashlib.sha256(name.encode()).digest() * (_SIZES[number % len(_SIZES)] // 32)
        try:
            _store(told["directory"], name, content)
        except OSError as error:
            say({"name": name, "error": error.strerror or str(error), "at": time.time()})
        else:
            say({"name": name, "sum": hashlib.sha256(content).hexdigest(), "at": time.time()})


def _store(directory: str, name: str, content: bytes) -> None:
    descriptor = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
