"""Whether a node's file is already what it should be, what an edit makes of one, and what it was before the first edit."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hafailover.crm import files
from hafailover.crm.edits import is_marked
from hafailover.crm.errors import HafailoverError
from hafailover.crm.files import FileEdit, RenderedFile

ORIGINALS = "/var/lib/hafailover/originals"
"""Where files of others are kept as they were before the first change; readable for root alone."""


def current(target: Path, file: RenderedFile, own: bool) -> bool:
    """Whether ``target`` has the content and mode (and, if ``own``, owner and group) of ``file`` already."""
    try:
        status = target.lstat()
        if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) != file.mode:
            return False
        if own and (files.user_name(status.st_uid), files.group_name(status.st_gid)) != (file.owner, file.group):
            return False
        return target.read_bytes() == file.content
    except FileNotFoundError:
        return False
    except OSError as error:
        raise HafailoverError(f"{target}: cannot be read: {error.strerror}") from error


def edited(target: Path, edit: FileEdit) -> tuple[bytes, bytes]:
    """What ``target`` contains (b"" if there is no such file), and what it should. HafailoverError."""
    old = content(target)
    return old, edit.edit(old)


def content(target: Path) -> bytes:
    """What ``target`` contains, b"" if there is no such file. HafailoverError."""
    try:
        return target.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        hint = "; run it as root" if isinstance(error, PermissionError) else ""
        raise HafailoverError(f"{target}: cannot be read: {error.strerror}{hint}") from error


def refuse_exposed(target: Path, edit: FileEdit) -> None:
    """HafailoverError when ``edit`` puts into ``target`` what others must not read, and they can.

    Who besides root has to read a file that is there, nobody here knows: its mode is its owner's to change.
    """
    if edit.undo or edit.mode & stat.S_IROTH or not target.exists():
        return
    if target.stat().st_mode & stat.S_IROTH and (edit.exposes or is_marked)(edited(target, edit)[1]):
        hint = f"chgrp {edit.group} {target} && chmod {edit.mode:04o} {target}"
        raise HafailoverError(f"{target} can be read by everybody, and passwords belong into it: {hint}")


def keep_first(target: Path, root: Path = Path("/")) -> Path | None:
    """Copy ``target`` to where it is kept as it was before our first change, with its mode and owner; HafailoverError.

    Returns the copy, or None when there is nothing to copy, or the first one is there already.
    """
    source = Path(os.path.realpath(target))
    copy = root / ORIGINALS.lstrip("/") / str(target).lstrip("/")
    if copy.exists() or not source.exists():
        return None
    (root / ORIGINALS.lstrip("/")).mkdir(mode=0o700, parents=True, exist_ok=True)
    status = source.stat()
    files.write(copy, source.read_bytes(), stat.S_IMODE(status.st_mode), str(status.st_uid), str(status.st_gid))
    return copy
