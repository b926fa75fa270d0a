"""Exchanging a data directory's contents for a clone, such that a crash at any step leaves the old or the new one, never a mixture.

The contents are moved, entry by entry, by rename on one file system: so it also works when the data directory is a mount point. A state
file, written and synced before each stage, says what a half-moved directory means:

    out      old entries go from the data directory to ``old``
    in       the data directory is empty; the clone's entries go from ``new`` to it
    swapped  the clone is in place; its position in the history is still to be set
    placed   the position is set; ``old`` is kept until the node is in sync
    undo-in  the clone's entries go back to ``new``
    undo-out the old entries go back from ``old``

Without a state file the data directory was not touched, and ``new`` is an unfinished clone.
"""

from __future__ import annotations

import json
import os
import shutil

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OUT, IN, SWAPPED, PLACED, UNDO_IN, UNDO_OUT = "out", "in", "swapped", "placed", "undo-in", "undo-out"
INSIDE = ".hafailover"
_QUARANTINE = "quarantine-"
_STAYS = frozenset({INSIDE, "lost+found"})


class SwapError(Exception):
    """The directories are not as they must be, or the file system refuses; the message is a sentence."""


def work_directory(datadir: str) -> str:
    """Where the clone is built: beside the data directory, or inside it when that is a file system of its own."""
    real = os.path.realpath(datadir)
    if os.path.ismount(real):
        return f"{real}/{INSIDE}"
    return f"{os.path.dirname(real)}/.{os.path.basename(real)}{INSIDE}"


def interrupted(datadir: str) -> bool:
    """Whether an exchange was begun and its old data are still kept: something has to be done before a server is started."""
    return os.path.exists(f"{work_directory(datadir)}/state")


def blank(datadir: str) -> bool:
    """Whether nothing lies in the data directory, or there is none."""
    try:
        return not set(os.listdir(datadir)) - _STAYS
    except FileNotFoundError:
        return True


class Swap:
    """The exchange for one data directory. All errors are SwapError."""

    def __init__(self, datadir: str) -> None:
        self.datadir = os.path.realpath(datadir)
        self.work = work_directory(datadir)
        self.new, self.old = f"{self.work}/new", f"{self.work}/old"
        self._state = f"{self.work}/state"
        self._trash = f"{self.work}/trash"

    # -- what is known -----------------------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """What was noted when the exchange began, and its ``phase``; {} when none is under way."""
        try:
            with open(self._state, encoding="utf-8") as file:
                found: dict[str, Any] = json.load(file)
                return found
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise SwapError(
                f"cannot read {self._state}: {error}; look at {self.work} before anything is started"
            ) from None

    @property
    def phase(self) -> str:
        """One of the phases above, or "" when no exchange is under way."""
        return str(self.facts().get("phase", ""))

    def quarantine(self) -> list[str]:
        """The data directories that are kept because they hold what nobody else has."""
        try:
            return [f"{self.work}/{name}" for name in sorted(os.listdir(self.work)) if name.startswith(_QUARANTINE)]
        except FileNotFoundError:
            return []

    # -- steps -------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make an empty ``new``; whatever an earlier attempt has left is removed. Not while an exchange is under way."""
        with _sentences():
            if self.phase:
                raise SwapError(f"an exchange of {self.datadir} is under way ({self.phase})")
            if os.path.isdir(self.old) and os.listdir(self.old):
                raise SwapError(f"{self.old} holds data that no exchange accounts for: look at it and move it away")
            os.makedirs(self.work, mode=0o700, exist_ok=True)
            if os.stat(self.work).st_dev != os.stat(self.datadir).st_dev:
                raise SwapError(f"{self.work} is not on the file system of {self.datadir}")
            for name in os.listdir(self.datadir):
                path = f"{self.datadir}/{name}"
                if name not in _STAYS and os.path.ismount(path):
                    raise SwapError(f"{path} is a mount point of its own: such a data directory cannot be exchanged")
            for path in (self.new, self._trash):
                if os.path.lexists(path):
                    shutil.rmtree(path)
            os.mkdir(self.new, 0o700)
            os.makedirs(self.old, mode=0o700, exist_ok=True)

    def discard_new(self) -> None:
        """Remove what was received of a clone that is not used."""
        with _sentences():
            if not self.phase and os.path.lexists(self.new):
                shutil.rmtree(self.new)

    def exchange(self, facts: dict[str, Any]) -> None:
        """Put the clone in place of the old data; no server may run. ``facts`` are kept with the state."""
        with _sentences():
            if self.phase:
                raise SwapError(f"an exchange of {self.datadir} is under way ({self.phase})")
            if not os.listdir(self.new):
                raise SwapError(f"there is no clone in {self.new}")
            os.makedirs(self.old, mode=0o700, exist_ok=True)
            if os.listdir(self.old):
                raise SwapError(f"{self.old} is not empty")
            self._note({**facts, "phase": OUT})
            self._forward()

    def recover(self) -> str:
        """Bring an interrupted exchange, or an interrupted undoing, to its end; return the phase it is in then."""
        with _sentences():
            if self.phase in (OUT, IN):
                self._forward()
            elif self.phase in (UNDO_IN, UNDO_OUT):
                self._backward()
            return self.phase

    def undo(self) -> None:
        """Put the old data back. Not once the clone was placed: a server has gone on with it."""
        with _sentences():
            phase = self.phase
            if phase == PLACED:
                raise SwapError(f"{self.datadir} is a clone that is in use already")
            if phase in (IN, SWAPPED):
                self._enter(UNDO_IN)
            elif phase == OUT:
                self._enter(UNDO_OUT)
            self._backward()

    def placed(self) -> None:
        """Note that the clone's position is set: from here on a server may go on with it."""
        with _sentences():
            if self.phase != SWAPPED:
                raise SwapError(f"the exchange of {self.datadir} is not at its end ({self.phase or 'none'})")
            self._enter(PLACED)

    def finish(self, keep_as: str) -> str:
        """The clone is in sync: remove the old data, or keep them as a quarantine named ``keep_as``; return its path or ""."""
        with _sentences():
            if self.phase != PLACED:
                raise SwapError(f"the clone in {self.datadir} is not in use yet ({self.phase or 'none'})")
            kept = ""
            if keep_as and os.path.isdir(self.old) and os.listdir(self.old):
                kept = f"{self.work}/{_QUARANTINE}{keep_as}"
                os.rename(self.old, kept)
            elif os.path.isdir(self.old):
                os.rename(self.old, self._trash)
            _sync(self.work)
            os.unlink(self._state)
            _sync(self.work)
            for path in (self._trash, self.new):
                if os.path.lexists(path):
                    shutil.rmtree(path)
            return kept

    def discard_quarantine(self) -> list[str]:
        """Remove what is kept in quarantine, for good; return the paths."""
        with _sentences():
            gone = self.quarantine()
            for path in gone:
                shutil.rmtree(path)
            return gone

    # -- moving ------------------------------------------------------------------------------------------------------

    def _forward(self) -> None:
        if self.phase == OUT:
            self._move(self.datadir, self.old)
            self._enter(IN)
        self._move(self.new, self.datadir)
        self._enter(SWAPPED)

    def _backward(self) -> None:
        if self.phase == UNDO_IN:
            os.makedirs(self.new, mode=0o700, exist_ok=True)
            self._move(self.datadir, self.new)
            self._enter(UNDO_OUT)
        if self.phase == UNDO_OUT:
            self._move(self.old, self.datadir)
            os.unlink(self._state)
            _sync(self.work)
        if os.path.lexists(self.new):
            shutil.rmtree(self.new)

    @staticmethod
    def _move(source: str, target: str) -> None:
        for name in sorted(os.listdir(source)):
            if name in _STAYS:
                continue
            if os.path.lexists(f"{target}/{name}"):  # rename would replace it without a word
                raise SwapError(f"{name} lies both in {source} and in {target}")
            os.rename(f"{source}/{name}", f"{target}/{name}")
        _sync(source)
        _sync(target)

    def _enter(self, phase: str) -> None:
        self._note({**self.facts(), "phase": phase})

    def _note(self, facts: dict[str, Any]) -> None:
        with open(self._state + ".new", "w", encoding="utf-8") as file:
            json.dump(facts, file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(self._state + ".new", self._state)
        _sync(self.work)


def _sync(directory: str) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class _sentences:
    """Turn what the file system says inside a ``with`` into a SwapError."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise SwapError(f"{error.filename or 'the data directory'}: {error.strerror}") from None
