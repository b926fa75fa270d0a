"""The groups of checks, in the order in which they are told, and the look of one node at itself by all of them."""

from __future__ import annotations

import threading
import time
from types import ModuleType
from typing import Any

from hafailover.crm.doctor import (
    boot,
    clock,
    database,
    disk,
    fencing,
    links,
    modes,
    names,
    paths,
    programs,
    same,
    votes,
)
from hafailover.crm.doctor.here import CannotLook, Here
from hafailover.crm.errors import HafailoverError

GROUPS: dict[str, ModuleType] = {
    "clock": clock,
    "names": names,
    "paths": paths,
    "links": links,
    "votes": votes,
    "fencing": fencing,
    "same": same,
    "database": database,
    "disk": disk,
    "modes": modes,
    "boot": boot,
    "programs": programs,
}
LIMIT = 16.0
"""Seconds for a node to look at itself; a disk or a device that hangs is waited for no longer."""


def look(here: Here, limit: float = LIMIT) -> dict[str, dict[str, Any]]:
    """Facts by group, each with ``error`` alone when it could not be read. All groups are read at the same time."""
    found: dict[str, dict[str, Any]] = {}
    threads = []
    for name, group in GROUPS.items():
        thread = threading.Thread(target=_read, args=(name, group, here, found), daemon=True)
        thread.start()
        threads.append(thread)
    end = time.monotonic() + limit
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    silent = {"error": f"it took longer than {limit:g} s"}
    done = dict(found)
    return {name: done.get(name, silent) for name in GROUPS}


def _read(name: str, group: ModuleType, here: Here, found: dict[str, dict[str, Any]]) -> None:
    try:
        found[name] = group.read(here)
    except (CannotLook, HafailoverError, OSError) as error:
        found[name] = {"error": str(error).strip().partition("\n")[0] or type(error).__name__}
    except Exception as error:  # a check that fails in a way nobody thought of is one that was not made
        found[name] = {"error": f"of a mistake in hafailover itself ({type(error).__name__}: {error})"}
