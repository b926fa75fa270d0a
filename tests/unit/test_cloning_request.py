"""A person's request for a clone at the next start is for that start."""

from __future__ import annotations

from typing import Any

import pytest
from hafailover.agents.mariadb import cloning


class Cluster:
    node = "db2"

    def __init__(self, **wanted: str) -> None:
        self.wanted = wanted
        self.said: list[str] = []

    def published(self, what: str) -> dict[str, str]:
        return self.wanted if what == cloning.WANTED else {}

    def publish(self, what: str, value: str) -> None:
        self.said.append(f"{what}={value}")


@pytest.mark.parametrize(
    ("wanted", "said"), [({"db2": "yes"}, ["clone=no"]), ({"db2": "no"}, []), ({"db1": "yes"}, []), ({}, [])]
)
def test_a_server_that_starts_needs_no_clone_later(wanted: dict[str, str], said: list[str]) -> None:
    cluster: Any = Cluster(**wanted)
    cloning.not_wanted(cluster)
    assert cluster.said == said
