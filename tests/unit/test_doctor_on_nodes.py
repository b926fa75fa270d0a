"""What the doctor makes of what is on each node: versions and files, databases, disks, secrets, and what starts at boot."""

from xml.etree import ElementTree

import hook_place
import pytest
from doctor_cases import GIB, NOW, only, results, verdicts
from hafailover.crm.doctor import FAIL, OK, UNKNOWN, WARN, Letter, Seen, boot, database, disk, modes, programs, same
from hafailover.crm.doctor.here import Here

# -- the same, databases --------------------------------------------------------------------------------------------


def told_same(**changes):
    facts = {
        "versions": {"hafailover": "1.0", "agents": "aaaaaaaaaaaa", "Pacemaker": "2.1.5", "Python": "3.11"},
        "files": {"/etc/corosync/corosync.conf": "0123456789abcdef", "/etc/hafailover/topology.yml": None},
        "stale": [],
        "unmade": "",
    }
    return {
        **facts,
        **{key: {**facts[key], **value} if isinstance(value, dict) else value for key, value in changes.items()},
    }


def test_what_is_the_same_and_what_is_not():
    assert verdicts(results(same, "same", {"db1": told_same(), "db2": told_same()})) == {OK}
    conf = {"/etc/corosync/corosync.conf": "fedcba9876543210"}
    found = results(same, "same", {"db1": told_same(), "db2": told_same(files=conf), "db3": told_same()})
    one = only(found, "same-files", FAIL)
    assert "0123456789abcdef on db1 and db3; fedcba9876543210 on db2" in one.what
    assert "sha256sum /etc/corosync/corosync.conf" in one.fix
    found = results(same, "same", {"db1": told_same(), "db2": told_same(versions={"agents": "bbbbbbbbbbbb"})})
    assert only(found, "same-versions", FAIL).what.startswith("agents is not the same")
    found = results(same, "same", {"db1": told_same(), "db2": told_same(versions={"Pacemaker": "2.1.6"})})
    assert only(found, "same-versions", WARN)
    found = results(same, "same", {"db1": told_same(), "db2": told_same(files={"/etc/hafailover/topology.yml": "1"})})
    assert "there is none on db1; 1 on db2" in only(found, "same-files", FAIL).what


def test_one_node_alone_is_nothing_to_compare():
    found = results(same, "same", {"db1": told_same()})
    assert {one.check for one in found if one.verdict == UNKNOWN} == {"same-versions", "same-files"}


def test_files_that_are_not_the_topologys():
    found = results(
        same, "same", {"db1": told_same(stale=["/etc/hafailover/hosts"]), "db2": told_same(unmade="there is none")}
    )
    assert "/etc/hafailover/hosts" in only(found, "rendered-files", WARN).what
    assert "because there is none" in only(found, "rendered-files", UNKNOWN).what


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Pacemaker 2.1.5\nWritten by Andrew Beekhof\n", "2.1.5"),
        ("Corosync Cluster Engine, version '3.1.7'\nCopyright (c) 2006-2021 Red Hat, Inc.\n", "3.1.7"),
        (
            "mariadbd  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu on x86_64 (Debian 12)",
            "10.11.14-MariaDB-0+deb12u2",
        ),
        ("no idea", "no idea"),
    ],
)
def test_versions(said, expected):
    assert same.version(said) == expected


GOOD = {
    "version": "10.11.14", "server_id": "1", "gtid_domain_id": "0", "gtid_strict_mode": "ON", "log_bin": "ON", "log_slave_updates": "ON",
    "binlog_format": "ROW", "sync_binlog": "1", "innodb_flush_log_at_trx_commit": "1", "read_only": "OFF", "slave_exec_mode": "STRICT",
    "rpl_semi_sync_master_enabled": "ON", "rpl_semi_sync_slave_enabled": "OFF", "rpl_semi_sync_master_wait_point": "AFTER_SYNC",
    "replicate_do_db": "", "expire_logs_days": "10",
}  # fmt: skip
REPLICA = {
    "server_id": "2",
    "read_only": "ON",
    "rpl_semi_sync_master_enabled": "OFF",
    "rpl_semi_sync_slave_enabled": "ON",
}


def told_database(primary=False, **changes):
    return {"services": {"db": {"variables": {**GOOD, **({} if primary else REPLICA), **changes}, "primary": primary}}}


@pytest.mark.parametrize(
    ("node", "changes", "check", "verdict", "word"),
    [
        ("db1", {"sync_binlog": "0"}, "database-settings", FAIL, "sync_binlog is 0"),
        ("db2", {"gtid_strict_mode": "OFF"}, "database-settings", FAIL, "gtid_strict_mode is OFF"),
        ("db2", {"replicate_do_db": "shop"}, "database-settings", FAIL, "filters"),
        ("db2", {"rpl_semi_sync_slave_enabled": "OFF"}, "database-settings", FAIL, "rpl_semi_sync_slave_enabled"),
        (
            "db1",
            {"rpl_semi_sync_master_wait_point": "AFTER_COMMIT"},
            "database-settings",
            FAIL,
            "wait_point is AFTER_COMMIT",
        ),
        ("db1", {"rpl_semi_sync_master_enabled": "OFF"}, "semi-sync", WARN, "semi-synchronous replication is off"),
        ("db2", {"server_id": "1"}, "database-same", FAIL, "server_id 1"),
    ],
)
def test_database_settings(node, changes, check, verdict, word):
    told = {"db1": told_database(primary=True), "db2": told_database()}
    assert verdicts(results(database, "database", told)) == {OK}
    told[node] = told_database(primary=node == "db1", **changes)
    assert word in only(results(database, "database", told), check, verdict).what


def test_two_servers_that_accept_writes():
    found = results(
        database, "database", {"db1": told_database(primary=True), "db2": told_database(primary=True, server_id="2")}
    )
    assert "db1 and db2" in only(found, "database-primary", FAIL).what


def test_a_server_that_does_not_answer_is_not_well():
    told = {"db1": {"services": {"db": {"error": "cannot connect"}}}}
    assert "because cannot connect" in only(results(database, "database", told), "database-settings", UNKNOWN).what


# -- disks, secrets, boot -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "total", "inodes", "verdict"),
    [(40 * GIB, 100 * GIB, 0.9, OK), (9 * GIB, 100 * GIB, 0.9, WARN), (4 * GIB, 100 * GIB, 0.9, FAIL), (60 * GIB, 2000 * GIB, 0.9, OK),
     (40 * GIB, 100 * GIB, 0.01, FAIL)],
)  # fmt: skip
def test_disks(free, total, inodes, verdict):
    told = {"db1": {"disks": {"/var/lib/mysql": {"free": free, "total": total, "inodes": inodes}}, "binlogs": {}}}
    assert "/var/lib/mysql" in only(results(disk, "disk", told), "disk", verdict).what


@pytest.mark.parametrize(
    ("per_day", "days", "verdict"),
    [(GIB, "10.000000", OK), (8 * GIB, "10", WARN), (30 * GIB, "10", FAIL), (GIB, "0", WARN)],
)
def test_binary_logs_that_grow(per_day, days, verdict):
    facts = {
        "disk": {
            "disks": {"/var/lib/mysql": {"free": 50 * GIB, "total": 100 * GIB, "inodes": 1.0}},
            "binlogs": {"db": {"size": GIB, "per_day": per_day, "free": 50 * GIB}},
        },
        "database": told_database(expire_logs_days=days),
    }
    found = list(disk.judge(Seen("db1", NOW, ("db1",), {"db1": Letter("db1", NOW, facts)}, {})))
    assert only(found, "binlog-growth", verdict)


def test_the_size_and_growth_of_binary_logs(tmp_path):
    import os
    import time

    now = time.time()
    for number, (size, age) in enumerate([(100, 7200), (50, 3600), (30, 0)], 1):
        file = tmp_path / f"mysql-bin.{number:06}"
        file.write_bytes(b"x" * size)
        os.utime(file, (now - age, now - age))
    (tmp_path / "mysql-bin.index").write_text("")
    (tmp_path / "relay-bin.000001").write_bytes(b"x" * 5000)
    (tmp_path / "relay-bin.index").write_text("")
    found = disk._binlogs(str(tmp_path))
    assert found["size"] == 180
    assert found["per_day"] == pytest.approx(80 / 7200 * 86400, rel=0.02)
    assert disk._binlogs(str(tmp_path / "none")) == {}


def test_secrets_that_are_open():
    told = {
        "files": [["/etc/corosync/authkey", 0o400, 0o400, "root", "root"], ["/etc/x y", 0o644, 0o600, "root", "root"]]
    }
    one = only(results(modes, "modes", {"db1": told}), "secret-mode", FAIL)
    assert one.what == "/etc/x y (0644 root:root) is open to everybody"
    assert one.fix == "chmod 0600 '/etc/x y'"
    group = {"files": [["/etc/a", 0o640, 0o600, "root", "staff"]]}
    assert "the group staff" in only(results(modes, "modes", {"db1": group}), "secret-mode", WARN).what
    good = {"files": [["/etc/pacemaker/authkey", 0o640, 0o640, "hacluster", "haclient"]]}
    assert only(results(modes, "modes", {"db1": good}), "secret-mode", OK)


def test_what_starts_at_boot():
    told = {
        "found": [
            [
                "/etc/systemd/system/x.wants/mariadb.service",
                "mariadb.service is started at boot too",
                "systemctl disable mariadb",
            ]
        ]
    }
    one = only(results(boot, "boot", {"db1": told}), "starts-at-boot", FAIL)
    assert one.fix == "systemctl disable mariadb"
    assert verdicts(results(boot, "boot", {"db1": {"found": []}})) == {OK}


def test_hooks_that_root_would_not_run(tmp_path, monkeypatch):
    place = hook_place.made(tmp_path, monkeypatch)
    good = {"command": ["/bin/true"]}
    hook_place.configure(place, {"command": ["/usr/local/sbin/nobody-put-it-there"]}, good)
    cib = ElementTree.fromstring(
        "<cib><configuration><resources><clone id='c'><primitive id='db' class='ocf' provider='hafailover' type='mariadb'>"
        "<instance_attributes id='i'><nvpair id='n' name='nodes' value='db1:10.0.0.1 db2:10.0.0.2'/></instance_attributes>"
        "</primitive></clone></resources></configuration></cib>"
    )
    told = programs.read(Here("db1", cib, "", {}, lambda argv, timeout=None: None))
    assert [one[5] for one in told["found"]] == ["cannot be run: No such file or directory", ""]
    one = only(results(programs, "programs", {"db1": told}), "hook-program", FAIL)
    assert "/usr/local/sbin/nobody-put-it-there, hook" in one.what and "critical" in one.why
    told["found"][0][4] = False
    assert only(results(programs, "programs", {"db1": told}), "hook-program", WARN)
    told["found"].pop(0)
    assert only(results(programs, "programs", {"db1": told}), "hook-program", OK)
    assert results(programs, "programs", {"db1": {"found": []}}) == []
