"""Whether a program is root's alone: what anybody else can write, or put in its place, root must not run."""

from __future__ import annotations

import errno
import grp
import os
import stat
from collections.abc import Iterator

_LINKS = 40  # as many as the kernel follows
_STAFF = "staff"  # whom Debian lets write below /usr/local, and so into root's own PATH


def against(program: str) -> str | None:
    """Why root must not run ``program``, or None. OSError when it cannot be looked at."""
    owners = {0, os.geteuid()}
    for place in _places(program):
        about = os.stat(place, follow_symlinks=False)
        whose = "" if place == program else f" ({place})"
        if about.st_uid not in owners:
            return f"not run as root: it belongs to the user {about.st_uid}{whose}"
        if _others_write(about):
            return f"not run as root: others may write it, mode {stat.S_IMODE(about.st_mode):04o}{whose}"
    return None


def unfit(program: str) -> str | None:
    """Why ``program`` would not be run here, or None."""
    try:
        found = against(program)
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    return found or (None if os.access(program, os.X_OK) else "cannot be run: it is not executable")


def _others_write(about: os.stat_result) -> bool:
    if not stat.S_ISDIR(about.st_mode):
        return bool(about.st_mode & 0o022)
    if about.st_mode & stat.S_ISVTX:
        return False  # what is root's there stays
    return bool(about.st_mode & 0o002) or (bool(about.st_mode & 0o020) and not _trusted(about.st_gid))


def _trusted(group: int) -> bool:
    try:
        return group == 0 or grp.getgrgid(group).gr_name == _STAFF
    except KeyError:
        return False


def _places(path: str) -> Iterator[str]:
    """The file and every directory on the way to it, also on the way that its links go."""
    at, left, links = "/", path.split("/")[::-1], 0
    yield at
    while left:
        name = left.pop()
        if name == "..":
            at = os.path.dirname(at)
        if name in ("", ".", ".."):
            continue
        here = os.path.join(at, name)
        if not os.path.islink(here):
            yield here
            at = here
            continue
        links += 1
        if links > _LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = os.readlink(here)
        at = "/" if target.startswith("/") else at
        left += target.split("/")[::-1]
