"""``hafailover drill``: whose cluster is meant, and that nothing is broken before somebody has agreed."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
import status_samples
from click.testing import CliRunner
from drills import older, recorded
from hafailover.crm import local
from hafailover.crm.commands import drill
from hafailover.crm.drill import gameday, kept, possible, scenario
from hafailover.crm.drill.gameday import Case
from hafailover.crm.drill.possible import Means
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import IncompleteError, RefusedError, UsageError
from hafailover.crm.switchover import Check

BOTH = frozenset(("db1", "db2"))


class Place:
    name, here = "shop", "db1"


class Day:
    """A game day on a cluster that is only remembered; what was run is in ``ran``."""

    def __init__(self, checks=(), error=None, left=(), run=None):
        self.checks, self.error, self.left, self.result = tuple(checks), error, list(left), run or recorded()
        self.ran, self.looked = [], 0

    def look(self):
        status = status_samples.status("healthy")
        service = status.services[0]
        roles = gameday.roles_of(service)
        target = Target(service.name, service.clone, "vip", "192.0.2.10", 0, 3306, "", dict(service.nodes))
        return Case(status, service, roles, Means("db1", BOTH, BOTH, BOTH, {"db1": 2}), target, Place(), self.checks)

    def examine(self, wanted, accepted, say):
        self.looked += 1
        return self.look()

    def run(self, wanted, case, evidence, say, interval):
        self.ran.append(wanted.name)
        if self.error:
            raise self.error
        return self.result, self.left


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the command on a node with this day; (result, day)."""
    monkeypatch.setenv("HAFAILOVER_DRILL_DIR", str(tmp_path / "kept"))
    monkeypatch.delenv("HAFAILOVER_LAB", raising=False)
    monkeypatch.setattr(drill, "is_node", lambda: True)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(gameday, "environment", lambda case, interval: [("cluster", "shop")])

    def run(*args, day=None, **options):
        day = day or Day()
        monkeypatch.setattr(gameday, "opened", lambda *_: _Opened(day))
        return CliRunner().invoke(drill.command, list(args), catch_exceptions=True, **options), day

    return run


class _Opened:
    def __init__(self, day):
        self.day = day

    def __enter__(self):
        return self.day

    def __exit__(self, *_):
        return None


def test_without_a_terminal_and_without_yes_nothing_is_looked_at(run):
    result, day = run("kill-primary")
    assert isinstance(result.exception, UsageError) and "--yes" in str(result.exception)
    assert day.looked == 0 and day.ran == []


def test_who_says_no_breaks_nothing(run, monkeypatch):
    monkeypatch.setattr("hafailover.crm.consent.on_terminal", lambda: True)
    result, day = run("kill-primary", input="n\n")
    assert result.exit_code == 3 and day.ran == [] and "Nothing was broken" in result.output


def test_who_says_yes_has_named_what_breaks_and_it_is_looked_at_again(run, monkeypatch):
    monkeypatch.setattr("hafailover.crm.consent.on_terminal", lambda: True)
    result, day = run("kill-primary", input="y\n")
    assert result.exit_code == 0 and day.ran == ["kill-primary"] and day.looked == 2
    asked = result.output.index("Break shop now?")
    assert result.output.index("kill -9 the database server on db1") < asked


def test_a_dry_run_says_all_that_and_breaks_nothing(run):
    result, day = run("power-off-replica", "--dry-run")
    assert result.exit_code == 0 and day.ran == []
    assert "switch db2 off by its fence device" in result.output and "switch db2 on again" in result.output
    assert "Nothing was broken" in result.output


def test_a_check_that_refuses_stops_it_also_with_yes_and_in_a_dry_run(run):
    bad = [Check("quorum", False, "this partition has no quorum")]
    for option in ("--yes", "--dry-run"):
        result, day = run("kill-primary", option, day=Day(bad))
        assert isinstance(result.exception, RefusedError) and "no quorum" in str(result.exception)
        assert day.ran == [] and "REFUSED" in result.output


@pytest.mark.parametrize(
    ("checks", "option", "refused"), [([], "--dry-run", False), ([Check("quorum", False, "none")], "--yes", True)]
)
def test_a_program_reads_why_nothing_was_run(run, checks, option, refused):
    result, _ = run("kill-primary", option, "-o", "json", day=Day(checks))
    found = json.loads(re.search(r"^\{$.*?^\}$", result.output, re.DOTALL | re.MULTILINE)[0])
    assert found["refused"] is refused and found["runs"] == [] and len(found["checks"]) == len(checks)
    assert found["breaks"] == ["kill -9 the database server on db1"]


def test_a_scenario_of_the_labs_is_not_for_a_real_cluster(run):
    result, day = run("disk-full", "--yes")
    assert isinstance(result.exception, UsageError) and "is for labs only" in str(result.exception) and day.ran == []


def test_reports_are_written_kept_and_compared(run, tmp_path):
    old = tmp_path / "old.json"
    old.write_text(json.dumps(older([5.0])[0]))
    files = [tmp_path / f"r.{form}" for form in ("html", "md", "json")]
    options = [word for file in files for word in ("--report", str(file))]
    result, _ = run("power-off-primary", "--yes", *options, "--compare", str(old), "-o", "json")
    assert result.exit_code == 0, result.output
    assert all(file.stat().st_size > 1000 for file in files)
    made = json.loads(files[2].read_text())
    assert made["place"] == {"kind": "cluster", "name": "shop", "service": "db", "nodes": ["db1", "db2"]} and [
        one["write_gap_s"] for one in made["earlier"]
    ] == [5.0]
    assert len(list((tmp_path / "kept").iterdir())) == 1
    run("power-off-primary", "--yes", "--report", str(files[2]))
    assert len(json.loads(files[2].read_text())["earlier"]) == 1, (
        "what was kept, without the file that was named before"
    )


@pytest.mark.parametrize("name", ["report", "report.pdf", "/nonexistent/report.html"])
def test_a_report_that_cannot_be_written_is_refused_before_anything_is_broken(run, name):
    result, day = run("kill-primary", "--yes", "--report", name)
    assert isinstance(result.exception, UsageError) and day.looked == 0


def test_what_could_not_be_restored_is_the_last_word(run):
    result, _ = run("power-off-primary", "--yes", day=Day(left=["db1 is off"]))
    assert isinstance(result.exception, IncompleteError) and "db1 is off" in str(result.exception)
    assert "--restore" in str(result.exception) and "FAILED" in result.output


@pytest.mark.parametrize("option", ["--report", "--keep"])
def test_a_file_that_cannot_be_written_is_found_out_before_anything_is_broken(run, tmp_path, option):
    for name in ("/proc/sys/x.html", "/proc/version", "/dev/null/x.html"):
        result, day = run("kill-primary", "--yes", option, name)
        assert isinstance(result.exception, UsageError) or result.exit_code == 2, (name, result.output)
        assert day.looked == 0
    (tmp_path / "old.html").write_text("old")
    good = {"--report": ["new.html", "old.html"], "--keep": ["made/for/it", "."]}[option]
    for name in good:
        result, _ = run("kill-primary", "--dry-run", option, str(tmp_path / name))
        assert result.exit_code == 0, result.output
    assert sorted(one.name for one in tmp_path.iterdir()) == ["old.html"], "trying leaves nothing behind"
    assert (tmp_path / "old.html").read_text() == "old"


def test_a_report_that_could_not_be_written_does_not_hide_what_is_still_broken(run, tmp_path, monkeypatch):
    file = tmp_path / "r.html"
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    result, _ = run("power-off-primary", "--yes", "--report", str(file), day=Day(left=["db1 is off"]))
    assert isinstance(result.exception, IncompleteError)
    assert "db1 is off" in str(result.exception) and "No space left" in str(result.exception)
    result, _ = run("power-off-primary", "--yes", "--report", str(file))
    assert "No space left" in str(result.exception) and not isinstance(result.exception, IncompleteError)


def test_an_interruption_has_a_code_of_its_own(run):
    result, _ = run("kill-primary", "--yes", day=Day(error=KeyboardInterrupt()))
    assert result.exit_code == 130 and "put right again" in result.output
    assert "ledger" not in result.output, "nothing was written into it"
    told = run("kill-primary", "--yes", "-o", "json", day=Day(error=KeyboardInterrupt()))[0].output
    assert json.loads(told[told.index("\n{") :])["exit_code"] == 130


def test_who_interrupts_before_anything_is_broken_is_told_so(run, monkeypatch):
    def look(self):
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Day, "look", look)
    result, day = run("kill-primary", "--yes", "-o", "json")
    assert result.exit_code == 130 and day.ran == [] and "nothing is broken" in result.output
    assert "put right" not in result.output and signal.getsignal(signal.SIGTERM) is before


def test_who_says_no_has_nothing_broken(run, monkeypatch):
    monkeypatch.setattr("hafailover.crm.consent.on_terminal", lambda: True)
    result, day = run("kill-primary", "-o", "json", input="n\n")
    assert result.exit_code == 3 and day.ran == [] and '"refused": true' in result.output


def test_an_interruption_in_the_middle_of_a_line_restores_as_well():
    def say(text):
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")

    with pytest.raises(KeyboardInterrupt), gameday.interrupted_once(say):
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with gameday.interrupted_once(print):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_list_says_what_cannot_be_done_from_here(run):
    result, day = run("--list")
    assert result.exit_code == 0 and day.ran == []
    assert (
        "power-off-primary" in result.output
        and "take the power of db1" in result.output
        and "disk-full" not in result.output
    )


@pytest.mark.parametrize(
    ("args", "node", "variable", "lab"),
    [
        (["kill-primary"], True, "", False),
        (["kill-primary"], False, "", True),
        (["kill-primary", "--lab", "x"], True, "", True),
        (["kill-primary", "--lab=x"], True, "", True),
        (["kill-primary", "-t", "x.yml"], True, "", True),
        (["kill-primary", "--agents", "null"], True, "", True),
        (["work"], True, "", True),
        (["random", "--seed", "1"], True, "", True),
        (["kill-primary"], True, "mine", True),
        (["kill-primary", "--cluster"], True, "mine", False),
        (["kill-primary", "--cluster"], False, "", False),
    ],
)
def test_on_a_node_its_own_cluster_is_meant_unless_a_lab_is_asked_for(monkeypatch, args, node, variable, lab):
    monkeypatch.setattr(drill, "is_node", lambda: node)
    monkeypatch.setenv("HAFAILOVER_LAB", variable)
    context = drill.command.make_context("drill", [*args])
    assert (context.command is not drill.command) is lab


def test_the_first_interruption_begins_the_restoring_and_no_other_ends_it():
    said = []
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), gameday.interrupted_once(said.append):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            restored = True
    assert restored and len(said) == 1 and "put right now" in said[0]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_cluster_that_a_killed_drill_has_stopped_is_started_before_anything_is_asked(monkeypatch):
    healthy, calls = status_samples.load("healthy"), []

    def gather(run, *_):
        if not any(call[:2] == ["systemctl", "start"] for call in calls):
            raise gameday.ClusterDown("Pacemaker does not run on this node")
        return healthy

    def program(argv, *_, **__):
        calls.append(list(argv))
        return local.Result(0, "", "")

    monkeypatch.setattr(gameday, "gather", gather)
    monkeypatch.setattr(local, "run", program)
    with pytest.raises(gameday.ClusterDown):
        gameday.revive([], {}, print)
    steps = scenario_undo("stop-primary")
    monkeypatch.setattr(local, "hostname", lambda: "db1")
    with pytest.raises(gameday.ClusterDown):
        gameday.revive(steps, {"primary": "db2", "replica": "db1"}, print)
    assert calls == [], "what was stopped on db2 is not started on db1"
    gameday.revive(steps, {"primary": "db1", "replica": "db2"}, lambda text: None)
    assert ["systemctl", "start", "corosync", "corosync-qdevice", "pacemaker"] in calls


def scenario_undo(name):
    from hafailover.crm.drill import actions

    return [step for one in scenario.load(name).steps for step in actions.undo(one)]


def test_what_the_help_says_of_scenarios_is_there():
    names = {name for name in scenario.known() if scenario.load(name).cluster}
    assert {"switchover", "kill-primary", "power-off-primary"} <= names
    assert all(possible.breaks(scenario.load(name), {"primary": "a", "replica": "b"}) for name in names)


def test_the_list_for_programs(run):
    listed = json.loads(run("--list", "-o", "json")[0].stdout)
    assert {"kill-primary", "switchover"} <= {one["scenario"] for one in listed}
    assert all(isinstance(one["not_from_here"], list) and one["summary"] for one in listed)


def test_a_no_is_json_too(run, monkeypatch):
    monkeypatch.setattr("hafailover.crm.consent.on_terminal", lambda: True)
    told = run("kill-primary", "-o", "json", input="n\n")[0].output
    assert json.loads(told[told.index("\n{") :])["refused"] is True


def test_it_is_kept_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HAFAILOVER_DRILL_DIR", str(tmp_path))
    assert kept.directory() == Path(tmp_path)
