"""Promotion hooks at a switchover that a command makes, run again, and in status."""

from __future__ import annotations

import json

import hook_place
import pytest
from click.testing import CliRunner
from hafailover.crm import hooks_text, promotion_run
from hafailover.crm.commands import hooks as hooks_command
from hafailover.crm.errors import HafailoverError
from hafailover.crm.local import Result
from hafailover.crm.status import DEGRADED, NOTE, Service
from hafailover.crm.switchover_run import Outcome
from hook_place import BEFORE, configure


@pytest.fixture
def place(tmp_path, monkeypatch):
    return hook_place.made(tmp_path, monkeypatch)


def service(**published: str) -> Service:
    return Service(
        "db",
        "db-clone",
        "db2",
        ("db2",),
        BEFORE,
        "",
        (),
        {},
        {"db1": "192.0.2.11", "db2": "192.0.2.12"},
        3306,
        "",
        4444,
        published,
    )


class Told:
    """Stands in for the peer services: node → what it answers."""

    def __init__(self, monkeypatch, answers: dict) -> None:
        self.asked: list[tuple[str, dict]] = []
        told = self

        class Node:
            def __init__(self, _service, name, _login) -> None:
                self.name = name

            def ask(self, do, **more):
                told.asked.append((self.name, more))
                answer = answers[self.name]
                if isinstance(answer, Exception):
                    raise answer
                return answer

        monkeypatch.setattr(promotion_run, "Node", Node)


def planned(run_=None) -> promotion_run.PlannedHooks:
    nodes = [type("N", (), {"name": name, "online": True}) for name in ("db1", "db2")]
    return promotion_run.PlannedHooks(
        run_, type("S", (), {"nodes": nodes}), service(), "db1", object(), lambda text: None
    )


def test_a_planned_switchover_is_stopped_before_anything_is_changed(place, monkeypatch):
    configure(place, {"command": ["/bin/false"]})
    told = Told(
        monkeypatch, {"db1": {"failed": ["critical hook: no"], "run": ["h0"]}, "db2": {"failed": [], "run": []}}
    )
    assert planned().before() == ["on db1: critical hook: no"]
    assert [name for name, more in told.asked if "forget" not in more] == ["db1"]
    # A failover that follows is not planned, on any node.
    assert [(name, more["planned"]) for name, more in told.asked if more.get("forget")] == [
        ("db1", False),
        ("db2", False),
    ]


def test_a_node_that_cannot_be_asked_matters_when_its_hooks_are_critical(place, monkeypatch):
    gone = HafailoverError("no answer")
    configure(place, {"command": ["/bin/true"]})
    Told(monkeypatch, {"db1": {"failed": [], "run": ["h0"]}, "db2": gone})
    assert planned().before() == []
    configure(place, {"command": ["/bin/true"], "on": "all"})
    Told(monkeypatch, {"db1": {"failed": [], "run": ["h0"]}, "db2": gone})
    assert planned().before() == ["the hooks on db2 cannot be run: no answer"]
    Told(monkeypatch, {"db1": gone, "db2": gone})
    assert planned().before() == ["the hooks on db1 cannot be run: no answer"]


def test_without_hooks_nobody_is_asked(place, monkeypatch):
    told = Told(monkeypatch, {})
    assert planned().before() == []
    assert told.asked == []


def test_a_look_at_what_would_run_again_runs_nothing_and_shows_no_secret(place, monkeypatch):
    configure(place, {"command": ["/bin/dns", "--password=s3cret", "a b"]}, event="post-promote")
    told = Told(monkeypatch, {})
    monkeypatch.setattr(hooks_command, "gather", lambda run: None)
    monkeypatch.setattr(hooks_command, "read", lambda facts: None)
    monkeypatch.setattr(hooks_command, "choose_service", lambda seen, node, name: service())

    def look(event, node):
        return CliRunner().invoke(hooks_command.command, ["run", event, "--node", node, "--dry-run"])

    primary = service().primary
    assert look("post-promote", primary).output.startswith(f"would run on {primary}: h0, at most")
    assert look("post-promote", primary).output.endswith("s: /bin/dns --password=*** 'a b'\n")
    assert "has no post-promote hooks" in str(look("post-promote", "other").exception)
    assert told.asked == []


def test_what_this_node_could_not_run_is_known_before_it_has_to(place, monkeypatch):
    monkeypatch.setattr(hooks_command, "gather", lambda run: None)
    monkeypatch.setattr(hooks_command, "read", lambda facts: type("S", (), {"services": (service(),)}))
    wrong = place / "wrong"
    wrong.write_text("#!/bin/sh\n")
    wrong.chmod(0o644)

    def status(*options):
        return CliRunner().invoke(hooks_command.command, ["status", *options])

    configure(place, {"command": ["/bin/true"]}, {"command": [f"{place}/gone"]}, {"command": [str(wrong)]})
    told = status()
    assert told.exit_code == 1
    assert told.output.splitlines()[1:] == [
        "This node could not run the pre-promote hook h1 of db: cannot be run: No such file or directory",
        "This node could not run the pre-promote hook h2 of db: cannot be run: it is not executable",
    ]
    wrong.chmod(0o757)
    configure(place, {"command": [str(wrong)]})
    (one,) = json.loads(status("-o", "json").output)["unfit"]
    assert one["says"] == "not run as root: others may write it, mode 0757"
    wrong.chmod(0o755)
    done = status("-o", "json")
    assert (done.exit_code, json.loads(done.output)["unfit"]) == (0, [])


def again(place, monkeypatch, *options, input=None, failed=()):
    """Run the hooks of the primary again; what was asked of whom, and what the command said."""
    configure(place, {"command": ["/bin/dns"]}, event="post-promote")
    told = Told(monkeypatch, {service().primary: {"run": ["h0"], "failed": list(failed)}})
    monkeypatch.setattr(hooks_command, "gather", lambda run: None)
    monkeypatch.setattr(hooks_command, "read", lambda facts: None)
    monkeypatch.setattr(hooks_command, "choose_service", lambda seen, node, name: service())
    monkeypatch.setattr(hooks_command.switchover_facts, "credentials", lambda service: (object(), None))
    words = ["run", "post-promote", "--node", service().primary, *options]
    return told.asked, CliRunner(mix_stderr=False).invoke(hooks_command.command, words, input=input)


def test_hooks_are_not_run_again_before_somebody_has_agreed(place, monkeypatch):
    asked, done = again(place, monkeypatch)
    assert asked == [] and "there is no terminal to ask on" in str(done.exception)
    monkeypatch.setattr("hafailover.crm.consent.on_terminal", lambda: True)
    asked, done = again(place, monkeypatch, input="n\n")
    assert asked == [] and done.exception.exit_code == 3 and f"will run on {service().primary}: h0" in done.stderr
    asked, done = again(place, monkeypatch, input="y\n")
    assert len(asked) == 1 and done.stdout.endswith(f"run on {service().primary}: h0\n")


def test_hooks_that_are_run_again_answer_in_json(place, monkeypatch):
    _, done = again(place, monkeypatch, "--yes", "-o", "json", failed=["critical hook: no"])
    found = json.loads(done.stdout)
    assert done.exit_code == 1 and (found["run"], found["failed"]) == (["h0"], ["critical hook: no"])
    _, done = again(place, monkeypatch, "--dry-run", "-o", "json")
    assert json.loads(done.stdout)["would_run"] == ["h0"] and json.loads(done.stdout)["run"] == []


def test_a_switchover_that_is_rolled_back_was_not_planned_for_what_follows(place, monkeypatch):
    configure(place, {"command": ["/bin/true"]})
    told = Told(monkeypatch, {"db1": {}, "db2": HafailoverError("no answer")})
    said: list[str] = []
    made = planned()
    made._say = said.append
    back = Outcome("rolled back", "db2", "db2 is the primary of db as before", (), (), 0.1, "")
    assert made.after(back) == back
    assert [(name, more["forget"]) for name, more in told.asked] == [("db1", True), ("db2", True)]
    assert said == ["note: db2 may run no pre-promote hooks at a failover in the next minutes: no answer"]


DONE = Outcome("done", "db1", "db1 is the primary of db", (), (), 0.1, "")


def test_a_critical_hook_that_fails_afterwards_makes_the_switchover_incomplete(place):
    configure(place, {"command": ["/bin/true"]}, event="post-promote")
    said = (
        'name="hafailover-db-told" host="db1" value="hooks=post-promote=8:failed %7C critical post-promote hook h0: no"'
    )
    outcome = planned(lambda argv, timeout=None, input=None: Result(0, said, "")).after(DONE)
    assert outcome.exit_code == 4
    assert "hafailover hooks run post-promote --service db --node db1" in outcome.left_to_do[0]
    well = said.replace("8:failed %7C critical post-promote hook h0: no", "8:ok %7C ")
    assert planned(lambda argv, timeout=None, input=None: Result(0, well, "")).after(DONE) == DONE


def test_an_interrupt_while_they_are_asked_for_still_says_that_the_role_has_moved(place):
    configure(place, {"command": ["/bin/true"]}, event="post-promote")

    def interrupted(argv, timeout=None, input=None):
        raise KeyboardInterrupt

    outcome = planned(interrupted).after(DONE)
    assert (outcome.result, outcome.primary) == ("incomplete", "db1")
    assert outcome.left_to_do == ("the post-promote hooks on db1 have not ended: hafailover status",)


def test_it_waits_for_those_of_this_switchover(place, monkeypatch):
    configure(place, {"command": ["/bin/true"]}, event="post-promote")
    monkeypatch.setattr(promotion_run, "_LOOK", 0.01)
    answers = ["post-promote=7:failed %7C old", "post-promote=8:running %7C ", "post-promote=8:ok %7C "]

    def tool(argv, timeout=None, input=None):
        return Result(0, f'name="hafailover-db-told" host="db1" value="hooks={answers.pop(0)}"', "")

    assert planned(tool).after(DONE) == DONE
    assert answers == []


def test_status_tells_what_is_of_the_present_reign():
    severities = {
        "post-promote=7:failed | no": [DEGRADED],
        "post-promote=7:warned | no": [NOTE],
        "pre-promote=8:refused | no": [NOTE],
        "post-promote=6:failed | no": [],
        "post-demote=6:failed | no": [DEGRADED],
        "post-promote=7:ok | ": [],
        'nonsense "=x:failed ||': [],
        "pre-promote=²:failed": [],
    }
    for text, expected in severities.items():
        assert [problem.severity for problem in hooks_text.problems(service(db1=text))] == expected, text
