"""For whom a server waits before it recovers, and for how long."""

from __future__ import annotations

from typing import Any

import pytest
from hafailover.agents.mariadb import starting
from hafailover.agents.mariadb.journal import Journal

ENTRY = Journal(4, "db1", "0-1-50", {"db2": "b.2.2", "db3": "c.3.3"}, 1000, "regain")


class Cluster:
    node = "db1"

    def __init__(self, able: tuple[str, ...], promotes: bool) -> None:
        self._able, self._promotes = able, promotes

    def able(self) -> tuple[str, ...]:
        return self._able

    def promotes(self) -> bool:
        return self._promotes


@pytest.mark.parametrize(
    ("able", "joined", "waited", "promotes", "expected"),
    [
        (("db2",), {"db1", "db2"}, 0, False, ("db2",)),
        (("db3", "db2"), {"db1", "db2", "db3"}, 0, False, ("db3", "db2")),
        (("db2",), {"db1"}, 0, False, ()),
        (("db1",), {"db1", "db2"}, 0, False, ()),
        (("db4",), {"db1", "db4"}, 0, False, ()),
        ((), {"db1", "db2"}, 0, False, ()),
        (("db2",), {"db1", "db2"}, 21, False, ()),
        (("db2",), {"db1", "db2"}, 21, True, ("db2",)),
        (("db2",), {"db1", "db2"}, 151, True, ()),
    ],
    ids=[
        "a replica in sync",
        "the best first",
        "one that is not here",
        "itself",
        "one that is not recorded in sync",
        "nobody may be promoted",
        "Pacemaker does not promote it",
        "it takes its time",
        "that takes too long",
    ],
)
def test_heirs(
    able: tuple[str, ...], joined: set[str], waited: float, promotes: bool, expected: tuple[str, ...]
) -> None:
    cluster: Any = Cluster(able, promotes)
    assert starting._heirs(cluster, ENTRY, frozenset(joined), waited) == expected
