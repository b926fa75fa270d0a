"""The frame of the drills under load, with a load and a lab that are made up; and what talks to a program, with a real one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.vagrant import host, state
from hafailover.vagrant.drill import session
from hafailover.vagrant.drill.loads import client, frame, wait
from hafailover.vagrant.drill.loads.client import Client, program
from hafailover.vagrant.drill.loads.command import chosen, command
from hafailover.vagrant.drill.loads.faults import Fault, Stage
from hafailover.vagrant.drill.loads.frame import Load, LoadDrill, Struck
from hafailover.vagrant.drill.loads.programs import pace
from hafailover.vagrant.drill.loads.result import NODE, Column, Run, as_table, seconds, seconds_by_kind
from topologies import invoke

TOLD: list[str] = []


@dataclass(frozen=True)
class MadeUp(Run):
    count: int | None = None
    gaps: Mapping[str, float | None] = seconds_by_kind()
    back: float | None = seconds()


class Asking(Load):
    def goes_on(self, without: str = "") -> None:
        TOLD.append(f"on without {without}" if without else "on")

    def comes_back(self, node: str) -> None:
        TOLD.append(f"back {node}")

    def end(self) -> list[str]:
        TOLD.append("end")
        return []


class Stubborn(Asking):
    def comes_back(self, node: str) -> None:
        raise HafailoverError("nobody is answered")

    def end(self) -> list[str]:
        return ["one had to be killed"]


def strike(stage: Stage) -> None:
    TOLD.append(f"strike {stage.node}")
    stage.goes_on()


def fail(stage: Stage) -> None:
    raise HafailoverError("it was not fenced")


class Drill(LoadDrill[Asking, MadeUp]):
    """Break what is made up."""

    name = "made-up"
    topology = Path("made-up.yml")
    faults = {"hit": Fault("It is hit", strike), "miss": Fault("It fails", fail), "once": Fault("Once", strike, False)}
    default = ("hit",)
    result = MadeUp
    columns = (NODE, Column("n", lambda run: run.count), Column("back s", lambda run: run.back))
    nodes = ("a", "b")
    asking: type[Asking] = Asking

    @contextmanager
    def load(self) -> Iterator[Asking]:
        TOLD.append("load")
        yield self.asking()
        TOLD.append("unload")

    def judged(self, load: Asking, struck: Struck) -> MadeUp:
        TOLD.append("judge")
        return MadeUp(struck.fault, struck.node, struck.problems, count=7, back=struck.back)


class Found(Drill):
    """Break whom it finds."""

    in_turn = False

    def victim(self) -> str:
        return "z"


class Machine:
    """A lab that has these problems, look by look, and none after them; its clients run on this machine."""

    name = "made-up"

    def __init__(self, *looks: list[str]) -> None:
        self.looks = list(looks)

    def problems(self) -> list[str]:
        return self.looks.pop(0) if self.looks else []

    def client_popen(self, argv: Sequence[str], **keywords: Any) -> subprocess.Popen[Any]:
        return subprocess.Popen(argv, **keywords)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    TOLD.clear()
    monkeypatch.setattr(time, "sleep", lambda _: None)


def once(kind: type[Drill] = Drill, fault: str = "hit", node: str | None = "b", *looks: list[str]) -> MadeUp:
    return kind(Machine(*looks)).run(fault, node, lambda text: None)  # type: ignore[arg-type]


def test_a_run_in_its_order() -> None:
    done = once()
    assert TOLD == ["load", "on", "strike b", "on without b", "back b", "end", "judge", "unload"]
    assert (done.ok, done.fault, done.node, done.count) == (True, "hit", "b", 7)
    assert done.back is not None


def test_what_was_acknowledged_is_looked_at_whatever_went_wrong() -> None:
    done = once(fault="miss")
    assert TOLD == ["load", "on", "end", "judge", "unload"], "what is not back need not go on"
    assert (done.problems, done.count, done.back) == (("it was not fenced",), 7, None)

    class Worse(Drill):
        asking = Stubborn

    mine = Fault("Something else", lambda stage: TOLD.append("mine"))
    assert Drill(Machine()).run("hit", "a", lambda text: None, mine).ok  # type: ignore[arg-type]
    assert "mine" in TOLD

    assert once(Worse).problems == ("nobody is answered", "one had to be killed")


def test_a_lab_that_is_not_healthy_is_not_struck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "_HEALTHY_WITHIN", 0.0)
    done = once(Drill, "hit", "b", ["db is not running", "a is off"])
    assert done.problems == ("not healthy: db is not running; a is off (after 0 s)",)
    assert TOLD == []


def test_healthy_is_who_is_so_twice() -> None:
    machine = Machine(["db"], [], ["vip"], [], [], ["not looked at any more"])
    frame.await_health(machine)  # type: ignore[arg-type]
    assert machine.looks == [["not looked at any more"]]


def test_whom_a_fault_strikes() -> None:
    drill, found = Drill(Machine()), Found(Machine())  # type: ignore[arg-type]
    assert chosen(drill, ["hit", "once"], None) == [("hit", "a"), ("hit", "b"), ("once", "a")]
    assert chosen(drill, ["hit", "once"], "b") == [("hit", "b"), ("once", "b")]
    assert chosen(found, ["hit", "hit"], None) == [("hit", None), ("hit", None)]
    assert once(Found, "hit", None).node == "z"
    assert once(Drill, "hit", None).problems == ("say which node to strike",)


def test_a_run_as_json_and_as_a_line() -> None:
    run = MadeUp("hit", "a", (), 3, {"x": 1.23456, "y": None}, 12.3456)
    assert run.as_json() == {
        "fault": "hit",
        "node": "a",
        "problems": [],
        "count": 3,
        "gaps_s": {"x": 1.23, "y": None},
        "back_s": 12.35,
        "ok": True,
    }
    shown = as_table([run, MadeUp("miss", "b", ("it is away",))], Drill.columns).splitlines()
    assert [line.split() for line in shown] == [
        ["fault", "node", "n", "back", "s"],
        ["hit", "a", "3", "12.3", "ok"],
        ["miss", "b", "-", "-", "FAILED"],
        ["miss", "b:", "it", "is", "away"],
        ["2", "runs,", "1", "failed"],
    ]


def test_the_command_runs_each_and_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    @contextmanager
    def made_up(name: str | None, say: object, topology: Path | None, default: Path) -> Iterator[Machine]:
        asked.append((name, topology, default))
        yield Machine()

    monkeypatch.setattr(session, "lab", made_up)
    monkeypatch.setattr(host, "require", lambda: None)
    done = invoke(command(Drill), "hit", "once", "-n", "2", "--lab", "mine", "-o", "json")
    assert done.exit_code == 0
    assert [run["node"] for run in json.loads(done.stdout)["runs"]] == ["a", "b", "a", "a", "b", "a"]
    assert asked == [("mine", None, Path("made-up.yml"))]
    failed = invoke(command(Drill), "miss", "--node", "a")
    assert failed.exit_code == 1
    assert failed.stdout.splitlines()[-2:] == ["miss a: it was not fenced", "1 runs, 1 failed"]
    wrong = invoke(command(Drill), "hit", "--node", "c")
    assert isinstance(wrong.exception, UsageError) and "unknown node 'c'" in str(wrong.exception)
    assert "Break what is made up." in invoke(command(Drill), "--help").stdout
    assert invoke(command(Found), "--node", "a").exit_code == 2, "whom it strikes is not for the user to say"


def test_waiting_says_what_was_left() -> None:
    reasons = iter(["much", "little", None])
    wait.until_none(lambda: next(reasons), 60.0)
    with pytest.raises(HafailoverError, match=r"^little \(after 0 s\)$"):
        wait.until_none(lambda: "little", 0.0)

    def away() -> str | None:
        if next(answers):
            raise HafailoverError("b does not answer")
        return None

    answers = iter([True, True, False])
    wait.until_none(away, 60.0)
    answers = iter([True])
    with pytest.raises(HafailoverError, match=r"^b does not answer \(after 0 s\)$"):
        wait.until_none(away, 0.0)


def test_every_count_has_to_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = {"a": iter(range(5, 99)), "b": iter([0] * 99)}
    monkeypatch.setattr(wait, "GOES_ON_WITHIN", 0.0)
    wait.until_more({"a": (lambda: next(counted["a"]), 1)}, str)
    with pytest.raises(HafailoverError, match="b is behind"):
        wait.until_more(
            {name: (lambda name=name: next(counted[name]), 1) for name in counted},  # type: ignore[misc]
            lambda behind: f"{', '.join(behind)} is behind",
        )


COUNTING = """
import json, sys, time
told = json.loads(sys.stdin.readline())
for number in range(told["times"]):
    sys.stdout.write(json.dumps({"number": number}) + "\\n")
    sys.stdout.flush()
sys.stdout.write(told["last"])
sys.stdout.flush()
sys.stdin.read()
time.sleep(told["lingers"])
"""


def talking(monkeypatch: pytest.MonkeyPatch, times: int = 0, last: str = "", lingers: float = 0) -> Client:
    monkeypatch.setattr(client, "program", lambda name: [sys.executable, "-c", COUNTING])
    return Client(Machine(), "counting", {"times": times, "last": last, "lingers": lingers})  # type: ignore[arg-type]


def test_reading_on_while_the_program_writes_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with talking(monkeypatch, 20_000, '{"number": 20') as told:
        deadline, found = time.monotonic() + 120, 0
        while found < 20_000 and time.monotonic() < deadline:
            found = len(told.said())
        assert [entry["number"] for entry in told.said()] == list(range(20_000)), "and no half line"
        assert told.alive
    assert not told.alive
    assert len(told.said()) == 20_000, "also after its end"


def test_what_a_program_says_of_its_own_failure_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with talking(monkeypatch, 1, "Traceback\nModuleNotFoundError: No module named 'x'\n") as told:
        assert told.stop() is None
        assert told.said() == [{"number": 0}]
        assert told.words == "ModuleNotFoundError: No module named 'x'"


def test_a_program_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_ENDING", 1.0)
    with talking(monkeypatch, lingers=3600) as told:
        deadline = time.monotonic() + 120
        while not told.said() and not told.alive and time.monotonic() < deadline:
            pass
        killed = told.stop()
    assert killed == "what it asked for last did not end within 1 s"


def test_the_programs_import_nothing_of_hafailover() -> None:
    for name in ("cache", "files", "sums", "web", "work"):
        text = Path(program(name)[2], f"{name}.py").read_text()
        assert "hafailover." not in text.replace("of hafailover.", ""), name
        ended = subprocess.run(program(name), input="", capture_output=True, text=True, timeout=60)
        assert "JSONDecodeError" in ended.stderr, "it has been found, and asks for its orders"


def test_turns_that_were_missed_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def wait_for(seconds: float) -> bool:
        clock[0] += seconds
        return clock[0] > 9

    monkeypatch.setattr(pace.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(pace, "_ended", wait_for)
    moments = []
    for number, _ in enumerate(pace.turns(1.0)):
        moments.append(clock[0])
        if number == 1:
            clock[0] += 5.5
    assert moments == [0.0, 1.0, 6.5, 6.5, 7.5, 8.5], "four were missed, one is made up for"


def test_a_lab_that_is_not_named_has_to_run_the_drills_topology(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine, other = (Path(frame.TOPOLOGIES, name) for name in ("mariadb-pair.yml", "mariadb-trio.yml"))

    class Kept:
        topology, topology_file, phase = mine.read_text(), str(mine), state.UP

    monkeypatch.setattr(session.state, "names", lambda: ["running"])
    monkeypatch.setattr(session.state, "read", lambda name: Kept if name == "running" else None)
    monkeypatch.setattr(session, "_runs", lambda name: name == "running")
    monkeypatch.setattr(session.Lab, "open", lambda name: f"opened {name}")

    def used(name: str | None, topology: Path | None, default: Path | None) -> object:
        with session.lab(name, lambda text: None, topology, default=default) as lab:
            return lab

    assert used("running", None, other) == "opened running", "who names it means it"
    assert used(None, None, mine) == "opened running"
    assert used(None, None, None) == "opened running"
    with pytest.raises(UsageError, match="say --lab running if you mean it"):
        used(None, None, other)
    with pytest.raises(UsageError, match="leave --topology out"):
        used("running", other, mine)
