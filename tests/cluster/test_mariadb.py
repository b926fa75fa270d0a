"""ocf:hafailover:mariadb on a real pair: who is promoted after what, and who never is. Faults under load are the drill's."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from hafailover.agents.mariadb import journal
from hafailover.crm import topology as topologies
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab

NAME = "mariadb"
UNIT = "hafailover-mariadb-db.service"
PATIENCE = 120.0  # seconds; generous, so that a slow machine fails no test


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    Lab.down(NAME)
    try:
        made = Lab.up(NAME, topologies.load(DEFAULT_TOPOLOGY))
        healthy(made)
        sql(made, primary(made), "CREATE DATABASE proof; CREATE TABLE proof.rows (id INT PRIMARY KEY)")
        yield made
    finally:
        Lab.down(NAME)


def until(what: str, check: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Poll until ``check`` returns something true, and return it."""
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.3)


def status(lab: Lab, node: str) -> dict[str, Any]:
    done = lab.exec(node, ["hafailover", "status", "-o", "json"], timeout=60)
    return json.loads(done.stdout) if done.stdout else {"healthy": False}


def healthy(lab: Lab) -> dict[str, Any]:
    node = lab.data_nodes[0]
    return until("the cluster is healthy", lambda: (s := status(lab, node))["healthy"] and s)


def instances(lab: Lab, node: str) -> dict[str, Any]:
    """What ``status`` on ``node`` says of each node's server."""
    for service in status(lab, node).get("services", []):
        return {instance["node"]: instance for instance in service["instances"]}
    return {}


def primary(lab: Lab) -> str:
    return recorded(lab, lab.data_nodes[0]).primary


def other(lab: Lab, node: str) -> str:
    return next(name for name in lab.data_nodes if name != node)


def recorded(lab: Lab, node: str) -> journal.Journal:
    argv = ["crm_attribute", "-t", "crm_config", "-s", "hafailover-db", "-n", "journal", "-G", "-q"]
    return journal.read(lab.exec(node, argv).stdout.strip())


def sql(lab: Lab, node: str, statement: str, timeout: float = 60) -> str:
    done = lab.exec(node, ["mariadb", "-N", "-B"], timeout=timeout, input=statement)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def rows(lab: Lab, node: str) -> set[int]:
    return {int(word) for word in sql(lab, node, "SELECT id FROM proof.rows").split()}


def writing(lab: Lab, node: str, number: int) -> subprocess.Popen[str]:
    """Start to insert one row; the process ends with 0 when the write was acknowledged."""
    return lab.popen(node, ["mariadb", "-e", f"INSERT INTO proof.rows VALUES ({number})"], stdin=subprocess.DEVNULL)


def standing(lab: Lab, seen_from: str, node: str) -> str:
    """Why ``node`` may not be promoted, as a person on ``seen_from`` reads it."""
    return str(instances(lab, seen_from).get(node, {}).get("reason", ""))


def promoted(lab: Lab, seen_from: str) -> str | None:
    done = lab.exec(seen_from, ["crm_mon", "-1", "-r"], timeout=30)
    line = next((line for line in done.stdout.splitlines() if "Promoted: [" in line and "Un" not in line), "")
    names = line.partition("[")[2].partition("]")[0].split()
    return names[0] if names else None


def assert_same_rows(lab: Lab, expected: set[int]) -> None:
    for node in lab.data_nodes:
        until(f"{node} holds {sorted(expected)}", lambda node=node: rows(lab, node) == expected)


def test_a_replica_that_hangs_is_recorded_stale_before_commits_go_on(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    lab.kill(replica, UNIT, signal.SIGSTOP)
    try:
        write = writing(lab, first, 1)
        assert write.wait(PATIENCE) == 0
        assert recorded(lab, first).sync == {}
        assert recorded(lab, replica) == recorded(lab, first), "every member has the mark when a write is acknowledged"
    finally:
        lab.kill(replica, UNIT, signal.SIGCONT)
    healthy(lab)
    assert primary(lab) == first
    assert replica in recorded(lab, first).sync
    assert_same_rows(lab, rows(lab, first) | {1})


def test_a_primary_without_quorum_acknowledges_nothing(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    held = rows(lab, first)
    lab.cut(first)
    try:
        write = writing(lab, first, 2)
        until(f"{replica} is promoted", lambda: promoted(lab, replica) == replica)
        assert write.wait(PATIENCE) != 0, "the write was acknowledged by a server that was cut off"
    finally:
        lab.heal(first)
        lab.power_on(first)
        lab.await_boot(first)
    healthy(lab)
    # It was not acknowledged, and nobody but the dead server's log ever held it: it must be gone everywhere.
    assert_same_rows(lab, held)


def test_a_hung_primary_hands_over_and_comes_back_as_a_replica(lab: Lab) -> None:
    first = primary(lab)
    lab.kill(first, UNIT, signal.SIGSTOP)
    until("the replica is promoted", lambda: promoted(lab, first) == other(lab, first))
    healthy(lab)
    assert primary(lab) == other(lab, first)
    assert not lab.fence_log()[-1:] or lab.fence_log()[-1][0] < time.time() - 5


def test_an_old_copy_of_the_journal_does_not_move_the_primary(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    before = recorded(lab, first)
    old = journal.write(before._replace(epoch=before.epoch - 1, primary=replica, sync={}))
    change = (
        '<cib admin_epoch="admin_epoch+=5"><configuration><crm_config><cluster_property_set id="hafailover-db">'
        f'<nvpair id="hafailover-db-journal" name="journal" value="{old}"/>'
        "</cluster_property_set></crm_config></configuration></cib>"
    )
    lab.exec(replica, ["cibadmin", "--modify", "--xml-pipe"], input=change, check=True)
    until("the primary has recorded itself again", lambda: recorded(lab, replica).primary == first)
    healthy(lab)
    assert promoted(lab, replica) == first
    assert recorded(lab, replica).epoch > before.epoch


def test_a_replica_with_a_write_of_its_own_is_never_promoted(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    state = sql(lab, replica, "SELECT @@global.gtid_binlog_state")
    sql(lab, replica, "INSERT INTO proof.rows VALUES (999)")  # root may write in spite of read_only
    try:
        until("it is barred", lambda: "did not come from the primary" in standing(lab, first, replica))
        done = lab.exec(first, ["hafailover", "promote", replica, "--yes"])
        assert done.returncode == 3, done.stdout + done.stderr
        assert promoted(lab, first) == first
    finally:
        sql(
            lab,
            replica,
            "SET sql_log_bin=0; DELETE FROM proof.rows WHERE id = 999; STOP SLAVE; RESET MASTER; "
            f"SET GLOBAL gtid_binlog_state='{state}'; START SLAVE",
        )
    healthy(lab)


def test_a_broken_replica_is_refused_before_anything_changes(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    epoch = recorded(lab, first).epoch
    sql(lab, replica, "SET sql_log_bin=0; INSERT INTO proof.rows VALUES (500)")
    sql(lab, first, "INSERT INTO proof.rows VALUES (500)")
    try:
        until("it is barred", lambda: "SQL thread stopped" in standing(lab, first, replica))
        done = lab.exec(first, ["hafailover", "promote", replica, "--yes"])
        assert done.returncode == 3, done.stdout + done.stderr
        assert "SQL thread" in done.stdout + done.stderr
        assert (promoted(lab, first), recorded(lab, first).epoch) == (first, epoch)
    finally:
        sql(lab, replica, "SET sql_log_bin=0; DELETE FROM proof.rows WHERE id = 500; START SLAVE")
    healthy(lab)


def test_a_stale_replica_alone_waits_for_the_last_primary(lab: Lab) -> None:
    """MS→MX→write→XX→XS: the replica that returns misses an acknowledged write; then the primary returns and serves."""
    first = primary(lab)
    replica = other(lab, first)
    held = rows(lab, first)
    lab.power_off(replica, hold=True)
    assert writing(lab, first, 10).wait(PATIENCE) == 0
    lab.power_off(first, hold=True)
    lab.power_on(replica)
    try:
        lab.await_boot(replica)
        until("the replica says for whom it waits", lambda: f"STALE: {first}" in standing(lab, replica, replica))
        # Long enough for several monitors and any transition they could cause.
        for _ in range(20):
            assert promoted(lab, replica) is None
            time.sleep(0.5)
    finally:
        lab.power_on(first)
        lab.await_boot(first)
    healthy(lab)
    assert primary(lab) == first
    assert_same_rows(lab, held | {10})


def test_an_old_primary_alone_waits_for_its_successor(lab: Lab) -> None:
    """MS→XM→write→XX→SX: the old primary's own copy of the CIB still calls it the last one."""
    first = primary(lab)
    successor = other(lab, first)
    held = rows(lab, first)
    lab.power_off(first, hold=True)
    until("the replica serves", lambda: promoted(lab, successor) == successor)
    assert writing(lab, successor, 11).wait(PATIENCE) == 0
    # Its Corosync will be a member some seconds before its Pacemaker can tell what it knows: nobody may be promoted in between.
    slow = "/etc/systemd/system/pacemaker.service.d/slow.conf"
    lab.exec(successor, ["mkdir", "-p", slow.rpartition("/")[0]], check=True)
    lab.exec(successor, ["tee", slow], input="[Service]\nExecStartPre=/bin/sleep 8\n", check=True)
    lab.exec(successor, ["sync"], check=True)
    lab.power_off(successor, hold=True)
    lab.power_on(first)
    try:
        lab.await_boot(first)
        until("the old primary says for whom it waits", lambda: f"{successor} may" in standing(lab, first, first))
        for _ in range(20):
            assert promoted(lab, first) is None
            time.sleep(0.5)
    finally:
        lab.power_on(successor)
        lab.await_boot(successor)
    healthy(lab)
    lab.exec(successor, ["rm", slow], check=True)
    assert primary(lab) == successor
    assert_same_rows(lab, held | {11})


def test_after_a_power_cut_of_both_the_last_primary_serves(lab: Lab) -> None:
    first = primary(lab)
    held = rows(lab, first)
    for node in lab.data_nodes:
        lab.power_off(node, hold=True)
    for node in lab.data_nodes:
        lab.power_on(node)
    for node in lab.data_nodes:
        lab.await_boot(node)
    healthy(lab)
    assert primary(lab) == first
    assert_same_rows(lab, held)


def test_a_wrong_replication_password_is_one_clear_sentence(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    credentials = "/etc/hafailover/db.cred"
    text = lab.exec(replica, ["cat", credentials], check=True).stdout
    wrong = "\n".join("password = wrong" if line.startswith("password") else line for line in text.splitlines())
    lab.exec(replica, ["tee", credentials], input=wrong + "\n", check=True)
    try:
        lab.kill(replica, UNIT)
        until("it says so", lambda: "Access denied" in standing(lab, first, replica))
        assert "wrong" not in standing(lab, first, replica)
        assert promoted(lab, first) == first
    finally:
        lab.exec(replica, ["tee", credentials], input=text, check=True)
    healthy(lab)


def test_no_password_is_to_be_found(lab: Lab) -> None:
    """In no log, process list, CIB, transition file or file that others may read."""
    node = primary(lab)
    credentials = lab.exec(node, ["cat", "/etc/hafailover/db.cred"], check=True).stdout
    password = next(line.partition("=")[2].strip() for line in credentials.splitlines() if "password" in line)
    assert len(password) >= 16
    for name in lab.data_nodes:
        mode = lab.exec(name, ["stat", "-c", "%a %U", "/etc/hafailover/db.cred"], check=True).stdout.strip()
        assert mode == "600 root"
        seen = "\n".join(
            [
                lab.logs(name),
                lab.exec(name, ["ps", "axww", "-o", "args"], check=True).stdout,
                lab.exec(name, ["cibadmin", "-Q"], check=True).stdout,
                lab.exec(name, ["systemctl", "show", UNIT], check=True).stdout,
            ]
        )
        assert len(seen) > 10000
        assert password not in seen
        where = ["/var/log", "/var/lib/pacemaker", "/run", "/tmp", "/etc"]
        found = lab.exec(name, ["grep", "-rlsF", "-f", "-", *where], input=password + "\n", timeout=120).stdout.split()
        assert "/etc/hafailover/db.cred" in found, "the search itself works"
        readable = [path for path in found if lab.exec(name, ["stat", "-c", "%a", path]).stdout.strip()[-2:] != "00"]
        assert readable == []
