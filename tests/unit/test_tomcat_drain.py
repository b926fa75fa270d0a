"""Draining against Apaches that answer as mod_jk's status worker does, and the monitor's decisions."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hafailover.agents import answers, generation, journal, memo, units
from hafailover.agents.memo import Memo
from hafailover.agents.ocf import DEGRADED, ERR_GENERIC, NOT_RUNNING, SUCCESS, OcfError, Result
from hafailover.agents.tomcat import agent, ajp, drain, life, tend
from hafailover.agents.tomcat.decide import Budget
from hafailover.agents.units import State
from small_servers import answering

QUICK = Budget(0, 60, 30)
_NAMES = {"a": "ACT", "d": "DIS", "s": "STP"}


class Apache:
    """What a status worker knows, and every change it was asked for."""

    def __init__(self) -> None:
        self.activation = {"jvm1": "ACT", "jvm2": "ACT"}
        self.state = {"jvm1": "OK", "jvm2": "OK"}
        self.busy = {"jvm1": [0], "jvm2": [0]}
        self.asked: list[str] = []
        self.reloads_at = -1
        self.refuses = False

    def answer(self, request: bytes) -> bytes:
        query = dict(pair.split("=") for pair in request.split(b" ")[1].decode().partition("?")[2].split("&"))
        lines = []
        if self.refuses:
            lines = ["worker.result.type=ERROR", "worker.result.message=command not allowed in read_only mode"]
        elif query["cmd"] == "update":
            self.asked.append(f"{query['sw']} {query['vwa']}")
            self.activation[query["sw"]] = _NAMES[query["vwa"]]
            if len(self.asked) == self.reloads_at:
                self.activation[query["sw"]] = "ACT"  # a graceful reload came right behind it
            lines = ["worker.result.type=OK"]
        elif query["cmd"] == "recover":
            self.asked.append(f"{query['sw']} recover")
            lines = ["worker.result.type=OK"]
        else:
            for name, activation in self.activation.items():
                busy = self.busy[name][0] if len(self.busy[name]) == 1 else self.busy[name].pop(0)
                lines += [f"worker.{name}.activation={activation}", f"worker.{name}.state={self.state[name]}"]
                lines += [f"worker.{name}.busy={busy}"]
            lines += ["worker.result.type=OK"]
        return ("HTTP/1.1 200 OK\r\n\r\n" + "\n".join(lines) + "\n").encode()


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(journal, "NATIVE", "/nonexistent")
    monkeypatch.setattr(journal, "SYSLOG", "/nonexistent")
    for module in (memo, generation):
        monkeypatch.setattr(module, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(drain, "_POLL", 0.01)
    return tmp_path


@contextlib.contextmanager
def apaches(count: int) -> Iterator[tuple[list[Apache], str]]:
    """So many, and the parameter ``status`` that names them."""
    with contextlib.ExitStack() as stack:
        found = [Apache() for _ in range(count)]
        ports = [stack.enter_context(answering(apache.answer)) for apache in found]
        yield found, " ".join(f"http://127.0.0.1:{port}/jk-status" for port in ports)


def context(status: str = "", action: str = "stop", **params: str) -> Any:
    values = {"unit": "t.service", "ajp": "127.0.0.1:9", "workers": "n1:jvm1 n2:jvm2", "status": status, **params}
    environ = {f"OCF_RESKEY_{name}": value for name, value in values.items()}
    environ.update(OCF_RESOURCE_INSTANCE="app", OCF_RESKEY_CRM_meta_on_node="n1", OCF_RESKEY_CRM_meta_interval="10000")
    return agent.context(action, environ, 60)


def test_every_apache_is_told_and_told_again_after_the_start() -> None:
    with apaches(2) as (known, status):
        known[0].busy["jvm1"] = [2, 2, 1, 0]
        assert drain.drain(context(status), QUICK).startswith("drained in ")
        assert [apache.activation for apache in known] == [{"jvm1": "STP", "jvm2": "ACT"}] * 2
        assert Memo("app").read(drain.DRAINED) == status.replace(" ", "\n")
        assert drain.restore(context(status, "start")) == []
        assert [apache.asked for apache in known] == [["jvm1 s", "jvm1 a"]] * 2
        assert Memo("app").read(drain.DRAINED) is None


def test_sessions_get_their_time_first() -> None:
    with apaches(1) as (known, status):
        drain.drain(context(status), Budget(0.05, 60, 30))
        assert known[0].asked == ["jvm1 d", "jvm1 s"]


def test_a_graceful_reload_meanwhile_is_told_again() -> None:
    with apaches(1) as (known, status):
        known[0].reloads_at = 1
        known[0].busy["jvm1"] = [1, 1, 0]
        drain.drain(context(status), QUICK)
        assert known[0].asked == ["jvm1 s", "jvm1 s"]
        assert known[0].activation["jvm1"] == "STP"


def test_the_last_worker_is_not_drained() -> None:
    with apaches(1) as (known, status):
        known[0].state["jvm2"] = "ERR"
        assert drain.drain(context(status), QUICK) == "not drained"
        assert known[0].asked == []
        assert Memo("app").read(drain.DRAINED) is None


def test_requests_that_do_not_end_are_waited_for_in_vain() -> None:
    with apaches(1) as (known, status):
        known[0].busy["jvm1"] = [1]
        said = drain.drain(context(status), Budget(0, 0.1, 30))
        assert said.startswith("requests are still under way after ")


@pytest.mark.parametrize("status", ["", "http://127.0.0.1:1/jk-status"])
def test_without_an_apache_nothing_waits(status: str) -> None:
    assert drain.drain(context(status), QUICK).startswith("not drained")


def test_an_apache_that_refuses_is_left_to_the_monitor() -> None:
    with apaches(2) as (known, status):
        known[1].refuses = True
        known[0].activation["jvm1"] = "STP"
        known[0].state["jvm1"] = "ERR"
        left = drain.restore(context(status, "start"))
        assert left == [status.split()[1]]
        assert known[0].asked == ["jvm1 a", "jvm1 recover"]
        known[1].refuses = False
        known[1].activation["jvm1"] = "DIS"
        drain.repair(context(status, "monitor"))
        assert known[1].asked == ["jvm1 a"]
        assert Memo("app").read(drain.DRAINED) is None


def test_what_a_person_has_set_stays() -> None:
    with apaches(1) as (known, status):
        known[0].activation["jvm1"] = "DIS"
        drain.repair(context(status, "monitor"))
        assert known[0].asked == []


# -- the monitor ----------------------------------------------------------------------------------------------------------------


def the_unit(monkeypatch: pytest.MonkeyPatch, active: str) -> list[str]:
    """systemd says so; the programs that were run."""
    ran: list[str] = []
    state = State("loaded", active, "", 0, "signal", 0)
    monkeypatch.setattr(units, "state", lambda ctx, names: dict.fromkeys(names, state))

    def run(argv: list[str], timeout: float | None = None, input: str | None = None, env: Any = None) -> Result:
        ran.append(" ".join(argv))
        return Result(0, "java.net.BindException: in use\n", "")

    monkeypatch.setattr("hafailover.agents.context.Context.run", lambda self, *args, **named: run(*args, **named))
    return ran


def test_a_dead_one_tells_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    the_unit(monkeypatch, "failed")
    Memo("app").write(answers.PROCESS, "1 0")
    with pytest.raises(OcfError) as caught:
        tend.monitor(context(action="monitor"))
    assert (caught.value.rc, caught.value.reason) == (
        NOT_RUNNING,
        "t.service has ended (signal): java.net.BindException: in use",
    )


def test_a_silence_is_degraded_and_then_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    the_unit(monkeypatch, "active")
    monkeypatch.setattr(ajp, "silence", lambda address, timeout: "has not answered")
    with pytest.raises(OcfError) as caught:
        tend.monitor(context(action="monitor"))
    assert caught.value.rc == DEGRADED
    Memo("app").write(answers.SILENT, "0.0")
    with pytest.raises(OcfError) as caught:
        tend.monitor(context(action="monitor"))
    assert caught.value.rc == ERR_GENERIC
    monkeypatch.setattr(ajp, "silence", lambda address, timeout: None)
    assert tend.monitor(context(action="monitor")) == SUCCESS
    assert Memo("app").read(answers.SILENT) is None


def test_a_database_that_moved_has_it_restarted_once_and_drained(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = the_unit(monkeypatch, "active")
    monkeypatch.setattr(ajp, "silence", lambda address, timeout: None)
    with apaches(1) as (known, status):
        ctx = context(status, "monitor", watch="db")
        Memo("app").write(life.SEEN, life.generations(ctx))
        assert tend.monitor(ctx) == SUCCESS
        generation.mark("db", "the primary is n2 now")
        known[0].activation["jvm2"] = "STP"
        with pytest.raises(OcfError) as caught:
            tend.monitor(ctx)
        assert caught.value.reason == "db began anew: the restart waits, no other worker takes requests now"
        known[0].activation["jvm2"] = "ACT"
        with pytest.raises(OcfError) as caught:
            tend.monitor(ctx)
        assert (caught.value.rc, caught.value.reason) == (DEGRADED, "db began anew: restarted")
        assert [line for line in ran if "restart" in line] == ["systemctl restart -- t.service"]
        assert known[0].activation["jvm1"] == "STP"
        assert tend.monitor(ctx) == SUCCESS
        assert known[0].activation["jvm1"] == "ACT"
        assert tend.monitor(ctx) == SUCCESS
        assert len([line for line in ran if "restart" in line]) == 1


@pytest.mark.parametrize("writes", [True, False])
def test_a_jvm_that_writes_no_threads_is_not_said_to_have(monkeypatch: pytest.MonkeyPatch, writes: bool) -> None:
    """As one with -Xrs: no jstack is asked, and the signal is not heard."""
    asked: list[tuple[int, int]] = []
    state = State("loaded", "deactivating", "", 4711, "success", 0)
    monkeypatch.setattr(units, "state", lambda ctx, names: dict.fromkeys(names, state))
    monkeypatch.setattr(units, "log", lambda *given: ["Full thread dump OpenJDK"] if writes else ["something else"])
    monkeypatch.setattr(life, "_is_java", lambda pid: True)
    monkeypatch.setattr(life, "_DUMP", 0.05)
    monkeypatch.setattr(life.os, "kill", lambda pid, number: asked.append((pid, number)))

    def stop(ctx: Any, names: list[str], patience: float, before_killing: Any) -> list[str]:
        before_killing(names)
        return names

    monkeypatch.setattr(units, "stop", stop)
    said = life.stop(context())
    assert asked == [(4711, signal.SIGQUIT)]
    assert said.endswith("; killed, its threads are in the journal" if writes else "; killed")
