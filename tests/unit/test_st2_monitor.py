"""The monitor of ocf:hafailover:st2 with a made-up node: what it restarts, when it gives up, what it says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hafailover.agents import generation, units, web
from hafailover.agents.ocf import DEGRADED, ERR_GENERIC, NOT_RUNNING, SUCCESS, OcfError, Result
from hafailover.agents.st2 import agent, life, look, memory, tend
from hafailover.agents.st2.memory import Memory, Unit
from hafailover.agents.units import State

DEAD = State("loaded", "failed", "failed", 0, "signal", 0)
ENDED = State("loaded", "inactive", "dead", 0, "success", 0)


class Node:
    """What processes, units, brokers and generations there are, and what was run."""

    def __init__(self) -> None:
        self.processes: dict[int, look.Process] = {}
        self.states: dict[str, State] = {}
        self.answers: dict[str, str | None] = {}
        self.remotes: dict[int, set[tuple[str, int]]] = {}
        self.works: dict[tuple[str, int], bool] = {}
        self.ran: list[list[str]] = []
        self.managed = "true"

    def run(self, argv: Sequence[str], timeout: float | None = None, **more: Any) -> Result:
        self.ran.append(list(argv))
        return Result(0, self.managed if argv[0] == "crm_resource" else "last words\n", "")

    @property
    def restarted(self) -> list[str]:
        return [unit for argv in self.ran if "restart" in argv for unit in argv[argv.index("--") + 1 :]]


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Node:
    made = Node()
    monkeypatch.setattr(memory, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(generation, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(look, "process", made.processes.get)
    monkeypatch.setattr(look, "uptime", lambda: 1000.0)
    monkeypatch.setattr(look, "connections", lambda ports: {})
    monkeypatch.setattr(look, "remotes", lambda pid, sockets: made.remotes.get(pid, set()))
    monkeypatch.setattr(units, "state", lambda ctx, names: {name: made.states[name] for name in names})
    monkeypatch.setattr(web, "ask", lambda urls, timeout: {name: made.answers.get(name) for name in urls})
    monkeypatch.setattr(web, "works", lambda brokers, timeout: made.works)
    return made


def monitor(node: Node, **params: str) -> int:
    environ = {f"OCF_RESKEY_{name}": value for name, value in {"units": "active", **params}.items()}
    environ.update({"OCF_RESOURCE_INSTANCE": "w:0", "OCF_RESKEY_CRM_meta_interval": "10000"})
    ctx = agent.context("monitor", environ, 30)
    ctx.run = node.run  # type: ignore[method-assign]
    return tend.monitor(ctx)


def fails(node: Node, rc: int, **params: str) -> str:
    with pytest.raises(OcfError) as caught:
        monitor(node, **params)
    assert caught.value.rc == rc
    return caught.value.reason


def begin(node: Node, *names: str) -> Memory:
    """Units that run, each with a process of its own, started long ago."""
    kept = Memory()
    for pid, name in enumerate(names, 10):
        node.processes[pid] = look.Process("100", "S")
        kept.units[name] = Unit(name, pid, "100")
    memory.save("w", kept)
    return kept


def kill(node: Node, name: str, state: State = DEAD) -> None:
    node.processes.pop(recall().units[name].pid, None)
    node.states[f"{name}.service"] = state


def recall() -> Memory:
    found = memory.load("w")
    assert found is not None
    return found


def test_as_long_as_all_is_well_nothing_is_run(node: Node) -> None:
    begin(node, "st2api", "st2scheduler")
    assert monitor(node) == SUCCESS
    assert node.ran == []


def test_one_that_died_is_restarted_alone_and_the_cluster_is_told(node: Node) -> None:
    begin(node, "st2api", "st2scheduler")
    kill(node, "st2scheduler")
    said = fails(node, DEGRADED)
    assert said == "st2scheduler died (signal): last words; restarted here (1 of 3 allowed)"
    assert node.restarted == ["st2scheduler.service"]
    node.states["st2scheduler.service"] = State("loaded", "activating", "start", 0, "success", 5)
    assert monitor(node) == SUCCESS, "its restart is under way"
    node.states["st2scheduler.service"] = State("loaded", "active", "running", 99, "success", 0)
    node.processes[99] = look.Process("900", "S")
    assert monitor(node) == SUCCESS
    assert recall().units["st2scheduler"].pid == 99
    assert node.restarted == ["st2scheduler.service"]


def test_restarts_that_do_not_help_end(node: Node) -> None:
    begin(node, "st2api", "st2scheduler")
    kill(node, "st2scheduler")
    for _ in range(3):
        fails(node, DEGRADED)
    assert "3 restarts in place within 600 s have not helped" in fails(node, ERR_GENERIC)
    assert len(node.restarted) == 3


def test_none_are_restarted_when_none_may_be(node: Node) -> None:
    begin(node, "st2api", "st2scheduler")
    kill(node, "st2scheduler")
    assert "restarts nothing in place" in fails(node, ERR_GENERIC, restarts="0")
    node.managed = "false"
    assert "the resource is unmanaged, so nothing is restarted" in fails(node, DEGRADED)
    assert node.restarted == []


def test_a_restart_that_does_not_end_is_a_failure(node: Node) -> None:
    kept = begin(node, "st2api", "st2scheduler")
    kept.units["st2scheduler"].restarting(time.monotonic() - 500)
    memory.save("w", kept)
    node.states["st2scheduler.service"] = State("loaded", "deactivating", "stop-sigterm", 7, "success", 5)
    assert "the restart of st2scheduler is not over" in fails(node, ERR_GENERIC)


def test_when_nothing_lives_it_does_not_run(node: Node) -> None:
    begin(node, "st2api", "st2scheduler")
    kill(node, "st2scheduler")
    kill(node, "st2api")
    assert monitor(node) == NOT_RUNNING
    assert node.restarted == []


def test_a_disabled_timer_engine_is_left_alone(node: Node, tmp_path: Path) -> None:
    begin(node, "st2garbagecollector", "st2timersengine")
    kill(node, "st2timersengine", ENDED)
    conf = tmp_path / "st2.conf"
    conf.write_text("[timersengine]\nenable = False\n")
    for _ in range(3):
        assert monitor(node, units="singleton", config=str(conf)) == SUCCESS
    conf.write_text("")
    assert "st2timersengine ended although the cluster did not stop it" in fails(node, DEGRADED, config=str(conf))


def test_who_restarted_it_otherwise_is_noticed(node: Node) -> None:
    begin(node, "st2api", "st2scheduler")
    kill(node, "st2scheduler", State("loaded", "active", "running", 50, "success", 0))
    node.processes[50] = look.Process("900", "S")
    assert "restarted by somebody else" in fails(node, DEGRADED)
    assert node.restarted == []
    assert monitor(node) == SUCCESS


def test_an_api_that_does_not_answer_twice_is_killed_and_restarted(node: Node) -> None:
    begin(node, "st2api", "st2auth")
    node.answers["st2api"] = "has not answered within 5 s"
    assert fails(node, DEGRADED) == "st2api has not answered within 5 s"
    assert node.restarted == []
    assert "has not answered by HTTP in 2 monitors" in fails(node, DEGRADED)
    assert node.restarted == ["st2api.service"]
    assert any("--signal=KILL" in argv and "st2api.service" in argv for argv in node.ran)


def test_an_api_that_has_just_begun_is_left_in_peace(node: Node) -> None:
    kept = begin(node, "st2api")
    node.processes[10] = look.Process(str(990 * 100), "S")
    kept.units["st2api"].started = str(990 * 100)
    memory.save("w", kept)
    node.answers["st2api"] = "refuses connections"
    for _ in range(4):
        assert monitor(node) == SUCCESS


def test_a_worker_without_a_broker_is_restarted_when_there_is_one(node: Node) -> None:
    kept = begin(node, "st2scheduler", "st2auth")
    one, two = ("10.0.0.1", 5672), ("10.0.0.2", 5672)
    kept.brokers = [one, two]
    memory.save("w", kept)
    node.works, node.remotes[10] = {one: True, two: True}, {two}
    assert monitor(node) == SUCCESS
    node.works = {one: False, two: False}
    for _ in range(5):
        assert monitor(node) == SUCCESS, "no broker, no verdict"
    node.works = {one: True, two: False}
    assert monitor(node) == SUCCESS
    assert monitor(node) == SUCCESS
    assert "no connection to a broker that works in 3 monitors" in fails(node, DEGRADED)
    assert node.restarted == ["st2scheduler.service"]


def test_a_new_generation_restarts_once_who_was_there_before(node: Node) -> None:
    begin(node, "st2scheduler", "st2api", "st2notifier")
    node.processes[12] = look.Process("99900", "S")  # st2notifier, a second old
    kept = recall()
    kept.units["st2notifier"].started = "99900"
    memory.save("w", kept)
    generation.mark("mq", "the broker was restarted")
    path = Path(generation.RUN_DIR) / "mq.generation"
    path.write_text(f"1\t{time.time() - 20:.3f}\t\tthe broker was restarted\n")
    assert monitor(node, watch="mq=broker") == SUCCESS
    assert node.restarted == ["st2scheduler.service"], "st2notifier was started since, st2api holds on to nothing"
    node.states["st2scheduler.service"] = State("loaded", "active", "running", 99, "success", 0)
    node.processes[99] = look.Process("99990", "S")
    for _ in range(3):
        assert monitor(node, watch="mq=broker") == SUCCESS
    assert node.restarted == ["st2scheduler.service"]


def test_generations_that_come_too_fast_wait_and_are_not_forgotten(node: Node) -> None:
    kept = begin(node, "st2scheduler")
    kept.generations, kept.anew = {"mq": 1}, time.monotonic()
    memory.save("w", kept)
    (Path(generation.RUN_DIR) / "mq.generation").write_text(f"2\t{time.time():.3f}\t\tagain\n")
    assert monitor(node, watch="mq=broker") == SUCCESS
    assert node.restarted == []
    kept = recall()
    kept.anew = time.monotonic() - 60
    memory.save("w", kept)
    assert monitor(node, watch="mq=broker") == SUCCESS
    assert node.restarted == ["st2scheduler.service"]


def test_an_unmanaged_resource_says_what_should_begin_anew(node: Node) -> None:
    begin(node, "st2scheduler")
    (Path(generation.RUN_DIR) / "mq.generation").write_text(f"1\t{time.time():.3f}\t\tmoved\n")
    node.managed = "false"
    assert "st2scheduler should begin anew (mq: moved)" in fails(node, DEGRADED, watch="mq=broker")
    node.managed = "true"
    assert monitor(node, watch="mq=broker") == SUCCESS
    assert node.restarted == ["st2scheduler.service"]


@pytest.mark.parametrize(("running", "rc"), [([], NOT_RUNNING), (["st2timersengine.service"], SUCCESS)])
def test_what_runs_beside_the_cluster_is_told_and_not_taken_over(
    node: Node, monkeypatch: pytest.MonkeyPatch, running: list[str], rc: int
) -> None:
    monkeypatch.setattr(life, "running", lambda ctx: running)
    environ = {
        "OCF_RESOURCE_INSTANCE": "single",
        "OCF_RESKEY_units": "singleton",
        "OCF_RESKEY_CRM_meta_interval": "27000",
        "OCF_RESKEY_CRM_meta_role": "Stopped",
    }
    assert agent.run(["monitor"], environ) == rc
    assert memory.load("single") is None
