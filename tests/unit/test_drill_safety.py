"""The checklist before a drill, on what real clusters have said of themselves."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import status_samples
from hafailover.crm.drill import backups, possible, safety
from hafailover.crm.drill.cluster_place import ClusterPlace
from hafailover.crm.drill.gameday import roles_of
from hafailover.crm.drill.reach import Reach, Server
from hafailover.crm.drill.safety import Facts
from hafailover.crm.drill.scenario import load
from hafailover.crm.status_fencing import FenceEvent
from hafailover.crm.switchover import Answer, Answers

SEQUENCE = [
    "here", "unfinished", "quorum", "nodes", "managed", "primary", "replicas", "address", "fencing", "failures", "leftovers",
    "status", "clocks", "schema", "backup", "clients",
]  # fmt: skip


def facts(record="healthy", status=None, **changes):
    found = status or status_samples.status(record)
    service = found.services[0]
    known = Facts(found, service, Answers({}), (), True, {"db2": 0.004}, 0, "", False, None, {})
    return known._replace(**changes)


def checks(*args, accepted=(), **changes):
    return {check.name: check for check in safety.checks(facts(*args, **changes), frozenset(accepted))}


def refused(*args, **changes):
    return {name for name, check in checks(*args, **changes).items() if check.refuses}


def test_a_healthy_cluster_is_refused_nothing_and_the_backup_is_said_to_be_unknown():
    found = checks()
    assert list(found) == SEQUENCE
    assert refused() == set()
    assert found["backup"].ok is None and "cannot be known from here" in found["backup"].says


@pytest.mark.parametrize(
    ("record", "names"),
    [
        ("maintenance-and-ban", {"managed", "leftovers"}),
        ("no-quorum", {"quorum"}),
        ("standby", {"nodes", "replicas"}),
        ("node-booting", {"nodes"}),
        ("pacemaker-stopped", {"nodes"}),
        ("primary-unclean", {"nodes"}),
        ("sql-stopped", {"replicas"}),
        ("switching", {"managed"}),
    ],
)
def test_whatever_is_wrong_stands_in_the_way_and_no_person_can_accept_it(record, names):
    assert names <= refused(record)
    hard = {name for name, check in checks(record, accepted=SEQUENCE).items() if check.refuses}
    assert names - {"leftovers"} <= hard


def test_what_cannot_be_done_from_here_is_refused_with_its_reasons():
    found = checks(against=["run it on db2", "give it ssh"])["here"]
    assert found.refuses and not found.acceptable and found.says == "run it on db2; give it ssh"


def test_an_unfinished_drill_is_restored_first():
    assert (
        "hafailover drill --restore" in checks(unfinished="the drill kill-primary was not finished")["unfinished"].says
    )


def test_a_schema_of_that_name_is_nobody_elses():
    assert refused(schema=True) == {"schema"}
    assert checks(schema=None)["schema"].ok is None


def without_fencing():
    status = status_samples.status("healthy")
    return status._replace(fencing=status.fencing._replace(enabled=False))


def test_fencing_that_the_scenario_needs_cannot_be_done_without():
    assert checks(status=without_fencing(), fences=True)["fencing"].acceptable is False
    assert "fencing" not in {
        n for n, c in checks(status=without_fencing(), fences=False, accepted=["fencing"]).items() if c.refuses
    }


def with_devices(**changes):
    status = status_samples.status("healthy")
    devices = tuple(device._replace(**changes) for device in status.fencing.devices)
    return status._replace(fencing=status.fencing._replace(devices=devices))


@pytest.mark.parametrize("changes", [{"running": False}, {"failed": True}, {"targets": ("db1",)}])
def test_a_fence_device_has_to_run_and_to_cover_every_node(changes):
    assert refused(status=with_devices(**changes)) >= {"fencing"}


def test_a_fence_device_is_tried():
    assert "answered just now" in checks(tried={"fence-db2": ""})["fencing"].says
    found = checks(tried={"fence-db2": "Login failed"})["fencing"]
    assert found.refuses and "fence-db2: Login failed" in found.says


def test_a_node_that_no_device_says_it_can_fence_is_found():
    assert "no device can fence db2" in checks(device={"db1": ["fence-db1"], "db2": []})["fencing"].says


def test_the_last_fencing_must_not_have_failed():
    status = status_samples.status("healthy")
    failed = FenceEvent("db2", "reboot", "failed", status.at - 60, "db1", "no route to the board")
    fencing = status.fencing._replace(events=(failed,))
    assert (
        "the last fencing of db2 failed: no route to the board"
        in checks(status=status._replace(fencing=fencing))["fencing"].says
    )


def test_it_is_said_when_fencing_last_worked():
    status = status_samples.status("healthy")
    worked = FenceEvent("db2", "reboot", "success", status.at - 3 * 86400, "db1", "")
    fencing = status.fencing._replace(events=(worked,))
    assert "last fenced 3 days ago" in checks(status=status._replace(fencing=fencing))["fencing"].says


@pytest.mark.parametrize(
    ("scenario", "votes", "needed", "good"),
    [
        ("power-off-replica", 2, 2, False),
        ("stop-primary", 2, 2, False),
        ("cut-primary", 3, 2, True),
        ("power-off-primary", 2, 1, True),
        ("kill-primary", 2, 2, True),
        ("power-off-replica", None, None, True),
    ],
)
def test_a_node_without_which_the_others_have_no_quorum_is_not_taken(scenario, votes, needed, good):
    status = status_samples.status("healthy")
    status = status._replace(quorum=status.quorum._replace(votes=votes, needed=needed))
    leaves = possible.takes_member(load(scenario))
    found = checks(status=status, leaves=leaves)["quorum"]
    assert found.refuses is not good and ("would have no quorum" in found.says) is not good
    assert not checks(status=status, leaves=leaves, accepted=("quorum",))["quorum"].refuses


def test_a_backup_that_is_being_made_stands_in_the_way():
    found = checks(backups=["mariadb-backup on db2"])["backup"]
    assert found.refuses and "mariadb-backup on db2" in found.says
    assert not checks(backups=["mariadb-backup on db2"], accepted=("backup",))["backup"].refuses


def test_the_programs_that_make_a_backup_are_found(monkeypatch, tmp_path):
    program = tmp_path / "mariadb-backup"
    shutil.copy(shutil.which("sleep"), program)
    with Reach("db1", Server({"db1": ""}, 3306, ""), None) as reach:
        place = ClusterPlace(status_samples.status("healthy"), reach)
        process = subprocess.Popen([program, "60"])
        try:
            assert backups.running(place, ["db1", "db2"]) == ["mariadb-backup on db1"], "db2 cannot be looked at"
        finally:
            process.kill()
            process.wait()


def test_that_the_cluster_does_not_say_whether_it_is_idle_is_no_yes():
    found = checks(status=status_samples.status("healthy")._replace(idle=None))["managed"]
    assert found.ok is None and "does not say" in found.says


def test_clocks_are_compared():
    assert checks(offsets={"db2": 0.2})["clocks"].ok
    assert "db2 is 7.5 s behind" in checks(offsets={"db2": -7.5})["clocks"].says
    assert checks(offsets={"db2": None})["clocks"].ok is None


def test_a_failure_that_is_over_is_told_and_stands_in_nobodys_way():
    found = checks("killed-and-back")["failures"]
    assert found.ok, found.says


def test_a_server_that_does_not_answer_is_not_taken_for_one_in_sync():
    assert "servers" in refused(answers=Answers({"db2": Answer("db2", error="Connection refused")}))


def test_without_an_address_there_is_nothing_to_write_through():
    status = status_samples.status("healthy")._replace(addresses=())
    assert refused(status=status) >= {"address"}


def test_roles_are_those_of_scenarios():
    service = status_samples.status("healthy").services[0]
    roles = roles_of(service)
    assert set(roles) == {"primary", "replica"} and roles["primary"] == service.primary
    assert roles_of(service._replace(primary=None)) == {}
