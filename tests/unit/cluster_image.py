"""Programs of the cluster's packages (crm, pcs, crm_verify) without a cluster: run in the lab's image, which they leave as it is.

The image is the one that labs have, built when there is none; HAFAILOVER_TEST_ROOT names another root file system with the packages.
"""

import os
import shlex
import subprocess
from functools import cache
from pathlib import Path

import image_tools
import pytest

# Everything that is written lands in memory and goes with the mount namespace; only DIRECTORY is the caller's.
_ENTER = """
set -e
mount -t tmpfs none /media
mkdir /media/upper /media/work /media/root
mount -t overlay none -o lowerdir="$1",upperdir=/media/upper,workdir=/media/work /media/root
mount --bind "$2" /media/root/mnt
mount -t proc none /media/root/proc
mount --bind /dev /media/root/dev
exec chroot /media/root env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 sh -c "cd /mnt; $3"
"""


@cache
def need() -> Path:
    """The root file system to use; skips the test for anybody but root, who alone can enter it."""
    if os.geteuid() != 0:
        pytest.skip("only root can enter the lab's image")
    given = os.environ.get("HAFAILOVER_TEST_ROOT")
    return Path(given) if given else image_tools.rootfs()


def run(directory: Path, script: str, timeout: float = 300) -> subprocess.CompletedProcess:
    """Run the shell script ``script`` in ``directory``, which is /mnt there."""
    argv = ["unshare", "--mount", "sh", "-c", _ENTER, "sh", str(need()), str(directory), script]
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)


def quoted(*words: object) -> str:
    """``words`` as one command of a shell script."""
    return shlex.join(map(str, words))
