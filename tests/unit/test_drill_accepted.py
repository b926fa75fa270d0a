"""With what somebody has accepted a drill begins, and ends well when nothing else has come about."""

from __future__ import annotations

import json
import subprocess

import pytest
import status_samples
from hafailover.crm.drill import gameday, safety, stacks
from hafailover.crm.drill.cluster_place import ClusterPlace
from hafailover.crm.drill.gameday import GameDay
from hafailover.crm.drill.reach import Reach, Server
from hafailover.crm.drill.scenario import load
from hafailover.crm.drill.stacks import Hafailover
from hafailover.crm.errors import HafailoverError
from hafailover.crm.status import NOTE, as_json
from hafailover.crm.status_judge import judge
from hafailover.crm.switchover import Answers

SERVER = Server({"db1": "192.0.2.11", "db2": "192.0.2.12"}, 3306, "/run/x.sock")


def bad(name="no-device"):
    status = status_samples.status(name)
    return status, frozenset(one.what for one in judge(status).problems if one.severity != NOTE)


def test_an_accepted_problem_keeps_nothing_from_beginning_and_another_one_does():
    status, known = bad()
    assert known
    with Reach("db1", SERVER, None) as reach:
        place = ClusterPlace(status, reach, look=lambda: status)
        assert len(place.problems()) >= len(known)
        place.accepted = known
        assert place.problems() == []
        worse = bad("no-quorum")
        place._look = lambda: worse[0]
        assert place.problems() != [], "what has come about since is told"


@pytest.mark.parametrize("accept", [frozenset(), frozenset({"status"})])
def test_only_who_accepts_the_status_accepts_its_problems(monkeypatch, accept):
    status, known = bad()
    with Reach("db1", SERVER, None) as reach:
        day = GameDay(reach, None)
        place = ClusterPlace(status, reach, look=lambda: status)
        service = status.services[0]
        case = gameday.Case(status, service, gameday.roles_of(service), None, None, place)
        monkeypatch.setattr(gameday, "gather_idle", lambda run, say: None)
        monkeypatch.setattr(day, "_case", lambda found: case)
        monkeypatch.setattr(safety, "checks", lambda facts, accepted: ())
        monkeypatch.setattr(gameday.possible, "against", lambda *_: [])
        monkeypatch.setattr(gameday.switchover_facts, "ask_everybody", lambda service: Answers({}))
        for name in ("_schema", "_sessions"):
            monkeypatch.setattr(gameday, name, lambda case: None)
        for name in ("covering", "tried"):
            monkeypatch.setattr(gameday.fencers, name, lambda *_: {})
        monkeypatch.setattr(gameday.backups, "running", lambda *_: [])
        monkeypatch.setattr(gameday, "clock_offset", lambda place, node: 0.5)
        assert day.examine(load("switchover"), accept, print).place.accepted == (known if accept else frozenset())
        assert place.offsets == {node: 0.5 for node in service.nodes if node != "db1"}


def complaints(monkeypatch, accepted, name):
    status = status_samples.status(name)
    text = json.dumps(as_json(status, judge(status)))

    class Place:
        data_nodes = ("db1",)

        def exec(self, node, argv, timeout):
            return subprocess.CompletedProcess(argv, 1, text, "")

    def wait(what, within, attempt, poll):
        if attempt() is None:
            raise HafailoverError("not in time")

    monkeypatch.setattr(stacks.waiting, "wait", wait)
    return Hafailover(accepted).complaints(Place())


def test_at_the_end_the_status_may_say_what_was_accepted_and_nothing_else(monkeypatch):
    _, known = bad()
    assert "hafailover status says" in complaints(monkeypatch, frozenset(), "no-device")[0]
    assert complaints(monkeypatch, known, "no-device") == []
    assert complaints(monkeypatch, known, "no-quorum") != []
    assert complaints(monkeypatch, frozenset(), "healthy") == []
