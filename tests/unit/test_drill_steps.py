"""The steps on a stage without a lab: what is done, held, waited for and taken back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hafailover.crm.drill import alterations, checks, people
from hafailover.crm.drill.actions import ACTIONS, CONDITIONS, Step
from hafailover.crm.drill.stage import Restore, Stage
from hafailover.crm.drill.steps import TABLE, Steps
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import HafailoverError

TARGET = Target("db", "db-clone", "vip", "192.0.2.100", 24, 3306, "/run/mysqld/mysqld.sock", {"db1": "", "db2": ""})


class FakeLab:
    """Nodes with files; answers commands from ``answers``, or keeps what is written to a file."""

    def __init__(self) -> None:
        self.nodes = {"db1": None, "db2": None, "quorum": None}
        self.data_nodes = ["db1", "db2"]
        self.files = {"/etc/x": "user = repl\npassword = old\n"}
        self.answers: dict[str, tuple[int, str]] = {}
        self.power = "on"
        self.said: list[str] = []

    def states(self) -> dict[str, Any]:
        return dict.fromkeys(self.nodes, SimpleNamespace(power=self.power))

    def power_on(self, node: str) -> None:
        self.said.append(f"power-on {node}")
        self.power = "on"

    def await_boot(self, node: str) -> None:
        pass

    def exec(self, node, argv, timeout=0, input=None, *, check=False):
        if argv[0] == "cat":
            return SimpleNamespace(returncode=0, stdout=self.files[argv[1]], stderr="")
        if argv[0] == "test":
            return SimpleNamespace(returncode=0 if argv[2] in self.files else 1, stdout="", stderr="")
        if argv[0] == "rm":
            del self.files[argv[2]]
        elif input is not None:
            self.files[argv[3]] = input
        code, out = self.answers.get(argv[-1], (0, ""))
        return SimpleNamespace(returncode=code, stdout=out, stderr="")


@pytest.fixture
def lab():
    return FakeLab()


@pytest.fixture
def stage(lab):
    roles = {"primary": "db1", "replica": "db2"}
    return Stage(lab, TARGET, SimpleNamespace(repairs=True), SimpleNamespace(), roles)


def step(action, **parameters):
    return Step(action, parameters)


def test_every_step_and_every_condition_has_its_function():
    assert TABLE.keys() == ACTIONS.keys()
    assert tuple(checks.CONDITIONS) == CONDITIONS


def test_roles_stand_for_nodes_and_other_braces_stay(stage):
    assert stage.words("promote {replica} of {primary} {x} '{'") == "promote db2 of db1 {x} '{'"


def test_a_command_must_end_as_expected_and_say_what_is_expected(stage, lab):
    lab.answers["hafailover promote db2"] = (3, "refused:\n   db2  is\tSTALE")
    wanted = {"node": "primary", "command": "hafailover promote {replica}", "within": "9s"}
    people.run(stage, step("run", exit=3, says="{replica} is STALE", **wanted))
    with pytest.raises(HafailoverError, match="exit code 3 instead of 0: …refused: db2 is STALE"):
        people.run(stage, step("run", exit=0, **wanted))
    with pytest.raises(HafailoverError, match="does not say 'db1 is STALE'"):
        people.run(stage, step("run", exit=3, says="{primary} is STALE", **wanted))


def test_an_edited_and_a_made_file_are_as_before_when_all_is_taken_back(stage, lab):
    before = dict(lab.files)
    alterations.edit(
        stage, step("edit", node="db1", file="/etc/x", pattern="^password.*$", replacement="password = new")
    )
    alterations.file(stage, step("file", node="db1", file="/etc/y", text="a\nb\n"))
    assert lab.files == {"/etc/x": "user = repl\npassword = new\n", "/etc/y": "a\nb\n"}
    lab.power = "off"
    alterations.repair(stage, step("repair"))
    assert (lab.files, lab.said, stage.restores) == (before, ["power-on db1"], [])


def test_an_edit_that_changes_nothing_is_a_mistake(stage):
    with pytest.raises(HafailoverError, match="nothing in /etc/x on db1 matches"):
        alterations.edit(stage, step("edit", node="db1", file="/etc/x", pattern="^nothing", replacement=""))
    with pytest.raises(HafailoverError, match="is there already"):
        alterations.file(stage, step("file", node="db1", file="/etc/x", text=""))


def test_all_is_taken_back_even_if_something_cannot_be(stage):
    done = []

    def fail() -> None:
        raise HafailoverError("no")

    stage.restores += [Restore("a", "", lambda: done.append("a")), Restore("b", "", fail)]
    stage.restores.append(Restore("c", "", lambda: done.append("c")))
    with pytest.raises(HafailoverError, match="b: no"):
        Steps(stage).undo()
    assert done == ["c", "a"]


def looking(monkeypatch, *answers):
    """Let the condition "settled" answer so, the last for ever."""
    told = list(answers)
    monkeypatch.setitem(checks.CONDITIONS, "settled", lambda stage, step: told.pop(0) if len(told) > 1 else told[0])


def test_what_must_hold_fails_the_first_time_it_does_not(stage, monkeypatch):
    looking(monkeypatch, None, None, "db1 is off", None)
    with pytest.raises(HafailoverError, match=r"settled, but after \d+\.\d s: db1 is off"):
        checks.hold(stage, step("hold", that="settled", node="primary", **{"for": "5s"}))
    looking(monkeypatch, None)
    checks.hold(stage, step("hold", that="settled", node="primary", **{"for": "300ms"}))


def test_what_is_waited_for_may_fail_until_the_time_is_up(stage, monkeypatch):
    looking(monkeypatch, "not yet", "not yet", None)
    checks.wait(stage, step("wait", until="settled", node="primary", within="60s"))
    assert stage.rejoined is not None
    looking(monkeypatch, "db1 is off")
    with pytest.raises(HafailoverError, match=r"db1 is off within 0\.3 s"):
        checks.wait(stage, step("wait", until="settled", node="primary", within="300ms"))


def test_a_client_is_served_when_a_write_it_began_since_is_acknowledged(stage):
    stage.conditions.last_acknowledged = lambda: SimpleNamespace(start=stage.began - 1)
    assert checks.serving(stage, step("wait")) is not None
    assert checks.silent(stage, step("hold")) is None
    stage.conditions.last_acknowledged = lambda: SimpleNamespace(start=stage.began + 1)
    assert checks.serving(stage, step("wait")) is None
    assert checks.silent(stage, step("hold")) is not None
