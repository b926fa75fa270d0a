"""plan, apply and undo on a cluster in a file, with Pacemaker's real programs; two operators; what is kept."""

import copy
import json

import pytest
from changing import MOVED, PRIMARY, applied, the_plan
from hafailover.crm import lint, plan, revert
from hafailover.crm.commands import apply as apply_command
from hafailover.crm.commands import plan as plan_command
from hafailover.crm.errors import RefusedError, UsageError
from lxml import etree
from topologies import BASE, changed, invoke, parse


def test_a_plan_says_what_restarts_and_why_and_changes_nothing(cluster, file):
    before = cluster.file.read_bytes()
    assert the_plan(file, BASE)[0] == 0
    code, report = the_plan(file, MOVED)
    assert code == 5
    assert [(one["what"], one["detail"]) for one in report["changes"]] == [
        ("parameter ip of vip", "10.77.0.100 → 10.77.0.101")
    ]
    assert report["consequences"] == [
        {
            "action": "restart",
            "resource": "vip",
            "places": ["db1"],
            "interrupts": True,
            "takes_primary": False,
            "because": ["change parameter ip of vip: 10.77.0.100 → 10.77.0.101"],
            "when": "",
        }
    ]
    assert (report["interrupts"], report["takes_primary"]) == (True, False)
    assert cluster.file.read_bytes() == before
    text = invoke(plan_command.command, file(PRIMARY))
    assert text.exit_code == 5
    assert "db:\n  add parameter datadir of db: /srv/db\n" in text.stdout
    assert "restart db on db1, db2" in text.stdout and "TAKES THE PRIMARY AWAY" in text.stdout


def test_a_plan_against_a_saved_cib(cluster, file, tmp_path):
    saved = tmp_path / "saved.xml"
    saved.write_bytes(cluster.file.read_bytes())
    result = invoke(plan_command.command, file(MOVED), "--cib", saved, "-o", "json")
    assert result.exit_code == 5
    assert json.loads(result.stdout)["consequences"][0]["resource"] == "vip"
    missing = invoke(plan_command.command, file(MOVED), "--cib", tmp_path / "none.xml")
    assert isinstance(missing.exception, UsageError)


def test_no_secret_is_shown(cluster, file):
    def insecure(root):
        pairs = root.find(".//primitive[@id='vip']/instance_attributes")
        etree.SubElement(pairs, "nvpair", id="x1", name="passwd", value="hunter2")

    before = cluster.root
    cluster.change(insecure)
    found = revert.since(before, cluster.root)
    assert [str(one) for one in found] == ["add parameter passwd of vip: (a secret, not shown)"]
    # And when a topology brings another value, by the merge.
    from hafailover.crm.change import differing

    assert "hunter" not in differing("passwd", "hunter2", "hunter3")
    assert "hunter" not in differing("passwd", "/hunter2=", "hunter3")
    mount = differing("options", "username=u,password=hunter2", "username=u,password=hunter3")
    assert mount == "username=u,password=(a secret, not shown) → (another secret)"


def test_where_an_alert_is_sent_is_not_shown(cluster):
    def alert(address):
        root = copy.deepcopy(cluster.root)
        found = root.find("configuration").find("alerts")
        found = etree.SubElement(root.find("configuration"), "alerts") if found is None else found
        etree.SubElement(etree.SubElement(found, "alert", id="al", path="/x"), "recipient", id="r", value=address)
        return root

    before, after = (alert(f"https://chat.example.org/in/{word}") for word in ("hunter2", "hunter3"))
    (found,) = revert.since(before, after)
    assert "recipient r" in str(found) and "hunter" not in str(found)


def test_what_takes_the_primary_away_needs_a_yes_even_on_a_terminal(cluster, file, monkeypatch):
    monkeypatch.setattr(apply_command, "on_terminal", lambda: True)
    monkeypatch.setattr(apply_command.click, "confirm", lambda text, err: True)
    before = cluster.configuration()
    refused = invoke(apply_command.command, file(PRIMARY)).exception
    assert isinstance(refused, RefusedError)
    assert "take the primary away from its users (restart db on db1)" in str(refused)
    assert cluster.configuration() == before
    applied(file, PRIMARY, "--yes")
    assert cluster.value("db", "datadir") == "/srv/db"


def test_a_node_that_is_away_is_told(cluster, file):
    def away(root):
        state = root.find("status/node_state[@uname='db2']")
        for key, value in (("in_ccm", "false"), ("crmd", "offline"), ("join", "down"), ("expected", "down")):
            state.set(key, value)

    cluster.change(away)
    _, report = the_plan(file, MOVED)
    assert "db2 is not online: it gets the change when it is back" in report["notes"]


def test_what_lint_calls_an_error_is_refused_without_a_yes(cluster, file, monkeypatch):
    monkeypatch.setattr(plan, "lint_errors", lambda topology: [f"bad-{n}: there: wrong (mend)" for n in range(20)])
    refused = invoke(apply_command.command, file(BASE)).exception
    assert isinstance(refused, RefusedError)
    assert "bad-0: there: wrong (mend)\n" in str(refused) and "and 8 more" in str(refused)
    assert "cibadmin --patch" not in cluster.calls
    assert "note: lint: bad-0" in applied(file, BASE, "--yes").stderr
    assert len(the_plan(file, BASE)[1]["lint"]) == 20


def test_lint_is_asked_about_the_topology_and_what_it_ignores():
    finding = lint.Finding("a-rule", lint.ERROR, "nodes", "is bad", "mend it", code="L01")
    seen = []

    def check(facts):
        seen.append(facts)
        yield finding
        yield lint.Finding("a-warning", lint.WARNING, "nodes", "is so so", "mend it")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lint, "check", check)
        assert plan.lint_errors(parse()) == ["a-rule: nodes: is bad (mend it)"]
        wanted = parse()
        object.__setattr__(wanted, "data", {**wanted.data, "lint": {"ignore": {"L01": "known"}}})
        assert plan.lint_errors(wanted) == []
    assert seen[0].topology and seen[0].resolved and seen[0].configuration


def maintenance(root):
    pairs = root.find("configuration/crm_config/cluster_property_set")
    etree.SubElement(pairs, "nvpair", id="mm", name="maintenance-mode", value="true")


def unmanaged(root):
    clone = root.find(".//clone[@id='db-clone']/meta_attributes")
    etree.SubElement(clone, "nvpair", id="unman", name="is-managed", value="false")


@pytest.mark.parametrize("edit", [maintenance, unmanaged])
def test_what_comes_when_maintenance_ends_is_told_and_asked_for(cluster, file, edit):
    cluster.change(edit)
    before = cluster.configuration()
    code, report = the_plan(file, PRIMARY)
    later = [one for one in report["consequences"] if one["resource"] == "db"]
    assert [(one["action"], one["takes_primary"], one["when"]) for one in later] == [
        ("restart", True, "when maintenance ends")
    ]
    assert (code, report["takes_primary"]) == (5, True)
    assert "when maintenance ends: restart db" in invoke(plan_command.command, file(PRIMARY)).stdout
    refused = invoke(apply_command.command, file(PRIMARY), "--wait=3")
    assert isinstance(refused.exception, RefusedError)
    assert "when maintenance ends" in str(refused.exception)
    told = invoke(apply_command.command, file(PRIMARY), "--wait=3", "-o", "json")
    assert json.loads(told.stdout)["refused"] == str(told.exception)
    assert cluster.configuration() == before


def test_a_saved_cib_without_status_is_brought_up_first(cluster, file, tmp_path):
    root = cluster.root
    for child in list(root.find("status")):
        root.find("status").remove(child)
    saved = tmp_path / "saved.xml"
    saved.write_bytes(etree.tostring(root))
    report = json.loads(invoke(plan_command.command, file(PRIMARY), "--cib", saved, "-o", "json").stdout)
    assert report["takes_primary"] is True
    assert any("has no status" in note for note in report["notes"])
    # Where it cannot be brought up, nobody knows.
    root.set("crm_feature_set", "3.99.0")
    saved.write_bytes(etree.tostring(root))
    report = json.loads(invoke(plan_command.command, file(PRIMARY), "--cib", saved, "-o", "json").stdout)
    assert (report["needed"], report["takes_primary"], report["consequences"]) == (True, None, None)
    assert "nothing is stopped" not in invoke(plan_command.command, file(PRIMARY), "--cib", saved).stdout


def test_the_plan_refuses_what_apply_refuses(cluster, file):
    cluster.cmap = cluster.cmap.replace("10.77.0.12", "10.77.0.99")
    shown = invoke(plan_command.command, file(MOVED), "-o", "json")
    assert isinstance(shown.exception, RefusedError)
    assert "the addresses of db2 differ" in json.loads(shown.stdout)["refused"]
    assert "the addresses of db2 differ" in str(invoke(apply_command.command, file(MOVED), "--yes").exception)


def test_the_plan_says_that_there_is_no_quorum_and_what_needs_a_yes(cluster, file):
    code, report = the_plan(file, MOVED)
    assert (code, report["refused"], report["needs_yes"]) == (5, None, ["interrupts: restart vip on db1"])
    cluster.quorate = False
    shown = invoke(plan_command.command, file(MOVED), "-o", "json")
    assert isinstance(shown.exception, RefusedError)
    report = json.loads(shown.stdout)
    assert "no quorum" in report["refused"]
    assert report["changes"]


def test_a_rule_is_ignored_at_one_place_only():
    where = "services.db.bind_address"
    bad = changed(("{type: mariadb}", "{type: mariadb, bind_address: 127.0.0.1}"))
    found = [one for one in plan.lint_errors(parse(bad)) if f": {where}:" in one]
    assert found
    rule = found[0].partition(":")[0]
    assert not [
        one for one in plan.lint_errors(parse(f"{bad}lint: {{ignore: {{{rule}@{where}: why}}}}\n")) if where in one
    ]
    assert [
        one for one in plan.lint_errors(parse(f"{bad}lint: {{ignore: {{{rule}@services.x: why}}}}\n")) if where in one
    ]
