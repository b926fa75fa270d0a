"""plan, apply, undo and simulate on a cluster that runs: two operators, what is refused, and what stays."""

import json
import time

import pytest
from hafailover.vagrant.lab import Options
from labs import lab_of, until
from lxml import etree
from pair import healthy

NAME = "plan"
PROGRAM = "/usr/local/bin/hafailover"
TOPOLOGY = """\
version: 1
lab: true
cluster: {name: plan, secrets_dir: secrets, encryption: off, detection: {token: 1s}}
nodes:
  n1: {id: 1, links: [10.78.0.1], fence: {agent: fence_lab, plug: n1}}
  n2: {id: 2, links: [10.78.0.2], fence: {agent: fence_lab, plug: n2}}
quorum: {device: {host: 10.78.0.3, tls: off}}
vips:
  vip: {ip: 10.78.0.50/24, follows: db.primary}
services:
  db: {type: mariadb}
"""
MORE = TOPOLOGY.replace("services:", "  two: {ip: 10.78.0.51/24}\nservices:")
MOVED = TOPOLOGY.replace("10.78.0.50", "10.78.0.52")
PRIMARY = TOPOLOGY.replace("{type: mariadb}", "{type: mariadb, stall: 2s, socket: /run/mysqld/other.sock}")


@pytest.fixture(scope="module")
def lab():
    with lab_of(NAME, TOPOLOGY, Options(sets=("mariadb",))) as made:
        healthy(made)
        yield made


@pytest.fixture
def run(lab):
    def run(*argv, node="n1", input=None, timeout=180):
        return lab.exec(node, [str(word) for word in argv], timeout=timeout, input=input)

    return run


@pytest.fixture
def on(run):
    """on("apply", TEXT, *options): a command of hafailover about a topology with this text."""

    def on(what, text, *options, node="n1"):
        path = f"/etc/hafailover/test-{node}.yml"
        assert run("sh", "-c", f"cat > {path}", input=text, node=node).returncode == 0
        return run(PROGRAM, what, path, *options, node=node)

    yield on
    # Each test leaves the cluster as it found it.
    assert on("apply", TOPOLOGY, "--yes").returncode == 0


def root(run):
    return etree.fromstring(run("cibadmin", "-Q").stdout.encode())


def configuration(run):
    """The configuration without what agents and Pacemaker write in it."""
    found = root(run).find("configuration")
    for one in [*found.iterfind("crm_config/cluster_property_set"), *found.iterfind("nodes/node/instance_attributes")]:
        if (one.get("id") or "").startswith("hafailover-") or one.tag == "instance_attributes":
            one.getparent().remove(one)
    for pair in found.findall("crm_config/cluster_property_set/nvpair"):
        if pair.get("name") in ("last-lrm-refresh", "dc-version", "have-watchdog"):
            pair.getparent().remove(pair)
    return etree.tostring(found, method="c14n")


def primary(run):
    done = run("crm_resource", "--locate", "--resource", "db-clone")
    line = next(one for one in done.stdout.splitlines() if "Promoted" in one or "Master" in one)
    return next(node for node in ("n1", "n2") if f": {node}" in line)


def test_a_plan_of_what_is_there_has_nothing_to_do(on, run):
    assert on("apply", TOPOLOGY, "--yes").returncode == 0
    before = root(run).get("epoch")
    done = on("plan", TOPOLOGY)
    assert (done.returncode, done.stdout) == (0, "nothing to do: the cluster has this configuration already\n")
    assert root(run).get("epoch") == before


def test_a_plan_tells_changes_and_consequences(on):
    done = on("plan", MOVED, "-o", "json")
    report = json.loads(done.stdout)
    assert done.returncode == 5
    assert [one["what"] for one in report["changes"]] == ["parameter ip of vip"]
    assert [(one["action"], one["resource"], one["interrupts"]) for one in report["consequences"]] == [
        ("restart", "vip", True)
    ]


def test_a_change_is_applied_taken_back_and_made_again(on, run):
    assert on("apply", TOPOLOGY, "--yes").returncode == 0
    before = configuration(run)
    assert on("apply", MORE, "--yes").returncode == 0
    until("the second address", lambda: "is running on" in run("crm_resource", "--locate", "--resource", "two").stdout)
    shown = run(PROGRAM, "undo", "--dry-run")
    assert "remove resource two (ocf:hafailover:vip)" in shown.stdout, shown.stderr
    refused = run(PROGRAM, "undo")
    assert refused.returncode == 2 and "interrupt running services (stop two on" in refused.stderr
    back = run(PROGRAM, "undo", "--yes")
    assert back.returncode == 0, back.stderr
    assert configuration(run) == before
    again = run(PROGRAM, "undo", "--yes")
    assert again.returncode == 0, again.stderr
    assert root(run).find(".//primitive[@id='two']") is not None
    kept = run(
        "stat", "-c", "%a %U", "/var/lib/hafailover/configurations", "/var/lib/hafailover/configurations/000001.xml"
    )
    assert kept.stdout.split("\n")[:2] == ["700 root", "600 root"]


def test_what_would_take_the_primary_away_is_refused(on, run):
    before, was = root(run).get("epoch"), primary(run)
    done = on("apply", PRIMARY)
    assert done.returncode == 3
    assert f"this would take the primary away from its users (restart db on {was}" in done.stderr
    assert primary(run) == was
    assert root(run).find(".//nvpair[@value='/run/mysqld/other.sock']") is None
    assert int(root(run).get("epoch")) - int(before) < 5


def test_standby_maintenance_and_bans_are_kept_by_apply_and_undo(on, run):
    run("crm_standby", "--node", "n2", "--update", "off")
    run("crm_attribute", "--name", "maintenance-mode", "--update", "true")
    run("crm_resource", "--ban", "--resource", "vip", "--node", "n2")
    try:
        assert on("apply", MORE, "--yes", "--wait=20").returncode in (0, 4)
        run("crm_attribute", "--node", "n2", "--name", "standby", "--update", "on")
        done = run(PROGRAM, "undo", "--yes", "--wait=20")
        assert done.returncode in (0, 4), done.stderr
        text = etree.tostring(root(run), encoding="unicode")
        assert root(run).find(".//primitive[@id='two']") is None
        for piece in ('name="standby" value="on"', 'name="maintenance-mode" value="true"', "cli-ban-vip-on-n2"):
            assert piece in text
    finally:
        run("crm_resource", "--clear", "--resource", "vip")
        run("crm_standby", "--node", "n2", "--delete")
        run("crm_attribute", "--name", "maintenance-mode", "--delete")
        until("both servers", lambda: on("plan", TOPOLOGY).returncode in (0, 5) and primary(run))


def test_two_operators_at_once(lab, on, run):
    """The one on n1 waits for an address that never comes up; the other one, on n2, is told of him; when he is killed, it goes on."""
    bad = TOPOLOGY.replace("services:", "  bad: {ip: 10.78.0.53/24, nic: nosuchnic}\nservices:")
    assert run("sh", "-c", "cat > /etc/hafailover/bad.yml", input=bad).returncode == 0
    run("systemd-run", "--unit=first", "--collect", PROGRAM, "apply", "/etc/hafailover/bad.yml", "--yes", "--wait=120")
    until("the first is at it", lambda: root(run).find(".//primitive[@id='bad']") is not None)
    second = on("apply", MORE, "--yes", node="n2")
    assert second.returncode == 3
    assert "is being changed on n1 (" in second.stderr and "apply /etc/hafailover/bad.yml" in second.stderr
    same = run(PROGRAM, "apply", "/etc/hafailover/bad.yml", "--yes")
    assert same.returncode == 3 and "is being changed on this node" in same.stderr
    run("systemctl", "kill", "--signal=KILL", "first")
    time.sleep(1)
    third = on("apply", TOPOLOGY, "--yes", node="n2")
    assert third.returncode == 0, third.stderr
    assert root(run).find(".//primitive[@id='bad']") is None
    # What n1 keeps is no longer what the cluster has.
    assert run(PROGRAM, "undo", "--yes", "--dry-run").returncode in (0, 3)


def test_the_running_cluster_is_simulated_and_does_what_was_said(lab, run):
    was = primary(run)
    other = {"n1": "n2", "n2": "n1"}[was]
    report = json.loads(run(PROGRAM, "simulate", "--live", "--fail", was, "-o", "json", node=other).stdout)
    assert report["quorum"]["quorate"] is True
    assert report["failures"][0]["noticed_at_most_s"] == 2.2
    assert [(step["action"], step["resource"]) for step in report["steps"]][:1] == [("fence", "")]
    assert report["after"]["db"]["promoted"] == [other]
    assert report["after"]["vip"]["running"] == [other]
    lab.power_off(was, hold=True)
    try:
        until("the other is primary", lambda: _primary_on(run, other))
    finally:
        lab.power_on(was)
        healthy(lab)


def _primary_on(run, node):
    found = run("crm_resource", "--locate", "--resource", "db-clone", node=node).stdout
    return any(f": {node}" in line and ("Promoted" in line or "Master" in line) for line in found.splitlines())
