"""A small file system of its own for a directory of a node, so that it can be filled without filling this machine's disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from hafailover.crm.errors import UsageError
from hafailover.vagrant.host import ENVIRONMENT, run

_MKFS_TIMEOUT = 60.0
_COPY_TIMEOUT = 120.0


class Disk(NamedTuple):
    """A file system mounted at ``mounted`` on this machine, which the node sees at ``path``."""

    path: str
    mounted: Path


def make(directory: Path, root: Path, path: str, mib: int) -> Disk:
    """Make a file system of ``mib`` MiB in a sparse file in ``directory`` and mount it in the caller's mount namespace.

    It begins as a copy of what lies at ``path`` below ``root``, the node's disk, and keeps its contents while the node is off. The
    loop device goes with the mount.
    """
    if shutil.which("mkfs.ext4", path=ENVIRONMENT["PATH"]) is None:
        raise UsageError(
            "a disk of its own needs the program mkfs.ext4, which is not installed: apt-get install e2fsprogs."
        )
    name = path.strip("/").replace("/", "-")
    image, mounted = directory / f"disk-{name}.img", directory / f"disk-{name}"
    with image.open("wb") as file:
        file.truncate(mib << 20)
    # No blocks kept back for root: the server runs as another user, and full shall mean full for everybody.
    run(["mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard", str(image)], timeout=_MKFS_TIMEOUT)
    mounted.mkdir()
    run(["mount", "-o", "loop", str(image), str(mounted)], timeout=10)
    # A server would take it for a schema.
    (mounted / "lost+found").rmdir()
    source = root / path.strip("/")
    source.mkdir(parents=True, exist_ok=True)
    run(["cp", "--archive", f"{source}/.", str(mounted)], timeout=_COPY_TIMEOUT)
    return Disk(path, mounted)
