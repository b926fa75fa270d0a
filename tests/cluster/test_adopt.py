"""A cluster's first hour: fresh servers, empty directories, servers with data, and a pair that replicates already."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from hafailover.agents.mariadb import journal
from hafailover.crm.drill.crew import Crew
from hafailover.crm.drill.ledger import ACKNOWLEDGED, Ledger, acknowledgements
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab
from labs import lab_of, shell, until
from pair import UNIT, assert_same, begin, healthy, never_used, recorded, sql, standing

NAME = "adopttest"
CONFIG = "/etc/mysql/mariadb.conf.d/90-old.cnf"
OLD = """[mysqld]
server_id={id}
bind_address=0.0.0.0
log_bin=mariadb-bin
binlog_format=MIXED
{more}
"""
INSTALL = "mariadb-install-db --user=mysql --skip-test-db >/dev/null 2>&1"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, DEFAULT_TOPOLOGY) as made:
        healthy(made)
        yield made


def test_a_fresh_pair_may_replicate_from_the_beginning(lab: Lab) -> None:
    entry = recorded(lab, "db1")
    assert (entry.epoch, entry.primary, entry.origin) == (1, "db1", journal.VIRGIN)


def test_a_pair_of_empty_directories_comes_up_alone(lab: Lab) -> None:
    never_used(lab)
    begin(lab)
    healthy(lab)
    assert recorded(lab, "db1").origin == journal.VIRGIN
    sql(
        lab,
        recorded(lab, "db1").primary,
        "CREATE DATABASE app; CREATE TABLE app.t (id INT PRIMARY KEY); INSERT INTO app.t VALUES (1)",
    )
    until("the row has arrived", lambda: "app" in sql(lab, "db2", "SHOW DATABASES"))
    assert_same(lab, "app.t")


def without_binary_log(lab: Lab, node: str, statement: str) -> None:
    """Fill a server that has never heard of GTIDs, as before it came into the cluster."""
    shell(
        lab, node,
        f"{INSTALL}; mkdir -p /run/mysqld; chown mysql /run/mysqld; rm -f {CONFIG}; systemctl start mariadb; "
        f"mariadb -e '{statement}'; systemctl stop mariadb",
    )  # fmt: skip


FILLED = "CREATE DATABASE old; CREATE TABLE old.t (id INT PRIMARY KEY); INSERT INTO old.t VALUES (1), (2)"


def test_tables_go_before_the_order_of_the_topology(lab: Lab) -> None:
    """db1 comes first in the topology and is empty, db2 holds tables but no GTID: db1 may be no primary, nor replicate from nothing."""
    never_used(lab)
    without_binary_log(lab, "db2", FILLED)
    begin(lab)
    until("db2 is recorded", lambda: recorded(lab, "db2").primary == "db2")
    assert recorded(lab, "db2").origin == journal.DATA
    # What db2 held before its binary log began, db1 can only get from a clone, and has nothing that could be lost by one.
    healthy(lab)
    assert recorded(lab, "db1").primary == "db2"
    assert_same(lab, "old.t")


def test_two_servers_with_tables_and_no_history_wait_for_a_person(lab: Lab) -> None:
    never_used(lab)
    for node in lab.data_nodes:
        without_binary_log(lab, node, FILLED)
    begin(lab)
    for node in lab.data_nodes:
        until(f"{node} says what to do", lambda node=node: "--accept-data-loss" in standing(lab, node, node))
    assert recorded(lab, "db1") == journal.NONE


# -- a pair that replicates already ----------------------------------------------------------------------------------


def by_hand(lab: Lab, more: str = "log_slave_updates=ON") -> None:
    """A pair as people build it: mariadb.service on both, db2 replicates from db1 by file and position."""
    never_used(lab)
    shell(lab, "db1", "crm_attribute -n maintenance-mode -v true")
    begin(lab)
    for number, node in enumerate(("db1", "db2"), 1):
        lab.exec(node, ["tee", CONFIG], input=OLD.format(id=number, more=more), check=True)
        shell(
            lab, node,
            f"rm -rf /run/systemd/system/mariadb.service.d; systemctl daemon-reload; systemctl reset-failed mariadb || true; {INSTALL}; "
            "mkdir -p /run/mysqld; chown mysql /run/mysqld; systemctl enable -q mariadb; systemctl start mariadb",
        )  # fmt: skip
    sql(
        lab, "db1",
        "CREATE USER oldrepl@'%' IDENTIFIED BY 'oldsecret'; GRANT REPLICATION SLAVE ON *.* TO oldrepl@'%'; "
        "CREATE DATABASE drill; CREATE TABLE drill.writes (id INT AUTO_INCREMENT PRIMARY KEY, writer VARCHAR(40), seq INT, server INT); "
        "CREATE USER app@'%' IDENTIFIED BY 'apppass'; GRANT ALL ON drill.* TO app@'%'",
    )  # fmt: skip
    sql(
        lab, "db2",
        "CHANGE MASTER TO MASTER_HOST='10.77.0.11', MASTER_USER='oldrepl', MASTER_PASSWORD='oldsecret', "
        "MASTER_LOG_FILE='mariadb-bin.000001', MASTER_LOG_POS=4; START SLAVE",
    )  # fmt: skip
    until("db2 has caught up", lambda: "drill" in sql(lab, "db2", "SHOW DATABASES"))
    shell(lab, "db1", "crm_resource --refresh -r db")


def adopt(lab: Lab, node: str, *options: str) -> subprocess.CompletedProcess[str]:
    return lab.exec(node, ["hafailover", "adopt", "--yes", *options], timeout=400)


@pytest.fixture(scope="module")
def old_pair(lab: Lab) -> Lab:
    by_hand(lab)
    return lab


# node on which it is done, how, on which node adopt is run, what it says, and how it is undone
REFUSED = {
    "an errant row": (
        "db2", "CREATE DATABASE errant", "db2", "which db1 does not: somebody wrote on it",
        "DROP DATABASE errant; STOP SLAVE; RESET MASTER; START SLAVE",
    ),
    "not caught up": ("db2", "STOP SLAVE SQL_THREAD", "db2", "its SQL thread does not run", "START SLAVE"),
    "late on purpose": (
        "db2", "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY=60; START SLAVE", "db2", "late on purpose",
        "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY=0; START SLAVE",
    ),
    "a filter": (
        "db2", "STOP SLAVE; SET GLOBAL replicate_ignore_db='shop'; START SLAVE", "db2", "Replicate_Ignore_DB=shop",
        "STOP SLAVE; SET GLOBAL replicate_ignore_db=''; START SLAVE",
    ),
    "another domain": ("db1", "SET GLOBAL gtid_domain_id=5", "db1", "gtid_domain_id is 5", "SET GLOBAL gtid_domain_id=0"),
    "a taken account": (
        "db1", "CREATE USER hafailover_repl@'%' IDENTIFIED BY 'something else'", "db1", "not with the password in",
        "DROP USER hafailover_repl@'%'",
    ),
    "the primary first": ("db1", "SELECT 1", "db1", "run hafailover adopt on db2 first", "SELECT 1"),
    "both writable and replicating": (
        "db1",
        "CHANGE MASTER TO MASTER_HOST='10.77.0.12', MASTER_USER='oldrepl', MASTER_PASSWORD='oldsecret', "
        "MASTER_LOG_FILE='mariadb-bin.000001', MASTER_LOG_POS=4; START SLAVE; DO SLEEP(2)",
        "db2", "both are writable", "STOP SLAVE; RESET SLAVE ALL; DO SLEEP(2)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_break_the_promise_is_refused_before_anything_changes(old_pair: Lab, case: str) -> None:
    lab = old_pair
    where, statement, node, said, undo = REFUSED[case]

    def footprint() -> list[Any]:
        settings = "SELECT @@read_only, @@gtid_strict_mode, @@sync_binlog, @@binlog_format"
        drop_in = "ls /run/systemd/system/mariadb.service.d 2>/dev/null || true; systemctl is-enabled mariadb"
        return [[sql(lab, name, settings), shell(lab, name, drop_in), recorded(lab, name)] for name in lab.data_nodes]

    before = footprint()
    sql(lab, where, statement)
    try:
        done = adopt(lab, node)
        assert done.returncode == 3, done.stdout + done.stderr
        assert said in " ".join((done.stdout + done.stderr).split())
        assert footprint() == before
    finally:
        sql(lab, where, undo)
    until("replication runs again", lambda: sql(lab, "db2", "SHOW SLAVE STATUS").split("\t")[10:12] == ["Yes", "Yes"])


def test_two_servers_that_replicate_from_nobody_are_refused(old_pair: Lab) -> None:
    lab = old_pair
    done = lab.exec("db2", ["mariadb", "-N", "-e", "SHOW SLAVE STATUS"])
    file, position = done.stdout.split("\t")[9], done.stdout.split("\t")[21]
    sql(lab, "db2", "STOP SLAVE; RESET SLAVE ALL")
    try:
        for node in lab.data_nodes:
            refused = adopt(lab, node)
            assert refused.returncode == 3, refused.stdout + refused.stderr
            assert "is writable, too" in " ".join(refused.stdout.split())
    finally:
        sql(
            lab, "db2",
            "CHANGE MASTER TO MASTER_HOST='10.77.0.11', MASTER_USER='oldrepl', MASTER_PASSWORD='oldsecret', "
            f"MASTER_LOG_FILE='{file}', MASTER_LOG_POS={position}; START SLAVE",
        )  # fmt: skip


def interrupted(lab: Lab, node: str, word: str) -> None:
    """Run adopt on ``node`` and kill it when it has said ``word``."""
    process = lab.popen(
        node, ["hafailover", "adopt", "--yes"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            break
    else:
        raise AssertionError(f"{node} never said {word!r}")
    shell(lab, node, "kill -9 $(pgrep -f 'hafailover adopt' | grep -vx $$) || true")
    process.wait(60)


def test_a_pair_under_load_is_adopted_without_a_refused_write(
    old_pair: Lab, record_property: Callable[[str, object], None]
) -> None:
    lab = old_pair
    pids = {node: shell(lab, node, "pidof mariadbd") for node in lab.data_nodes}
    ledger = Ledger()
    login = {"user": "app", "password": "apppass", "database": "drill", "table": "writes"}
    patient = {"host": "10.77.0.11", "port": 3306, "connect_timeout": 60, "read_timeout": 60}
    with Crew(lab, ledger, login, patient, {}) as crew:
        until("the client writes", lambda: len(acknowledgements(ledger.attempts())) > 50)
        assert json.loads(adopt(lab, "db2", "--dry-run", "-o", "json").stdout)["result"] == "planned"
        interrupted(lab, "db2", "taken over")
        prepared = adopt(lab, "db2")
        assert prepared.returncode == 0, prepared.stdout + prepared.stderr
        interrupted(lab, "db1", "recorded")
        done = adopt(lab, "db1")
        assert done.returncode == 0, done.stdout + done.stderr
        healthy(lab)
        crew.stop()
        assert crew.problems == []
    attempts = ledger.attempts()
    assert [one for one in attempts if one.outcome != ACKNOWLEDGED] == []
    ends = [one.end for one in acknowledgements(attempts)]
    record_property("writes", len(ends))
    record_property("longest silence in s", max(after - before for before, after in zip(ends, ends[1:])))
    assert {node: shell(lab, node, "pidof mariadbd") for node in lab.data_nodes} == pids, "no server was restarted"
    assert (recorded(lab, "db1").primary, recorded(lab, "db1").origin) == ("db1", journal.DATA)
    assert sql(lab, "db1", "SELECT COUNT(*) FROM drill.writes") == str(len(ends))
    assert_same(lab, "drill.writes")
    again = adopt(lab, "db1")
    assert (again.returncode, "in the cluster already" in again.stdout) == (0, True)


def test_the_death_of_an_adopted_server_is_an_event_and_it_returns_in_our_unit(old_pair: Lab) -> None:
    lab = old_pair
    assert lab.exec("db1", ["systemctl", "restart", "mariadb"]).returncode != 0
    shell(lab, "db1", "kill -9 $(pidof mariadbd)")
    until("db2 is recorded", lambda: recorded(lab, "db2").primary == "db2")
    healthy(lab)
    assert shell(lab, "db1", "cat /proc/$(pidof mariadbd)/cgroup").count(UNIT)
    assert shell(lab, "db1", "systemctl is-active mariadb || true") == "failed"
    assert_same(lab, "drill.writes")
    # The other one still runs as it was adopted: a planned switchover demotes it, and it stays a replica.
    done = lab.exec("db1", ["hafailover", "promote", "db1", "--yes"], timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    healthy(lab)
    assert recorded(lab, "db2").primary == "db1"
    # Its relay logs were named otherwise than in our unit, where it now begins.
    shell(lab, "db2", "kill -9 $(pidof mariadbd)")
    until(
        "db2 runs in our unit",
        lambda: UNIT in lab.exec("db2", ["sh", "-c", "cat /proc/$(pidof mariadbd)/cgroup"]).stdout,
    )
    healthy(lab)
    assert_same(lab, "drill.writes")


def test_a_replica_that_must_be_restarted_is_started_by_the_cluster(lab: Lab) -> None:
    by_hand(lab, "log_slave_updates=OFF")
    prepared = adopt(lab, "db2")
    assert prepared.returncode == 0, prepared.stdout + prepared.stderr
    assert "log_slave_updates is OFF" in prepared.stdout
    done = adopt(lab, "db1")
    assert done.returncode == 0, done.stdout + done.stderr
    healthy(lab)
    assert sql(lab, "db2", "SELECT @@log_slave_updates") == "1"
    assert_same(lab, "drill.writes")
