"""What ``hafailover adopt`` says of running servers, and what it leaves in systemd's hands."""

from __future__ import annotations

from typing import Any

import pytest
from hafailover.agents.mariadb import adopted
from hafailover.crm import adopt, topology
from hafailover.crm.adopt import LIVE, OK, REFUSED, WARNING, Server, Source, Wanted
from hafailover.crm.errors import UsageError
from hafailover.crm.mariadb_options import defaults_file

VARIABLES = {
    "version": "10.11.19-MariaDB-log", "datadir": "/var/lib/mysql/", "socket": "/run/mysqld/mysqld.sock", "port": "3306",
    "server_id": "1", "gtid_domain_id": "0", "log_bin": "ON", "log_bin_basename": "/var/lib/mysql/mariadb-bin",
    "log_slave_updates": "ON", "read_only": "OFF", "innodb_page_size": "16384", "sql_mode": "STRICT_TRANS_TABLES",
    "gtid_strict_mode": "ON", "sync_binlog": "1", "innodb_flush_log_at_trx_commit": "1", "binlog_format": "ROW",
    "rpl_semi_sync_master_wait_point": "AFTER_SYNC", "rpl_semi_sync_master_timeout": "18446744073709551615",
    "rpl_semi_sync_slave_enabled": "OFF", "slave_exec_mode": "STRICT", "slave_skip_errors": "OFF",
}  # fmt: skip
STATUS = {
    "Master_Host": "10.77.0.11", "Connection_name": "", "Slave_IO_Running": "Yes", "Slave_SQL_Running": "Yes",
    "Using_Gtid": "Slave_Pos", "SQL_Delay": "0",
}  # fmt: skip
WANTED = Wanted(
    "/var/lib/mysql", "/run/mysqld/mysqld.sock", "3306", "/etc/mysql/hafailover-db.cnf",
    {"server_id": "1", "log_bin": "mariadb-bin"}, {"sql_mode": "STRICT_TRANS_TABLES"},
)  # fmt: skip
SOURCE = Source("db1", "", {**VARIABLES}, "0-1-100", False, "")


def server(replication: dict[str, str] | None = None, variables: dict[str, str] | None = None, **more: Any) -> Server:
    known = {
        "node": "db1", "variables": {**VARIABLES, **(variables or {})}, "replication": (), "filters": "", "engines": {},
        "state": "0-1-100", "applied": "", "unit": "mariadb.service", "held": False,
    }  # fmt: skip
    if replication is not None:
        known["replication"] = ({**STATUS, **replication},)
    return Server(**{**known, **more})


def said(found: tuple[adopt.Check, ...], verdict: str) -> dict[str, str]:
    return {check.name: check.says for check in found if check.verdict == verdict}


def test_a_pair_as_the_cluster_would_start_it_has_nothing_to_be_said_against() -> None:
    assert {check.verdict for check in adopt.checks(server(), WANTED, None)} == {OK}
    replica = server({}, {"read_only": "ON"})
    assert {check.verdict for check in adopt.checks(replica, WANTED, SOURCE)} == {OK}


@pytest.mark.parametrize(
    ("facts", "name", "words"),
    [
        (server(variables={"datadir": "/srv/mysql/"}), "datadir", "write datadir: /srv/mysql into the topology"),
        (server(variables={"port": "3307"}), "port", "write port: 3307"),
        (server(variables={"version": "10.3.39-MariaDB"}), "version", "one series at a time"),
        (server(unit=""), "unit", "does not run in a systemd service"),
        (server(variables={"wsrep_on": "ON"}), "galera", "Galera"),
        (server(variables={"server_id": "101"}), "server_id", "server_ids: {db1: 101}"),
        (server(variables={"gtid_domain_id": "5"}), "gtid_domain_id", "SET GLOBAL gtid_domain_id=0"),
        (server(variables={"log_bin": "OFF"}), "log_bin", "nothing can replicate"),
        (
            server(variables={"log_bin_basename": "/var/lib/mysql/mysql-bin"}),
            "log_bin",
            "write options: {log_bin: mysql-bin}",
        ),
        (
            server(variables={"log_bin_basename": "/var/log/mysql/bin"}),
            "log_bin",
            "write options: {log_bin: /var/log/mysql/bin}",
        ),
        (server(filters="Binlog_Do_DB=shop"), "filters", "Binlog_Do_DB=shop"),
        (server(variables={"innodb_page_size": "8192"}), "innodb_page_size", "innodb_page_size: 8192"),
        (server(variables={"read_only": "ON"}), "role", "nothing says that it is the primary"),
    ],
)
def test_a_primary_that_would_break_the_promise_is_refused(facts: Server, name: str, words: str) -> None:
    assert words in said(adopt.checks(facts, WANTED, None), REFUSED)[name]


CLOSED = {"read_only": "ON"}


@pytest.mark.parametrize(
    ("facts", "source", "name", "words"),
    [
        (server({"Connection_name": "x"}, CLOSED), SOURCE, "role", "named connection"),
        (server({"Replicate_Do_DB": "shop"}, CLOSED), SOURCE, "filters", "Replicate_Do_DB=shop"),
        (server({"SQL_Delay": "3600"}, CLOSED), SOURCE, "delay", "MASTER_DELAY=0"),
        (server({"Slave_SQL_Running": "No"}, CLOSED), SOURCE, "threads", "START SLAVE"),
        (server({}, {**CLOSED, "slave_exec_mode": "IDEMPOTENT"}), SOURCE, "slave_exec_mode", "hides rows that differ"),
        (server({}, {**CLOSED, "slave_skip_errors": "1062"}), SOURCE, "slave_skip_errors", "hides rows that differ"),
        (server({}, CLOSED), Source("", "refused"), "source", "cannot be asked: refused"),
        (server({}, CLOSED), Source("", ""), "source", "none of the data nodes"),
        (
            server({}, CLOSED),
            SOURCE._replace(behind="it stands at 0-1-5"),
            "caught-up",
            "not caught up with db1: it stands at",
        ),
        (server({}, CLOSED, state="0-1-100,0-2-7"), SOURCE, "divergence", "holds 0-2-7, which db1 does not"),
        (server({}, CLOSED), SOURCE._replace(replicates=True), "source", "db1 replicates, too"),
        (server({}), SOURCE._replace(replicates=True), "two-primaries", "both are writable"),
        (server({}, {**CLOSED, "version": "10.6.19-MariaDB"}), SOURCE, "version", "older than its primary"),
    ],
)
def test_a_replica_that_would_break_the_promise_is_refused(
    facts: Server, source: Source, name: str, words: str
) -> None:
    assert words in said(adopt.checks(facts, WANTED, source), REFUSED)[name]


def test_what_can_be_set_is_set_and_what_needs_a_restart_is_said() -> None:
    lax = {"sync_binlog": "0", "gtid_strict_mode": "OFF", "binlog_format": "MIXED"}
    found = adopt.checks(server(variables=lax), WANTED, None)
    assert said(found, LIVE).keys() == lax.keys()
    assert not adopt.refused(found)
    bare = {"log_bin": "OFF", "log_slave_updates": "OFF", "gtid_domain_id": "3"}
    found = adopt.checks(server({"Using_Gtid": "No"}, bare), WANTED, SOURCE)
    assert {check.name for check in adopt.restarts(found)} == bare.keys()
    assert said(found, LIVE).keys() == {"read_only", "gtid"}
    assert not adopt.refused(found)


def test_what_a_person_should_know_is_a_warning() -> None:
    engines = {"MyISAM": ("app.a", "app.b", "app.c", "app.d")}
    found = adopt.checks(server(variables={"sql_mode": ""}, engines=engines), WANTED, None)
    warned = said(found, WARNING)
    assert "app.a, app.b, app.c and 1 more" in warned["engines"]
    assert "sql_mode  → STRICT_TRANS_TABLES" in warned["options"]


class Systemd:
    """systemctl, as far as it is asked."""

    def __init__(self, restart: str = "no") -> None:
        self.rc, self.err, self.asked, self._restart = 0, "", [], restart  # type: ignore[var-annotated]
        self.out = ""

    def __call__(self, argv: list[str], timeout: float | None = None) -> Systemd:
        self.asked.append(argv[1])
        self.out = self._restart if argv[1] == "show" else ""
        return self


def test_a_unit_is_taken_over_once_and_for_one_resource(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopted, "SYSTEMD", str(tmp_path))
    monkeypatch.setattr(adopted, "unit_of", lambda pid: {7: "mariadb.service"}.get(pid, ""))
    assert not adopted.is_adopted("db", 7)
    for _ in range(2):
        systemd = Systemd()
        assert adopted.take_over("db", 7, systemd) == "mariadb.service"
        assert systemd.asked == ["daemon-reload", "disable", "show"]
    text = (tmp_path / "mariadb.service.d" / "hafailover.conf").read_text()
    assert "Restart=no\n" in text and "ExecStopPost=+/usr/lib/hafailover/mariadb-died db\n" in text
    assert adopted.is_adopted("db", 7)
    assert not adopted.is_adopted("db2", 7)
    assert not adopted.is_adopted("db", 8)


def test_the_cluster_s_own_unit_is_left_as_it_is(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopted, "SYSTEMD", str(tmp_path))
    monkeypatch.setattr(adopted, "unit_of", lambda pid: "hafailover-mariadb-db.service")
    systemd = Systemd()
    assert adopted.take_over("db", 7, systemd) == "hafailover-mariadb-db.service"
    assert systemd.asked == [] and list(tmp_path.iterdir()) == []


def test_a_unit_that_would_be_restarted_all_the_same_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopted, "SYSTEMD", str(tmp_path))
    monkeypatch.setattr(adopted, "unit_of", lambda pid: "mariadb.service")
    with pytest.raises(adopted.AdoptionError, match="Restart=on-abnormal"):
        adopted.take_over("db", 7, Systemd("on-abnormal"))


def test_a_process_without_a_unit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopted, "unit_of", lambda pid: "")
    with pytest.raises(adopted.AdoptionError, match="does not run in a systemd service"):
        adopted.take_over("db", 7, Systemd())


PAIR = """version: 1
lab: true
cluster: {{name: c, secrets_dir: s}}
nodes:
  db1: {{id: 1, links: [10.0.0.1]}}
  db2: {{id: 2, links: [10.0.0.2]}}
quorum: {{two_node: true}}
services:
  db: {{type: mariadb, server_ids: {ids}}}
"""


def test_a_server_keeps_the_id_it_came_with(tmp_path: Any) -> None:
    path = tmp_path / "topology.yml"
    path.write_text(PAIR.format(ids="{db2: 102}"))
    read = topology.load(str(path))
    service = read.services["db"]
    assert "server_id = 1\n" in defaults_file(service, read.nodes["db1"])
    assert "server_id = 102\n" in defaults_file(service, read.nodes["db2"])


@pytest.mark.parametrize(
    ("ids", "words"), [("{db1: 2}", "the same server_id 2"), ("{db9: 5}", "db9"), ("{db1: 0}", "whole number")]
)
def test_server_ids_that_cannot_be_are_named(tmp_path: Any, ids: str, words: str) -> None:
    path = tmp_path / "topology.yml"
    path.write_text(PAIR.format(ids=ids))
    with pytest.raises(UsageError, match=words):
        topology.load(str(path))
