"""Whether somebody is copying a database right now: a copy that a drill breaks is found out when it is needed."""

from __future__ import annotations

from collections.abc import Iterable

from hafailover.crm.drill.place import Place
from hafailover.crm.errors import HafailoverError

_PROGRAMS = ("mariadb-backup", "mariabackup", "mariadb-dump", "mysqldump", "xtrabackup", "mydumper")
_TIMEOUT = 10.0


def running(place: Place, nodes: Iterable[str]) -> list[str]:
    """``mariadb-backup on db1`` for each program that makes one on ``nodes``, on which programs can be run."""
    found = []
    for node in nodes:
        try:
            said = place.exec(node, ["pgrep", "--list-name", "--exact", "|".join(_PROGRAMS)], _TIMEOUT).stdout
        except HafailoverError:
            continue
        names = sorted({line.split()[-1] for line in said.splitlines() if line.split()})
        found += [f"{name} on {node}" for name in names]
    return found
