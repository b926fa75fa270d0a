"""Where events wait: one inbox, one queue for each recipient, all of them files, so that nothing is lost when a process ends.

A file of the inbox is hung into the queues by hard links, then taken from the inbox: at every moment it is in one of them, and done twice
the hanging changes nothing. A queue's file is removed when it was delivered.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from hafailover.hooks.alerts import event
from hafailover.hooks.alerts.event import Event

ROOT = "/var/lib/hafailover/alerts"
_SETTLED = 0.3  # seconds: agents run side by side, and a later one may be first
_CUT_OFF = 5.0  # seconds after which an event without its end gets none any more
_FULL = 32768  # bytes that the agent writes of an event at most: this one will not get longer
_AT_ONCE = 500  # events of the inbox in one turn
_MOST = 40_000  # bytes of one event that are read


@dataclass
class State:
    """How a recipient stands; times as Unix time in seconds, 0 for never. ``untold``: dropped since the last delivery that told."""

    delivered: int = 0
    dropped: int = 0
    untold: int = 0
    refused: int = 0
    failing_since: float = 0.0
    attempts: int = 0
    error: str = ""
    next_try: float = 0.0
    last_delivery: float = 0.0
    last_id: str = ""


class Spool:
    """The directory ``root`` and what is in it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.inbox = f"{root}/inbox"

    def make(self) -> None:
        """Make the directories that are missing. OSError."""
        for name in ("inbox", "queue", "state"):
            os.makedirs(f"{self.root}/{name}", mode=0o770, exist_ok=True)

    def lock(self) -> int | None:
        """Become the one process that delivers: a descriptor to keep, or None when another one is."""
        file = os.open(f"{self.root}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        return file

    # -- the inbox -----------------------------------------------------------------------------------------------

    def arrived(self) -> list[Event]:
        """The events that can be hung into queues now, in order; at most some hundred at once."""
        found = []
        now = time.time()
        for name in sorted(os.listdir(self.inbox), key=event.order)[:_AT_ONCE]:
            path = f"{self.inbox}/{name}"
            try:
                content, status = _read(path)
            except FileNotFoundError:
                continue  # the agent made room for a newer one
            except OSError:
                self._discard(path)
                continue
            if not stat.S_ISREG(status.st_mode):
                self._discard(path)
                continue
            age = now - status.st_mtime
            parsed = event.parse(name, content, status.st_mtime)
            waits = _SETTLED if parsed.whole or status.st_size >= _FULL else _CUT_OFF
            if 0 <= age < waits:
                break  # what comes after it waits for it
            found.append(parsed)
        return found

    def waiting(self) -> bool:
        """Whether anything is in the inbox."""
        with os.scandir(self.inbox) as entries:
            return any(entry.is_file(follow_symlinks=False) for entry in entries)

    def _discard(self, path: str) -> None:
        """Remove what is no event: a link, a pipe, a directory."""
        for remove in (os.unlink, os.rmdir):
            with contextlib.suppress(OSError):
                remove(path)

    def hang(self, name: str, recipients: Iterable[str]) -> Iterator[str]:
        """Put an event of the inbox into queues; each that did not have it. OSError when the disk is full: the inbox has it still."""
        for recipient in recipients:
            queue = f"{self.root}/queue/{recipient}"
            try:
                try:
                    os.link(f"{self.inbox}/{name}", f"{queue}/{name}", follow_symlinks=False)
                except FileNotFoundError:
                    os.makedirs(queue, mode=0o770, exist_ok=True)
                    os.link(f"{self.inbox}/{name}", f"{queue}/{name}", follow_symlinks=False)
            except FileExistsError:
                continue
            except PermissionError:
                self._own(name)
                os.link(f"{self.inbox}/{name}", f"{queue}/{name}", follow_symlinks=False)
            yield recipient

    def _own(self, name: str) -> None:
        """Put a copy of our own in the place of an event that somebody else, root who tried the agent, left behind.

        The kernel lets nobody link what he could not write himself (protected_hardlinks), and all later events would wait for this one.
        """
        content, status = _read(f"{self.inbox}/{name}")
        copy = f"{self.root}/state/own.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(copy)
        opened = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            os.write(opened, content)
        finally:
            os.close(opened)
        os.utime(copy, ns=(status.st_mtime_ns, status.st_mtime_ns))
        os.replace(copy, f"{self.inbox}/{name}")

    def taken(self, name: str) -> None:
        """Take an event out of the inbox: it is where it belongs."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.inbox}/{name}")

    def in_inbox(self, name: str) -> bool:
        """Whether it may yet be hung again, if this process ended now."""
        return os.path.exists(f"{self.inbox}/{name}")

    def sync(self, recipients: list[str]) -> None:
        """Bring to the disk what was hung, so that it survives a loss of power too."""
        for directory in (*(f"{self.root}/queue/{name}" for name in recipients), self.inbox):
            with contextlib.suppress(OSError):
                opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    os.fsync(opened)
                finally:
                    os.close(opened)

    def overflowed(self) -> int:
        """How many events the agents have dropped because nobody emptied the inbox; counts from 0 again."""
        try:
            os.rename(f"{self.root}/overflow", f"{self.root}/overflow.told")
        except FileNotFoundError:
            return 0
        number = os.stat(f"{self.root}/overflow.told").st_size
        os.unlink(f"{self.root}/overflow.told")
        return number

    # -- queues --------------------------------------------------------------------------------------------------

    def queues(self) -> list[str]:
        """The recipients that have a queue."""
        try:
            return sorted(os.listdir(f"{self.root}/queue"))
        except FileNotFoundError:
            return []

    def queued(self, recipient: str) -> list[str]:
        """The names of a queue's events, in order."""
        try:
            return sorted(os.listdir(f"{self.root}/queue/{recipient}"), key=event.order)
        except FileNotFoundError:
            return []

    def read(self, recipient: str, name: str) -> Event | None:
        """An event of a queue, or None when it is gone or cannot be read."""
        try:
            content, status = _read(f"{self.root}/queue/{recipient}/{name}")
        except OSError:
            return None
        return event.parse(name, content, status.st_mtime)

    def done(self, recipient: str, name: str) -> None:
        """Remove an event from a queue."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.root}/queue/{recipient}/{name}")

    def close_queue(self, recipient: str) -> None:
        """Remove an empty queue: systemd starts the service as long as there is one."""
        with contextlib.suppress(OSError):
            os.rmdir(f"{self.root}/queue/{recipient}")

    # -- what is told about a recipient ----------------------------------------------------------------------------

    def state(self, recipient: str) -> State:
        """How a recipient stands; a new one's when nothing is known."""
        try:
            with open(f"{self.root}/state/{recipient}.json", encoding="utf-8") as file:
                kept: dict[str, Any] = json.load(file)
            known = asdict(State())
            return State(**{key: type(known[key])(value) for key, value in kept.items() if key in known})
        except (OSError, ValueError, TypeError, AttributeError):
            return State()

    def keep(self, recipient: str, state: State) -> None:
        """Write down how a recipient stands. OSError."""
        path = f"{self.root}/state/{recipient}.json"
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(asdict(state), file)
        os.replace(f"{path}.new", path)

    def asked_to_retry(self) -> float:
        """When a person last asked that everything be tried at once, as Unix time; 0 if never."""
        try:
            return os.stat(f"{self.root}/retry").st_mtime
        except FileNotFoundError:
            return 0.0


def _read(path: str) -> tuple[bytes, os.stat_result]:
    # Not through a link, and not from a pipe: members of the group may have put anything there.
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(opened, _MOST), os.fstat(opened)
    finally:
        os.close(opened)


def write(root: str, fields: dict[str, str], at: float) -> str:
    """Leave an event in the inbox, as the agent does; its name. OSError."""
    seconds, micro = int(at), int(at % 1 * 1e6)
    name = f"{seconds}.{micro:06d}.0.{os.getpid()}"
    whole = {**fields, "at": str(seconds), "micro": str(micro), "end": "1"}
    content = "".join(f"{key}={value}\0" for key, value in whole.items()).encode("utf-8", "replace")
    opened = os.open(f"{root}/inbox/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        # Root may write it, and the service, which is not root, may only link what it could write itself (protected_hardlinks).
        os.fchmod(opened, 0o660)
        os.write(opened, content)
    finally:
        os.close(opened)
    return name
