"""The drills that were run from this machine, kept so that the next one can be compared; and what one that was killed has left broken."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hafailover.crm.drill import document
from hafailover.crm.drill.actions import Step
from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.crm.history.records import clean

KEEP = 200
"""How many drills are kept; an older one makes room."""
_NAME = re.compile(r"\d{8}T\d{6}Z-[\w.+-]{1,80}\.json")
_UNFINISHED = "unfinished.json"
_TEXT = 200  # characters of a text in a note
_TAKES_BACK = frozenset(("power-on", "heal", "heal-link", "start-cluster"))


def directory() -> Path:
    """Where (``HAFAILOVER_DRILL_DIR``)."""
    return Path(os.environ.get("HAFAILOVER_DRILL_DIR", "/var/lib/hafailover/drills"))


def keep(made: Mapping[str, Any]) -> Path:
    """Keep a document and forget the oldest; HafailoverError when the disk does not take it."""
    names = "+".join(dict.fromkeys(str(run["scenario"]) for run in made["runs"]))
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(made["began"]))
    path = directory() / f"{stamp}-{re.sub(r'[^A-Za-z0-9_.+-]+', '-', names)[:80] or 'drill'}.json"
    _write(path, document.as_text({**made, "earlier": []}))
    for old in sorted(_files())[:-KEEP]:
        with contextlib.suppress(OSError):
            old.unlink()
    return path


def earlier(place: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The documents of drills of the same place; one that cannot be read is left out."""
    found = []
    for path in sorted(_files()):
        with contextlib.suppress(UsageError, OSError):
            one = document.read(path.read_text(errors="replace"), str(path))
            if one["place"] == place:
                found.append(one)
    return found


def named(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The documents in ``files``; UsageError says which is none."""
    found = []
    for path in files:
        try:
            with path.open(errors="replace") as stream:
                found.append(document.read(stream.read(document.LARGEST + 1), str(path)))
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    return found


def _files() -> list[Path]:
    try:
        return [path for path in directory().iterdir() if _NAME.fullmatch(path.name)]
    except OSError:
        return []


def begin(
    scenario: str, steps: Sequence[Step], roles: Mapping[str, str], service: str, password: str, here: str
) -> str:
    """Write down what has to be taken back, before anything is broken; HafailoverError when the disk does not take it.

    ``password`` is that of the drill's own account: with it the account can be removed, also from afar. Returns the same without it, for
    the other nodes (:func:`from_elsewhere`).
    """
    wanted = {
        "scenario": scenario,
        "service": service,
        "node": here,
        "since": time.time(),
        "roles": dict(roles),
        "steps": [{"action": step.action, "parameters": dict(step.parameters)} for step in steps],
    }
    _write(directory() / _UNFINISHED, json.dumps({**wanted, "password": password}))
    return json.dumps(wanted)


def end() -> None:
    """Nothing is left to be taken back."""
    with contextlib.suppress(FileNotFoundError):
        (directory() / _UNFINISHED).unlink()


def unfinished() -> dict[str, Any] | None:
    """What :func:`begin` wrote and nobody ended, or None; HafailoverError when it cannot be read."""
    path = directory() / _UNFINISHED
    try:
        return _note(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HafailoverError(f"{path} cannot be read: {error}") from None


def from_elsewhere(text: str) -> dict[str, Any]:
    """What :func:`begin` returned on another node, as :func:`unfinished`; HafailoverError when it is none."""
    try:
        return {**_note(text), "password": ""}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HafailoverError(f"the note that a drill has left in the database cannot be read: {error}") from None


def _note(text: str) -> dict[str, Any]:
    found = json.loads(text)
    steps = [Step(str(one["action"]), {"node": clean(str(one["parameters"]["node"]), _TEXT)}) for one in found["steps"]]
    strange = [step.action for step in steps if step.action not in _TAKES_BACK]
    if strange:
        raise ValueError(f"{clean(strange[0], _TEXT)!r} takes nothing back")
    return {
        "scenario": clean(str(found["scenario"]), _TEXT),
        "service": clean(str(found["service"]), _TEXT),
        "node": clean(str(found.get("node") or ""), _TEXT),
        "password": str(found.get("password") or ""),
        "since": float(found["since"]),
        "roles": {clean(str(role), _TEXT): clean(str(node), _TEXT) for role, node in found["roles"].items()},
        "steps": steps,
    }


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(path)
    except OSError as error:
        raise HafailoverError(f"{path}: cannot be written: {error.strerror}") from None
