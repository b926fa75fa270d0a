"""Fixtures of more than one module."""

from __future__ import annotations

from typing import Any, Callable

import pytest
from hafailover.agents import journal
from hafailover.crm import apply, local
from pacemaker_tools import Tools
from toy_agent import Toy


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
