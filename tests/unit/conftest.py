"""Fixtures of more than one module."""

from __future__ import annotations

import pytest
from hafailover.agents import journal
from toy_agent import Toy


@pytest.fixture
def no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a journal nor a syslog on this machine."""
    monkeypatch.setattr(journal, "NATIVE", "/nonexistent")
    monkeypatch.setattr(journal, "SYSLOG", "/nonexistent")


@pytest.fixture
def toy() -> Toy:
    return Toy()
