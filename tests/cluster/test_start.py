"""How a server starts on a real pair: with an unacknowledged tail, with relay log that only it has, slowly, or by decision."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest
from hafailover.agents.mariadb import told
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab
from labs import lab_of, until
from pair import (
    UNIT,
    assert_same_rows,
    healthy,
    on_its_own_disk,
    other,
    primary,
    promoted,
    published,
    recorded,
    rows,
    sql,
    standing,
    writing,
)

NAME = "starttest"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, DEFAULT_TOPOLOGY) as made:
        healthy(made)
        sql(made, primary(made), "CREATE DATABASE proof; CREATE TABLE proof.rows (id INT PRIMARY KEY)")
        yield made


def servers(lab: Lab, node: str) -> list[str]:
    """The pids of the servers that run on ``node``; ``mariadbd --version``, which the agent asks, is none."""
    return lab.exec(node, ["pgrep", "-f", "^[^ ]*/mariadbd .*--datadir="]).stdout.split()


def events(lab: Lab, node: str) -> set[str]:
    """The names of the agent's events on ``node`` since it booted."""
    done = lab.exec(node, ["journalctl", "-b", "-q", "-t", "hafailover-mariadb", "-o", "json"], timeout=60)
    return {str(json.loads(line).get("HAFAILOVER_EVENT", "")) for line in done.stdout.splitlines()}


def has_rows(lab: Lab, node: str, expected: set[int]) -> bool:
    """Whether the server, which may just be starting, answers and holds exactly these."""
    done = lab.exec(node, ["mariadb", "-N", "-B", "-e", "SELECT id FROM proof.rows"])
    return done.returncode == 0 and {int(word) for word in done.stdout.split()} == expected


def rung(lab: Lab, node: str) -> str:
    return told.read(published(lab, node, told.ATTRIBUTE)).get(told.REJOIN, "").partition(" ")[0]


def boot(lab: Lab, *nodes: str) -> None:
    for node in nodes:
        lab.power_on(node)
    for node in nodes:
        lab.await_boot(node)


def waiters(lab: Lab, node: str) -> str:
    return sql(
        lab, node, "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for semi-sync ACK%'"
    )


def leave_a_tail(lab: Lab, first: str, number: int) -> None:
    """Have ``first`` die with a row that nobody acknowledged in its binary log, and its replica take over."""
    replica = other(lab, first)
    lab.cut(first)
    try:
        write = writing(lab, first, number)
        until("the write waits for its acknowledgement", lambda: waiters(lab, first) == "1")
        lab.power_off(first, hold=True)
        assert write.wait(60) != 0
    finally:
        lab.heal(first)
    until(f"{replica} is promoted", lambda: promoted(lab, replica) == replica)


def test_a_tail_is_truncated_when_both_return_at_once(lab: Lab) -> None:
    """The old primary is back before its successor is promoted: it must not recover before it knows."""
    first = primary(lab)
    successor = other(lab, first)
    held = rows(lab, first)
    leave_a_tail(lab, first, 100)
    assert writing(lab, successor, 101).wait(60) == 0
    lab.power_off(successor, hold=True)
    boot(lab, first, successor)
    healthy(lab)
    assert primary(lab) == successor
    assert_same_rows(lab, held | {101})
    assert "start.held" in events(lab, first)
    assert rung(lab, first) == "truncated"
    assert len(servers(lab, first)) == 1


def test_an_old_primary_alone_waits_without_recovering_and_says_so(lab: Lab) -> None:
    first = primary(lab)
    successor = other(lab, first)
    held = rows(lab, first)
    leave_a_tail(lab, first, 110)
    assert writing(lab, successor, 111).wait(60) == 0
    lab.power_off(successor, hold=True)
    boot(lab, first)
    until("it says for whom it waits", lambda: f"waiting for {successor}" in standing(lab, first, first))
    said = lab.exec(first, ["hafailover", "explain", first]).stdout
    assert successor in said
    assert "--accept-data-loss" in said
    for _ in range(10):
        assert promoted(lab, first) is None
        assert servers(lab, first) == []
    boot(lab, successor)
    healthy(lab)
    assert primary(lab) == successor
    assert_same_rows(lab, held | {111})
    assert rung(lab, first) == "truncated"


def fill_relay_log(lab: Lab, first: str, begin: int, number: int) -> subprocess.Popen[str]:
    """Have the replica receive and acknowledge rows that it cannot apply."""
    replica = other(lab, first)
    holder = lab.popen(replica, ["mariadb", "-e", "LOCK TABLES proof.rows WRITE; SELECT SLEEP(600)"])
    asleep = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(600%'"
    until("the table is locked", lambda: sql(lab, replica, asleep) == "1")
    values = ",".join(f"({row})" for row in range(begin, begin + number // 2))
    sql(lab, first, f"INSERT INTO proof.rows VALUES {values}")
    for row in range(begin + number // 2, begin + number):
        sql(lab, first, f"INSERT INTO proof.rows VALUES ({row})")
    assert recorded(lab, first).sync, "the replica has acknowledged them"
    return holder


def test_what_was_received_survives_the_restart_of_both(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    held = rows(lab, first)
    received = set(range(200, 210))
    holder = fill_relay_log(lab, first, 200, 10)
    for node in (first, replica):
        lab.power_off(node, hold=True)
    holder.kill()
    holder.wait()
    boot(lab, replica)
    try:
        until("the rows are applied", lambda: has_rows(lab, replica, held | received))
        until("it is told", lambda: "salvage.done" in events(lab, replica))
        until("it is stale all the same", lambda: standing(lab, replica, replica))
        assert promoted(lab, replica) is None
        said = lab.exec(replica, ["hafailover", "explain", replica]).stdout
        assert "received before" in said
    finally:
        boot(lab, first)
    healthy(lab)
    assert primary(lab) == first
    assert_same_rows(lab, held | received)


def test_a_recovery_that_outlasts_its_start_is_left_alone(lab: Lab) -> None:
    """The server is stopped (SIGSTOP) in the middle of its start: to Pacemaker it is a healthy replica that cannot be promoted."""
    first = primary(lab)
    replica = other(lab, first)
    change = '<op id="db-start-0" timeout="{}"/>'
    lab.exec(first, ["cibadmin", "--modify", "--scope", "resources", "--xml-text", change.format("20s")], check=True)
    fences = len(lab.fence_log())
    # The first moment in which the new process can be seen; a server in this lab is ready 0.4 s after its start.
    catch = (
        "old=$(pidof mariadbd); kill -9 $old; while :; do for new in $(pidof mariadbd); do "
        '[ "$new" != "$old" ] && [ "$(readlink /proc/$new/cwd)" = /var/lib/mysql ] && kill -STOP $new && exit 0; '
        "done; sleep 0.01; done"
    )
    try:
        lab.exec(replica, ["sh", "-c", catch], timeout=120, check=True)
        until("the start ends without a server that answers", lambda: "start.recovering" in events(lab, replica))
        until("it says why", lambda: "recovering" in standing(lab, first, replica))
        for _ in range(10):
            assert len(servers(lab, replica)) == 1
            assert lab.exec(replica, ["systemctl", "is-active", UNIT]).stdout.strip() == "activating"
    finally:
        lab.exec(replica, ["sh", "-c", "kill -CONT $(pidof mariadbd)"], check=True)
        lab.exec(first, ["cibadmin", "--modify", "--scope", "resources", "--xml-text", change.format("300s")])
    healthy(lab)
    assert primary(lab) == first
    assert len(lab.fence_log()) == fences
    assert_same_rows(lab, rows(lab, first))


def test_older_data_than_the_last_primary_had_are_not_served(lab: Lab) -> None:
    """After its reboot the file system with the data is not mounted: an old copy under the mount point lacks most of them."""
    replica = primary(lab)
    last = other(lab, replica)
    on_its_own_disk(lab, last)
    assert writing(lab, replica, 150).wait(60) == 0
    lab.exec(last, ["hafailover", "promote", last, "--yes"], timeout=300, check=True)
    lab.power_off(replica, hold=True)
    held = rows(lab, last) | {151}
    assert writing(lab, last, 151).wait(120) == 0, "only here"
    lab.power_off(last, hold=True)
    boot(lab, last, replica)

    until("it says what is wrong", lambda: "older state" in standing(lab, replica, last))
    for _ in range(10):
        assert promoted(lab, replica) is None
    said = lab.exec(replica, ["hafailover", "status"], timeout=60).stdout
    assert "mount what belongs there" in said
    assert 151 not in rows(lab, last)
    done = lab.exec(replica, ["hafailover", "promote", replica, "--accept-data-loss", "--yes"], timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    healthy(lab)
    assert_same_rows(lab, held - {151})


def test_a_person_accepts_a_loss(lab: Lab) -> None:
    """The replica misses a row that the primary acknowledged alone, and holds others only in its relay log; the primary is gone."""
    first = primary(lab)
    replica = other(lab, first)
    held = rows(lab, first)
    argv = ["hafailover", "promote", replica, "--accept-data-loss"]
    refused = lab.exec(replica, [*argv, "--yes"], timeout=60)
    assert refused.returncode == 3, refused.stdout + refused.stderr
    assert "not needed" in refused.stdout + refused.stderr

    received = set(range(300, 304))
    holder = fill_relay_log(lab, first, 300, 4)
    lab.power_off(replica, hold=True)
    holder.kill()
    holder.wait()
    assert writing(lab, first, 310).wait(120) == 0
    lab.power_off(first, hold=True)
    boot(lab, replica)
    until("the relay log is applied", lambda: has_rows(lab, replica, held | received))
    before = recorded(lab, replica)

    def look() -> subprocess.CompletedProcess[str]:
        return lab.exec(replica, [*argv, "--dry-run"], timeout=60)

    # The server answers before its start is over, and Pacemaker does not call it started before that.
    until("its start is over", lambda: "does not run on" not in look().stderr)
    shown = look()
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert f"unknown: {first}" in shown.stdout
    assert recorded(lab, replica) == before, "a look changes nothing"

    done = lab.exec(replica, [*argv, "--yes"], timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    until(f"{replica} is promoted", lambda: promoted(lab, replica) == replica)
    entry = recorded(lab, replica)
    assert (entry.primary, entry.forced) == (replica, before.epoch + 1000)
    assert writing(lab, replica, 311).wait(120) == 0

    # The old primary's copy of the CIB calls itself the last one, and it alone holds 310.
    boot(lab, first)
    until("it is found to have diverged", lambda: "DIVERGED" in standing(lab, replica, first))
    assert promoted(lab, replica) == replica
    assert recorded(lab, first).forced == entry.forced, "the old copy has not won"
    assert rows(lab, replica) == held | received | {311}
    assert rows(lab, first) == held | received | {310}, "its data is kept"
    assert rung(lab, first) == "quarantine"
