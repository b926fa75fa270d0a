"""Whether a node's file is already what it should be, and our block in a file that is not ours."""

from __future__ import annotations

import grp
import pwd
import stat
from pathlib import Path

from hafailover.crm.errors import HafailoverError
from hafailover.crm.files import FileEdit, RenderedFile

BEGIN = b"# BEGIN hafailover\n"
END = b"# END hafailover\n"


def current(target: Path, file: RenderedFile, own: bool) -> bool:
    """Whether ``target`` has the content and mode (and, if ``own``, owner and group) of ``file`` already."""
    try:
        status = target.lstat()
        if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) != file.mode:
            return False
        if own and (_user(status.st_uid), _group(status.st_gid)) != (file.owner, file.group):
            return False
        return target.read_bytes() == file.content
    except FileNotFoundError:
        return False
    except OSError as error:
        raise HafailoverError(f"{target}: cannot be read: {error.strerror}") from error


def edited(target: Path, edit: FileEdit) -> tuple[bytes, bytes]:
    """What ``target`` contains (b"" if there is no such file), and what it should. HafailoverError."""
    try:
        old = target.read_bytes()
    except FileNotFoundError:
        old = b""
    except OSError as error:
        raise HafailoverError(f"{target}: cannot be read: {error.strerror}") from error
    return old, edit.edit(old)


def block(old: bytes, lines: bytes) -> bytes:
    """The file ``old`` with ``lines`` between our marks, in place or at the end."""
    marked = BEGIN + lines + END
    if marked in old:
        return old
    start, end = old.find(BEGIN), old.find(END)
    if 0 <= start < end:
        return old[:start] + marked + old[end + len(END) :]
    return old + (b"" if not old or old.endswith(b"\n") else b"\n") + marked


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
