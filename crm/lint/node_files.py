"""Configuration files of this machine, read so that no file can do harm: regular ones, of a bounded size, never on a network's file system.

What stands in them was written by anybody. A pipe is not waited for, a mount that hangs is not touched (the kernel's table of mounts tells
where those are), and a file that is too large is not there.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from hafailover.agents import mounts

MAX_BYTES = 1 << 20
MAX_ENTRIES = 500  # of a directory
_MAX_LINKS = 40
_NETWORK = ("nfs", "cifs", "smb", "fuse", "ceph", "glusterfs", "9p", "afs", "ocfs2", "gfs2", "lustre", "autofs")
_LOCAL_FUSE = frozenset({"fuseblk", "fuse.lxcfs", "fuse.overlayfs", "fuse-overlayfs", "fuse.fuse-overlayfs"})


class NodeFiles:
    """Files below ``root`` by their absolute names; None, or nothing, for what is not there or may not be read."""

    def __init__(self, root: str | Path = "/", table: str = mounts.TABLE) -> None:
        self._root, self._table = str(root).rstrip("/"), table

    def text(self, path: str) -> str | None:
        """The content of a regular file of at most MAX_BYTES, as UTF-8; bytes that are none are replaced."""
        content = self.content(path)
        return None if content is None else content.decode("utf-8", "replace")

    def content(self, path: str) -> bytes | None:
        """The bytes of a regular file of at most MAX_BYTES."""
        real = self.real(path)
        if real is None:
            return None
        try:
            # A pipe that nobody writes to would hold an open() for ever.
            descriptor = os.open(self._root + real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except (OSError, ValueError):
            return None
        try:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_BYTES:
                return None
            with os.fdopen(os.dup(descriptor), "rb") as stream:
                found = stream.read(MAX_BYTES + 1)  # also a file of /proc, which says 0
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return found if len(found) <= MAX_BYTES else None

    def first(self, paths: Iterable[str]) -> tuple[str, str | None]:
        """The first of ``paths`` that is there, and its content; ("", None) when none is."""
        for path in paths:
            found = self.text(path)
            if found is not None:
                return path, found
        return "", None

    def names(self, directory: str, pattern: str = "*") -> list[str]:
        """The entries of a directory that fit, in order of their names."""
        real = self.real(directory)
        if real is None:
            return []
        try:
            with os.scandir(self._root + (real or "/")) as entries:
                found = [entry.name for _, entry in zip(range(MAX_ENTRIES), entries)]
        except (OSError, ValueError):
            return []
        return sorted(name for name in found if fnmatch.fnmatchcase(name, pattern))

    def matching(self, pattern: str) -> list[str]:
        """The paths that a pattern with wildcards in its last part (/etc/apache2/*.conf) or in one directory means."""
        found = [""]
        for part in pattern.strip("/").split("/")[:32]:
            if not re.search(r"[*?\[]", part):
                found = [f"{one}/{part}" for one in found]
            else:
                found = [f"{one}/{name}" for one in found for name in self.names(one or "/", part)][:MAX_ENTRIES]
        return found

    def link(self, path: str) -> str | None:
        """Where a symbolic link points, as written; None for what is no link."""
        above, _, name = path.rpartition("/")
        parent = self.real(above or "/")
        if parent is None:
            return None
        try:
            return str(Path(f"{self._root}{parent}/{name}").readlink())
        except (OSError, ValueError):
            return None

    def is_there(self, path: str) -> bool:
        """Whether there is anything of this name, be it a link that leads nowhere."""
        above, _, name = path.rpartition("/")
        parent = self.real(above or "/")
        try:
            return parent is not None and os.path.lexists(f"{self._root}{parent}/{name}")
        except ValueError:
            return False

    def real(self, path: str) -> str | None:
        """``path`` without links, found without touching a network's file system; None when it leads there, or nowhere."""
        if not path.startswith("/") or "\0" in path:
            return None
        waiting = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        here, links = "", 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                here = here.rpartition("/")[0]
                continue
            step = f"{here}/{part}"
            if self._on_network(step):
                return None
            try:
                target = str(Path(self._root + step).readlink())
            except OSError as error:
                if error.errno != errno.EINVAL:  # it is no link
                    return None
                here = step
                continue
            links += 1
            if links > _MAX_LINKS:
                return None
            here = "" if target.startswith("/") else here
            waiting += [part for part in reversed(target.split("/")) if part not in ("", ".")]
        return here

    @cached_property
    def mounts(self) -> tuple[mounts.Mount, ...]:
        """What is mounted on this machine."""
        try:
            return tuple(mounts.read(self._table))
        except OSError:
            return ()

    @cached_property
    def _slow(self) -> tuple[str, ...]:
        """Where file systems are mounted that may not answer."""
        return tuple(
            one.point for one in self.mounts if one.fstype.startswith(_NETWORK) and one.fstype not in _LOCAL_FUSE
        )

    def _on_network(self, path: str) -> bool:
        full = self._root + path
        return any(full == point or full.startswith(point.rstrip("/") + "/") for point in self._slow)


def assignments(text: str) -> Mapping[str, str]:
    """NAME=VALUE of a file that a shell or systemd reads (/etc/default/…); the last one counts, quotes go."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name.strip()):
            plain = value.strip()
            if len(plain) > 1 and plain[0] in "\"'" and plain[0] in plain[1:]:
                plain = plain[1:].partition(plain[0])[0]
            else:
                plain = re.split(r"\s#|;", plain)[0].strip()
            found[name.strip()] = plain
    return found
