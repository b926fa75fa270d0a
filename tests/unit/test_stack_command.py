"""``hafailover promote --stack`` as a command: exit codes, where words go, what is asked, who holds the lock."""

import contextlib
import json
from dataclasses import replace

import pytest
import test_switchover_command
from hafailover.crm import apply_lock, consent, stack_case, stack_forecast
from hafailover.crm.commands import promote_stack
from hafailover.crm.errors import RefusedError
from hafailover.crm.stack import Mover
from hafailover.crm.stack_forecast import Forecast
from hafailover.crm.stack_outcome import StackOutcome, Switched
from hafailover.crm.stack_preferences import constraints
from hafailover.crm.switchover_run import Outcome, Step
from lxml import etree
from status_samples import load
from test_switchover_command import call, cluster

assert cluster  # a fixture


@pytest.fixture
def stack(cluster, monkeypatch):
    """The recorded cluster, with an application ``app`` on db1; ``stack.forecast`` is what crm_simulate says."""
    record = load("healthy")
    cib = record.cib.replace(
        "</resources>", '<primitive id="app" class="ocf" provider="pacemaker" type="Dummy"/></resources>'
    )
    mon = record.mon.replace(
        "</resources>",
        '<resource id="app" resource_agent="ocf:pacemaker:Dummy" role="Started" active="true" managed="true"><node name="db1"/></resource>'
        "</resources>",
    )
    changed = record._replace(cib=cib, mon=mon)
    monkeypatch.setattr("test_switchover_command.load", lambda name: changed)
    monkeypatch.setattr(stack_forecast, "forecast", lambda *of: cluster.forecast)
    cluster.forecast = Forecast(moved={"app": "db2"}, databases={"db": "db2"}, led={"vip": "db2"})
    cluster.locks = []

    @contextlib.contextmanager
    def held(what):
        cluster.locks.append(what)
        try:
            yield
        finally:
            cluster.locks.append("given back")

    monkeypatch.setattr(apply_lock, "held", held)

    class Performed:
        result = "done"
        primaries = {}

        def __init__(self, run, status, plan, accept, old_words, old, tell, wait, say):
            self.plan, self.tell = plan, tell
            cluster.old = old

        def perform(self, timeout, database_timeout):
            cluster.performed.append(
                (self.plan.node, [mover.id for mover in self.plan.moves], timeout, database_timeout)
            )
            step = Step("requested", 1795232955.5, 0.0, "asked")
            self.tell(step)
            switched = Switched("db", "db1", Outcome("done", "db2", "db2 is the primary of db", (), (), 0.25, ""))
            left = () if self.result == "done" else ("mend it",)
            return StackOutcome(
                self.result, "so it ended", left, (step,), {"app": "db2", "vip": "db2"}, (switched,), self.primaries
            )

    cluster.run_class = Performed
    monkeypatch.setattr(promote_stack, "StackRun", Performed)
    return cluster


def test_a_dry_run_needs_no_lock_and_changes_nothing(stack, capsys):
    code, out, err = call(capsys, "promote", "db2", "--stack", "--dry-run")
    assert (code, err) == (0, "")
    said = " ".join(out.split())
    for part in (
        "The whole stack to db2",
        "app goes from db1 to db2",
        "db: db1 becomes read-only",
        "Nothing was changed (--dry-run).",
    ):
        assert part in said
    assert "REFUSED" not in out
    assert (stack.performed, stack.locks) == ([], [])
    assert [line for line in out.splitlines() if len(line) > 80] == []


def test_done_under_the_lock(stack, capsys):
    code, out, _ = call(capsys, "promote", "db2", "--stack", "--yes")
    assert code == 0
    assert stack.performed == [("db2", ["app"], 300.0, 120.0)]
    assert stack.locks == ["promote db2 --stack", "given back"]
    assert "DONE  so it ended" in out
    assert "Write gap of db: 0.25 s" in out


def test_done_as_json(stack, capsys):
    code, out, err = call(capsys, "promote", "db2", "--stack", "--yes", "--timeout", "60", "-o", "json")
    told = json.loads(out)
    assert (code, told["result"], told["to"], told["stack"]) == (0, "done", "db2", True)
    assert stack.performed == [("db2", ["app"], 60.0, 60.0)]
    app, vip = (next(one for one in told["resources"] if one["id"] == name) for name in ("app", "vip"))
    assert app == {"id": "app", "role": "", "goes_with": "", "moves": True, "from": "db1", "now": "db2"}
    assert (vip["goes_with"], vip["moves"]) == ("db-clone", True)
    assert told["databases"][0]["write_gap_s"] == 0.25
    assert "The whole stack to db2" in err


@pytest.mark.parametrize(("primaries", "now"), [({"db": "db1"}, "db1"), ({"db": ""}, ""), ({}, "db2")])
def test_the_json_says_who_is_primary_now_also_when_the_role_has_gone_there_and_back(stack, capsys, primaries, now):
    stack.run_class.primaries = primaries
    _, out, _ = call(capsys, "promote", "db2", "--stack", "--yes", "-o", "json")
    found = json.loads(out)["databases"][0]
    assert (found["from"], found["primary"]) == ("db1", now)


@pytest.mark.parametrize(("result", "code"), [("rolled back", 1), ("incomplete", 4)])
def test_other_ends(stack, capsys, result, code):
    stack.run_class.result = result
    found, out, _ = call(capsys, "promote", "db2", "--stack", "--yes")
    assert found == code
    assert f"{result.upper()}  so it ended" in out
    assert "  - mend it" in out
    assert "Nothing is left behind" not in out


def test_what_is_left_stays(stack, capsys):
    code, out, _ = call(capsys, "promote", "db2", "--stack", "--yes", "--leave", "app")
    assert code == 0
    assert stack.performed == [("db2", [], 300.0, 120.0)]
    assert "Not moved: app (is to stay where it is (--leave))" in out


def test_refused_by_a_check(stack, capsys):
    stack.forecast = Forecast(moved={"app": "db1"}, databases={"db": "db2"}, led={"vip": "db2"})
    code, out, err = call(capsys, "promote", "db2", "--stack", "--yes", "-o", "json")
    assert (code, json.loads(out)["result"], stack.performed) == (3, "refused", [])
    assert "app would be on db1" in err


def test_nothing_to_do(stack, capsys):
    code, out, _ = call(capsys, "promote", "db1", "--stack", "--yes")
    assert code == 0
    assert out.startswith("Nothing to do: the whole stack is on db1 already.\n")
    assert "Already on db1: app, the primary of db" in out
    assert stack.performed == []


def test_somebody_else_is_at_it(stack, capsys, monkeypatch):
    @contextlib.contextmanager
    def busy(what):
        raise RefusedError("the cluster's configuration is being changed on db1")
        yield

    monkeypatch.setattr(apply_lock, "held", busy)
    code, _, err = call(capsys, "promote", "db2", "--stack", "--yes")
    assert (code, stack.performed) == (3, [])
    assert "is being changed on db1" in err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["db3"], "there is no node db3; did you mean db2"),
        (["db2", "--leave", "ap"], "did you mean app?"),
        (["db2", "--leave", "vip"], "--leave vip: it goes where db-clone goes; leave that one, too"),
        (["db2", "--service", "db"], "--stack is about every database"),
        (["db2", "--accept-data-loss"], "--accept-data-loss is about one database"),
    ],
)
def test_wrong_usage(stack, capsys, argv, says):
    code, _, err = call(capsys, "promote", "--stack", "--yes", *argv)
    assert code == 2
    assert says in err
    assert stack.performed == []


def test_leave_without_stack(stack, capsys):
    code, _, err = call(capsys, "promote", "db2", "--yes", "--leave", "app")
    assert (code, "--leave says what stays" in err) == (2, True)


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 3), ("\n", 3)])
def test_on_a_terminal_it_asks_once_and_holds_no_lock_meanwhile(stack, capsys, monkeypatch, answer, code):
    monkeypatch.setattr(consent, "on_terminal", lambda: True)
    asked = []

    def confirm(text, err):
        asked.append((text, list(stack.locks)))
        return answer == "y\n"

    monkeypatch.setattr(promote_stack.click, "confirm", confirm)
    found, out, _ = call(capsys, "promote", "db2", "--stack")
    assert found == code
    assert asked == [("\nMove the stack now?", [])]
    assert bool(stack.performed) == (code == 0)
    assert ("Nothing was changed." in out) == (code == 3)
    assert stack.locks == (["promote db2 --stack", "given back"] if code == 0 else [])


def test_what_has_changed_while_it_was_asked_is_looked_at_again(stack, capsys, monkeypatch):
    monkeypatch.setattr(consent, "on_terminal", lambda: True)

    def confirm(text, err):
        stack.forecast = Forecast(moved={"app": ""}, databases={"db": "db2"}, led={"vip": "db2"})
        return True

    monkeypatch.setattr(promote_stack.click, "confirm", confirm)
    code, out, _ = call(capsys, "promote", "db2", "--stack")
    assert (code, stack.performed) == (3, [])
    assert "Things have changed since they were shown" in out
    assert "app would be nowhere" in " ".join(out.split())


@pytest.mark.parametrize(
    ("moves", "primary"),
    [(("stop web on db1",), "db1"), ((), "db3")],
    ids=["more is stopped", "another node is closed"],
)
def test_what_was_not_shown_is_not_done(stack, capsys, monkeypatch, moves, primary):
    """What one --accept lets pass is what was seen."""
    monkeypatch.setattr(consent, "on_terminal", lambda: True)
    real = stack_case.read

    def changed(facts):
        status = real(facts)
        return status._replace(services=tuple(one._replace(primary=primary) for one in status.services))

    def confirm(text, err):
        stack.forecast = replace(stack.forecast, with_databases=moves)
        monkeypatch.setattr(stack_case, "read", changed)
        return True

    monkeypatch.setattr(promote_stack.click, "confirm", confirm)
    code, out, _ = call(capsys, "promote", "db2", "--stack", "--accept", "elsewhere")
    assert (code, stack.performed) == (3, [])
    assert "Meanwhile" in out


def test_what_a_dead_command_has_left_goes_first_whatever_it_is_of(stack, capsys, monkeypatch):
    """vip is where it should be, or goes by itself; the preference would still pull at it until it ends."""
    left = constraints({Mover("vip", "", ("vip",), "vip"): "db1"}, 4e9, "dead")
    by_hand = '<rsc_location id="cli-prefer-web" rsc="web" node="db1" score="INFINITY"/>'
    record = test_switchover_command.load("healthy")
    xml = etree.tostring(left[0], encoding="unicode") + by_hand
    changed = record._replace(cib=record.cib.replace("</constraints>", f"{xml}</constraints>"))
    assert changed.cib != record.cib
    monkeypatch.setattr(test_switchover_command, "load", lambda name: changed)
    simulated = []
    monkeypatch.setattr(stack_forecast, "forecast", lambda root, *of: simulated.append(root) or stack.forecast)
    assert call(capsys, "promote", "db2", "--stack", "--yes")[0] == 0
    assert stack.old == ("cli-prefer-vip",)
    ids = [one.get("id") for one in simulated[0].iter("rsc_location")]
    assert "cli-prefer-vip" not in ids
    assert "cli-prefer-web" in ids
