"""What a drill leaves that was killed, or whose node has died: any node knows of it, and takes it back."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from types import SimpleNamespace

import pytest
import status_samples
from click.testing import CliRunner
from drills import recorded
from hafailover.crm import local
from hafailover.crm.commands import drill
from hafailover.crm.drill import database, engine, fencers, gameday, kept
from hafailover.crm.drill.actions import Step
from hafailover.crm.drill.cluster_place import ClusterPlace
from hafailover.crm.drill.engine import Drill
from hafailover.crm.drill.gameday import GameDay
from hafailover.crm.drill.judge import Before
from hafailover.crm.drill.ledger import CLIENT, Ledger
from hafailover.crm.drill.reach import Reach, Server
from hafailover.crm.drill.scenario import load
from hafailover.crm.drill.stacks import Hafailover
from hafailover.crm.errors import HafailoverError, IncompleteError, RefusedError

SERVER = Server({}, 3306, "")
ROLES = {"primary": "db1", "replica": "db2"}
STEPS = [Step("heal", {"node": "primary"}), Step("power-on", {"node": "primary"})]


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HAFAILOVER_DRILL_DIR", str(tmp_path / "drills"))
    return tmp_path / "drills"


def written():
    """What a drill of db2 has put into the database; db2's own note is on a disk that is not here."""
    text = kept.begin("cut-primary", STEPS, ROLES, "db", "s3cret", "db2")
    kept.end()
    return text


def test_the_note_in_the_database_has_all_but_the_password():
    text = written()
    assert "s3cret" not in text
    found = kept.from_elsewhere(text)
    assert (found["node"], found["scenario"], found["steps"]) == ("db2", "cut-primary", STEPS)
    assert found["roles"] == ROLES and found["password"] == ""


@pytest.mark.parametrize(
    "change",
    [
        {"steps": [{"action": "power-off", "parameters": {"node": "db1"}}]},
        {"steps": [{"action": "run", "parameters": {"node": "db1", "command": "reboot"}}]},
        {"steps": [{"action": "heal", "parameters": {}}]},
        {"steps": 3},
        {"roles": []},
        {"since": "x"},
    ],
)
def test_a_note_that_would_do_anything_else_is_refused(change):
    with pytest.raises(HafailoverError, match="cannot be read"):
        kept.from_elsewhere(json.dumps({**json.loads(written()), **change}))
    for text in ("", "[]", "nonsense"):
        with pytest.raises(HafailoverError, match="cannot be read"):
            kept.from_elsewhere(text)


class Tables:
    """A place whose servers hold what :func:`database.prepare` made; the statements are read as a server would."""

    here = "db1"

    def __init__(self):
        self.said = []

    def mariadb(self, node, options, statements, timeout):
        self.said.append(statements)
        out = ""
        made = [text for text in self.said if "VALUES (UNHEX('" in text]
        if "information_schema.tables" in statements:
            out = "1\n" if made else ""
        elif statements.startswith("SELECT HEX(note)"):
            out = made[-1].partition("UNHEX('")[2].partition("'")[0].upper() + "\n"
        return subprocess.CompletedProcess([], 0, out, "")


def test_the_note_comes_back_as_it_was_given():
    place, text = Tables(), "ä \"quoted\" \\ and 'single'\ttab"
    assert database.noted(place, "db1") == ""
    database.prepare(place, "db1", "x", text)
    assert database.noted(place, "db1") == text


class Day:
    """A game day on a node that did not run the drill."""

    def __init__(self, note, left=(), error=None):
        self.note, self.left, self.error, self.restored = note, list(left), error, []

    def noted(self):
        return kept.from_elsewhere(self.note) if self.note else None

    def restore(self, found, say):
        if self.error:
            raise self.error
        self.restored.append(found["steps"])
        return self.left


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(drill, "is_node", lambda: True)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(gameday, "revive", lambda *_: None)

    def run(day, *words):
        monkeypatch.setattr(gameday, "opened", lambda *_: contextlib.nullcontext(day))
        return CliRunner().invoke(drill.command, ["--restore", *words])

    return run


def the_json(result):
    """What follows the sentences, which go to standard error; the runner of old versions of click puts both into one."""
    return json.loads(result.stdout[result.stdout.index("{\n") :])


def test_another_node_finds_it_says_what_it_is_and_takes_it_back(run):
    day = Day(written())
    result = run(day, "--yes")
    assert result.exit_code == 0 and day.restored == [STEPS], result.output
    assert "The drill cut-primary of" in result.stdout and "begun on db2 was not finished" in result.stdout
    assert "power-on db1" in result.stdout and "hafailover drill --restore there" in result.stdout


def test_a_dry_run_of_it_says_the_same_and_does_nothing(run):
    day = Day(written())
    result = run(day, "--dry-run")
    assert result.exit_code == 0 and day.restored == [] and "power-on db1" in result.stdout


def test_its_json_on_every_way_out(run, monkeypatch):
    assert the_json(run(Day(""), "--yes", "-o", "json"))["left"] is None
    done = the_json(run(Day(written()), "--yes", "-o", "json"))
    assert done["done"] is True and done["left"]["node"] == "db2"
    assert done["left"]["steps"] == [["heal", "db1"], ["power-on", "db1"]]
    assert the_json(run(Day(written()), "--dry-run", "-o", "json"))["done"] is False
    failed = run(Day(written(), ["power-on primary: no answer"]), "--yes", "-o", "json")
    assert isinstance(failed.exception, IncompleteError)
    assert the_json(failed)["not_restored"] == ["power-on primary: no answer"] and the_json(failed)["done"] is False
    busy = run(Day(written(), error=RefusedError("ada: drill kill-primary")), "--yes", "-o", "json")
    assert the_json(busy)["result"] == "refused" and the_json(busy)["exit_code"] == 3
    monkeypatch.setattr("hafailover.crm.consent.on_terminal", lambda: True)
    assert the_json(run(Day(written()), "-o", "json"))["done"] is False


def test_nothing_is_taken_back_under_a_drill_that_goes_on(monkeypatch):
    """The lock of who changes the cluster is held meanwhile."""
    held = []

    @contextlib.contextmanager
    def lock(what):
        held.append(what)
        raise RefusedError("the cluster's configuration is being changed on db2 (ada: drill cut-primary)")
        yield

    monkeypatch.setattr(gameday.apply_lock, "held", lock)
    monkeypatch.setattr(gameday, "gather", lambda run: pytest.fail("nothing is looked at"))
    with Reach("db1", SERVER, None) as reach, pytest.raises(RefusedError):
        GameDay(reach, None).restore(kept.from_elsewhere(written()), print)
    assert held == ["drill --restore"]


def test_with_other_roles_than_were_agreed_to_nothing_is_begun(monkeypatch, tmp_path):
    begun = []
    place = Tables()
    place.states = dict
    made = Drill(place, None, Hafailover(), tmp_path, lambda text: None)
    swapped = {"primary": "db2", "replica": "db1"}
    monkeypatch.setattr(made, "_ready", lambda: Before("db2", swapped, {}, ""))
    monkeypatch.setattr(made, "_with_writers", lambda *_: begun.append(1) or recorded())
    done = made.run(load("kill-primary"), ROLES)
    assert begun == [] and not done.ok and "db2 is the primary now" in done.problems[0]
    made.run(load("kill-primary"), swapped)
    assert begun == [1]


def test_a_client_that_is_not_let_in_says_why_before_anything_is_broken(monkeypatch, tmp_path):
    monkeypatch.setattr(engine, "_FIRST_WRITES_WITHIN", 0.01)
    ledger, made = Ledger(), Drill(Tables(), None, Hafailover(), tmp_path, print, interval=0.001)
    with pytest.raises(HafailoverError, match=r"first writes: not within 0.06 s\.$"):
        made._await_first_writes(ledger)
    end = {
        "seq": 1,
        "end": 1.0,
        "outcome": "refused",
        "server": None,
        "code": 3159,
        "error": "insecure transport are prohibited",
    }
    ledger.record(CLIENT, json.dumps(end))
    with pytest.raises(HafailoverError, match="was told: insecure transport"):
        made._await_first_writes(ledger)


def test_the_schema_is_dropped_when_there_is_a_primary_again(monkeypatch):
    """A drill that was killed a moment after it stopped the primary: the role was on its way when it was to be restored."""
    done = []
    healthy = status_samples.status("healthy")
    monkeypatch.setattr(gameday.apply_lock, "held", lambda what: contextlib.nullcontext())
    monkeypatch.setattr(gameday, "gather", lambda run: None)
    monkeypatch.setattr(gameday, "read", lambda facts: healthy)
    monkeypatch.setattr(
        gameday, "FAULTS", dict.fromkeys(("heal", "power-on"), lambda stage, step: done.append(step.action))
    )
    monkeypatch.setattr(
        GameDay, "look", lambda self: SimpleNamespace(place=SimpleNamespace(nodes={"db1": ""}), target=None)
    )
    monkeypatch.setattr(GameDay, "_await_sync", lambda self, say: done.append("waited") or [])
    monkeypatch.setattr(gameday, "_schema", lambda case: True)
    monkeypatch.setattr(gameday.database, "primary", lambda place, target: "db2")
    monkeypatch.setattr(gameday.database, "clean_up", lambda place, node: done.append(f"cleaned up by {node}"))
    with Reach("db1", SERVER, None) as reach:
        assert GameDay(reach, None).restore(kept.from_elsewhere(written()), lambda text: None) == []
    assert done == ["heal", "power-on", "waited", "cleaned up by db2"]


@pytest.mark.parametrize("off", [True, False])
def test_for_a_node_that_stays_off_nobody_waits(monkeypatch, off):
    """A quarter of an hour that nothing interrupts, for what has to be switched on by hand."""
    looks = []

    def out_of_sync(self):
        looks.append(1)
        return ["db1 is lost"] if off or len(looks) < 2 else []

    monkeypatch.setattr(GameDay, "_out_of_sync", out_of_sync)
    monkeypatch.setattr(gameday, "_POLL", 0.01)

    class Ended:
        def end(self):
            return ["the fence device did not switch db1 on"] if off else []

    with Reach("db1", SERVER, None) as reach:
        place = ClusterPlace(status_samples.status("healthy"), reach)
        place._off = {"db1"} if off else set()
        case = SimpleNamespace(place=place)
        left = GameDay(reach, None, patience=30.0)._end(Ended(), case, lambda text: None)
    assert left == (["the fence device did not switch db1 on", "db1 is off", "db1 is lost"] if off else [])
    assert len(looks) == (1 if off else 2)


LISTED = '<pacemaker-result><list name="Registered fence devices" count="{}">{}</list></pacemaker-result>'


def test_a_node_that_no_device_covers_is_told_by_an_empty_list_and_no_error(monkeypatch):
    answers = {
        "db1": local.Result(0, LISTED.format(1, '<item id="device">fence-db1</item>'), ""),
        "db2": local.Result(0, LISTED.format(0, ""), ""),
    }
    monkeypatch.setattr(local, "run", lambda argv, *_: answers[argv[2]])
    elsewhere = status_samples.status("healthy")._replace(seen_by="db3")
    assert fencers.covering(elsewhere) == {"db1": ["fence-db1"], "db2": []}
    # A pair's node has no device for itself, and its list is empty.
    assert fencers.covering(elsewhere._replace(seen_by="db2")) == {"db1": ["fence-db1"]}
    answers["db1"] = local.Result(0, "not XML", "")
    assert fencers.covering(elsewhere)["db1"] == []
