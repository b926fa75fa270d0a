"""When the journal may be written, and when what was written may be relied upon: the order in which a cluster changes its mind."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hafailover.agents.mariadb import cluster as clusters
from hafailover.agents.mariadb import journal, records
from hafailover.agents.mariadb.cluster import Cluster
from hafailover.agents.mariadb.journal import Journal
from hafailover.agents.mariadb.records import Refused
from hafailover.crm.pacemaker import Membership, PacemakerError, View

BASE = Journal(7, "db1", "0-1-50", {"db2": "b.2.2.31"}, 1000, "regain")
STALE = BASE.degraded(frozenset({"db2"}), 1010)
BOTH, ALONE = frozenset({"1", "2"}), frozenset({"1"})
IDS = {"db1": "1", "db2": "2"}


class Pacemaker:
    """db1's cluster. ``members`` and ``joined``: what is answered before the write, and after it."""

    def __init__(self, members: list[Membership], joined: list[str], down: str = "", two_node: bool = False) -> None:
        self.entry, self.writes, self._two_node = BASE, 0, two_node
        self._members, self._joined, self._down = members, joined, frozenset(down.split())

    def membership(self) -> Membership:
        return self._members[min(self.writes, 1)]

    def joined(self) -> frozenset[str]:
        return frozenset(self._joined[min(self.writes, 1)].split())

    def view(self, group: str, name: str) -> View:
        return View(journal.write(self.entry), self.joined(), self._down, IDS)

    def property_on(self, node: str, group: str, name: str, timeout: float) -> str:
        if node not in self.joined():
            raise PacemakerError(f"{node} does not answer")
        return journal.write(self.entry)

    def two_node(self) -> bool:
        return self._two_node

    def write_property(self, group: str, name: str, value: str, weight: int = 1) -> None:
        self.entry = journal.read(value)
        self.writes += 1


def on_db1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pacemaker: Pacemaker, fence_first: bool = False) -> Cluster:
    monkeypatch.setattr(records, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(clusters, "Pacemaker", lambda run, members: pacemaker)
    params = {"nodes": "db1:10.0.0.1 db2:10.0.0.2", "fence_first": fence_first}
    ctx: Any = SimpleNamespace(node="db1", instance="db", params=params)
    return Cluster(ctx)


@pytest.mark.parametrize(
    ("members", "joined", "more"),
    [
        ([Membership(True, BOTH)] * 2, ["db1 db2"] * 2, {}),
        ([Membership(True, ALONE)] * 2, ["db1"] * 2, {}),
        ([Membership(True, BOTH), Membership(True, ALONE)], ["db1 db2", "db1"], {}),
        ([Membership(True, BOTH)] * 2, ["db1"] * 2, {"down": "db2"}),
        ([Membership(True, ALONE)] * 2, ["db1"] * 2, {"down": "db2", "two_node": True}),
    ],
    ids=["both are there", "the other one is gone", "it goes meanwhile", "it boots", "it was fenced, two nodes"],
)
def test_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: list[Membership], joined: list[str], more: dict[str, Any]
) -> None:
    pacemaker = Pacemaker(members, joined, **more)
    cluster = on_db1(tmp_path, monkeypatch, pacemaker)
    cluster.records.write(STALE, BASE)
    assert cluster.records.last() == STALE


@pytest.mark.parametrize(
    ("members", "joined", "more", "why", "writes"),
    [
        ([Membership(False, ALONE)] * 2, ["db1"] * 2, {}, "has no quorum", 0),
        ([Membership(True, BOTH), Membership(False, ALONE)], ["db1 db2", "db1"], {}, "no quorum", 1),
        ([Membership(True, BOTH)] * 2, ["db1"] * 2, {}, "db2 has not joined yet", 0),
        ([Membership(True, ALONE), Membership(True, BOTH)], ["db1", "db1"], {}, "db2 has not joined yet", 1),
        ([Membership(True, ALONE)] * 2, ["db1"] * 2, {"two_node": True}, "db2 is lost and not yet fenced", 0),
    ],
    ids=["no quorum", "quorum is lost meanwhile", "unheard", "the network heals meanwhile", "two nodes, not fenced"],
)
def test_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    members: list[Membership],
    joined: list[str],
    more: dict[str, Any],
    why: str,
    writes: int,
) -> None:
    pacemaker = Pacemaker(members, joined, **more)
    cluster = on_db1(tmp_path, monkeypatch, pacemaker)
    with pytest.raises(Refused, match=why):
        cluster.records.write(STALE, BASE)
    assert pacemaker.writes == writes, "a write that is refused raises the version of this copy"
    assert cluster.records.last() is None


def test_fence_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = [Membership(True, ALONE)] * 2
    pacemaker = Pacemaker(gone, ["db1"] * 2)
    with pytest.raises(Refused, match="not yet fenced"):
        on_db1(tmp_path, monkeypatch, pacemaker, fence_first=True).records.write(STALE, BASE)
    assert pacemaker.writes == 0
    pacemaker = Pacemaker(gone, ["db1"] * 2, down="db2")
    on_db1(tmp_path, monkeypatch, pacemaker, fence_first=True).records.write(STALE, BASE)
    assert pacemaker.entry == STALE


def test_a_member_that_dies_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CIB calls it joined until somebody coordinates the cluster again; Corosync knows at once."""
    pacemaker = Pacemaker([Membership(True, ALONE)] * 2, ["db1 db2"] * 2)
    cluster = on_db1(tmp_path, monkeypatch, pacemaker)
    asked = []

    def silent(node: str, group: str, name: str, timeout: float) -> str:
        asked.append(node)
        raise PacemakerError("no answer")

    pacemaker.property_on = silent  # type: ignore[method-assign]
    cluster.records.write(STALE, BASE)
    assert asked == ["db2", "db2"], "once before the write, once after it"
