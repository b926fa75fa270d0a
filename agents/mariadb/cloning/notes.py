"""What the worker is asked and what it tells: two small files in /run, so that whoever looks needs nobody's answer."""

from __future__ import annotations

import contextlib
import json
import os
import time

from hafailover.agents import RUN_DIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RUNNING, DONE, FAILED, REFUSED, INCOMPLETE = "running", "done", "failed", "refused", "incomplete"
"""How far a rejoin is. incomplete: the node serves with the clone, but something is left to be done."""

_EVERY = 0.5  # seconds between two notes of how much has arrived

MUST, ASKED, AUTOMATIC, FINISH = "must", "asked", "automatic", "finish"
"""Why the worker runs: there are no data here that could be served; a person asked; the policy allows it; a clone that is in place has
to be seen in sync."""


def ask(resource: str, why: str, clone: bool, reason: str = "") -> None:
    """Leave a new request for the worker; what was said of an earlier one is forgotten."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{RUN_DIR}/{resource}.rejoin-progress")
    _write(f"{RUN_DIR}/{resource}.rejoin-request", {"why": why, "clone": clone, "reason": reason, "id": time.time_ns()})


def asked(resource: str) -> dict[str, Any]:
    """The request; {} when there is none."""
    return _read(f"{RUN_DIR}/{resource}.rejoin-request")


def progress(resource: str) -> dict[str, Any]:
    """What the worker said last; {} when none ever ran since the node booted."""
    return _read(f"{RUN_DIR}/{resource}.rejoin-progress")


class Progress:
    """Tells how far the worker is. ``rate`` is in bytes per second over the whole phase."""

    def __init__(self, resource: str) -> None:
        self._path = f"{RUN_DIR}/{resource}.rejoin-progress"
        self._told: dict[str, Any] = {}
        self._begin = self._last = 0.0

    def phase(self, phase: str, text: str, **facts: object) -> None:
        """A new phase begins: ``text`` is a sentence without a full stop."""
        self._begin = time.monotonic()
        self._tell({"state": RUNNING, "phase": phase, "text": text, **facts})

    def amount(self, done: int, total: int) -> None:
        """``done`` of about ``total`` bytes; written a few times a second at most."""
        now = time.monotonic()
        if now - self._last < _EVERY and done < total:
            return
        self._last = now
        rate = done / max(now - self._begin, 0.1)
        self._tell({**self._told, "done": done, "total": total, "rate": int(rate)})

    def end(self, state: str, text: str, **facts: object) -> None:
        """It is over: ``state`` is DONE, FAILED, REFUSED or INCOMPLETE."""
        kept: dict[str, Any] = {key: self._told[key] for key in ("rung", "why") if key in self._told}
        self._tell({**kept, "state": state, "phase": "end", "text": text, **facts})

    def _tell(self, told: dict[str, Any]) -> None:
        self._told = {**told, "at": int(time.time())}
        _write(self._path, self._told)


def _write(path: str, content: dict[str, Any]) -> None:
    os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.rename(path + ".new", path)


def _read(path: str) -> dict[str, Any]:
    with contextlib.suppress(FileNotFoundError, ValueError), open(path, encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
        return found
    return {}
