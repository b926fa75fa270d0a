"""Files for nodes: what to write, and writing it so that a reader never sees half of it or a secret with a wrong mode."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from hafailover.crm.errors import HafailoverError


@dataclass(frozen=True)
class RenderedFile:
    """A file of a node: absolute ``path``, whole ``content``, permission bits, owner and group by name.

    ``secret`` content is never printed, not even in a difference.
    """

    path: str
    content: bytes
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    secret: bool = False


def user_name(number: int) -> str:
    """A user's name; the number where this machine knows none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def group_name(number: int) -> str:
    """A group's name; the number where this machine knows none."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


@dataclass(frozen=True)
class FileEdit:
    """A change to a file of a node that is not ours alone, such as another package's configuration.

    ``edit`` gets the whole content (b"" when there is no file) and returns the content wanted: it changes what it is
    about, keeps everything else, and changes nothing when called on its own result. UsageError when the content is
    nothing that it understands. A new file gets ``mode``, ``owner`` and ``group``, one that is there keeps its own.
    The content may hold secrets if ``secret``; then differences are shown without them. ``undo``: all it does is to take
    back what an earlier edit did and nobody wants any more, and mostly there is nothing. ``exposes`` tells of content whether it holds
    a secret of ours, where marks do not (crm/edits/marks.py).
    """

    path: str
    edit: Callable[[bytes], bytes]
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    secret: bool = False
    undo: bool = False
    exposes: Callable[[bytes], bool] | None = None


def write(target: Path, content: bytes, mode: int, owner: str = "", group: str = "") -> None:
    """Replace ``target`` at once by a file with this content, mode and (unless empty) owner and group.

    The new file is made unreadable for others and gets its final mode only when it is complete; missing directories
    are made. Owner and group are names, or numbers. HafailoverError when that is not possible; the old file is then still there.
    """
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with open(descriptor, "wb") as stream:
                stream.write(content)
                if owner or group:
                    os.fchown(stream.fileno(), _uid(owner), _gid(group))
                os.fchmod(stream.fileno(), mode)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            raise
    except OSError as error:
        raise HafailoverError(f"{target}: cannot be written: {error.strerror}") from error


def rewrite(target: Path, content: bytes, edit: FileEdit) -> None:
    """Replace ``target`` at once, keeping its mode, owner and group; those of ``edit`` when it is new. HafailoverError."""
    # The file that a symbolic link leads to, not the link: /etc/hosts is one on some systems.
    target = Path(os.path.realpath(target))
    try:
        old = target.stat()
    except FileNotFoundError:
        write(target, content, edit.mode, edit.owner, edit.group)
        return
    write(target, content, stat.S_IMODE(old.st_mode), str(old.st_uid), str(old.st_gid))


def _uid(owner: str) -> int:
    if not owner or owner.isdigit():
        return int(owner or -1)
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError:
        raise HafailoverError(
            f"there is no user {owner} on this machine; install the service's package first"
        ) from None


def _gid(group: str) -> int:
    if not group or group.isdigit():
        return int(group or -1)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise HafailoverError(
            f"there is no group {group} on this machine; install the service's package first"
        ) from None
