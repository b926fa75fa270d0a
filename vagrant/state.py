"""What a lab remembers of itself between commands: one JSON file in its directory, and a lock for up and down."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hafailover.crm.errors import HafailoverError
from hafailover.vagrant import cgroups
from hafailover.vagrant.host import labs_dir
from hafailover.vagrant.plan import Plan

STARTING, UP = "starting", "up"


@dataclass(frozen=True)
class State:
    """``phase`` is starting until the cluster has been healthy once, then up; ``topology`` is the text it was made from."""

    plan: Plan
    phase: str
    topology: str
    topology_file: str
    created: float


def directory(name: str) -> Path:
    """The directory of a lab; it exists exactly as long as the lab, or what is left of it."""
    return labs_dir() / name


def names() -> list[str]:
    """Every lab there is, running or left behind, by its directory or its cgroups."""
    base = labs_dir()
    on_disk = {path.name for path in base.iterdir() if path.is_dir()} if base.is_dir() else set()
    return sorted(on_disk | cgroups.labs())


def read(name: str) -> State | None:
    """The state of a lab; None if there is none or it was interrupted before it could be written."""
    try:
        data = json.loads((directory(name) / "lab.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return State(Plan.from_json(data["plan"]), data["phase"], data["topology"], data["topology_file"], data["created"])


def write(state: State) -> None:
    """Write the state of a lab, whole or not at all."""
    target = directory(state.plan.name) / "lab.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(".new")
    data = {
        "plan": state.plan.to_json(),
        "phase": state.phase,
        "topology": state.topology,
        "topology_file": state.topology_file,
        "created": state.created,
    }
    temporary.write_text(json.dumps(data, indent=1))
    temporary.replace(target)


@contextmanager
def locked(name: str, timeout: float) -> Iterator[None]:
    """Hold the lab for one command at a time; HafailoverError after ``timeout`` s. The lock file goes with the holder."""
    path = labs_dir() / f".{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout
    while True:
        file = path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before us may have removed the very file we opened.
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                break
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.close()
                raise HafailoverError(f"lab {name}: another command is at work on it for {timeout:g} s.") from None
        file.close()
        time.sleep(0.1)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()
