"""The completion in a real zsh, with Tab on its terminal, and in a real fish."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "bin/hafailover"
PATIENCE = 60.0  # seconds; a Tab starts the program


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "hafailover").symlink_to(PROGRAM)
    return {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "TERM": "dumb"}


def script(environment: dict[str, str], shell: str) -> str:
    argv = [str(PROGRAM), "completion", shell]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout


class Terminal:
    """A zsh that believes that somebody types."""

    def __init__(self, environment: dict[str, str], directory: Path) -> None:
        self.pid, self._fd = pty.fork()
        if not self.pid:
            os.chdir(directory)
            os.execve("/usr/bin/zsh", ["zsh", "-f", "-i"], environment)

    def type(self, keys: str, until: str) -> str:
        """What is on the screen after ``keys``, once ``until`` (a pattern) is."""
        os.write(self._fd, keys.encode())
        seen, end = "", time.monotonic() + PATIENCE
        while not re.search(until, seen):
            assert time.monotonic() < end, f"no {until!r} in {seen!r}"
            if select.select([self._fd], [], [], 0.5)[0]:
                seen += os.read(self._fd, 65536).decode("utf-8", "replace")
        return seen

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._fd)


@pytest.fixture
def zsh(environment: dict[str, str], tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(environment, tmp_path)
    try:
        yield made
    finally:
        made.close()


def completes(zsh: Terminal) -> None:
    zsh.type("hafailover pro\t", "promote ")  # the very first Tab, which loads the function
    zsh.type("\x15hafailover status --output=js\t", "--output=json ")
    assert "fish" in zsh.type("\x15hafailover completion \t\t", "zsh +fish")


def test_zsh_with_the_script_in_its_path(zsh: Terminal, environment: dict[str, str], tmp_path: Path) -> None:
    site = tmp_path / "site-functions"
    site.mkdir()
    (site / "_hafailover").write_text(script(environment, "zsh"))
    zsh.type(f"PROMPT='> '; fpath=({site} $fpath); autoload -U compinit; compinit -u -D; print re''ady\n", "ready")
    completes(zsh)


def test_zsh_that_has_read_the_script(zsh: Terminal) -> None:
    zsh.type(
        "PROMPT='> '; autoload -U compinit; compinit -u -D; . <(hafailover completion zsh) && print re''ady\n", "ready"
    )
    completes(zsh)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("hafailover pro", ["promote"]),
        ("hafailover completion ", ["bash", "fish", "zsh"]),
        ("hafailover status --output=js", ["--output=json"]),
        ("hafailover status --output js", ["json"]),
        ("hafailover nosuch x", []),
    ],
)
def test_fish(environment: dict[str, str], tmp_path: Path, line: str, found: list[str]) -> None:
    (tmp_path / "hafailover.fish").write_text(script(environment, "fish"))
    asked = f"source {tmp_path}/hafailover.fish; complete -C '{line}'"
    argv = ["/usr/bin/fish", "--no-config", "-c", asked]
    done = subprocess.run(
        argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert [text.partition("\t")[0] for text in done.stdout.splitlines()] == found, done.stderr
