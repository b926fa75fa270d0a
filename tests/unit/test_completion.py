"""What Tab offers, in a real bash and by the functions behind it: names at the right places, and never an error, a question or a wait."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Callable

import click
import pytest
from click.shell_completion import ShellComplete
from hafailover.crm import cli, completion, generate, local, undo_store
from hafailover.crm.commands.tree import walk
from hafailover.crm.formats import cib
from hafailover.vagrant import state
from topologies import BASE, invoke, parse

PROGRAM = Path(__file__).resolve().parents[2] / "bin/hafailover"
CIB = """<cib><configuration><nodes><node id="1" uname="db1"/><node id="2" uname="db2"/><node id="3" uname="$(reboot)"/></nodes>
<resources><primitive id="vip" class="ocf" provider="hafailover" type="vip"/>
<clone id="db-clone"><primitive id="db" class="ocf" provider="hafailover" type="mariadb"/></clone>
<group id="web"><primitive id="apache" class="ocf" provider="heartbeat" type="apache"/></group></resources></configuration></cib>"""


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cluster runs here, no topology is installed, and there is no lab."""
    monkeypatch.setattr(local, "installed", lambda program: False)
    monkeypatch.setattr(completion, "_TOPOLOGY", tmp_path / "none.yml")
    monkeypatch.setattr(undo_store, "DIRECTORY", tmp_path / "none")
    monkeypatch.setattr(state, "names", list)
    monkeypatch.setattr("hafailover.crm.commands.drill.is_node", lambda: True)
    monkeypatch.setenv("HAFAILOVER_ALERTS_CONFIG", "/nonexistent")
    monkeypatch.delenv("HAFAILOVER_LAB", raising=False)
    monkeypatch.delenv("COMP_WORDS", raising=False)
    monkeypatch.chdir(tmp_path)


def offered(line: str) -> list[str]:
    """What is offered after ``line``, whose last word (or "") is being typed."""
    *words, begun = line.split(" ")
    os.environ["COMP_WORDS"] = f"hafailover {line}"
    try:
        found = ShellComplete(cli.cli, {}, "hafailover", cli.VARIABLE).get_completions(words, begun)
    finally:
        del os.environ["COMP_WORDS"]
    return [one.value for one in found]


def answers(monkeypatch: pytest.MonkeyPatch, rc: int, out: str) -> list[float | None]:
    """A cluster that answers this; the deadlines that it was given."""
    given: list[float | None] = []

    def run(argv: list[str], timeout: float | None = None, input: str | None = None) -> local.Result:
        assert argv[0] == "cibadmin" and "--query" in argv
        given.append(timeout)
        return local.Result(rc, out, "")

    monkeypatch.setattr(local, "installed", lambda program: True)
    monkeypatch.setattr(local, "may_ask_cluster", lambda: True)
    monkeypatch.setattr(local, "run", run)
    return given


def test_commands_are_offered_without_being_loaded() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from types import ModuleType; p = sys.modules['hafailover'] = ModuleType('x');"
        "p.__path__ = [sys.argv[1]]; from hafailover.crm.cli import cli; from click.shell_completion import ShellComplete as S;"
        "print(*(one.value for one in S(cli, {}, 'hafailover', 'X').get_completions([], '')));"
        "print(*(name for name in sys.modules if 'crm.commands' in name or 'vagrant' in name), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(PROGRAM.parents[1])], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == sorted(cli.COMMANDS) and done.stderr.strip() == ""


def test_names_come_from_the_cluster_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, 0, CIB)
    assert offered("promote ") == ["db1", "db2"], "what a shell would run is not offered"
    assert offered("rejoin db2 --service ") == ["db"]
    assert offered("promote db2 --stack --leave ") == ["vip", "db-clone", "db", "web", "apache"]
    assert offered("simulate --live --fail d") == ["db1", "db2", "db-clone", "db"]
    assert (
        offered("hooks run post-promote --node ") == offered("history --node ") == offered("explain ") == ["db1", "db2"]
    )
    assert set(asked) == {1.0}


def test_names_of_a_cib_that_pacemaker_s_own_program_gives(
    pacemaker: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = cib.text(generate.configuration(parse()))
    if "<node " not in whole:  # which the cluster itself adds
        whole = whole.replace("<nodes/>", '<nodes><node id="1" uname="db1"/><node id="2" uname="db2"/></nodes>')
    (tmp_path / "cib.xml").write_text(whole)
    monkeypatch.setattr(local, "installed", lambda program: True)
    monkeypatch.setattr(local, "may_ask_cluster", lambda: True)
    monkeypatch.setenv("CIB_file", str(tmp_path / "cib.xml"))
    monkeypatch.setattr(completion, "PATIENCE", 30.0)
    assert offered("promote ") == ["db1", "db2"]
    assert offered("rejoin db1 --service ") == ["db"]
    assert {"db", "vip"} <= set(offered("promote db2 --stack --leave "))


@pytest.mark.parametrize(
    ("rc", "out"), [(124, ""), (102, "not connected"), (0, "<cib"), (0, ""), (0, "<!DOCTYPE a><cib/>")]
)
def test_a_cluster_that_does_not_answer_leaves_the_topology(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rc: int, out: str
) -> None:
    answers(monkeypatch, rc, out)
    assert offered("promote ") == []
    if rc:
        (tmp_path / "none.yml").write_text(BASE)
        assert offered("promote ") == ["db1", "db2"]


def test_who_may_not_ask_the_cluster_does_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = answers(monkeypatch, 0, CIB)
    monkeypatch.setattr(local, "may_ask_cluster", lambda: False)
    (tmp_path / "none.yml").write_text(BASE.replace("db2:", "other:"))
    assert offered("promote ") == ["db1", "other"] and asked == []


def test_the_file_on_the_line_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers(monkeypatch, 0, CIB.replace('"db1"', '"elsewhere"'))
    (tmp_path / "t.yml").write_text(BASE)
    (tmp_path / "cib.xml").write_text(CIB.replace('"db1"', '"saved"'))
    assert offered("render t.yml --node ") == ["db1", "db2"]
    assert offered("simulate t.yml --fail ") == ["db1", "db2", "db", "vip", "quorum-device"]
    assert offered("simulate t.yml --fail db1 --fail d") == ["db2", "db"], "nothing twice"
    assert offered("simulate cib.xml --fail s") == ["saved"]
    assert offered("simulate none.yml --fail e") == ["elsewhere"]


@pytest.mark.parametrize(
    "text", ["", "[]", "nodes: 3", "a: [", "nodes: &a {b: *a}", "\0", "nodes: {1: {}, '-x': {}, 'a b': {}}"]
)
def test_a_topology_that_is_being_written_is_no_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.yml").write_text(text)
    assert [one for one in offered("render t.yml --node ") if one not in ("1", "b")] == []


def test_topologies(tmp_path: Path) -> None:
    for name in ("one.yml", "two.yaml", "three.txt", "sub/four.yml", "sub/five.yml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(BASE)
    for command in ("apply", "plan", "render", "generate", "lint", "simulate", "lab up -t"):
        assert offered(f"{command} ") == ["one.yml", "two.yaml"]
        assert offered(f"{command} sub/f") == ["sub/five.yml", "sub/four.yml"]
    (tmp_path / "none.yml").write_text(BASE)
    assert str(tmp_path / "none.yml") in offered("apply ")
    (found,) = completion.topologies(click.Context(cli.cli), click.Option(["--x"]), "su")
    assert (found.type, found.value) == ("file", "su"), "a directory is the shell's own to complete"
    (tmp_path / "with space.yml").write_text(BASE)
    assert completion.topologies(click.Context(cli.cli), click.Option(["--x"]), "with")[0].type == "file"


def test_what_is_kept_and_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    for name in ("000003.xml", "000012.pending.xml", "x.xml"):
        (tmp_path / "none" / name).write_text("never read")
    assert offered("undo ") == ["12", "3"]
    assert {"kill-primary", "switchover"} <= set(offered("drill ")) and "disk-full" not in offered("drill ")
    assert {"kill-server", "web", "work"} & set(offered("drill --lab x ")) and "disk-full" in offered("drill --lab x ")
    assert "failover" in offered("history --kind ") and "undo" in offered("history --kind ")
    assert "L22=" in offered("lint x.yml --ignore ")
    assert "mariadb" in offered("init --example ")
    assert "quorum" in offered("drill kill-primary --accept ") and "fencing" in offered("promote db2 --accept ")
    assert offered("completion ") == ["bash", "zsh", "fish"]
    assert "cluster" in offered("lab up --packages ")
    assert offered("apply --d") == ["--dry-run"] and "--reason" in offered("apply --r")


def test_nodes_of_a_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    class Found:
        def __init__(self, *names: str) -> None:
            self.plan = type("Plan", (), {"machines": [type("Machine", (), {"name": name}) for name in names]})

    labs = {"one": Found("db1"), "two": Found("db3", "qd"), "broken": None}
    monkeypatch.setattr(state, "names", lambda: list(labs))
    monkeypatch.setattr(state, "read", labs.get)
    assert offered("lab down ") == offered("lab cut --lab ") == offered("drill --lab ") == ["one", "two", "broken"]
    assert offered("lab cut ") == ["db1", "db3", "qd"]
    assert offered("lab power off --lab two ") == ["db3", "qd"]


def test_everything_can_be_completed_everywhere_without_an_error() -> None:
    """Of every argument and option of every command, here, where nothing is known."""
    for entry in walk():
        line = " ".join(entry.words) + (" --lab x" if entry.of_lab and len(entry.words) == 1 else "")
        offered(f"{line} ")
        offered(f"{line} -")
        for parameter in entry.command.params:
            if isinstance(parameter, click.Option) and not parameter.is_flag:
                offered(f"{line} {parameter.opts[-1]} ")


@pytest.mark.parametrize(
    "line", ["nosuch ", "lab nosuch ", "promote db1 --nosuch ", "undo x ", "drill --interval 1y ", "'", '"a ']
)
def test_a_line_that_is_wrong_is_no_error(line: str) -> None:
    variables = {
        **os.environ,
        cli.VARIABLE: "bash_complete",
        "COMP_WORDS": f"hafailover {line}",
        "COMP_CWORD": str(line.count(" ") + 1),
    }
    done = subprocess.run([str(PROGRAM)], env=variables, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_does_not_answer_ends_in_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(completion, "_AT_MOST", 0.2)
    monkeypatch.setattr(completion, "_facts", lambda ctx: time.sleep(20))
    for name, value in {cli.VARIABLE: "bash_complete", "COMP_WORDS": "hafailover promote ", "COMP_CWORD": "2"}.items():
        monkeypatch.setenv(name, value)
    before = signal.getsignal(signal.SIGALRM)
    began = time.monotonic()
    try:
        completion.answer(cli.cli)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < 10 and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    said = capsys.readouterr()
    assert (said.out.strip(), said.err) == ("", "")


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., list[str]]:
    """What a real bash has in COMPREPLY after Tab on a line."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "hafailover").symlink_to(PROGRAM)

    def tab(line: str, **programs_: str) -> list[str]:
        for name, text in programs_.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
        words = line.split(" ")
        text = (
            "source <(hafailover completion bash)\n"
            f"COMP_WORDS=({' '.join(words[:-1])} '{words[-1]}') COMP_CWORD={len(words) - 1} COMP_LINE='{line}' COMP_POINT={len(line)}\n"
            "compopt() { :; }\n"
            '$(complete -p hafailover | sed -n "s/.*-F \\([^ ]*\\).*/\\1/p") hafailover\n'
            'printf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        # Debian's root may ask any cluster; a fake one has to be found first.
        env: Mapping[str, str] = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            ["bash", "--norc", "-c", text],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout.split()

    return tab


def test_in_a_real_bash(shell: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "cluster.yml").write_text(BASE)
    assert shell("hafailover pro") == ["promote"]
    assert shell("hafailover plan ")[:1] == ["cluster.yml"]
    assert shell("hafailover render cluster.yml --node db") == ["db1", "db2"]
    assert shell("hafailover apply cluster.yml --dr") == ["--dry-run"]
    assert shell("hafailover nosuch x") == []


# As bash takes them apart at COMP_WORDBREAKS before anybody is asked.
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("hafailover status --output = js", ["json"]),
        ("hafailover status --output =", ["text", "json"]),
        ("hafailover render cluster.yml --node = db", ["db1", "db2"]),
        ("hafailover history --since 04 : 00 --kind = failo", ["failover"]),
        ("hafailover lint --ignore L22 = no", []),
    ],
)
def test_in_a_real_bash_the_value_behind_an_equals_sign(
    shell: Callable[..., list[str]], tmp_path: Path, line: str, found: list[str]
) -> None:
    (tmp_path / "cluster.yml").write_text(BASE)
    assert shell(line) == found


@pytest.mark.parametrize("name", ["zsh", "fish"])
def test_the_value_behind_an_equals_sign_where_all_of_it_is_one_word(name: str, tmp_path: Path) -> None:
    line = "hafailover status --output=js"
    variables = {"PATH": "/usr/bin:/bin", cli.VARIABLE: f"{name}_complete", "COMP_WORDS": line}
    variables["COMP_CWORD"] = "--output=js" if name == "fish" else "2"
    done = subprocess.run([str(PROGRAM)], env=variables, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "--output=json" in done.stdout.replace(",", "\n").splitlines()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may ask a cluster here")
def test_in_a_real_bash_with_a_cluster(shell: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "cib.xml").write_text(CIB)
    assert shell("hafailover promote ", cibadmin=f"cat {tmp_path}/cib.xml") == ["db1", "db2"]
    began = time.monotonic()
    assert shell("hafailover rejoin x", cibadmin="exec sleep 60") == []
    assert time.monotonic() - began < 20, "a second for the cluster; the rest is this machine's"


@pytest.mark.parametrize("name", completion.SHELLS)
def test_the_script_of_each_shell(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")  # it may be made where there is no such shell
    told = invoke(cli.cli, "completion", name)
    assert told.exit_code == 0 and told.stderr == ""
    assert cli.VARIABLE in told.stdout and f"{name}_complete" in told.stdout and "hafailover" in told.stdout
    program = shutil.which(name, path="/usr/bin:/bin:/usr/local/bin")
    if program:
        (tmp_path / "script").write_text(told.stdout)
        checked = subprocess.run([program, "-n", str(tmp_path / "script")], capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")
    # Without the shell: what it is told has the shape that its script takes apart.
    variables = {
        **os.environ,
        "PATH": "/usr/bin:/bin",
        cli.VARIABLE: f"{name}_complete",
        "COMP_WORDS": "hafailover completion f",
    }
    variables["COMP_CWORD"] = "f" if name == "fish" else "2"
    done = subprocess.run([str(PROGRAM)], env=variables, capture_output=True, text=True, check=True)
    older = ["plain,fish\n"] if name == "fish" else []  # what click printed before 8.4
    assert done.stdout in (["plain,fish\n"] if name == "bash" else ["plain\nfish\n_\n", *older])
