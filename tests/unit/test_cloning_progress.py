"""Watching a rebuild: what is told while it goes on, and when nobody can tell how far it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from hafailover.agents.context import ERR_GENERIC, OcfError
from hafailover.agents.mariadb.cloning import notes, peer, service
from hafailover.crm import rejoin, switchover_facts
from hafailover.crm.commands import rejoin as command
from hafailover.crm.errors import HafailoverError


class Link:
    """What was said to the one who watches."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    def say(self, message: dict[str, Any]) -> None:
        self.said.append(message)

    def refuse(self, reason: str) -> None:
        self.said.append({"refused": reason})

    def send(self, kind: bytes) -> None: ...


class Ctx:
    node, instance = "db2", "db"


def watched(monkeypatch: pytest.MonkeyPatch, *looks: tuple[bool | None, dict[str, Any]]) -> list[dict[str, Any]]:
    """What is said when the worker runs, or does not, or systemd does not answer (None), and its notes are those, one after the other."""
    left = list(looks)

    def runs(ctx: object) -> bool:
        if left[0][0] is None:
            raise OcfError(ERR_GENERIC, "systemd does not tell")
        return left[0][0]

    monkeypatch.setattr(service, "worker_runs", runs)
    monkeypatch.setattr(notes, "progress", lambda resource: left.pop(0)[1])
    monkeypatch.setattr(peer.time, "sleep", lambda seconds: None)
    link: Any = Link()
    ctx: Any = Ctx()
    peer._progress(link, ctx, {})
    said: list[dict[str, Any]] = link.said
    return said


RUNNING = {"state": notes.RUNNING, "phase": "copy"}
DONE = {"state": notes.DONE}


def test_each_change_is_said_until_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched(monkeypatch, (True, RUNNING), (True, RUNNING), (False, DONE)) == [
        {**RUNNING, "runs": True},
        {**DONE, "runs": False},
    ]


def test_a_systemd_that_does_not_answer_has_not_said_that_the_worker_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    said = watched(monkeypatch, (True, RUNNING), (None, RUNNING), (None, RUNNING), (False, DONE))
    assert [told.get("state") for told in said] == [notes.RUNNING, notes.DONE]


def test_a_worker_that_ended_without_a_word_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    (_, last) = watched(monkeypatch, (True, RUNNING), (False, RUNNING))
    assert last["refused"].startswith("the worker on db2 has ended without a word")


def test_json_is_printed_also_when_the_node_does_not_say_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    class Service:
        name = "db"

        def instance(self, node: str) -> None:
            return None

    class Node:
        name = "db2"
        service = Service

        def __init__(self, *of: object) -> None: ...

        def ask(self, do: str, **more: object) -> dict[str, Any]:
            return {
                "primary": "db1",
                "rung": "clone",
                "why": "asked",
                "lost": [],
                "refusal": "",
                "under_way": False,
                "quarantine": [],
            }

        def watch(self) -> Any:
            yield {"state": notes.RUNNING, "text": "copying"}
            raise HafailoverError("db2 cannot be asked any more: timed out")

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(command, "gather", lambda run: None)
    monkeypatch.setattr(command, "read", lambda facts: None)
    monkeypatch.setattr(command, "choose_service", lambda *of: Service())
    monkeypatch.setattr(switchover_facts, "credentials", lambda service: (object(), None))
    monkeypatch.setattr(rejoin, "Node", Node)
    done = CliRunner(mix_stderr=False).invoke(command.command, ["db2", "--clone", "--yes", "-o", "json"])
    found = json.loads(done.stdout)
    assert (found["result"], found["exit_code"], found["last"]["text"]) == ("unknown", 1, "copying")
    assert isinstance(done.exception, HafailoverError) and "cannot be asked any more" in str(done.exception)
