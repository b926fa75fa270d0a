"""Rejoining on a real pair: a replica that went astray, a node without data, and every way in which a clone can be interrupted."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hafailover.crm import topology as topologies
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab
from labs import until
from pair import UNIT, healthy, other, recorded, sql, standing, status

NAME = "rejointest"
WORK = "/var/lib/.mysql.hafailover"
WORKER = "hafailover-mariadb-db-rejoin.service"
CREDENTIALS = "/etc/hafailover/db.cred"
# Slow enough to be interrupted, and for the load to go on meanwhile.
_LOAD = """i=0; while [ ! -e /root/enough ]; do i=$((i+1)); echo "INSERT INTO proof.rows (v) VALUES ($i);"; sleep 0.02; done | mariadb"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    Lab.down(NAME)
    text = Path(DEFAULT_TOPOLOGY).read_text()
    assert "db: {type: mariadb}" in text
    slow = tmp_path_factory.mktemp("rejoin") / "slow.yml"
    slow.write_text(text.replace("db: {type: mariadb}", "db: {type: mariadb, clone_rate: 8}"))
    try:
        made = Lab.up(NAME, topologies.load(slow))
        healthy(made)
        sql(
            made,
            primary(made),
            "CREATE DATABASE proof; USE proof; CREATE TABLE proof.rows (id INT AUTO_INCREMENT PRIMARY KEY, v INT); "
            "CREATE TABLE proof.bulk (id INT PRIMARY KEY, b TEXT); "
            "INSERT INTO proof.bulk SELECT seq, REPEAT('x', 4000) FROM seq_1_to_10000",
        )
        healthy(made)
        yield made
    finally:
        Lab.down(NAME)


def primary(lab: Lab) -> str:
    return recorded(lab, lab.data_nodes[0]).primary


def instances(lab: Lab, node: str) -> dict[str, Any]:
    """What ``status`` on ``node`` says of each node's server."""
    services = status(lab, node).get("services", [])
    return {instance["node"]: instance for service in services for instance in service["instances"]}


def promoted(lab: Lab, seen_from: str) -> str | None:
    found = status(lab, seen_from).get("services", [])
    return found[0]["primary"] if found else None


@contextmanager
def load(lab: Lab, node: str) -> Iterator[None]:
    """Rows are written on ``node`` all the time."""
    lab.exec(node, ["rm", "-f", "/root/enough"], check=True)
    writer = lab.popen(node, ["bash", "-c", _LOAD], stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        lab.exec(node, ["touch", "/root/enough"], check=True)
        assert writer.wait(60) == 0


def rejoin(lab: Lab, seen_from: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return lab.exec(seen_from, ["hafailover", "rejoin", *argv], timeout=300)


def rejoin_json(lab: Lab, seen_from: str, *argv: str) -> dict[str, Any]:
    done = rejoin(lab, seen_from, *argv, "-o", "json")
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["exit_code"] == done.returncode, done.stderr
    found["stderr"] = done.stderr  # why, when the result is not what a test expects
    return found


def progress(lab: Lab, node: str) -> dict[str, Any]:
    done = lab.exec(node, ["cat", "/run/hafailover/db.rejoin-progress"])
    return json.loads(done.stdout) if done.stdout else {}


def there(lab: Lab, node: str, path: str) -> bool:
    return lab.exec(node, ["test", "-e", path]).returncode == 0


def assert_equal(lab: Lab) -> None:
    """All servers hold the same rows, once what was written has arrived."""
    question = "CHECKSUM TABLE proof.rows, proof.bulk; SELECT COUNT(*) FROM proof.rows"
    until("the rows are equal", lambda: len({sql(lab, node, question) for node in lab.data_nodes}) == 1)


@contextmanager
def stopped(lab: Lab, node: str) -> Iterator[None]:
    """The instance on ``node`` is stopped, and started again afterwards."""
    lab.exec(node, ["crm_standby", "-v", "on", "-N", node], check=True)
    until("the server has ended", lambda: lab.exec(node, ["pgrep", "mariadbd"]).returncode != 0)
    yield
    lab.exec(node, ["crm_standby", "-D", "-N", node], check=True)


def test_a_healthy_replica_and_the_primary_are_refused(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    found = rejoin_json(lab, first, replica, "--yes")
    assert (found["result"], found["exit_code"]) == ("refused", 3)
    assert "healthy replica" in found["plan"]["refusal"]
    done = rejoin(lab, replica, first, "--clone", "--yes")
    assert done.returncode == 3 and f"{first} is the primary" in done.stderr
    done = rejoin(lab, first, "nobody", "--yes")
    assert done.returncode == 2


def test_a_stopped_replica_follows_again_by_gtid(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    lab.exec(replica, ["crm_attribute", "-n", "maintenance-mode", "-v", "true"], check=True)
    try:
        sql(lab, replica, "STOP SLAVE SQL_THREAD")
        plan = until(
            "it is no longer in sync",
            lambda: (p := rejoin_json(lab, first, replica, "--dry-run")["plan"])["rung"] != "none" and p,
        )
        assert (plan["rung"], plan["lost"]) == ("gtid", [])
    finally:
        lab.exec(replica, ["crm_attribute", "-n", "maintenance-mode", "-D"], check=True)
    found = rejoin(lab, first, replica, "--yes")
    assert found.returncode in (0, 3), found.stderr  # its own monitor may have been first
    healthy(lab)
    assert_equal(lab)


def test_an_errant_replica_is_repaired_with_one_command_under_load(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    with load(lab, first):
        sql(lab, replica, "CREATE TABLE proof.mine (id INT)")  # root may write in spite of read_only
        until("it is barred", lambda: instances(lab, first)[replica]["standing"] == "cannot be promoted")
        plan = until("it is seen", lambda: (p := rejoin_json(lab, first, replica, "--dry-run")["plan"])["lost"] and p)
        assert plan["rung"] == "quarantine" and plan["lost"] and plan["donor"] == first
        assert plan["size"] > 40 << 20 and plan["needed"] > plan["size"] and plan["seconds"] > 0
        assert recorded(lab, first).primary == first
        found = rejoin_json(lab, first, replica, "--yes")
        assert (found["result"], found["exit_code"]) == ("done", 0), str(found)
    healthy(lab)
    assert promoted(lab, first) == first
    assert_equal(lab)
    assert sql(lab, replica, "SHOW TABLES IN proof LIKE 'mine'") == ""
    came = instances(lab, first)[replica]["rejoin"]
    assert came.startswith("clone ") and plan["lost"][0] in came and "kept" in came
    # What only it had is still there, until a person says otherwise.
    kept = found["last"]["kept"]
    assert there(lab, replica, f"{kept}/proof/mine.frm")
    assert rejoin(lab, first, replica, "--discard-old", "--yes").returncode == 0
    assert not there(lab, replica, kept)


def test_a_killed_worker_begins_again_and_nothing_is_lost(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    before = sql(lab, replica, "SELECT @@server_uid")
    command = lab.popen(
        first,
        ["hafailover", "rejoin", replica, "--clone", "--yes"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    until("data arrive", lambda: progress(lab, replica).get("done", 0) > 1 << 20)
    # The old server serves as a replica while the clone arrives.
    assert sql(lab, replica, "SELECT @@server_uid") == before
    lab.exec(replica, ["systemctl", "kill", "--kill-who=all", "--signal=SIGKILL", WORKER], check=True)
    out, _ = command.communicate(timeout=300)
    assert command.returncode == 0, out
    assert "is a clone of" in out
    healthy(lab)
    assert_equal(lab)
    assert not there(lab, replica, f"{WORK}/old") and not there(lab, replica, f"{WORK}/state")


def test_a_node_that_loses_power_in_the_middle_keeps_its_old_data(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    lab.exec(replica, ["sync"], check=True)
    command = lab.popen(
        first,
        ["hafailover", "rejoin", replica, "--clone", "--yes"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    until("data arrive", lambda: progress(lab, replica).get("done", 0) > 1 << 20)
    lab.power_off(replica)
    lab.power_on(replica)
    lab.await_boot(replica)
    command.wait(300)
    healthy(lab)
    assert_equal(lab)
    assert promoted(lab, first) == first


def test_the_old_data_go_only_when_the_new_are_in_sync(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    account = "hafailover_repl"
    command = lab.popen(
        first,
        ["hafailover", "rejoin", replica, "--clone", "--yes"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    until("data arrive", lambda: progress(lab, replica).get("done", 0) > 1 << 20)
    # It may still be asked, but sends no binary log any more: so the clone cannot come in sync.
    sql(lab, first, f"SET sql_log_bin=0; REVOKE REPLICATION SLAVE ON *.* FROM {account}@'%'")
    try:
        until("the clone is in place", lambda: progress(lab, replica).get("phase") == "catch-up")
        for _ in range(20):
            assert there(lab, replica, f"{WORK}/old/proof/bulk.ibd")
            assert command.poll() is None
            time.sleep(0.5)
        assert promoted(lab, first) == first
    finally:
        sql(lab, first, f"SET sql_log_bin=0; GRANT REPLICATION SLAVE ON *.* TO {account}@'%'")
        sql(lab, replica, f"SET sql_log_bin=0; GRANT REPLICATION SLAVE ON *.* TO {account}@'%'; START SLAVE IO_THREAD")
    assert command.wait(300) == 0
    healthy(lab)
    assert not there(lab, replica, f"{WORK}/old")
    assert_equal(lab)


def test_a_node_without_data_builds_itself_and_its_history_compares_right(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    with load(lab, first):
        with stopped(lab, replica):
            lab.exec(replica, ["find", "/var/lib/mysql", "-mindepth", "1", "-delete"], check=True)
        healthy(lab)
    assert instances(lab, first)[replica]["rejoin"].startswith("clone ")
    assert_equal(lab)
    # Each was primary once after the clone was made: neither may look divergent to the other.
    for node in (replica, first):
        done = lab.exec(first, ["hafailover", "promote", node, "--yes"], timeout=180)
        assert done.returncode == 0, done.stdout + done.stderr
        sql(lab, node, "INSERT INTO proof.rows (v) VALUES (-1)")
        healthy(lab)
    assert_equal(lab)
    states = {frozenset(sql(lab, node, "SELECT @@gtid_binlog_state").split(",")) for node in lab.data_nodes}
    assert len(states) == 1 and len(next(iter(states))) == 2
    # A clone of a server with two servers' transactions stands where its donor does, not where the other's last one was.
    replica = other(lab, primary(lab))
    assert rejoin_json(lab, replica, replica, "--clone", "--yes")["result"] == "done"
    positions = {sql(lab, node, "SELECT @@gtid_binlog_pos") for node in lab.data_nodes}
    states = {frozenset(sql(lab, node, "SELECT @@gtid_binlog_state").split(",")) for node in lab.data_nodes}
    assert (len(positions), len(states)) == (1, 1)
    healthy(lab)


def test_a_clone_that_does_not_fit_is_refused_and_one_that_does_is_made_inside_a_mount(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    small = "/root/small"
    with stopped(lab, replica):
        lab.exec(replica, ["mkdir", "-p", small], check=True)
        lab.exec(replica, ["mount", "-t", "tmpfs", "-o", "size=260m,mode=0755", "tmpfs", small], check=True)
        lab.exec(replica, ["cp", "-a", "/var/lib/mysql/.", small], check=True)
        lab.exec(replica, ["mount", "--bind", small, "/var/lib/mysql"], check=True)
        lab.exec(replica, ["chown", "mysql:mysql", "/var/lib/mysql"], check=True)
    try:
        healthy(lab)
        found = rejoin_json(lab, first, replica, "--clone", "--yes")
        assert (found["result"], found["exit_code"]) == ("refused", 3)
        assert "not enough space" in found["plan"]["refusal"]
        lab.exec(replica, ["mount", "-o", "remount,size=1g", small], check=True)
        found = rejoin_json(lab, first, replica, "--clone", "--yes")
        assert found["result"] == "done", found
        assert there(lab, replica, "/var/lib/mysql/.hafailover")
        assert ".hafailover" not in sql(lab, replica, "SHOW DATABASES")
        healthy(lab)
        assert_equal(lab)
    finally:
        with stopped(lab, replica):
            lab.exec(replica, ["umount", "/var/lib/mysql"], check=True)
            lab.exec(replica, ["umount", small], check=True)
    healthy(lab)  # the data that lay below are older, and follow


def test_a_replica_that_cannot_follow_is_cloned_by_itself_only_where_that_is_allowed(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    with stopped(lab, replica):
        sql(
            lab,
            first,
            "INSERT INTO proof.rows (v) VALUES (-2); FLUSH BINARY LOGS; INSERT INTO proof.rows (v) VALUES (-3)",
        )
        last = sql(lab, first, "SHOW BINARY LOGS").splitlines()[-1].split()[0]
        sql(lab, first, f"PURGE BINARY LOGS TO '{last}'")
    until("it says why", lambda: "1236" in standing(lab, first, replica))
    plan = rejoin_json(lab, first, replica, "--dry-run")["plan"]
    assert (plan["rung"], plan["lost"]) == ("clone", [])
    assert "1236" in standing(lab, first, replica), "nothing was done without being asked"
    lab.exec(first, ["crm_resource", "-r", "db", "-p", "reclone", "-v", "automatic"], check=True)
    try:
        until("it was cloned", lambda: progress(lab, replica).get("state") == "done")
        healthy(lab)
        assert instances(lab, first)[replica]["rejoin"].startswith("clone ")
        assert_equal(lab)
    finally:
        lab.exec(first, ["crm_resource", "-r", "db", "-d", "reclone"], check=True)
    healthy(lab)


def test_without_the_password_nobody_gets_in(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    text = lab.exec(replica, ["cat", CREDENTIALS], check=True).stdout
    wrong = "\n".join("password = wrong" if line.startswith("password") else line for line in text.splitlines())
    lab.exec(replica, ["tee", CREDENTIALS], input=wrong + "\n", check=True)
    try:
        done = rejoin(lab, first, replica, "--dry-run")
        assert done.returncode == 1 and "same replication password" in done.stderr
        until(
            "it is logged",
            lambda: "does not hold the same replication password" in lab.logs(replica, time.time() - 120),
        )
    finally:
        lab.exec(replica, ["tee", CREDENTIALS], input=text, check=True)
    healthy(lab)


def test_a_server_that_does_not_start_on_its_data_is_rebuilt_on_demand(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    with stopped(lab, replica):
        lab.exec(replica, ["truncate", "-s", "1M", "/var/lib/mysql/ibdata1"], check=True)
    until("its start has failed", lambda: instances(lab, first)[replica]["role"] == "Stopped")
    done = rejoin(lab, first, replica, "--clone", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    healthy(lab)
    assert_equal(lab)
    kept = lab.exec(replica, ["sh", "-c", f"ls -d {WORK}/quarantine-*"], check=True).stdout.split()
    assert len(kept) == 1
    assert rejoin(lab, first, replica, "--discard-old", "--yes").returncode == 0


def test_peers_are_heard_again_when_the_socket_is_gone(lab: Lab) -> None:
    replica = other(lab, primary(lab))
    socket = "hafailover-mariadb-db-peer.socket"
    lab.exec(replica, ["systemctl", "stop", socket], check=True)
    until("it listens again", lambda: lab.exec(replica, ["systemctl", "is-active", socket]).returncode == 0)
    assert lab.exec(replica, ["systemctl", "is-active", UNIT]).returncode == 0
