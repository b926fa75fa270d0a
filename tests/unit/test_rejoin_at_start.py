"""hafailover rejoin --clone of an instance that is not started: cloned by its start, or asked once it has started after all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hafailover.agents.mariadb.cloning.link import LinkError
from hafailover.agents.mariadb.replication import Login
from hafailover.crm import rejoin
from hafailover.crm.errors import HafailoverError


class Service:
    name = "db"
    nodes = {"db1": "10.77.0.11"}
    clone_port = 4444


class Peer:
    def __init__(self, under_way: bool) -> None:
        self.under_way = under_way

    def say(self, request: dict[str, Any]) -> None:
        assert request["do"] == "plan" and request["clone"]

    def hear(self) -> dict[str, Any]:
        return {"under_way": self.under_way}


class Node(rejoin.Node):
    """``answers``: what the peer says at each look, None while it cannot be reached; ``starts``: whether the instance is started then."""

    def __init__(self, answers: list[bool | None], starts: list[bool]) -> None:
        service: Any = Service
        super().__init__(service, "db1", Login("repl", "secret"))
        self.answers, self.starts = answers, starts

    def _started(self, run: object) -> bool:
        return self.starts.pop(0)

    @contextmanager
    def call(self) -> Iterator[Any]:  # type: ignore[override]
        answer = self.answers.pop(0)
        if answer is None:
            raise LinkError("refused")
        yield Peer(answer)


class Tools:
    """Pacemaker's tools; what they were asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, argv: Any, timeout: float | None = None, input: str | None = None) -> Any:
        self.asked.append(" ".join(argv))

        class Result:
            rc, out, err = 0, "", ""

        return Result


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def test_a_start_that_clones_is_waited_for() -> None:
    tools = Tools()
    assert Node([None, False, True], [False, False, True]).clone_at_start(tools)
    assert [line for line in tools.asked if "clone" in line] == [
        "attrd_updater -p -N db1 -n hafailover-db-clone -U yes"
    ]


def test_a_server_that_was_just_being_started_is_asked_then_and_the_permission_ends() -> None:
    """Pacemaker was restarting it when it was asked: its start had looked for the permission before, and nothing came of it."""
    tools = Tools()
    assert not Node([None, False, False], [False, False, True]).clone_at_start(tools)
    assert tools.asked[-1] == "attrd_updater -p -N db1 -n hafailover-db-clone -U no"


def test_one_that_is_started_but_not_heard_yet_is_asked_again() -> None:
    assert Node([None, True], [True, True]).clone_at_start(Tools())


def test_neither_is_said_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejoin, "_APPEAR", 0.05)
    with pytest.raises(HafailoverError, match="was not cloned within 0 s: see hafailover status"):
        Node([False] * 100_000, [False] * 100_000).clone_at_start(Tools())
