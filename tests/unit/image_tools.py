"""Pacemaker's own programs for tests without a cluster: this machine's, or those of the lab's image, run where they lie.

Installing them here would start their daemons. The image is built when there is none, as by the first lab.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from hafailover.vagrant import image
from hafailover.vagrant.host import cache_dir

PROGRAMS = ("crm_simulate", "crm_verify", "crm_diff", "crm_mon", "cibadmin")
_SETS = (image.BASE_SET, "mariadb")


def rootfs() -> Path:
    """The root file system of an image; the tests' labs use the same one."""
    for found in sorted((cache_dir() / "images").glob(f"{image.DEFAULT_SUITE}-{image.BASE_SET}*/rootfs")):
        if (found / "usr/sbin/crm_simulate").is_file():
            return found
    return image.ensure(image.DEFAULT_SUITE, _SETS, lambda said: None)


def directory(place: Path) -> Path | None:
    """A directory for PATH with the programs, made in ``place``; None when this machine has them."""
    if all(shutil.which(program) for program in PROGRAMS):
        return None
    root = rootfs()
    # The image's own loader and C library: this machine's may be of another release.
    loader = next((root / "usr" / "lib").glob("*-linux-*/ld-linux-*.so.*"))
    libraries = f"{loader.parent}:{root}/usr/lib"
    for program in PROGRAMS:
        script = place / program
        script.write_text(
            f"#!/bin/sh\nexport PCMK_schema_directory={root}/usr/share/pacemaker\n"
            f'exec {loader} --library-path {libraries} {root}/usr/sbin/{program} "$@"\n'
        )
        script.chmod(0o755)
    return place
