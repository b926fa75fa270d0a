"""The program as a process: what a shell, a timer, a pipe and somebody at a keyboard do to it. Never a traceback."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
import pytest
from hafailover.crm import cli
from hafailover.crm.commands.tree import walk
from hafailover.crm.errors import IncompleteError, RefusedError
from topologies import invoke

PROGRAM = Path(__file__).resolve().parents[2] / "bin/hafailover"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
GROUPS = [entry for entry in walk() if isinstance(entry.command, click.Group)]


@pytest.fixture
def hanging(tmp_path: Path) -> Path:
    """A directory with programs of a cluster that begin and never answer; each says that by a file ``asked``."""
    for name in ("crm_mon", "cibadmin", "crm_simulate"):
        (tmp_path / name).write_text(f"#!/bin/sh\n: > {tmp_path}/asked\nexec sleep 60\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def environment(programs: Path | None = None) -> Mapping[str, str]:
    return {"PATH": f"{programs}:{PATH}" if programs else PATH, "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}


def begun(words: Sequence[str], programs: Path) -> subprocess.Popen[str]:
    """The program, which waits for ``programs`` by now."""
    started = subprocess.Popen(
        [sys.executable, str(PROGRAM), *words],
        env=environment(programs), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not (programs / "asked").exists():
        assert started.poll() is None and time.monotonic() < deadline, started.communicate()
        time.sleep(0.02)
    return started


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may ask a cluster")
@pytest.mark.parametrize(
    "words",
    [["lint", "--live"], ["status"], ["import", "--live", "-o", "json"], ["promote", "db2", "--dry-run"]],
    ids=" ".join,
)
def test_an_interruption_has_its_own_exit_code(words: list[str], hanging: Path) -> None:
    with begun(words, hanging) as started:
        started.send_signal(signal.SIGINT)
        out, err = started.communicate(timeout=30)
    assert (started.returncode, err) == (130, "\nhafailover: interrupted\n")
    if "json" in words:
        assert json.loads(out) == {"schema": 1, "result": "interrupted", "says": "interrupted", "exit_code": 130}
    else:
        assert out == ""


ENTRY = (
    "import sys; from types import ModuleType; sys.modules['hafailover'] = p = ModuleType('hafailover'); p.__path__ = [sys.argv.pop(1)];"
    "from hafailover.crm.start import main; main()"
)


@pytest.mark.parametrize(
    "program", [[str(PROGRAM)], ["-c", ENTRY, str(PROGRAM.parents[1])]], ids=["checkout", "entry point"]
)
@pytest.mark.parametrize("ignored", [False, True])
def test_an_interruption_while_it_is_loaded(program: list[str], ignored: bool, tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(
        f"import time; open({str(tmp_path / 'loading')!r}, 'w'); time.sleep({2 if ignored else 60})"
    )
    before = ["sh", "-c", 'trap "" INT; exec "$0" "$@"'] if ignored else []
    with subprocess.Popen(
        [*before, sys.executable, *program, "status"],
        env={**environment(), "PYTHONPATH": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as started:  # fmt: skip
        while not (tmp_path / "loading").exists():
            assert started.poll() is None
            time.sleep(0.02)
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=30)
    if ignored:
        assert started.returncode == 1 and "AttributeError" in err, "it went on loading, what is no click here"
    else:
        assert (started.returncode, err) == (-signal.SIGINT, "")


@pytest.mark.parametrize(
    "words", [["promote", "db1"], ["rejoin", "db1"], ["adopt"], ["hooks", "run", "post-promote", "--node", "db1"]], ids=" ".join
)  # fmt: skip
@pytest.mark.skipif(os.geteuid() != 0, reason="nobody else gets that far")
def test_without_standard_input_nobody_is_asked(words: list[str]) -> None:
    """As daemons start programs, and ``<&-``."""
    line = 'exec "$0" "$@" <&-'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable, str(PROGRAM), *words],
        env=environment(), capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr.startswith("hafailover: there is no terminal to ask on: add --yes") and "\n" not in done.stderr[:-1]
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nosuch"], 2),
        (["status", "--nosuch"], 2),
        (["plan", "none.yml"], 2),
        (["history", "show"], 2),
        (["init", "--example", "mariadb"], 0),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else str(one),
)
def test_the_exit_code_is_the_same_where_nobody_can_read_why(words: list[str], code: int, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, str(PROGRAM), *words],
            env=environment(), cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=full, timeout=30, check=False,
        )  # fmt: skip
    assert done.returncode == code


@pytest.mark.parametrize(("error", "code"), [(RefusedError("no"), 3), (IncompleteError("half"), 4), (EOFError(), 130)])
def test_whatever_ends_a_command(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def command() -> None:
        raise error

    monkeypatch.setattr(cli.cli, "get_command", lambda ctx, name: command)
    with pytest.raises(SystemExit) as ended:
        cli.main(["status"])
    assert ended.value.code == code
    assert capsys.readouterr().err == (f"hafailover: {error}\n" if str(error) else "\nhafailover: interrupted\n")


@pytest.fixture
def keyboard(tmp_path: Path) -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    for one in (ours, theirs):
        os.close(one)


def read(terminal: int, until: bytes, seconds: float = 30.0) -> bytes:
    found, deadline = b"", time.monotonic() + seconds
    while until not in found and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            found += os.read(terminal, 65536)
    return found


QUESTION = """
import sys
from types import ModuleType
package = sys.modules["hafailover"] = ModuleType("hafailover")
package.__path__ = [sys.argv.pop(1)]
import click
from hafailover.crm import cli, consent
from hafailover.crm.history import record
record.record = lambda kind, **facts: print(facts["phase"], facts.get("code"), repr(facts.get("says")))
from hafailover.crm.history.audited import audited

@click.command()
@consent.options()
def command(dry_run, yes):
    consent.need_somebody(yes, dry_run)
    click.confirm("Really?", err=True)

cli.cli.get_command = lambda ctx, name: audited(name, command)
cli.main()
"""


@pytest.mark.parametrize("key", [b"\x03", b"\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_a_question_that_is_not_answered_is_an_interruption_in_the_history_too(
    key: bytes, keyboard: tuple[int, int]
) -> None:
    ours, theirs = keyboard
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", sys.executable, "-c", QUESTION, str(PROGRAM.parents[1]), "promote"],
        env=environment(), stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, text=True,
    ) as started:  # fmt: skip
        assert b"Really?" in read(ours, b"Really?")
        os.write(ours, key)
        out, _ = started.communicate(timeout=30)
    said = read(ours, b"interrupted", 5.0)
    assert (started.returncode, out.split()) == (130, ["begin", "None", "None", "end", "130", "''"])
    assert b"hafailover: interrupted" in said and b"Traceback" not in said


def test_all_groups_are_here() -> None:
    assert {("history",), ("lab",), ("lab", "power"), ("alerts",), ("hooks",)} <= {entry.words for entry in GROUPS}


@pytest.mark.parametrize("entry", GROUPS, ids=lambda entry: " ".join(entry.words))
def test_a_mistyped_command_is_answered_with_what_was_meant(entry: object) -> None:
    """Of the program itself and of every command that has commands."""
    command = entry.command  # type: ignore[attr-defined]
    for name in command.commands:
        mistyped = f"{name[0]}{name[2:]}{name[1]}x"
        told = invoke(cli.cli, *entry.words, mistyped)  # type: ignore[attr-defined]
        assert told.exit_code == 2 and f"there is no command '{mistyped}'" in told.stderr
        assert "did you mean '" in told.stderr or all(one in told.stderr for one in command.commands)
    far = invoke(cli.cli, *entry.words, "qqqq")  # type: ignore[attr-defined]
    assert far.exit_code == 2 and all(one in far.stderr for one in command.commands)
    almost = max(command.commands, key=len)
    assert f"did you mean '{almost}'?" in invoke(cli.cli, *entry.words, almost + "x").stderr  # type: ignore[attr-defined]


AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
FOR_ROOT = [
    ["adopt", "--yes"], ["doctor"], ["drill", "kill-primary", "--cluster", "--yes"], ["explain"], ["history"],
    ["promote", "db2", "--yes"], ["rejoin", "db2", "--yes"], ["undo", "--yes"],
]  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
@pytest.mark.parametrize("words", FOR_ROOT, ids=" ".join)
def test_who_is_not_root_is_told_in_one_sentence_how_to_go_on(words: list[str]) -> None:
    done = subprocess.run(
        [*AS_NOBODY, "/usr/bin/python3", str(PROGRAM), *words],
        env=environment(), cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode in (1, 2) and done.stdout == ""
    assert done.stderr.startswith("hafailover: ") and done.stderr.endswith("run it again with sudo\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
@pytest.mark.skipif(shutil.which("crm_mon", path=PATH) is not None, reason="Pacemaker is installed here")
def test_a_program_that_is_not_there_is_not_a_lack_of_rights(tmp_path: Path) -> None:
    """As under sudo -u, with root's PATH, of which one directory is closed to others."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    done = subprocess.run(
        [*AS_NOBODY, "/usr/bin/python3", str(PROGRAM), "hooks", "status"],
        env=environment(closed), cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "hafailover: cibadmin is not installed on this node; run this on a node of the cluster\n"


UNREAD = """
import os, sys, time
from types import ModuleType
package = sys.modules["hafailover"] = ModuleType("hafailover")
package.__path__ = [sys.argv.pop(1)]
import click
from hafailover.crm import cli, progress
from hafailover.crm.commands import adopt, apply, promote_talk, undo

@click.command()
def command():
    words = [progress.tell, apply._say, undo._say, promote_talk.Talk("text").say, promote_talk.Talk("json").say, progress.Progress(),
             adopt._Talk("text").say, adopt._Talk("json").say]
    for say in words:
        say("on its way")
    os.write(int(sys.argv[2]), b"all of it")

cli.cli.get_command = lambda ctx, name: command
cli.main(["promote"])
"""


@pytest.mark.parametrize("where", ["a pipe that nobody reads", "a full disk", "a terminal that is gone"])
def test_what_was_begun_is_brought_to_its_end_where_nobody_reads_of_it(where: str) -> None:
    """And the exit code tells how that ended."""
    ours, theirs = {
        "a pipe that nobody reads": os.pipe,
        "a full disk": lambda: (os.open("/dev/null", os.O_RDONLY), os.open("/dev/full", os.O_WRONLY)),
        "a terminal that is gone": pty.openpty,
    }[where]()
    os.close(ours)
    done, tells = os.pipe()
    ended = subprocess.run(
        [sys.executable, "-c", UNREAD, str(PROGRAM.parents[1]), "-", str(tells)],
        env=environment(), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, pass_fds=[tells], timeout=30, check=False,
    )  # fmt: skip
    for one in (theirs, tells):
        os.close(one)
    with open(done, "rb") as found:
        assert (found.read(), ended.returncode) == (b"all of it", 0)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("crm_mon", path=PATH) is not None, reason="as root, without Pacemaker"
)
def test_where_there_is_no_pacemaker_nobody_is_told_to_start_it() -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "status", "-o", "json"],
        env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "a node of the cluster" in json.loads(done.stdout)["advice"]


def test_one_scenario_is_named_for_a_mistyped_one() -> None:
    told = invoke(cli.cli, "drill", "kil-primary", "--lab", "x")
    assert (
        str(told.exception)
        == "unknown scenario 'kil-primary'; did you mean 'kill-primary'? 'hafailover drill --list' shows them all"
    )
    assert "allowed: " in str(invoke(cli.cli, "drill", "qqqq", "--lab", "x").exception)
