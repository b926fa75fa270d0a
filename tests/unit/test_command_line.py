"""What holds for every command: help with an example, options that are explained, one way to try and to agree, JSON, no colour in a log."""

from __future__ import annotations

import json
import re

import click
import pytest
from click.testing import CliRunner
from hafailover.crm import cli
from hafailover.crm.commands.json_answer import JsonCommand
from hafailover.crm.commands.tree import Entry, walk
from hafailover.crm.errors import HafailoverError
from topologies import invoke

ALL = list(walk())
CHANGING = {
    ("adopt",), ("alerts", "retry"), ("alerts", "test"), ("apply",), ("drill",), ("hooks", "run"), ("promote",), ("rejoin",), ("undo",),
}  # fmt: skip
LOOKING = {
    ("alerts",), ("alerts", "status"), ("completion",), ("doctor",), ("explain",), ("generate",), ("history",), ("history", "show"),
    ("hooks",), ("hooks", "status"), ("import",), ("init",), ("lint",), ("plan",), ("schema",), ("simulate",), ("status",),
}  # fmt: skip
WRITING = {("docs",), ("install",), ("render",)}  # files of this machine, or where they are told to
OF_CLUSTERS = [one for one in ALL if not one.of_lab and one.words[0] != "lab"]


def named(entries: list[Entry]) -> object:
    return pytest.mark.parametrize(
        "entry", entries, ids=[" ".join(one.words) + (" (lab)" * one.of_lab) for one in entries]
    )


def options(entry: Entry) -> dict[str, click.Option]:
    return {word: one for one in entry.command.params if isinstance(one, click.Option) for word in one.opts}


def help_of(entry: Entry) -> str:
    return entry.command.get_help(entry.context)


def test_all_are_walked() -> None:
    words = [one.words for one in ALL if not one.of_lab]
    assert {one[0] for one in words} == set(cli.COMMANDS) and len(words) == len(set(words))
    assert {("lab", "power", "off"), ("history", "show"), ("alerts", "test")} <= set(words)
    assert {("drill", "random"), ("drill", "web")} <= {one.words for one in ALL if one.of_lab}


@named(ALL)
def test_the_help_has_an_example_and_fits_a_screen(entry: Entry) -> None:
    text = help_of(entry)
    assert re.search(r"^\s*Examples?\b.*:", text, re.MULTILINE), text
    assert f"hafailover {' '.join(entry.words)}" in text.partition("Example")[2]
    assert [line for line in text.splitlines() if len(line) > 80 or not line.isprintable()] == []
    assert (entry.command.help or "").partition("\n\n")[0].strip().rstrip(".")


@named(ALL)
def test_every_option_is_explained(entry: Entry) -> None:
    for option in options(entry).values():
        assert option.hidden or (option.help and option.help[0].isupper() and option.help[-1] in ".])"), option.opts


def test_of_every_command_it_is_said_whether_it_changes_the_cluster() -> None:
    kinds = (CHANGING, LOOKING, WRITING)
    assert [one.words for one in OF_CLUSTERS if sum(one.words in kind for kind in kinds) != 1] == []
    assert {words for kind in kinds for words in kind} == {one.words for one in OF_CLUSTERS}
    assert {words[0] for words in CHANGING if len(words) == 1} == cli.CHANGING


@named(OF_CLUSTERS)
def test_what_changes_the_cluster_can_be_tried_and_agreed_to_in_the_same_words_and_is_written_down(
    entry: Entry,
) -> None:
    known = options(entry)
    if entry.words not in CHANGING:
        assert not {"--yes", "--reason"} & set(known), "it changes nothing, or is missing in the list"
        return
    assert known["--dry-run"].help == "Say what would be done, and change nothing."
    assert re.match(r"Do not ask[.;]", known["--yes"].help or "")
    assert "--reason" in known and getattr(entry.command, "hafailover_audited", False)


@named([one for one in ALL if "-o" in options(one)])
def test_wrong_usage_is_one_json_document_too(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    option = options(entry)["-o"]
    assert isinstance(option.type, click.Choice) and {"text", "json"} <= set(option.type.choices)
    if entry.words == ("lab", "logs"):  # a line of JSON for each of the journal
        return
    assert isinstance(entry.command, JsonCommand)
    told = invoke(entry.command, "--nonsense", "-o", "json")
    document = json.loads(told.stdout)
    assert (document["result"], document["exit_code"], told.exit_code) == ("usage", 2, 2)
    assert invoke(entry.command, "--nonsense").stdout == ""


@pytest.mark.parametrize(
    "words",
    [
        ["adopt"], ["promote", "db2"], ["rejoin", "db2"], ["explain"], ["doctor"], ["history"], ["history", "show", "x"],
        ["drill", "kill-primary"], ["alerts", "status"], ["alerts", "test", "chat"], ["status", "--check", "--watch"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_refusal_is_one_json_document(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("hafailover.crm.commands.drill.is_node", lambda: True)
    monkeypatch.setenv("HAFAILOVER_ALERTS", "/nonexistent")
    monkeypatch.delenv("HAFAILOVER_LAB", raising=False)
    told = invoke(cli.cli, *words, "-o", "json")
    assert isinstance(told.exception, HafailoverError), told.output
    document = json.loads(told.stdout)
    assert (document["says"], document["exit_code"]) == (str(told.exception), told.exception.exit_code)


@pytest.mark.parametrize(
    "words", [["adopt"], ["promote", "db2"], ["rejoin", "db2"], ["hooks", "run", "post-promote", "--node", "db2"]]
)
def test_nobody_is_asked_where_nobody_is(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    told = invoke(cli.cli, *words)
    assert isinstance(told.exception, HafailoverError) and told.exception.exit_code == 2
    assert "there is no terminal to ask on: add --yes" in str(told.exception)


def test_options_for_a_cluster_s_drill_say_so_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each that the drill of a lab does not know; of which it has none is not guessed."""
    monkeypatch.setattr("hafailover.crm.commands.drill.is_node", lambda: False)
    cluster, lab = (
        {word for one in ALL if one.words == ("drill",) and one.of_lab is of_lab for word in options(one)} for of_lab in (False, True)
    )  # fmt: skip
    for option in sorted(cluster - lab - {"--reason", "--cluster"}):
        told = invoke(cli.cli, "drill", "kill-primary", option, "-o", "json")
        says = f"{option} is for the drill of a cluster, and this machine is no node of one"
        assert (str(told.exception), json.loads(told.stdout)["says"]) == (says, says)
    monkeypatch.setattr("hafailover.crm.commands.drill.is_node", lambda: True)
    told = invoke(cli.cli, "drill", "kill-primary", "--lab", "x", "--dry-run")
    assert "--cluster says otherwise" in str(told.exception)


def test_the_program_has_an_example_too() -> None:
    assert "hafailover status" in CliRunner().invoke(cli.cli, ["--help"]).output.partition("Example")[2]


@pytest.mark.parametrize("words", [["drill"], ["drill", "web"], ["drill", "files"]], ids=" ".join)
def test_a_list_is_json_too(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hafailover.crm.commands.drill.is_node", lambda: False)
    told = invoke(cli.cli, *words, "--list", "-o", "json")
    assert len(json.loads(told.stdout)) > 2 and all(one["summary"] for one in json.loads(told.stdout))


ARGUMENTS = {
    ("alerts", "test"): ["chat"], ("apply",): ["none.yml"], ("drill",): ["kill-primary"], ("promote",): ["db2"], ("rejoin",): ["db2"],
    ("hooks", "run"): ["post-promote", "--node", "db2"],
}  # fmt: skip


@pytest.mark.parametrize("words", sorted(CHANGING), ids=" ".join)
def test_one_entry_of_the_history_says_who_tried_to_change_what(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[dict[str, object]] = []
    monkeypatch.setattr(
        "hafailover.crm.history.record.record", lambda kind, **facts: written.append({"kind": kind, **facts})
    )
    monkeypatch.setattr("hafailover.crm.commands.drill.is_node", lambda: True)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("HAFAILOVER_ALERTS", "/nonexistent")
    monkeypatch.delenv("HAFAILOVER_LAB", raising=False)
    arguments = [*words, *ARGUMENTS.get(words, [])]
    tried = invoke(cli.cli, *arguments, "--dry-run")
    assert written == [] and tried.exception is not None, "here nothing can be looked at"
    told = invoke(cli.cli, *arguments, "--yes", "--reason", "a test")
    begin, end = written
    assert (begin["command"], begin["reason"], begin["phase"], end["phase"]) == (words[0], "a test", "begin", "end")
    assert isinstance(told.exception, HafailoverError)
    assert (end["code"], end["says"], end["token"]) == (told.exception.exit_code, str(told.exception), begin["token"])
