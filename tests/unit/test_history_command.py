"""``hafailover history``, and what commands that change the cluster leave in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hafailover.agents import inbox
from hafailover.crm import cli
from hafailover.crm.commands import history as history_command
from hafailover.crm.errors import HafailoverError, IncompleteError, RefusedError, UsageError
from hafailover.crm.history import drain
from hafailover.crm.history.audited import audited
from hafailover.crm.history.record import audit, conclude, record, words
from hafailover.crm.pacemaker import PacemakerError

PROGRAM = Path(__file__).parents[2] / "bin/hafailover"


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A node whose cluster does not run, with an inbox."""
    (tmp_path / "inbox").mkdir()
    monkeypatch.setattr(inbox, "DIRECTORY", str(tmp_path / "inbox"))
    monkeypatch.setattr(history_command, "DIRECTORY", str(tmp_path / "store"))

    def none(*_argv, **_more):
        raise PacemakerError("cluster is down")

    monkeypatch.setattr(drain, "run_tool", none)
    return tmp_path / "inbox"


def told(box):
    return [inbox.read(file.read_bytes()) for file in sorted(box.iterdir())]


def history(*argv):
    return CliRunner().invoke(history_command.command, argv, standalone_mode=True)


def test_whoever_looks_mends_the_rights_of_the_inbox(node):
    node.chmod(0o700)
    assert history().exit_code == 0
    assert node.stat().st_mode & 0o7777 == inbox.MODE
    node.rmdir()
    assert history().exit_code == 0
    assert not node.exists(), "where hafailover is not installed, nobody would empty it"


def test_what_was_handed_in_is_shown_at_once(node):
    inbox.put({"kind": "fencing", "node": "db1", "task": "reboot", "rc": "0", "desc": "db1 was rebooted\x1b[31m"})
    inbox.put({"kind": "event", "event": "toy.told", "resource": "toy", "text": "a detail", "level": "notice"})
    done = history()
    assert done.exit_code == 0, done.output
    assert "fencing" in done.output and "db1: done" in done.output and "a detail" not in done.output
    assert "\x1b" not in done.output
    assert "the cluster does not run on this node" in done.output
    everything = history("--all", "-o", "json")
    report = json.loads(everything.stdout)
    assert [entry["kind"] for entry in report["entries"]] == ["fencing", "event"]
    assert report["schema"] == 1 and report["note"]
    shown = history("show", report["entries"][0]["id"])
    assert "+0.00 s  fence" in shown.output
    assert (
        json.loads(history("show", report["entries"][0]["id"], "-o", "json").stdout)["entries"] == report["entries"][:1]
    )


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["show", "x\x1b[2J"], "there is no entry x\ufffd[2J"),
        (["--kind", "failovr"], "nothing is recorded of the kind failovr; there is: fencing"),
        (["--node", "db9"], "nothing is recorded of the node db9; there is: db1"),
        (["--since", "soon"], "--since 'soon' is no time"),
    ],
)
def test_mistakes_are_one_sentence(node, argv, said):
    inbox.put({"kind": "fencing", "node": "db1", "task": "reboot", "rc": "0"})
    error = history(*argv).exception
    assert isinstance(error, UsageError) and str(error).startswith(said)


def test_a_kind_of_which_there_is_nothing_is_an_empty_list(node):
    inbox.put({"kind": "fencing", "node": "db1", "task": "reboot", "rc": "0"})
    done = history("--kind", "failover", "-o", "json")
    assert done.exit_code == 0 and json.loads(done.stdout)["entries"] == []


def test_a_misspelt_kind_is_told_where_nothing_is_recorded(node):
    error = history("--kind", "failovr").exception
    assert isinstance(error, UsageError) and "switchover" in str(error)


def test_json_may_be_asked_for_before_the_word_show(node):
    inbox.put({"kind": "fencing", "node": "db1", "task": "reboot", "rc": "0"})
    name = json.loads(history("-o", "json").stdout)["entries"][0]["id"]
    assert json.loads(history("-o", "json", "show", name).stdout)["entries"][0]["id"] == name
    refused = history("-o", "json", "show", "db1-99")
    told = json.loads(refused.stdout)
    assert (told["result"], told["exit_code"]) == ("usage", 2) and "there is no entry db1-99" in told["says"]


@pytest.mark.parametrize("option", [["--since", "2h"], ["--node", "db1"], ["--kind", "fencing"], ["--all"]])
def test_what_chooses_from_the_list_is_not_for_one_entry(node, option):
    error = history(*option, "show", "db1-1").exception
    assert isinstance(error, UsageError) and "show takes an ID alone" in str(error)


def test_nothing_recorded_yet_and_not_root(node, monkeypatch):
    assert "Nothing of that kind is recorded." in history().stdout
    assert json.loads(history("-o", "json").stdout)["entries"] == []
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "must be run as root" in str(history().exception)


def test_a_store_that_cannot_be_made_is_said(node, monkeypatch):
    (node.parent / "store").write_text("a file in its place")
    assert "cannot be read" in str(history().exception) or "Nothing" in history().output


# -- what commands leave ------------------------------------------------------------------------------------------


def outcome(box, error):
    with pytest.raises(type(error)), audit("apply", ["hafailover", "apply"], "because"):
        raise error
    begin, end = told(box)
    for file in box.iterdir():
        file.unlink()
    assert (begin["kind"], begin["phase"], begin["reason"], begin["what"]) == (
        "audit",
        "begin",
        "because",
        "hafailover apply",
    )
    assert begin["token"] == end["token"]
    return end.get("code"), end.get("says", "")


@pytest.mark.parametrize(("code", "says"), [(1, "rolled back: db9 has received more"), (0, "")])
def test_a_command_that_ends_by_its_exit_code_says_why(node, code, says):
    """promote, rejoin and drill print what came of it and end with a code; the history said "failed", and nobody knew of what."""
    with pytest.raises(SystemExit), audit("promote", ["hafailover", "promote", "db2"]):
        conclude("rolled back: db9 has received more")
        raise SystemExit(code)
    assert (told(node)[1]["code"], told(node)[1].get("says", "")) == (str(code), says)
    for file in node.iterdir():
        file.unlink()
    with pytest.raises(SystemExit), audit("promote", ["hafailover", "promote", "db2"]):
        raise SystemExit(1)
    assert not told(node)[1].get("says"), "of an earlier command in the same program"


def test_who_what_why_and_outcome(node, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "ann")
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.77 50000 192.0.2.11 22")
    with audit("promote", ["hafailover", "promote", "db2"]):
        pass
    begin, end = told(node)
    assert (begin["user"], begin["sudo"], begin["source"], begin["host"]) == (
        "root",
        "ann",
        "192.0.2.77",
        os.uname().nodename,
    )
    assert (end["phase"], end["code"]) == ("end", "0")


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (HafailoverError("it broke"), "1", "it broke"),
        (UsageError("no terminal"), "2", "no terminal"),
        (RefusedError("a check says no"), "3", "a check says no"),
        (IncompleteError("half"), "4", "half"),
        (SystemExit(3), "3", ""),
        (SystemExit(None), "0", ""),
        (SystemExit("text"), "1", ""),
        (KeyboardInterrupt(), "130", ""),
        (ZeroDivisionError("division by zero"), "1", "division by zero"),
        (click.ClickException("wrong"), "1", "wrong"),
    ],
)
def test_every_way_to_end_is_told(node, error, code, says):
    assert outcome(node, error) == (code, says)


def test_a_record_never_raises(node, monkeypatch):
    class Bad:
        def __str__(self):
            raise ValueError

    assert record("audit", what=Bad()) is False
    monkeypatch.setattr(inbox, "DIRECTORY", "/dev/null/nowhere")
    assert record("audit", what="x") is False


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["apply", "t.yml", "--reason", "a b"], "apply t.yml --reason 'a b'"),
        (["x", "--password", "geheim", "y"], "x --password *** y"),
        (["x", "--db-password=geheim"], "x --db-password=***"),
        (["x", "mysql://u:geheim@h/"], "x ***"),
        (["x", "--url=mysql://u:geheim@h/"], "x --url=***"),
        (["x", "--password-file=/etc/x"], "x --password-file=/etc/x"),
        (["x", "--set=db_password=geheim"], "x '--set=db_password=***'"),
        (["x", "--opts", "user=u,password=geheim"], "x --opts 'user=u,password=***'"),
        (["x", "--reason=it said password=geheim here"], "x '--reason=it said password=***'"),
        (["x", "--reason", "see amqp://u:geheim@h/ for it"], "x --reason 'see *** for it'"),
    ],
)
def test_no_secret_is_written_down(argv, said):
    assert words(argv) == said
    assert "geheim" not in words(argv)


def test_no_secret_stands_in_a_reason_or_in_what_was_said(node):
    with pytest.raises(HafailoverError), audit("apply", ["hafailover"], "the new password=geheim"):
        raise HafailoverError("cannot reach amqp://u:geheim@h/\n  twice")
    begin, end = told(node)
    assert (begin["reason"], end["says"]) == ("the new password=***", "cannot reach *** twice")


def test_nobody_hides_behind_a_long_reason(node, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "ann")
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.77 50000 192.0.2.11 22")
    long = "\U0001f600" * 3000
    with audit("promote", ["hafailover", "promote", "db2", "--reason", long], long):
        pass
    (entry,) = json.loads(history("-o", "json").stdout)["entries"]
    facts = entry["steps"][0]["facts"]
    assert entry["who"].startswith("ann (as root) on ") and facts["source"] == "192.0.2.77"
    assert entry["outcome"] == "done" and entry["why"].startswith("\U0001f600" * 20)


def test_a_flood_leaves_room_for_who_gave_a_command(node):
    for _ in range(inbox.MOST + 5):
        inbox.put({"kind": "event", "event": "toy.up"})
    with audit("promote", ["hafailover", "promote", "db2"]):
        pass
    assert len(list(node.iterdir())) == inbox.MOST + 2
    kinds = [one["kind"] for one in json.loads(history("-o", "json").stdout)["entries"]]
    assert sorted(kinds) == ["lost", "switchover"]


def test_a_command_that_could_not_be_written_down_is_told_to_the_journal(node, monkeypatch):
    said = []
    monkeypatch.setattr("hafailover.agents.journal.send", lambda *what: said.append(what[2]))
    monkeypatch.setattr(inbox, "MOST", -1000)
    with audit("promote", ["hafailover", "promote", "db2"]):
        pass
    assert len(said) == 2 and "promote (begin) by" in said[0] and "not recorded" in said[1]
    node.rmdir()
    with audit("promote", ["hafailover", "promote", "db2"]):
        pass
    assert len(said) == 2, "where no history is kept, none is missing"


def tool():
    @click.command()
    @click.option("--dry-run", is_flag=True)
    @click.option("--fail", is_flag=True)
    def command(dry_run, fail):
        if fail:
            raise RefusedError("no")

    return audited("apply", audited("apply", command))


def test_a_look_is_not_written_down_and_a_change_is(node, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["hafailover", "apply", "--fail"])
    runner = CliRunner()
    assert runner.invoke(tool(), ["--dry-run"]).exit_code == 0
    assert runner.invoke(tool(), ["--help"]).exit_code == 0
    assert runner.invoke(tool(), ["--nonsense"]).exit_code == 2
    assert told(node) == []
    runner.invoke(tool(), ["--fail", "--reason", "I must"])
    begin, end = told(node)
    assert (begin["command"], begin["what"], begin["reason"]) == ("apply", "hafailover apply --fail", "I must")
    assert (end["code"], end["says"]) == ("3", "no")


ASKING = sorted(cli.CHANGING & set(cli.COMMANDS) - {"drill"})  # a drill breaks only a lab, which nobody has to agree to


def options(name):
    command = cli.cli.get_command(click.Context(cli.cli), name)
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("name", sorted(cli.CHANGING & set(cli.COMMANDS)))
def test_commands_that_change_the_cluster_take_a_reason(name):
    assert "--reason" in options(name)


@pytest.mark.parametrize("name", ASKING)
def test_commands_that_change_the_cluster_can_be_tried_and_agreed_to(name):
    assert {"--dry-run", "--yes"} <= options(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(
    "argv", [["promote", "db2"], ["adopt"], ["rejoin", "db2"], ["promote", "db2", "--accept-data-loss"]]
)
def test_nobody_is_asked_where_nobody_is(argv):
    done = subprocess.run(
        [str(PROGRAM), *argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "there is no terminal to ask on: add --yes" in done.stderr
