"""Progress: a moving line on a terminal that leaves nothing behind, plain lines with times in a log."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hafailover.agents.mariadb.cloning import notes
from hafailover.crm import progress, rejoin
from hafailover.crm.commands import rejoin as command
from hafailover.crm.progress import Progress, under_way
from hafailover.vagrant import image

CHECKOUT = Path(__file__).resolve().parents[2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard error from now on; no fixture, for pytest puts its own there when a test begins."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return made


def without_times(text: str) -> list[str]:
    lines = text.splitlines()
    assert all(re.match(r" {0,5}\d+\.\d s  ", line) for line in lines)
    return [line.partition(" s  ")[2] for line in lines]


def test_a_log_has_a_line_for_each_step_and_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    say = Progress()
    say("begin")
    for done in range(0, 101, 3):
        say.now("copying", done, 100, f"{done} MiB/s")
    say.now("starting the server")
    say.now("starting the server")
    say.now("nothing new", log=False)
    say.end()
    said = capsys.readouterr()
    assert said.out == "" and "\033" not in said.err and "\r" not in said.err
    percents = [0, 12, 21, 30, 42, 51, 60, 72, 81, 90]
    copied = [f"copying: {one} %, {one} MiB/s" for one in percents]
    assert without_times(said.err) == ["begin", *copied, "starting the server"]


def test_a_log_hears_every_ten_seconds_that_something_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    say = Progress(err=False)
    for _ in range(25):
        say.now("waiting", about=f"{clock[0]:g}")
        clock[0] += 1
    assert capsys.readouterr().out.splitlines() == [
        "   0.0 s  waiting, 100", "  10.0 s  waiting, 110", "  20.0 s  waiting, 120",
    ]  # fmt: skip


def test_a_terminal_has_one_line_that_moves_and_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    say = Progress()
    with say.until_end():
        say.run = "2/3 kill: "
        say.now("copying", 25, 100, "3 MiB/s")
        say("a step [bold]with brackets[/]")
        time.sleep(0.6)
        say.now("hostile \033[2J\r\n" + "x" * 300, 50, 100)
        time.sleep(0.6)
    text = screen.getvalue()
    assert "2/3 kill: copying, 3 MiB/s" in text and "25 %" in text and "50 %" in text
    assert "2/3 kill: a step [bold]with brackets[/]\n" in re.sub(r"\033\[[\d;]*m", "", text)
    assert "\033[2J" not in text and "\033[?25l" not in text, "neither what others wrote, nor a cursor that is gone"
    shown = re.sub(r"\033\[[\d;]*[A-Za-z]", "", text)
    assert all(len(line) <= 80 for line in re.split(r"[\r\n]+", shown))
    assert text.rstrip().endswith("\033[2K") or text.endswith("\033[2K"), "the line is erased at the end"
    screen.truncate(0)
    say("afterwards")
    assert re.fullmatch(r"\0*\s+\d+\.\d s  2/3 kill: afterwards\n", screen.getvalue())


@pytest.mark.parametrize("variable", [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_without_colour(monkeypatch: pytest.MonkeyPatch, variable: tuple[str, str]) -> None:
    screen = terminal(monkeypatch)
    monkeypatch.setenv(*variable)
    say = Progress()
    say.now("copying", 25, 100)
    time.sleep(0.5)
    say.end()
    text = screen.getvalue()
    assert re.findall(r"\033\[[\d;]*3\d[\d;]*m", text) == [] and "copying" in text
    assert variable[0] != "TERM" or "\033" not in text


def test_a_signal_that_is_held_back_does_not_come_in_through_the_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch)
    before = {thread.native_id for thread in threading.enumerate()}
    say = Progress()
    with say.until_end():
        say.now("copying")
        (drawing,) = {thread.native_id for thread in threading.enumerate()} - before
        status = Path(f"/proc/self/task/{drawing}/status").read_text()
        blocked = int(re.search(r"SigBlk:\s*([0-9a-f]+)", status)[1], 16)  # type: ignore[index]
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            assert blocked >> (number - 1) & 1
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_terminal_that_goes_away_stops_nothing() -> None:
    code = (
        "import sys, types, time; p = sys.modules['hafailover'] = types.ModuleType('x'); p.__path__ = [sys.argv[1]]\n"
        "from hafailover.crm.progress import Progress; say = Progress(); say.now('copying', 1, 4); sys.stdin.readline()\n"
        "for done in range(4): say.now('copying', done, 4); say('step'); time.sleep(0.2)\n"
        "say.end(); open(sys.argv[2], 'w').write('done')\n"
        "from hafailover.crm import cli; cli._empty(sys.stderr, sys.__stderr__)"  # as every command ends
    )
    ours, theirs = pty.openpty()
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(CHECKOUT), "/dev/stdout"],
        stdin=subprocess.PIPE, stdout=write, stderr=theirs, env={**os.environ, "TERM": "xterm"}, text=True,
    )  # fmt: skip
    os.close(theirs)
    os.close(write)
    assert os.read(ours, 1000)
    os.close(ours)
    process.communicate("go\n", timeout=30)
    with open(read, encoding="utf-8") as file:
        assert (process.returncode, file.read()) == (0, "done")


def test_only_who_can_tell_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    steps: list[str] = []
    under_way(steps.append, "x", 1, 2)
    under_way(Progress(), "in a log it is a step", 1, 2)
    assert steps == [] and capsys.readouterr().err == ""


def test_rejoin_shows_how_far_the_clone_is(capsys: pytest.CaptureFixture[str]) -> None:
    talk = command._Talk(False, "db", "db2")
    told = {"state": notes.RUNNING, "phase": "copy", "text": "copying from db1", "total": 100 << 20, "rate": 10 << 20}
    for done in range(0, 101, 20):
        talk.progress({**told, "done": done << 20})
    talk.progress({"state": notes.DONE})
    talk.end_line()
    assert without_times(capsys.readouterr().out)[1:3] == [
        "copying from db1: 20 %, 10 MiB/s, 8 s left", "copying from db1: 40 %, 10 MiB/s, 6 s left",
    ]  # fmt: skip
    assert rejoin.pace({"text": "catching up"}) == ""


def test_the_stages_of_an_image() -> None:
    log = ""
    assert image.stage(log) == (0, "starting")
    seen = []
    for line in (
        "I: running apt-get update...", "I: downloading packages with apt...", "I: extracting archives...",
        "I: installing essential packages...", "I: installing remaining packages inside the chroot...",
        "I: running --customize-hook in shell: sh -c 'chroot \"$1\" sh /root/image.sh' exec /x",
        "I: cleaning package lists and apt cache...",
    ):  # fmt: skip
        log += line + "\n"
        seen.append(image.stage(log)[0])
    assert seen == list(range(len(seen)))
    assert image.stage(log)[1] == "tidying up"
