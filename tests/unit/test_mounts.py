"""Is the file system with the data mounted?"""

from __future__ import annotations

from pathlib import Path

import pytest
from hafailover.agents.mariadb import mounts

FSTAB = """
# device mountpoint type options
UUID=1 / ext4 defaults 0 1
UUID=2 /srv/data xfs noauto 0 2
/dev/vdb /srv/with\\040blank/ ext4 defaults 0 2
UUID=3 none swap sw 0 0
tmpfs /srv tmpfs nofail 0 0
broken
"""


@pytest.mark.parametrize(
    ("directory", "mounted", "expected"),
    [
        ("/srv/data", "/ /srv /srv/data", None),
        ("/srv/data", "/ /srv", "/srv/data"),
        ("/srv/data/mysql", "/ /srv", "/srv/data"),
        ("/srv/database", "/ /srv", None),
        ("/srv/data", "/ /srv/data", "/srv"),
        ("/srv/with blank/mysql", "/ /srv", "/srv/with blank"),
        ("/srv/with blank/mysql", "/ /srv /srv/with\\040blank", None),
        ("/var/lib/mysql", "/", None),
    ],
)
def test_missing(tmp_path: Path, directory: str, mounted: str, expected: str | None) -> None:
    fstab, table = tmp_path / "fstab", tmp_path / "mounts"
    fstab.write_text(FSTAB)
    table.write_text("".join(f"device {point} ext4 rw 0 0\n" for point in mounted.split(" ")))
    assert mounts.missing(directory, str(fstab), str(table)) == expected


def test_without_fstab_nothing_is_missing(tmp_path: Path) -> None:
    assert mounts.missing("/srv/data", str(tmp_path / "none"), str(tmp_path / "none")) is None
