"""A node whose promotion hooks are run: its directory, its configuration, and what stands in for the agent's context and the cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from alert_nodes import Cluster
from hafailover.agents import memo, process
from hafailover.agents.mariadb import hooks, told
from hafailover.agents.mariadb.journal import NONE
from hafailover.hooks import hooks_run


def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node: its configuration, its notes, and stand-ins for Pacemaker's tools."""
    cluster = Cluster(tmp_path / "c")
    monkeypatch.setattr(hooks, "CONFIG", str(tmp_path / "hooks.json"))
    for module in (memo, hooks_run, told):
        monkeypatch.setattr(module, "RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("HAFAILOVER_PATH", str(cluster.directory / "bin"))
    monkeypatch.setenv("HAFAILOVER_ALERTS", str(tmp_path / "alerts"))
    tools = cluster.directory / "bin"
    (tools / "crm_attribute").write_text("#!/bin/sh\nexit 105\n")
    (tools / "crm_attribute").chmod(0o755)
    text = (tools / "attrd_updater").read_text().replace("$HAFAILOVER_FAKE_NODE", "db1")
    (tools / "attrd_updater").write_text(text.replace("$HAFAILOVER_FAKE", str(cluster.directory)))
    (tmp_path / "alerts/inbox").mkdir(parents=True)
    return tmp_path


def configure(place: Path, *wanted: dict, event: str = "pre-promote") -> None:
    filled = [{"name": f"h{n}", "critical": True, "timeout": 5, "on": "primary", **one} for n, one in enumerate(wanted)]
    service = {"hooks": {event: filled}, "cluster": "c1", "addresses": ["192.0.2.10"], "port": 3306}
    (place / "hooks.json").write_text(json.dumps({"version": 1, "services": {"db": service}}))


class Ctx:
    """What the agent's side needs of a context."""

    def __init__(self, result: process.Result | None = None, **notify: list[str]) -> None:
        self.instance, self.node, self.calls, self.events, self.logs = "db", "db1", [], [], []
        self.deadline = self
        self.notify = type("Notify", (), {"promote": [], "demote": [], **notify})
        self._result = result or process.Result(0, "", "")

    def bound(self, seconds: float) -> float:
        return min(seconds, 100.0)

    def run(self, argv, timeout=None):
        self.calls.append((list(argv), timeout))
        return self._result

    def event(self, name, text, **_):
        self.events.append((name, text))

    def log(self, level, text):
        self.logs.append(text)


class At:
    """A cluster whose journal is in an epoch."""

    node = "db1"

    def __init__(self, epoch: int) -> None:
        self.journal = lambda: NONE._replace(epoch=epoch, primary="db9")


BEFORE = NONE._replace(epoch=7, primary="db2")
AFTER = NONE._replace(epoch=8, primary="db1")
