"""Whether the file system that the data lie on is mounted: what lies under its mount point is empty, or a copy from another time.

Started on an empty one, a node would be cloned onto the wrong disk; on an old copy, it would be a server without most of its data.
"""

from __future__ import annotations

import os

_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\134", "\\"))


def missing(directory: str, fstab: str = "/etc/fstab", mounts: str = "/proc/self/mounts") -> str | None:
    """The mount point above ``directory``, or itself, that fstab lists and where nothing is mounted now, or None."""
    path = os.path.realpath(directory)
    mounted = _points(mounts)
    for point in _points(fstab):
        if point not in mounted and point != "/" and (path + "/").startswith(point.rstrip("/") + "/"):
            return point
    return None


def _points(table: str) -> list[str]:
    """The second field of each line: where something is, or is to be, mounted."""
    try:
        with open(table, encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file if not line.lstrip().startswith("#")]
    except OSError:
        return []
    points = [fields[1] for fields in lines if len(fields) > 2 and fields[1].startswith("/")]
    for escape, plain in _ESCAPES:
        points = [point.replace(escape, plain) for point in points]
    return [os.path.normpath(point) for point in points]
