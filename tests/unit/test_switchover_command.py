"""``hafailover promote`` and ``hafailover status`` as commands: exit codes, where words go, what is asked."""

import contextlib
import json
import os
import sys
from dataclasses import replace

import pytest
from hafailover.crm import apply_lock, consent, local, status_places, switchover_facts
from hafailover.crm.cli import main
from hafailover.crm.commands import promote
from hafailover.crm.switchover import Answers, Forecast
from hafailover.crm.switchover_run import Outcome, Step
from status_samples import load


@pytest.fixture
def cluster(monkeypatch):
    """A healthy recorded cluster behind every program; ``cluster.record`` chooses another record."""

    class Answering:
        record = "healthy"
        performed = []

        def __call__(self, argv, timeout=None, input=None):
            facts = load(self.record)
            printed = {"crm_mon": facts.mon, "cibadmin": facts.cib, "crm_node": "db1\n"}.get(argv[0])
            if argv[0] == "crmadmin":
                printed = f'<pacemaker-result><crmd state="{facts.coordinator_state}"/></pacemaker-result>'
            if argv[0] == "attrd_updater":
                name = argv[argv.index("-n") + 1]
                printed = "".join(
                    f'name="{name}" host="{k}" value="{v}"\n' for k, v in facts.published.get(name, {}).items()
                )
            if printed is None:
                raise AssertionError(f"{argv} must not be run")
            return local.Result(0, printed, "")

    run = Answering()
    run.performed = []
    monkeypatch.setattr(local, "run", run)
    monkeypatch.setattr(local, "installed", lambda program: True)
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def not_that_machine(ip, may_ask):
        raise OSError("this machine is none of the cluster's")

    monkeypatch.setattr(status_places, "_seen", not_that_machine)
    monkeypatch.setattr(switchover_facts, "ask", lambda service, node: Answers({}, "no credentials"))
    monkeypatch.setattr(
        switchover_facts, "forecast", lambda run, cib, status, service, node: Forecast(node, {"vip": node}, ())
    )

    class Performed:
        def __init__(self, run_, status, service, node, probes, tell, wait):
            self.node, self.tell = node, tell

        def perform(self, timeout):
            run.performed.append((self.node, timeout))
            self.tell(Step("requested", 1795232955.5, 0.0, "asked"))
            return Outcome("done", self.node, f"{self.node} is the primary of db", (), (), 0.123, "")

    monkeypatch.setattr(promote, "Switchover", Performed)
    run.locks = []

    @contextlib.contextmanager
    def held(what):
        run.locks.append(what)
        try:
            yield
        finally:
            run.locks.append("given back")

    monkeypatch.setattr(apply_lock, "held", held)
    return run


def call(capsys, *argv):
    """(exit code, stdout, stderr) of a command line."""
    with pytest.raises(SystemExit) as ended:
        main(list(argv))
    out, err = capsys.readouterr()
    return ended.value.code or 0, out, err


def test_without_a_terminal_it_wants_yes(cluster, capsys):
    code, out, err = call(capsys, "promote", "db2")
    assert code == 2
    assert "add --yes" in err
    assert out == ""
    assert cluster.performed == []


def test_it_must_be_root(cluster, capsys, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    code, _, err = call(capsys, "promote", "db2", "--yes")
    assert code == 1
    assert "must be run as root" in err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["bd2"], "there is no node bd2; did you mean db2"),
        (["zzz"], "there is no node zzz; known: db1, db2"),
        (["db2", "--service", "dd"], "there is no database service dd"),
    ],
)
def test_typos(cluster, capsys, argv, says):
    code, _, err = call(capsys, "promote", "--yes", *argv)
    assert code == 2
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e300", "4", "-5"])
def test_a_timeout_is_a_number_of_seconds(cluster, capsys, seconds):
    code, _, err = call(capsys, "promote", "db2", "--stack", "--yes", "--timeout", seconds)
    assert (code, cluster.performed) == (2, [])
    assert "range" in err


def test_nothing_to_do(cluster, capsys):
    code, out, _ = call(capsys, "promote", "db1", "--yes")
    assert code == 0
    assert out == "Nothing to do: db1 is the primary of db already.\n"


def test_a_dry_run_changes_nothing(cluster, capsys):
    code, out, _ = call(capsys, "promote", "db2", "--dry-run")
    assert code == 0
    assert "What would happen" in out
    assert "Nothing was changed" in out
    assert cluster.performed == []


def test_only_what_changes_something_needs_the_lock_and_never_while_somebody_is_asked(cluster, capsys, monkeypatch):
    call(capsys, "promote", "db2", "--dry-run")
    assert cluster.locks == []
    assert call(capsys, "promote", "db2", "--yes")[0] == 0
    assert cluster.locks == ["promote db2", "given back"]
    cluster.locks.clear()
    monkeypatch.setattr(consent, "on_terminal", lambda: True)
    asked = []
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: asked.append(list(cluster.locks)) or "y")
    assert call(capsys, "promote", "db2")[0] == 0
    assert (asked, cluster.locks) == ([[]], ["promote db2", "given back"])


@pytest.mark.parametrize(
    ("busy_with", "code"), [("apply x.yml", 3), ("promote db1 --stack", 3), ("drill kill-primary", 0)]
)
def test_it_waits_its_turn_but_a_drill_may_ask_for_it(cluster, capsys, monkeypatch, busy_with, code):
    @contextlib.contextmanager
    def busy(what):
        raise apply_lock.BusyError(f"eve since 03:00:00: {busy_with}", "db1")
        yield

    monkeypatch.setattr(apply_lock, "held", busy)
    ended, out, err = call(capsys, "promote", "db2", "--yes", "-o", "json")
    assert (ended, json.loads(out)["exit_code"]) == (code, code)
    assert bool(cluster.performed) == (code == 0)
    assert (f"is being changed on db1 (eve since 03:00:00: {busy_with})" in err) == (code == 3)


def test_refused(cluster, capsys):
    cluster.record = "sql-stopped"
    code, out, err = call(capsys, "promote", "db2", "--yes")
    assert code == 3
    assert "REFUSED   its own agent bars db2: the SQL thread stopped" in out
    assert err.startswith("hafailover: refused, nothing was changed: its own agent bars db2: the SQL thread stopped")
    assert cluster.performed == []


def test_refused_as_a_dry_run_and_as_json(cluster, capsys):
    cluster.record = "sql-stopped"
    code, out, err = call(capsys, "promote", "db2", "--dry-run", "-o", "json")
    told = json.loads(out)
    assert (code, told["exit_code"], told["result"]) == (3, 3, "refused")
    assert [check["name"] for check in told["checks"] if check["refuses"]] == ["score"]
    assert "Switchover of db" in err


def test_done(cluster, capsys):
    code, out, err = call(capsys, "promote", "db2", "--yes", "--timeout", "30")
    assert code == 0
    assert cluster.performed == [("db2", 30.0)]
    assert "DONE  db2 is the primary of db" in out
    assert "Write gap: 0.12 s" in out
    assert err == ""


def test_done_as_json(cluster, capsys):
    code, out, err = call(capsys, "promote", "db2", "--yes", "-o", "json")
    told = json.loads(out)
    assert (code, told["result"], told["from"], told["to"], told["write_gap_s"]) == (0, "done", "db1", "db2", 0.123)
    assert "+0.00 s  asked" in err


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 3), ("\n", 3)])
def test_on_a_terminal_it_asks_once(cluster, capsys, monkeypatch, answer, code):
    monkeypatch.setattr(consent, "on_terminal", lambda: True)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: answer.strip())
    ended, out, _ = call(capsys, "promote", "db2")
    assert ended == code
    assert bool(cluster.performed) == (code == 0)
    assert ("Nothing was changed" in out) == (code == 3)


def test_what_changed_while_it_was_asking_is_noticed(cluster, capsys, monkeypatch):
    def answer(prompt):
        cluster.record = changed
        return "y"

    monkeypatch.setattr(consent, "on_terminal", lambda: True)
    monkeypatch.setattr("click.termui.visible_prompt_func", answer)
    changed = "sql-stopped"
    code, out, err = call(capsys, "promote", "db2")
    assert code == 3
    assert "Things have changed since they were shown" in out
    assert "nothing was changed: its own agent bars db2" in err
    cluster.record, changed = "healthy", "killed-and-back"  # there db2 is the primary
    code, out, _ = call(capsys, "promote", "db2")
    assert code == 3
    assert "Meanwhile db2 is the primary of db" in out
    assert cluster.performed == []


def test_what_was_not_shown_is_not_done_although_its_check_was_accepted(cluster, capsys, monkeypatch):
    def answer(prompt):
        moves = ("stop web on db1",)
        ahead = Forecast("db2", {"vip": "db2"}, moves)
        monkeypatch.setattr(switchover_facts, "forecast", lambda run, cib, status, service, node: ahead)
        return "y"

    monkeypatch.setattr(consent, "on_terminal", lambda: True)
    monkeypatch.setattr("click.termui.visible_prompt_func", answer)
    code, out, _ = call(capsys, "promote", "db2")
    assert (code, cluster.performed) == (3, [])
    assert "Meanwhile something else would happen than was shown" in out


def test_pacemaker_is_down(cluster, capsys, monkeypatch):
    monkeypatch.setattr(
        local, "run", lambda argv, timeout=None, input=None: local.Result(102, "", "Connection refused")
    )
    for options in ((), ("--stack",)):
        code, out, err = call(capsys, "promote", "db2", "--yes", *options)
        assert (code, out) == (1, "")
        assert err.startswith("hafailover: Pacemaker does not run on this node")
        assert "run it on another node of the cluster" in err
    assert cluster.locks == [], "it is told at once"
    code, out, err = call(capsys, "status", "-o", "json")
    assert (code, json.loads(out)["available"], err) == (1, False, "")


def test_status_exit_codes(cluster, capsys):
    assert call(capsys, "status")[0] == 0
    assert call(capsys, "status", "--check")[0] == 0
    cluster.record = "standby"
    assert call(capsys, "status")[0] == 0
    assert call(capsys, "status", "--check")[0] == 1
    code, out, err = call(capsys, "status", "-o", "json", "--check")
    assert (code, json.loads(out)["healthy"], err) == (1, False, "")


def test_status_for_somebody_else(cluster, capsys, monkeypatch):
    monkeypatch.setattr(local, "may_ask_cluster", lambda: False)
    monkeypatch.setattr(local, "run", lambda argv, timeout=None, input=None: local.Result(0, "active\n", ""))
    code, out, err = call(capsys, "status")
    assert (code, err) == (1, "")
    assert out.startswith("UNKNOWN  this user may not ask the cluster")
    assert "usermod -aG haclient USER" in " ".join(out.split())


def test_no_colour_into_a_pipe_or_with_no_color(monkeypatch):
    from hafailover.crm.colour import coloured, paint, plain

    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert paint() is plain
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert paint() is coloured
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint() is plain


class Hooks:
    """Stands in for the promotion hooks."""

    against: list = []
    left: tuple = ()

    def __init__(self, run, status, service, node, login, say):
        self.node = node

    def described(self):
        return ["pre-promote hook dns on the node itself, critical, at most 5 s"]

    def before(self):
        return self.against

    def after(self, outcome):
        return replace(outcome, result="incomplete", left_to_do=self.left) if self.left else outcome


def test_a_critical_hook_refuses_it_before_anything_is_changed(cluster, capsys, monkeypatch):
    monkeypatch.setattr(promote, "PlannedHooks", Hooks)
    monkeypatch.setattr(Hooks, "against", ["on db2: critical pre-promote hook dns: ended with 1"])
    code, out, err = call(capsys, "promote", "db2", "--yes", "-o", "json")
    assert code == 3
    assert json.loads(out)["result"] == "refused"
    assert "refused, nothing was changed: on db2: critical pre-promote hook dns: ended with 1" in err
    assert cluster.performed == []
    code, out, _ = call(capsys, "promote", "db2", "--dry-run")
    assert code == 0  # a look runs no hook
    assert "pre-promote hook dns on the node itself" in out


def test_a_critical_hook_that_fails_afterwards_makes_it_incomplete(cluster, capsys, monkeypatch):
    monkeypatch.setattr(promote, "PlannedHooks", Hooks)
    monkeypatch.setattr(Hooks, "left", ("mend the dns hook",))
    code, out, _ = call(capsys, "promote", "db2", "--yes")
    assert code == 4
    assert "mend the dns hook" in out
    assert cluster.performed == [("db2", 120.0)]
