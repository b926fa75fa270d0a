"""The live status: what a terminal is sent, and what a log gets."""

import contextlib
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from hafailover.crm import status_live
from hafailover.crm.colour import coloured, moves
from hafailover.crm.status import Lag, SemiSync
from hafailover.crm.status_judge import judge
from hafailover.crm.status_live import Log, Picture, cut, essence, fitted, folded, picture
from hafailover.crm.status_text import render
from status_samples import status


def seen(name, **changes):
    found = status(name, **changes)
    return render(found, judge(found))


def with_lag(seconds, behind, waiting=0):
    """The healthy screen with a replica that is this far behind."""
    found = status("healthy")
    service = found.services[0]
    replica = service.instances[1]._replace(lag=Lag(seconds, behind, 0))
    service = service._replace(instances=(service.instances[0], replica), semi_sync=SemiSync(True, 1, waiting))
    found = found._replace(services=(service,))
    return render(found, judge(found))


class Screen:
    """A terminal of this size, as much of one as the live status needs."""

    def __init__(self, columns, rows):
        self.columns, self.lines = columns, [""] * rows
        self.at = 0
        self.blank = 0  # moments in which a line that was shown is empty

    def feed(self, text):
        row = 0
        for part in re.split(r"(\033\[[?\d;]*[a-zA-Z]|\r\n)", text):
            if part == "\033[H":
                row, self.at = 0, 0
            elif part == "\r\n":
                row, self.at = row + 1, 0
            elif part == "\033[K":
                self.lines[row] = self.lines[row][: self.at]
            elif part == "\033[J":
                self.lines[row + 1 :] = [""] * (len(self.lines) - row - 1)
            elif part == "\033[2J":
                self.blank += 1
                self.lines = [""] * len(self.lines)
            elif part and not part.startswith("\033"):
                assert len(part) <= self.columns
                self.at = len(part)
                self.lines[row] = part + self.lines[row][self.at :]


def test_a_screen_shows_the_new_picture_and_nothing_of_the_old_one():
    screen = Screen(80, 24)
    for name in ("no-quorum", "healthy", "maintenance-and-ban", "healthy"):
        lines = fitted(seen(name), 80, 24, "every 2 s")
        screen.feed(picture(lines))
        assert [line.rstrip() for line in screen.lines] == [line.rstrip() for line in lines]
        assert screen.lines[-1].startswith("every 2 s")
    assert screen.blank == 0


def test_what_has_no_room_is_counted():
    text = "".join(f"line {number}\n" for number in range(30))
    lines = fitted(text, 80, 10, "every 2 s")
    assert len(lines) == 10
    assert lines[8] == "line 8"
    assert "21 more lines below" in lines[9]


def test_a_narrow_window_cuts_lines_and_keeps_colours_whole():
    line = "\033[31;1mDOWN\033[0m  db has no primary"
    assert cut(line, 6) == "\033[31;1mDOWN\033[0m  "
    assert cut(line, 2) == "\033[31;1mDO\033[0m"
    assert cut(line, 200) == line
    found = status("no-quorum")
    for shown in fitted(render(found, judge(found), coloured), 40, 24, "every 2 s"):
        assert len(re.sub(r"\033\[[\d;]*m", "", shown)) <= 40


@pytest.mark.parametrize("columns", [20, 40, 60, 79])
@pytest.mark.parametrize("name", ["sql-stopped", "maintenance-and-ban", "no-quorum"])
def test_in_a_narrow_window_nothing_of_what_to_do_is_lost(name, columns):
    found = status(name)
    screen = render(found, judge(found), coloured)
    shown = fitted(screen, columns, 200, "every 2 s")
    plain = [re.sub(r"\033\[[\d;]*m", "", line) for line in shown]
    assert max(map(len, plain)) <= columns
    # A word may be broken where it is longer than the line; no letter is lost, none is there twice.
    assert "".join("".join(plain[:-1]).split()) == "".join(re.sub(r"\033\[[\d;]*m", "", screen).split())
    for line in shown:  # no colour runs into the next line
        codes = re.findall(r"\033\[([\d;]*)m", line)
        assert not codes or codes[-1] == "0"


def test_folding():
    assert list(folded("short", 20)) == ["short"]
    assert list(folded("  -> crm_resource --cleanup -r db", 20)) == ["  -> crm_resource", "    --cleanup -r db"]
    assert list(folded("x" * 25, 10)) == ["x" * 10, "  " + "x" * 8, "  " + "x" * 7]
    bold = list(folded("\033[1mone two three\033[0m four", 9))
    assert bold == ["\033[1mone two\033[0m", "  \033[1mthree\033[0m", "  four"]


def test_where_a_line_is_wrapped_makes_no_change():
    """A long name of the cluster puts the node's name, and the time, into the next line."""
    for length in range(20, 75):
        texts = {
            essence(render(found, judge(found)))
            for at in (1000.0, 1002.0, 90000.0)
            for found in [status("healthy", at=at)._replace(cluster="c" * length)]
        }
        assert len({re.sub(r"recorded .*?\(", "", text) for text in texts}) == 1


def test_a_log_gets_a_block_for_each_change_and_the_time():
    out = io.StringIO()
    log = Log(out.write, clock=lambda: 0.0)
    states = (seen("healthy", at=1000.0), seen("healthy", at=1002.0), seen("standby"), seen("standby"), seen("healthy"))
    for text in states:
        log.show(Picture(text, essence(text)))
    blocks = [block.splitlines() for block in out.getvalue().split("=== ")[1:]]
    assert [block[1].split()[0] for block in blocks] == ["OK", "DEGRADED", "OK"]
    assert re.fullmatch(r"1970-01-0\d \d\d:\d\d:\d\d[+-]\d{4}", blocks[0][0])
    assert "\033" not in out.getvalue()


def test_lag_that_comes_and_goes_is_no_change_and_lag_that_grows_is():
    same = {essence(with_lag(0, 0)), essence(with_lag(3, 12)), essence(with_lag(0, 340, waiting=2))}
    assert len(same) == 1
    assert essence(with_lag(45, 9)) not in same
    assert essence(with_lag(None, 9)) not in same


def test_only_a_terminal_that_can_is_drawn_on(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    assert moves(Terminal()) and not moves(io.StringIO())
    for term in ("dumb", ""):
        monkeypatch.setenv("TERM", term)
        assert not moves(Terminal())
    monkeypatch.delenv("TERM")
    assert not moves(Terminal())


def test_watching_ends_in_order(monkeypatch):
    out = io.StringIO()
    texts = iter(["OK  one\n", "OK  one\n", "DOWN  two\n"])

    def look():
        text = next(texts, None)
        if text is None:
            raise KeyboardInterrupt
        return Picture(text, text)

    monkeypatch.setattr(status_live.time, "sleep", lambda _: None)
    status_live.watch(look, 2.0, out, screen=False, stamped=False)
    assert out.getvalue() == "OK  one\nDOWN  two\n"


PROGRAM = """
import sys
from types import ModuleType
package = sys.modules["hafailover"] = ModuleType("hafailover")
package.__path__ = [sys.argv[1]]
from hafailover.crm import local, status_live
count = iter(range(10**6))
def look():
    text = "".join(f"picture {next(count)} line {n}\\n" for n in range(30))
    return status_live.Picture(text, text)
with local.signals_as_interrupt():
    status_live.watch(look, 0.3, sys.stdout, screen=True)
"""


def test_on_a_real_terminal_it_follows_the_windows_size_and_gives_the_screen_back():
    root = str(Path(__file__).resolve().parents[2])
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 60, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    # A group of its own, as a shell gives to each job: in the group of who has no parent in this session nobody can be stopped.
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, root], stdin=slave, stdout=slave, env={**environment, "TERM": "xterm"},
        preexec_fn=os.setpgrp,
    )  # fmt: skip
    said = ""

    def read_until(pattern, seconds=30.0):
        nonlocal said
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([master], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    said += os.read(master, 65536).decode()
            if re.search(pattern, said, re.DOTALL):
                return
        raise AssertionError(f"{pattern} is not in {said!r}")

    try:
        read_until("21 more lines below")
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 60, 0, 0))
        process.send_signal(signal.SIGWINCH)
        read_until("11 more lines below")
        process.send_signal(signal.SIGTSTP)  # Ctrl-Z
        read_until(r"\033\[\?1049l$")
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        said = ""
        process.send_signal(signal.SIGCONT)
        read_until(r"^\033\[\?1049h.*11 more lines below")
        process.send_signal(signal.SIGTERM)
        read_until(r"\033\[\?1049l")
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)
    assert said.startswith("\033[?1049h")
    assert "\033[2J" not in said
    assert said.rstrip().endswith("\033[?1049l")
