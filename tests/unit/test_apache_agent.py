"""ocf:hafailover:apache with systemd and the control program replaced: what it says, and what it does to what hangs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hafailover.agents import journal, memo, proc, units
from hafailover.agents.apache import agent, life
from hafailover.agents.memo import Memo
from hafailover.agents.ocf import (
    DEGRADED,
    ERR_CONFIGURED,
    ERR_GENERIC,
    ERR_INSTALLED,
    NOT_RUNNING,
    SUCCESS,
    OcfError,
    Result,
)
from hafailover.agents.units import State
from small_servers import answering, silent

RUNNING = State("loaded", "active", "running", os.getpid(), "success", 0)
DEAD = State("loaded", "inactive", "dead", 0, "success", 0)
WELL = b"HTTP/1.1 204 No Content\r\n\r\n"
CONFIGTEST = """AH00558: apache2: Could not reliably determine the server's fully qualified domain name
AH00526: Syntax error on line 4 of /etc/apache2/conf-enabled/x.conf:
Invalid command 'Nonsense'
Action 'configtest' failed.
The Apache error log may have more information.
"""


class Machine:
    """systemd and programs: the state of the unit, what programs answer, what was run."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.ran: list[str] = []
        self.answers: dict[str, Result] = {}

    def run(self, argv: list[str], timeout: float | None = None, input: str | None = None, env: Any = None) -> Result:
        self.ran.append(" ".join(argv))
        if argv[:2] == ["systemctl", "kill"] and "--signal=KILL" in argv:
            self.state = DEAD
        return self.answers.get(argv[0], Result(0, "", ""))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    found = Machine(RUNNING)
    monkeypatch.setattr(journal, "NATIVE", "/nonexistent")
    monkeypatch.setattr(journal, "SYSLOG", "/nonexistent")
    monkeypatch.setattr(memo, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(units, "_RUNTIME", str(tmp_path))
    monkeypatch.setattr(units, "state", lambda ctx, names: dict.fromkeys(names, found.state))
    monkeypatch.setattr("hafailover.agents.context.Context.run", lambda self, *args, **named: found.run(*args, **named))
    Memo("web").write("process", f"{os.getpid()} {proc.started(os.getpid())}")
    return found


def context(port: int, action: str = "monitor", **params: str) -> Any:
    values = {"url": f"http://127.0.0.1:{port}/", "ping": "500ms", **params}
    environ = {f"OCF_RESKEY_{name}": value for name, value in values.items()}
    environ.update(OCF_RESOURCE_INSTANCE="web", OCF_RESKEY_CRM_meta_interval="5000")
    return agent.context(action, environ, 60)


def test_what_is_wrong_with_the_configuration_comes_first(machine: Machine) -> None:
    machine.answers["apache2ctl"] = Result(1, "", CONFIGTEST)
    with pytest.raises(OcfError) as caught:
        life.validate(context(1))
    assert (caught.value.rc, caught.value.reason) == (
        ERR_CONFIGURED,
        "Apache's configuration: Invalid command 'Nonsense' <- AH00526: Syntax error on line 4 of /etc/apache2/conf-enabled/x.conf:",
    )


def test_what_is_not_installed_is_said(machine: Machine) -> None:
    machine.state = DEAD._replace(load="not-found")
    with pytest.raises(OcfError, match=r"apache2\.service is not installed on this node") as caught:
        life.start(context(1))
    assert caught.value.rc == ERR_INSTALLED


def test_systemd_is_told_to_stop_gracefully(machine: Machine, tmp_path: Path) -> None:
    with answering(lambda request: WELL) as port:
        life.start(context(port, "start"))
    text = (tmp_path / "apache2.service.d" / "50-hafailover.conf").read_text()
    assert "ExecStop=\nKillSignal=SIGWINCH\nKillMode=mixed\n" in text
    assert "Restart=no\nExecStopPost=-+/usr/lib/hafailover/service-died web apache\n" in text
    assert Memo("web").read(units.PLANNED) is None


def test_a_second_silence_is_a_failure(machine: Machine) -> None:
    with answering(lambda request: WELL) as port:
        assert life.monitor(context(port)) == SUCCESS
    with silent() as port:
        with pytest.raises(OcfError, match="has not answered within") as caught:
            life.monitor(context(port))
        assert caught.value.rc == DEGRADED
        Memo("web").write("silent", "0.0")
        with pytest.raises(OcfError, match="it hangs") as caught:
            life.monitor(context(port))
        assert caught.value.rc == ERR_GENERIC
    with answering(lambda request: WELL) as port:
        assert life.monitor(context(port)) == SUCCESS
    assert Memo("web").read("silent") is None


def test_a_dead_one_says_how_it_ended(machine: Machine) -> None:
    machine.state = DEAD._replace(active="failed", result="signal")
    machine.answers["journalctl"] = Result(0, "Out of memory\n", "")
    Memo("web").write("process", "1 0")
    with pytest.raises(OcfError) as caught:
        life.monitor(context(1))
    assert (caught.value.rc, caught.value.reason) == (NOT_RUNNING, "apache2.service has ended (signal): Out of memory")
    asked = next(line for line in machine.ran if line.startswith("journalctl"))
    assert asked.endswith("_TRANSPORT=stdout _TRANSPORT=syslog"), (
        "what our own hook has logged in the unit is no word of Apache"
    )


def test_requests_that_do_not_end_are_terminated_and_then_killed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(lambda request: WELL) as port:
        said = life.stop(context(port, "stop", finish="100ms", term="1s"))
    assert said == "killed, for it did not terminate"
    assert Memo("web").read(units.PLANNED) == "", "its end is not reported as a death"
    stop, terminate, kill = (
        line for line in machine.ran if line.startswith("systemctl") and "reload" not in line and "show" not in line
    )
    assert stop == "systemctl --no-block --job-mode=ignore-dependencies stop -- apache2.service"
    assert terminate == "systemctl kill --kill-who=main --signal=TERM -- apache2.service"
    assert kill == "systemctl kill --kill-who=all --signal=KILL -- apache2.service"


def test_one_that_was_stopped_by_a_signal_is_not_woken(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proc, "living", lambda pid: proc.Living("T", proc.started(pid) or ""))
    monkeypatch.setattr(proc, "started", lambda pid: "7")
    Memo("web").write("process", "1 7")
    with silent() as port:
        assert life.stop(context(port, "stop")) == "killed, for it was stopped by a signal"
    kills = [line for line in machine.ran if "kill" in line]
    assert kills == ["systemctl kill --kill-who=all --signal=KILL -- apache2.service"]


@pytest.mark.parametrize(("since", "asked"), [("0.0", False), (None, True)])
def test_one_that_the_monitor_found_hanging_is_not_asked_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, since: str | None, asked: bool
) -> None:
    questions: list[float] = []
    monkeypatch.setattr(life, "_silence", lambda ctx, timeout: questions.append(timeout))
    if since:
        Memo("web").write("silent", since)
    life.stop(context(1, "stop", finish="100ms", term="1s"))
    assert bool(questions) == asked


def test_a_dead_one_is_stopped(machine: Machine) -> None:
    machine.state = DEAD
    assert life.stop(context(1, "stop")) == "it was not running"
    assert machine.ran == []
