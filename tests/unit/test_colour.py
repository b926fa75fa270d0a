"""Colour only where somebody sees it: of every command, and of the one place that decides it."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Callable

import pytest
from hafailover.crm import cli, colour
from hafailover.crm.commands.tree import walk


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, True),
        ({"NO_COLOR": ""}, True),  # https://no-color.org: "when present and not an empty string"
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": "0"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_who_sees_colour(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], wanted: bool) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert colour.wanted(Terminal()) is wanted
    assert not colour.wanted(io.StringIO())
    closed = io.StringIO()
    closed.close()
    assert not colour.wanted(closed) and not colour.moves(closed)
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert colour.paint() is (colour.coloured if wanted else colour.plain)
    assert colour.paint(err=True) is colour.plain, "each stream is judged by itself"


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs the program on a terminal, as somebody who may do nothing; what the terminal got."""

    def run(*words: str) -> str:
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr("os.geteuid", lambda: 1000)
        with pytest.raises(SystemExit):
            cli.main(list(words))
        return terminal.getvalue()

    return run


VARIABLES = [("NO_COLOR", "1"), ("TERM", "dumb")]
# With these arguments they only look, and as nobody in particular they find nothing.
LOOKING = {
    ("adopt",): [], ("doctor",): [], ("explain",): [], ("history",): [], ("lab", "list"): [], ("promote",): ["db2"],
    ("rejoin",): ["db2"], ("status",): [],
}  # fmt: skip


@pytest.mark.parametrize("words", sorted({one.words for one in walk()}), ids=" ".join)
@pytest.mark.parametrize(("name", "value"), VARIABLES)
def test_no_command_writes_what_only_a_terminal_reads(
    monkeypatch: pytest.MonkeyPatch, on_terminal: Callable[..., str], words: tuple[str, ...], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    for more in (["--help"], ["--nonsense"], *([LOOKING[words]] if words in LOOKING else [])):
        said = on_terminal(*words, *more)
        assert said and "\033" not in said


def test_a_terminal_that_knows_colour_gets_it(monkeypatch: pytest.MonkeyPatch, on_terminal: Callable[..., str]) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\033[" in on_terminal("status")


def test_there_is_one_home() -> None:
    """Nobody else asks for NO_COLOR, or writes a colour's code."""
    root = Path(__file__).resolve().parents[2]
    found = [
        path.relative_to(root).as_posix()
        for room in ("crm", "vagrant", "agents", "hooks")
        for path in (root / room).rglob("*.py")
        if re.search("environ.*NO_COLOR", path.read_text())
        or "\\033[3" in path.read_text()
        or "click.style" in path.read_text()
    ]
    assert found == ["crm/colour.py"]
