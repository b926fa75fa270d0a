"""With ``-o json`` standard output is one JSON document, whatever ends the command; its exit code and its sentence stay what they were."""

import json

import click
import pytest
from hafailover.crm import cli, local
from hafailover.crm.commands import apply, generate, import_, lint, plan, simulate, undo
from hafailover.crm.commands.json_answer import JsonCommand, give, known
from hafailover.crm.errors import HafailoverError, IncompleteError, RefusedError, UsageError
from topologies import BASE, invoke

COMMANDS = {
    "apply": apply.command,
    "generate": generate.command,
    "import": import_.command,
    "lint": lint.command,
    "plan": plan.command,
    "simulate": simulate.command,
    "undo": undo.command,
}


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "t.yml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("name", COMMANDS)
def test_of_every_command_a_file_that_is_not_there(name, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "installed", lambda program: True)
    monkeypatch.setattr(undo.undo_store, "DIRECTORY", tmp_path)
    monkeypatch.setattr(undo.os, "geteuid", lambda: 0)
    fail = ["--fail", "db1"] if name == "simulate" else []
    told = invoke(COMMANDS[name], "7" if name == "undo" else tmp_path / "none", *fail, "-o", "json")
    document = json.loads(told.stdout)
    assert isinstance(told.exception, HafailoverError)
    assert (document["says"], document["exit_code"]) == (str(told.exception), told.exception.exit_code)
    assert document["schema"] == 1 and document["result"] in ("usage", "refused")


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("asked", [["-o", "json"], ["--output", "json"], ["--output=json"], ["-ojson"]])
def test_of_every_command_a_wrong_option(name, asked):
    told = invoke(COMMANDS[name], *asked, "--nonsense")
    assert told.exit_code == 2
    assert "No such option" in json.loads(told.stdout)["says"] and "No such option" in told.stderr
    assert invoke(COMMANDS[name], "--nonsense").stdout == ""


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("lint", [], "say what to look at"),
        ("lint", ["--live", "x"], "--live looks at the running cluster"),
        ("import", [], "say what to import"),
        ("simulate", ["--fail", "x"], "say what to simulate"),
        ("simulate", ["x"], "Missing option"),
        ("plan", [], "Missing argument"),
    ],
)
def test_wrong_usage(name, arguments, says):
    told = invoke(COMMANDS[name], *arguments, "-o", "json")
    document = json.loads(told.stdout)
    assert says in document["says"] and (document["result"], document["exit_code"]) == ("usage", 2)


@pytest.mark.parametrize("name", ["apply", "generate", "lint", "plan", "simulate"])
def test_a_topology_that_is_wrong_in_itself(name, file, monkeypatch):
    monkeypatch.setattr(local, "installed", lambda program: True)
    fail = ["--fail", "db1"] if name == "simulate" else []
    told = invoke(COMMANDS[name], file(BASE.replace("type: mariadb", "type: mariad")), *fail, "-o", "json")
    assert json.loads(told.stdout)["says"] == str(told.exception)
    assert isinstance(told.exception, UsageError) and "t.yml:" in str(told.exception)


def test_the_program_says_it_on_standard_error_too(capsys, tmp_path):
    for arguments in (["lint", "none.yml", "--format", "json"], ["lint", "--format=json", "--nonsense"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        said = capsys.readouterr()
        assert ended.value.code == json.loads(said.out)["exit_code"] == 2
        assert json.loads(said.out)["says"] in said.err


def test_generate_gives_the_text_and_what_it_lacks(file):
    shown = json.loads(invoke(generate.command, file(BASE), "--format", "crmsh", "-o", "json").stdout)
    assert shown["text"] == invoke(generate.command, file(BASE)).stdout
    assert (shown["format"], shown["unsaid"], shown["exit_code"], shown["cluster"]) == ("crmsh", [], 0, "c1")


def _command(error, before=lambda: None):
    @click.command(cls=JsonCommand)
    @click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
    def command(output):
        before()
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "result", "code"),
    [
        (UsageError("so"), "usage", 2),
        (RefusedError("so"), "refused", 3),
        (IncompleteError("so"), "incomplete", 4),
        (HafailoverError("so"), "failed", 1),
        (click.UsageError("so"), "usage", 2),
        (click.ClickException("so"), "failed", 1),
        (OSError(28, "so"), "failed", 1),
    ],
)
def test_every_kind_of_error(error, result, code):
    told = invoke(_command(error), "-o", "json")
    assert json.loads(told.stdout) == {"schema": 1, "result": result, "says": "so", "exit_code": code}
    assert told.exception is error or told.exit_code == code
    assert invoke(_command(error)).stdout == ""


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interruption(error):
    told = invoke(_command(error), "-o", "json")
    assert json.loads(told.stdout) == {"schema": 1, "result": "interrupted", "says": "interrupted", "exit_code": 130}


def test_what_is_known_by_then_is_said_and_nothing_twice():
    report = {"applied": False, "refused": None}
    first = json.loads(invoke(_command(RefusedError("no"), lambda: known(report)), "-o", "json").stdout)
    assert first == {
        "schema": 1, "applied": False, "refused": "no", "result": "refused", "says": "no", "exit_code": 3,
    }  # fmt: skip
    told = invoke(_command(IncompleteError("no"), lambda: (known(report), give({"applied": True}))), "-o", "json")
    assert json.loads(told.stdout) == {"applied": True}


def test_an_apply_that_does_not_settle_says_what_it_did(file, monkeypatch):
    monkeypatch.setattr(local, "installed", lambda program: True)
    monkeypatch.setattr(apply.os, "geteuid", lambda: 0)

    def run(wanted, report, **_others):
        report.update(applied=True, not_running=["db does not run"])

    monkeypatch.setattr(apply, "_run", run)
    told = invoke(apply.command, file(BASE), "--dry-run", "-o", "json")
    document = json.loads(told.stdout)
    assert isinstance(told.exception, IncompleteError)
    assert (document["applied"], document["not_running"], document["refused"]) == (True, ["db does not run"], None)
    assert (document["result"], document["says"]) == ("incomplete", str(told.exception))
