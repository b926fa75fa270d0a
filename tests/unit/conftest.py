"""Fixtures of more than one module."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import image_tools
import pytest
from file_cluster import FileCluster, install
from hafailover.agents import inbox, journal
from hafailover.crm import apply, apply_lock, local, plan, undo_store
from hafailover.crm.commands import apply as apply_command
from pacemaker_tools import Tools
from topologies import parse
from toy_agent import Toy
from wire import Node, ethernet, launcher


@pytest.fixture(autouse=True)
def no_inbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tests do is not part of this machine's history."""
    monkeypatch.setattr(inbox, "DIRECTORY", "/nonexistent")


@pytest.fixture
def no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a journal nor a syslog on this machine."""
    monkeypatch.setattr(journal, "NATIVE", "/nonexistent")
    monkeypatch.setattr(journal, "SYSLOG", "/nonexistent")


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tools]:
    """Installs ``Tools``, with these answers, instead of what would ask the live cluster."""

    def install(**answers: Any) -> Tools:
        found = Tools(**answers)
        monkeypatch.setattr(local, "run", found)
        monkeypatch.setattr(apply.time, "sleep", lambda seconds: None)
        return found

    return install


@pytest.fixture(scope="session")
def pacemaker_programs(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    return image_tools.directory(tmp_path_factory.mktemp("pacemaker"))


@pytest.fixture
def pacemaker(pacemaker_programs: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pacemaker's real programs are in PATH; no cluster is."""
    if pacemaker_programs is not None:
        monkeypatch.setenv("PATH", f"{pacemaker_programs}:{os.environ['PATH']}")


@pytest.fixture
def cluster(pacemaker: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FileCluster:
    """A cluster in a file, and everything that plan, apply and undo keep in a directory of the test's own."""
    made = install(monkeypatch, tmp_path, parse())
    monkeypatch.setattr(undo_store, "DIRECTORY", tmp_path / "kept" / "configurations")
    monkeypatch.setattr(apply_lock, "FILE", tmp_path / "run" / "changing")
    monkeypatch.setattr(apply_lock, "_SPREAD", 0.0)
    monkeypatch.setattr(apply_lock, "_DEAD", 0.3)
    monkeypatch.setattr(apply_lock, "_PATIENCE", 0.6)
    monkeypatch.setattr(apply_lock, "_RENEW", 0.1)
    monkeypatch.setattr(local, "installed", lambda program: True)
    monkeypatch.setattr(local, "may_ask_cluster", lambda: True)
    monkeypatch.setattr(apply_command.os, "geteuid", lambda: 0)
    # Whether lint finds something is tried apart.
    monkeypatch.setattr(plan, "lint_errors", lambda topology: [])
    return made


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a topology."""

    def write(text: str) -> Path:
        (tmp_path / "t.yml").write_text(text)
        return tmp_path / "t.yml"

    return write


@pytest.fixture(scope="module")
def vip_agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of the address's agent."""
    return launcher(tmp_path_factory.mktemp("root"), "vip")


@pytest.fixture
def namespaces() -> Iterator[dict[str, Node]]:
    """Two nodes and a client on one Ethernet."""
    with ethernet() as found:
        yield found
