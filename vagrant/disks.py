"""Disks of nodes: one that can be filled without filling this machine's, and one that all of them see."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import struct
from pathlib import Path
from typing import NamedTuple

from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.vagrant.host import ENVIRONMENT, run
from hafailover.vagrant.plan import OwnDisk, SharedDisk

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
    _require_mkfs()
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


class Shared(NamedTuple):
    """A disk that nodes see as ``device``; it is there for as long as ``descriptor`` is open, or something mounts it."""

    device: str
    loop: str
    descriptor: int


# linux/loop.h
_GET_FREE, _CONFIGURE = 0x4C82, 0x4C0A
_AUTOCLEAR = 4
_INFO = "=5Q4I64s64s32s2Q"  # struct loop_info64: lo_flags is the last of the four numbers
_CONFIG = "=2I232s8Q"
_ATTEMPTS = 20  # somebody else may take the free device that the kernel named


def share(directory: Path, disk: SharedDisk) -> Shared:
    """Make ``disk`` in a sparse file in ``directory`` behind a loop device of this machine.

    The kernel takes the device apart when nobody has it open or mounted any more, so that nothing is left of it after the
    process that called this was killed.
    """
    _require_mkfs()
    name = disk.device.strip("/").replace("/", "-")
    image, skeleton = directory / f"shared-{name}.img", directory / f"shared-{name}"
    skeleton.mkdir()
    for inner in disk.directories:
        (skeleton / inner).mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(disk.mib << 20)
    run(["mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard", "-d", str(skeleton), str(image)], timeout=_MKFS_TIMEOUT)
    shutil.rmtree(skeleton)
    loop, descriptor = _loop(image)
    return Shared(disk.device, loop, descriptor)


def blank(directory: Path, disk: OwnDisk) -> Shared:
    """Make a disk of one node alone, with nothing on it, in the same way; what the node writes stays while it is off."""
    image = directory / f"own-{disk.device.strip('/').replace('/', '-')}.img"
    with image.open("wb") as file:
        file.truncate(disk.mib << 20)
    loop, descriptor = _loop(image)
    return Shared(disk.device, loop, descriptor)


def plug(disk: Shared, root: Path) -> None:
    """Let a node that has just been booted see the disk: its root directory is ``root``."""
    device = root / disk.device.lstrip("/")
    device.parent.mkdir(parents=True, exist_ok=True)
    if not device.exists():
        os.mknod(device, stat.S_IFBLK | 0o600, os.fstat(disk.descriptor).st_rdev)


def _loop(image: Path) -> tuple[str, int]:
    """A loop device over ``image`` and an open descriptor of it."""
    with image.open("r+b") as backing:
        for _ in range(_ATTEMPTS):
            with open("/dev/loop-control", "rb") as control:
                path = f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}"
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            info = struct.pack(_INFO, 0, 0, 0, 0, 0, 0, 0, 0, _AUTOCLEAR, b"hafailover-lab", b"", b"", 0, 0)
            config = struct.pack(_CONFIG, backing.fileno(), 0, info, *([0] * 8))
            try:
                fcntl.ioctl(descriptor, _CONFIGURE, config)
            except OSError as error:
                os.close(descriptor)
                if error.errno != errno.EBUSY:
                    raise HafailoverError(f"{path} cannot be set up over {image}: {error.strerror}") from error
            else:
                return path, descriptor
    raise HafailoverError(f"no loop device is free for {image}; 'losetup -a' tells who has them.")


def _require_mkfs() -> None:
    if shutil.which("mkfs.ext4", path=ENVIRONMENT["PATH"]) is None:
        raise UsageError(
            "a disk of its own needs the program mkfs.ext4, which is not installed: apt-get install e2fsprogs."
        )
