"""The disk that the virtual machines boot from: a Debian root file system, its kernel and a key to log in with, in a cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from hafailover.vagrant import image
from hafailover.vagrant.host import cache_dir, run

HERE = Path(__file__).resolve().parent
_SUITE = "bookworm"
_BUILD_TIMEOUT = 1800  # seconds
_DISK_SIZE = "4G"  # sparse
_DPKG_OPTIONS = ("force-unsafe-io", "path-exclude=/usr/share/man/*", "path-exclude=/usr/share/doc/*")


class Image(NamedTuple):
    """Files of one complete image."""

    disk: Path
    kernel: Path
    initrd: Path
    key: Path


def ensure() -> Image:
    """The image, built first if the cache has none from these package lists and this recipe."""
    names = image.parse_packages((HERE / "packages.txt").read_text(), _SUITE)
    recipe = (HERE / "prepare.sh").read_text()
    digest = hashlib.sha256("\0".join([_SUITE, recipe, *_DPKG_OPTIONS, *names]).encode()).hexdigest()[:12]
    target = cache_dir() / "vm" / digest
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            _build(target, names)
    return Image(target / "root.img", target / "vmlinuz", target / "initrd.img", target / "key")


def _build(target: Path, names: list[str]) -> None:
    building = target.with_name(f".building-{target.name}")
    if building.exists():
        shutil.rmtree(building)
    building.mkdir(mode=0o700)
    rootfs = building / "rootfs"
    sources = image.for_suite(image.host_sources(), _SUITE)
    settings = image.apt_settings(run(["apt-config", "dump"], timeout=30).stdout)
    with (building / "build.log").open("wb") as log:
        subprocess.run(
            [
                *("setpriv", "--pdeathsig=KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *("mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"),
                f"--include={','.join(names)}",
                '--aptopt=Acquire::Languages "none";',
                *(f"--aptopt={line}" for line in settings),
                *(f"--dpkgopt={line}" for line in _DPKG_OPTIONS),
                f"--customize-hook=copy-in {HERE / 'prepare.sh'} /root",
                '--customize-hook=chroot "$1" sh /root/prepare.sh',
                _SUITE,
                str(rootfs),
                *(f"deb {source.uri} {source.suite} {source.component}" for source in sources),
            ],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            timeout=_BUILD_TIMEOUT,
        )
    pack(rootfs, building)
    building.rename(target)


def pack(rootfs: Path, into: Path) -> None:
    """Make the disk, kernel and key in the directory ``into`` of a prepared root file system, which is used up."""
    key = into / "key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test machines", "-f", str(key)], timeout=60)
    home = rootfs / "root/.ssh"
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "authorized_keys").write_text(key.with_name("key.pub").read_text())
    for name in ("vmlinuz", "initrd.img"):
        newest = max((rootfs / "boot").glob(f"{name}-*"))
        shutil.copy(newest, into / name)
    disk = into / "root.img"
    run(["truncate", "-s", _DISK_SIZE, str(disk)], timeout=30)
    run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1", "-d", str(rootfs), str(disk)], timeout=600)
    shutil.rmtree(rootfs)
    os.sync()
