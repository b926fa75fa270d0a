"""What the hook does that systemd runs when a database server has ended: with few questions, for a service is away meanwhile."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hafailover.agents.mariadb import cluster as clusters
from hafailover.crm import install
from hafailover.hooks import died, mariadb_died


class Tools:
    """Pacemaker's tools: the scores that each node has published, and what was asked of them."""

    def __init__(self, **scores: str) -> None:
        self.scores = scores
        self.asked: list[str] = []

    def run(self, argv: Any, timeout: float | None = None, input: str | None = None) -> Any:
        self.asked.append(" ".join(argv))
        if argv[0] == "crm_node":
            return SimpleNamespace(rc=0, out="db1\n", err="")
        lines = [f'name="master-db" host="{node}" value="{score}"' for node, score in self.scores.items()]
        return SimpleNamespace(rc=0, out="\n".join(lines) if "-Q" in argv else "", err="")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(clusters, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(died, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(died.journal, "send", lambda level, name, text, fields: said.append(text) or True)
    return said


def tell(monkeypatch: pytest.MonkeyPatch, tools: Tools, node: str = "db1") -> None:
    monkeypatch.setattr(died, "_run", tools.run)
    died.tell("mariadb", "mariadbd", "db", mariadb_died.report, node)


QUERY = "attrd_updater -Q -A -n master-db"


def test_a_primary_with_an_heir_costs_two_questions(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    tools = Tools(db1="100", db2="50")
    tell(monkeypatch, tools)
    assert tools.asked == [QUERY, "attrd_updater -N db1 -n master-db --update=-1000000"]
    assert told == ["mariadbd died; db2 may take over, so this node gives up the role"]
    assert clusters.handing_over("db")


def test_a_primary_without_an_heir_is_restarted_here(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    tools = Tools(db1="100", db2="-1000000")
    tell(monkeypatch, tools)
    assert tools.asked == [QUERY, "crm_resource --fail -r db -N db1"]
    assert told == ["mariadbd died; reported, to be restarted here"]


def test_a_replica_is_nobodys_heir(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    tools = Tools(db1="50", db2="100")
    tell(monkeypatch, tools)
    assert tools.asked[1:] == [
        "attrd_updater -N db1 -n master-db --update=-1000000",
        "crm_resource --fail -r db -N db1",
    ]


def test_a_node_whose_name_nobody_has_kept_is_asked_for(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    tools = Tools(db1="100", db2="50")
    tell(monkeypatch, tools, node="")
    assert tools.asked[0] == "crm_node -n"
    assert tools.asked[-1].startswith("attrd_updater -N db1 ")


def test_it_loads_nothing_that_takes_long(tmp_path: Path) -> None:
    install.install(tmp_path)
    hook = tmp_path / install.HOOKS_DIR / "mariadb-died"
    argv = ["/usr/bin/python3", "-IS", "-X", "importtime", str(hook), "no-such-resource"]
    done = subprocess.run(argv, env={}, capture_output=True, text=True, timeout=30, check=False)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "hafailover.hooks.mariadb_died" in loaded
    assert not loaded & {
        "typing",
        "re",
        "enum",
        "functools",
        "collections",
        "contextlib",
        "threading",
        "subprocess",
        "json",
    }
