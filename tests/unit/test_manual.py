"""The manual pages: current, complete, and what roff takes without a word."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hafailover.crm import cli, manual
from hafailover.crm.commands.docs import command as docs
from hafailover.crm.commands.tree import walk
from topologies import invoke

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = manual.pages()
# The requests and macros of man(7) that are used; whatever else stood at a line's beginning would be a fault.
MACROS = {".TH", ".SH", ".SS", ".PP", ".TP", ".RS", ".RE", ".nf", ".fi", ".br", ".sp", ".BR", r".\""}


def test_they_are_current() -> None:
    there = {path.name: path.read_text() for path in (CHECKOUT / "man").iterdir()}
    assert there == PAGES, "run: bin/hafailover docs docs/agents --rules docs/lint.md --man man"


def test_every_command_and_option_is_in_one() -> None:
    assert set(PAGES) == {"hafailover.1", *(f"hafailover-{name}.1" for name in cli.COMMANDS)}
    for entry in walk():
        if entry.words == ("lab", "power"):  # what it holds is there
            continue
        page = PAGES[f"hafailover-{entry.words[0]}.1"].replace("\\-", "-")
        assert f"\\fBhafailover {' '.join(entry.words)}\\fR" in page
        for parameter in entry.command.params:
            for word in parameter.opts if parameter.param_type_name == "option" and not parameter.hidden else ():
                assert f"\\fB{word}\\fR" in page


@pytest.mark.parametrize("name", sorted(PAGES))
def test_it_is_roff(name: str) -> None:
    text = PAGES[name]
    lines = text.splitlines()
    assert {line.split(" ")[0] for line in lines if line.startswith((".", "'"))} <= MACROS
    assert lines.count(".nf") == lines.count(".fi") and lines.count(".RE") == sum(
        line.startswith(".RS") for line in lines
    )
    assert re.sub(r"\\(?:[-&e]|f[BRI]|\((?:aq|ga|ha|ti)|\")", "", text).count("\\") == 0, "no other escapes"
    sections = [line[4:] for line in lines if line.startswith(".SH ")]
    assert sections[:3] == ["NAME", "SYNOPSIS", "DESCRIPTION"] and sections[-1] == "SEE ALSO" and "EXAMPLES" in sections
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_groff_has_nothing_to_say(name: str) -> None:
    def groff(text: str) -> subprocess.CompletedProcess[str]:
        argv = ["groff", "-man", "-Kutf8", "-Tutf8", "-ww", "-P-cbou"]
        return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, check=False)

    done = groff(PAGES[name])
    assert (done.returncode, done.stderr) == (0, "")
    assert groff(PAGES[name] + ".NoSuchMacro\n").stderr, "it would say so"
    shown = " ".join(done.stdout.split())
    for example in re.findall(r"^hafailover .*$", PAGES[name].partition(".SH EXAMPLES")[2], re.MULTILINE):
        plain = example.replace("\\-", "-").replace("\\(aq", "'").replace("\\(ti", "~").replace("\\e", "\\")
        assert " ".join(plain.split()) in shown, "an example can be copied as it stands"


def test_the_command_writes_them_and_sees_when_they_are_old(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "man").mkdir()
    arguments = (tmp_path / "agents", "--man", tmp_path / "man")
    assert invoke(docs, *arguments).exit_code == 0
    assert {path.name for path in (tmp_path / "man").iterdir()} == set(PAGES)
    assert invoke(docs, *arguments, "--check").exit_code == 0
    (tmp_path / "man/hafailover.1").write_text("old")
    told = invoke(docs, *arguments, "--check")
    assert "hafailover.1" in str(told.exception) and "--man" in str(told.exception)
    assert "no such directory" in str(invoke(docs, tmp_path / "agents", "--man", tmp_path / "none").exception)


def test_what_somebody_wrote_cannot_become_a_request() -> None:
    assert manual._escaped(".sp -x 'a' \\fB") == "\\&.sp \\-x \\(aqa\\(aq \\efB"
    assert manual._escaped("'br") == "\\&\\(aqbr"
