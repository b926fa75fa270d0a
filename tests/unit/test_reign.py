"""A promotion that is announced and comes to nothing must not bar everybody else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hafailover.agents.mariadb import cluster as clusters
from hafailover.agents.mariadb import journal, records
from hafailover.agents.mariadb.cluster import Cluster
from hafailover.agents.mariadb.journal import Journal
from hafailover.crm.pacemaker import Membership, PacemakerError, View

BASE = Journal(7, "db1", "0-1-50", {"db2": "b.2.2.31"}, 1000, "regain")


class Pacemaker:
    """The journal in one copy of the CIB, and what db2 has published."""

    def __init__(self, fails: bool) -> None:
        self.entry, self.reign, self._fails = BASE, "", fails

    def quorate(self) -> bool:
        return True

    def membership(self) -> Membership:
        return Membership(True, frozenset({"2"}))

    def two_node(self) -> bool:
        return False

    def view(self, group: str, name: str) -> View:
        return View(journal.write(self.entry), frozenset({"db2"}), frozenset())

    def write_property(self, group: str, name: str, value: str, weight: int = 1) -> None:
        if self._fails:
            raise PacemakerError("cibadmin failed with 124")
        self.entry = journal.read(value)

    def publish(self, name: str, value: str) -> None:
        assert name == "hafailover-db-reign"
        self.reign = value

    def published(self, name: str) -> Mapping[str, str]:
        return {"db2": self.reign} if self.reign else {}


def on_db2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool) -> tuple[Cluster, Pacemaker]:
    pacemaker = Pacemaker(fails)
    monkeypatch.setattr(records, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(clusters, "Pacemaker", lambda run, members: pacemaker)
    params = {"nodes": "db1:10.0.0.1 db2:10.0.0.2", "fence_first": False}
    ctx: Any = SimpleNamespace(node="db2", instance="db", params=params, event=lambda *_, **__: None)
    return Cluster(ctx), pacemaker


def test_what_was_announced_and_never_recorded_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, pacemaker = on_db2(tmp_path, monkeypatch, fails=True)
    with pytest.raises(PacemakerError):
        cluster.records.write(BASE.promoted("db2", "0-1-60", 2000), BASE)
    assert pacemaker.reign == "8"
    cluster.records.take_back_reign(BASE)
    assert pacemaker.reign == "0"
    pacemaker.reign = "8"
    cluster.records.take_back_reign(BASE)
    assert pacemaker.reign == "8", "once"


def test_the_last_primary_keeps_the_reign_that_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, pacemaker = on_db2(tmp_path, monkeypatch, fails=True)
    pacemaker.entry = base = BASE._replace(primary="db2", sync={})
    with pytest.raises(PacemakerError):
        cluster.records.write(base.promoted("db2", "0-1-60", 2000), base)
    cluster.records.take_back_reign(base)
    assert pacemaker.reign == "7"


def test_not_once_it_has_left_the_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, pacemaker = on_db2(tmp_path, monkeypatch, fails=True)
    with pytest.raises(PacemakerError):
        cluster.records.write(BASE.promoted("db2", "0-1-60", 2000), BASE)
    pacemaker.reign = ""
    cluster.records.take_back_reign(BASE._replace(primary="db2"))
    assert pacemaker.reign == ""


def test_a_reign_that_was_recorded_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, pacemaker = on_db2(tmp_path, monkeypatch, fails=False)
    entry = BASE.promoted("db2", "0-1-60", 2000)
    cluster.records.write(entry, BASE)
    for seen in (entry, BASE):  # an older copy of the CIB may win
        cluster.records.take_back_reign(seen)
        assert pacemaker.reign == "8"
