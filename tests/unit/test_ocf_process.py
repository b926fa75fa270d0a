"""Nothing that an agent starts outlives its time, and nothing hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hafailover.agents import process
from hafailover.agents.process import Result
from wire import wait_until

CHECKOUT = Path(__file__).resolve().parents[2]


def sh(script: str, timeout: float = 10, input: str | None = None) -> Result:
    return process.run("/bin/sh", ["sh", "-c", script], timeout, {"PATH": os.environ["PATH"]}, input)


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_result() -> None:
    result = sh("echo out; echo err >&2; exit 3")
    assert (result.rc, result.out, result.err, result.timed_out) == (3, "out\n", "err\n", False)
    assert "rc=3" in repr(result)
    assert sh("kill -TERM $$").rc == -signal.SIGTERM


def test_input_and_its_absence() -> None:
    assert sh("cat", input="a" * 200_000).out == "a" * 200_000
    assert sh("cat", input="").out == ""
    assert sh("cat").out == ""
    assert sh("exit 0", input="nobody reads this" * 100_000).rc == 0


def test_output_that_is_not_text() -> None:
    assert sh(r"printf 'a\377b'").out == "a\ufffdb"


def test_much_output_is_read_and_cut() -> None:
    result = sh("head -c 20000000 /dev/zero; head -c 100000 /dev/zero >&2")
    assert result.rc == 0
    assert process.OUTPUT_LIMIT <= len(result.out) <= process.OUTPUT_LIMIT + 65536
    assert len(result.err) == 100_000


def test_environment_is_what_is_given() -> None:
    assert sh("env | grep -v -e '^_' -e '^PWD' -e '^SHLVL'").out == f"PATH={os.environ['PATH']}\n"


def test_child_gets_usual_signals() -> None:
    """Python ignores SIGPIPE; a shell pipeline that inherits that goes on for ever."""
    assert sh("yes | head -1").out == "y\n"


def test_program_is_killed_at_its_time_with_all_descendants() -> None:
    begun = time.monotonic()
    result = sh("echo begun; sleep 60 & echo $!; sh -c 'sleep 60 & echo $!; wait' & wait", timeout=0.3)
    assert time.monotonic() - begun < 30
    assert (result.rc, result.timed_out) == (-signal.SIGKILL, True)
    word, *pids = result.out.split()
    assert word == "begun"
    assert len(pids) == 2
    wait_until(lambda: not any(alive(pid) for pid in pids))


def test_program_that_ignores_signals_is_killed() -> None:
    assert sh("trap '' TERM INT HUP; while :; do sleep 1; done", timeout=0.2).timed_out


def test_no_time_is_no_time() -> None:
    begun = time.monotonic()
    assert sh("sleep 60", timeout=0).timed_out
    assert time.monotonic() - begun < 30


def test_daemon_that_keeps_the_output_open_is_not_waited_for() -> None:
    begun = time.monotonic()
    result = sh("sleep 60 & echo $!; exit 0")
    assert time.monotonic() - begun < 30
    assert result.rc == 0
    os.kill(int(result.out), signal.SIGKILL)


def test_nothing_is_left_open() -> None:
    before = open_files()
    for _ in range(3):
        sh("echo x", input="y")
        sh("sleep 9", timeout=0.01)
    with pytest.raises(FileNotFoundError):
        process.run("/no/such/program", ["x"], 1, {}, "input")
    assert open_files() == before


def test_kernel_without_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert sh("sleep 0.1; echo x; sleep 0.1; exit 4").rc == 4
    assert sh("sleep 60", timeout=0.2).timed_out


def test_find(tmp_path: Path) -> None:
    (tmp_path / "sh").mkdir()
    (tmp_path / "text").write_text("")
    assert process.find("sh", f"{tmp_path}:/bin") == "/bin/sh"
    assert process.find("text", str(tmp_path)) is None
    assert process.find("/bin/sh", "") == "/bin/sh"
    assert process.find("/bin/no-such", "/bin") is None


AGENT = f"""#!/usr/bin/python3 -IS
import sys
module = sys.modules["hafailover"] = type(sys)("hafailover")
module.__path__ = [{str(CHECKOUT)!r}]
from hafailover.agents.ocf import *
agent = Agent("slow", shortdesc="x", longdesc="x")
@agent.action("start", timeout="30s")
def start(ctx):
    try:
        result = ctx.run(["sh", "-c", "sleep 60 & echo $! > $PIDS; wait"])
    except Exception:  # what an agent's author may write: not even this may swallow the end of the action's time
        return 0
    raise OcfError(ERR_GENERIC, f"timed out: {{result.timed_out}}")
agent.main()
"""


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    agent = tmp_path / "slow"
    agent.write_text(AGENT)
    agent.chmod(0o755)
    return agent


def launch(agent: Path, **environ: str) -> tuple[subprocess.Popen[str], str]:
    """The started agent, and the process that it waits for."""
    pids = agent.parent / "pids"
    env = {**os.environ, "PIDS": str(pids), **environ}
    popen = subprocess.Popen([str(agent), "start"], env=env, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_until(lambda: pids.exists() and pids.read_text().strip())
    return popen, pids.read_text().strip()


def test_agent_gives_a_reason_before_pacemaker_kills_it(slow: Path) -> None:
    begun = time.monotonic()
    agent, sleeper = launch(slow, OCF_RESKEY_CRM_meta_timeout="3000")
    error = agent.communicate(timeout=60)[1]
    assert time.monotonic() - begun < 3
    assert agent.returncode == 1
    assert "ocf-exit-reason:timed out: True" in error
    wait_until(lambda: not alive(sleeper))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_agent_that_is_asked_to_end_takes_its_children_along(slow: Path, number: int) -> None:
    agent, sleeper = launch(slow)
    agent.send_signal(number)
    error = agent.communicate(timeout=60)[1]
    assert agent.returncode == 1, "not what a handler makes of an exception"
    assert "ocf-exit-reason:start was ended by a signal" in error
    wait_until(lambda: not alive(sleeper))


def test_kill_of_the_agents_process_group_takes_its_children_along(slow: Path) -> None:
    """What Pacemaker does on a timeout, and when it cancels a monitor that is under way."""
    agent, sleeper = launch(slow)
    os.killpg(agent.pid, signal.SIGKILL)
    agent.communicate(timeout=60)
    wait_until(lambda: not alive(sleeper))


def test_agent_survives_a_reader_that_has_gone(slow: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    agent = subprocess.Popen([str(slow), "meta-data"], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert b"Traceback" not in agent.communicate(timeout=10)[1]
    assert agent.returncode == 0


class _Ended(BaseException):
    pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_between_the_childs_start_and_its_watch_leaves_nothing_behind(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    spawn = os.posix_spawn

    def spawn_and_signal(*args: Any, **more: Any) -> int:
        started.append(spawn(*args, **more))
        # To this thread: an agent has one, and another one of the test run's would let it in.
        signal.pthread_kill(threading.get_ident(), number)
        for _ in range(100):
            pass  # where a handler runs
        return started[0]

    def end(number: int, frame: object) -> None:
        raise _Ended

    monkeypatch.setattr(os, "posix_spawn", spawn_and_signal)
    before = signal.signal(number, end)
    files = open_files()
    begun = time.monotonic()
    try:
        with pytest.raises(_Ended):
            sh("sleep 60 & wait", timeout=60)
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.signal(number, before)
    assert time.monotonic() - begun < 10
    wait_until(lambda: not alive(str(started[0])))
    assert open_files() == files


def test_signals_are_let_in_again_after_a_program_that_cannot_be_started() -> None:
    with pytest.raises(FileNotFoundError):
        process.run("/no/such/program", ["x"], 1, {}, None)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
