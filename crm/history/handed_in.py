"""What was handed in for the history: read and removed without believing anything of it.

Whoever may write into the inbox may put there what they like: links, pipes, directories of any depth, files of any size, and change them
while they are looked at.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator, Mapping

from hafailover.agents import inbox, process
from hafailover.agents.record import NamedTuple

_LOOKED_AT = 5000  # entries of the inbox
_UNFINISHED = 60.0  # seconds after which a file that nobody has finished is removed
_BY_ALERTS = ("node", "fencing", "resource")
_BY_ROOT = (*_BY_ALERTS, "event", "audit")


class Found(NamedTuple):
    """What lay in the inbox: the records' fields by the name of their file, whether it was full, and how much was no record."""

    told: Mapping[str, Mapping[str, str]]
    full: bool
    strange: int


def look(directory: str) -> Found:
    """What lies in the inbox, oldest first. Whatever is no record of those who may hand one in is removed."""
    told: dict[str, Mapping[str, str]] = {}
    strange = 0
    with _opened(directory) as inside:
        if inside is None:
            return Found({}, False, 0)
        names = []
        with os.scandir(inside) as entries:
            for entry in entries:
                names.append(entry.name)
                if len(names) >= _LOOKED_AT:
                    break
        for name in sorted(names):
            found = None if name.startswith(".") else _read(inside, name)
            if found is not None:
                told[name] = found
            elif not name.startswith(".") or _old(inside, name):
                strange += 1
                _remove(directory, inside, name)
        # Then alerts and agents found no room, and what they had to tell is in no file.
        return Found(told, len(names) >= inbox.MOST, strange)


@contextlib.contextmanager
def _opened(directory: str) -> Iterator[int | None]:
    try:
        inside = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        # Nobody but root can have made it; a directory of somebody else's is not looked into.
        yield inside if os.fstat(inside).st_uid == os.geteuid() else None
    finally:
        os.close(inside)


def _read(inside: int, name: str) -> dict[str, str] | None:
    """The fields in a file; None for a link, a pipe, a directory, somebody else's file, or what is no record."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY, dir_fd=inside)
    except OSError:
        return None
    try:
        found = os.fstat(file)
        # A second name would be one of another place, which the owner of the link may not be able to read.
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_size > inbox.LONGEST:
            return None
        by_root = found.st_uid == os.geteuid()
        if not by_root and found.st_uid not in _alerters():
            return None
        told = inbox.read(os.read(file, inbox.LONGEST))
    except OSError:
        return None
    finally:
        os.close(file)
    return told if told.get("kind") in (_BY_ROOT if by_root else _BY_ALERTS) else None


def _alerters() -> frozenset[int]:
    """The user as which Pacemaker runs alerts."""
    import pwd

    try:
        return frozenset({pwd.getpwnam("hacluster").pw_uid})
    except KeyError:
        return frozenset()


def clear(directory: str, names: Mapping[str, object]) -> None:
    """Remove what has been written down."""
    with _opened(directory) as inside:
        for name in names if inside is not None else ():
            _remove(directory, inside, name)  # type: ignore[arg-type]


def _remove(directory: str, inside: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=inside)
    except IsADirectoryError:
        # However deep it is: rm needs no memory for that. It follows no link, and stays below this name.
        with contextlib.suppress(OSError):
            process.run("/bin/rm", ["rm", "-rf", "--one-file-system", "--", f"{directory}/{name}"], 10, {}, None)
    except OSError:
        pass  # somebody else has removed it


def _old(inside: int, name: str) -> bool:
    """Whether a file that somebody writes will not be finished any more."""
    try:
        # One of the future is not being written either: the clock was set back, or somebody wants it to stay.
        return abs(time.time() - os.stat(name, dir_fd=inside, follow_symlinks=False).st_mtime) > _UNFINISHED
    except OSError:
        return False


def prepare() -> None:
    """Make the inbox, with the rights that Pacemaker's alerts need."""
    import grp

    os.makedirs(os.path.dirname(inbox.DIRECTORY), mode=0o755, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(inbox.DIRECTORY, 0o700)
    with contextlib.suppress(KeyError, OSError):
        if os.geteuid() == 0:
            os.chown(inbox.DIRECTORY, 0, grp.getgrnam(inbox.GROUP).gr_gid, follow_symlinks=False)
        os.chmod(inbox.DIRECTORY, inbox.MODE)
