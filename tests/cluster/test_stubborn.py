"""What stands in the way of a switchover or a failover on a real pair: locks, long work, privileged writers, no connections.

Every case ends with the same proof: one primary, both servers hold the same rows, and none that a client saw acknowledged is missing.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hafailover.vagrant.lab import Lab
from labs import until
from pair import UNIT, healthy, other, published, status
from stubborn import RUNS, Writer, ask, end, events, make, primary, promoted, prove, reason, session, sql, switchover

NAME = "stubborntest"
CONNECTIONS = 40


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    options = f", options: {{event_scheduler: ON, max_connections: {CONNECTIONS}}}"
    try:
        yield make(NAME, tmp_path_factory.mktemp("stubborn"), options)
    finally:
        Lab.down(NAME)


@dataclass(frozen=True)
class Blocker:
    """``statements`` are sent by ``user``; ``there`` is a question that answers something as soon as they stand in the way."""

    name: str
    statements: str
    there: str
    user: str = "app"


IDLE = "SELECT 1 FROM information_schema.processlist WHERE user = '{}' AND command = 'Sleep' AND db = 'proof' AND time >= 1 LIMIT 1"
LOOP = (
    "DELIMITER //\nBEGIN NOT ATOMIC DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; "
    "LOOP INSERT INTO other (who) VALUES ('loop'); END LOOP; END//"
)
ON_THE_PRIMARY = [
    Blocker("open transaction", "BEGIN; INSERT INTO other (who) VALUES ('open');", IDLE.format("app")),
    Blocker("table lock", "LOCK TABLES other WRITE;", IDLE.format("app")),
    Blocker("global read lock", "FLUSH TABLES WITH READ LOCK;", IDLE.format("root"), "root"),
    Blocker(
        "backup",
        "BACKUP STAGE START; BACKUP STAGE FLUSH; BACKUP STAGE BLOCK_DDL; BACKUP STAGE BLOCK_COMMIT;",
        IDLE.format("root"),
        "root",
    ),
    Blocker(
        "bulk insert",
        "INSERT INTO bulk SELECT seq, REPEAT('x', 200) FROM seq_1_to_20000000;",
        RUNS.format("INSERT INTO bulk"),
    ),
    Blocker("alter", "ALTER TABLE wide FORCE, ALGORITHM=COPY;", RUNS.format("ALTER TABLE wide")),
    Blocker(
        "prepared transaction",
        "XA START 'x'; INSERT INTO other (who) VALUES ('xa'); XA END 'x'; XA PREPARE 'x';",
        "XA RECOVER",
    ),
    Blocker("procedure that ignores errors", LOOP, "SELECT 1 FROM other WHERE who = 'loop' LIMIT 1"),
    Blocker("the same, privileged", LOOP, "SELECT 1 FROM other WHERE who = 'loop' LIMIT 1", "root"),
    Blocker("user lock and sleep", "SELECT GET_LOCK('a', 1), SLEEP(3600);", RUNS.format("SELECT GET_LOCK")),
]


@pytest.mark.parametrize("blocker", ON_THE_PRIMARY, ids=lambda blocker: blocker.name)
def test_a_switchover_is_not_held_up(lab: Lab, writer: Writer, blocker: Blocker) -> None:
    old = primary(lab)
    sql(lab, old, "DELETE FROM other")
    with session(lab, old, blocker.statements, blocker.user):
        until(f"{blocker.name} is in the way", lambda: ask(lab, old, blocker.there))
        outcome = switchover(lab, other(lab, old))
    assert (outcome["result"], outcome["left_to_do"]) == ("done", []), outcome
    if blocker.name == "prepared transaction":
        # It was promised to the transaction's coordinator, so it moves along, and the new primary can end it.
        assert "x" in sql(lab, other(lab, old), "XA RECOVER")
        sql(lab, other(lab, old), "XA COMMIT 'x'")
    prove(lab, writer)


def test_a_privileged_writer_that_reconnects_at_once(lab: Lab, writer: Writer) -> None:
    """It may write in spite of read_only: it is thrown out, and if that does not help its server is killed. Never two writers."""
    old = primary(lab)
    loop = "while :; do mariadb -u root proof -e \"INSERT INTO other (who) VALUES ('root')\"; done 2>/dev/null"
    crowd = [lab.popen(old, ["sh", "-c", loop], stdin=subprocess.DEVNULL) for _ in range(3)]
    since = time.time() - 1
    heir = other(lab, old)
    argv = ["hafailover", "promote", heir, "--yes", "-o", "json"]
    try:
        until("it writes", lambda: ask(lab, old, "SELECT 1 FROM other WHERE who = 'root' LIMIT 1"))
        command = lab.popen(heir, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        until("the role has moved", lambda: opened(lab, heir) or command.poll() is not None)
    finally:
        for process in crowd:
            end(process)
    outcome = json.loads(command.communicate(timeout=300)[0])
    assert promoted(lab, old) == other(lab, old), outcome
    assert events(lab, old, since, "demoted") or events(lab, old, since, "demote.killed")
    assert not any("accepted writes when" in left for left in outcome["left_to_do"]), outcome
    if events(lab, old, since, "demote.killed"):
        assert any(step["name"] == "killed" and "in spite of read_only" in step["says"] for step in outcome["steps"]), (
            outcome
        )
        assert published(lab, old, "final") == "", "its successor must not have to reach what nobody acknowledged"
    # As a replica it takes what root writes, as every replica does: that is found, and for a person to decide about.
    until(
        "it is settled",
        lambda: status(lab, old)["healthy"] or "did" in reason(lab, old) or "DIVERGED" in reason(lab, old),
    )
    if not status(lab, old)["healthy"]:
        repair(lab, old)
    prove(lab, writer)


def opened(lab: Lab, node: str) -> bool:
    return ask(lab, node, "SELECT @@read_only") == "0"


def repair(lab: Lab, node: str) -> None:
    """Take back what was written on a replica, all of it in one table: up to the primary's promotion their histories are one."""
    now = primary(lab)
    opened = status(lab, now)["services"][0]["journal"]["gtid"]
    position = sql(lab, now, "TRUNCATE other; SELECT @@gtid_binlog_pos").split()[-1]
    assert position
    sql(
        lab,
        node,
        f"STOP SLAVE; SET sql_log_bin=0; TRUNCATE other; RESET MASTER; SET GLOBAL gtid_slave_pos='{opened}'",
    )


ON_THE_REPLICA = [
    Blocker("table lock", "LOCK TABLES other WRITE;", IDLE.format("root"), "root"),
    Blocker("global read lock", "FLUSH TABLES WITH READ LOCK;", IDLE.format("root"), "root"),
    Blocker(
        "backup",
        "BACKUP STAGE START; BACKUP STAGE FLUSH; BACKUP STAGE BLOCK_DDL; BACKUP STAGE BLOCK_COMMIT;",
        IDLE.format("root"),
        "root",
    ),
    Blocker("row lock", "BEGIN; SELECT * FROM other FOR UPDATE;", IDLE.format("root"), "root"),
]


@pytest.mark.parametrize("blocker", ON_THE_REPLICA, ids=lambda blocker: blocker.name)
def test_a_session_on_the_replica_does_not_keep_it_from_taking_over(lab: Lab, writer: Writer, blocker: Blocker) -> None:
    old = primary(lab)
    heir = other(lab, old)
    sql(lab, old, "DELETE FROM other; INSERT INTO other (who) VALUES ('before')")
    until("the replica has it", lambda: ask(lab, heir, "SELECT 1 FROM other"))
    since = time.time() - 1
    with session(lab, heir, blocker.statements, blocker.user):
        until(f"{blocker.name} is in the way", lambda: ask(lab, heir, blocker.there))
        sql(lab, old, "UPDATE other SET who = 'acknowledged, not applied'")
        lab.kill(old, UNIT)
        until("the replica has taken over", lambda: promoted(lab, heir) == heir)
    assert events(lab, heir, since, "promote.cleared")
    assert sql(lab, heir, "SELECT who FROM other") == "acknowledged, not applied"
    prove(lab, writer)


def test_a_schema_change_that_waits_for_a_reader(lab: Lab, writer: Writer) -> None:
    old = primary(lab)
    heir = other(lab, old)
    with session(lab, heir, "BEGIN; SELECT COUNT(*) FROM other;"):
        until("it reads", lambda: ask(lab, heir, IDLE.format("app")))
        sql(lab, old, "ALTER TABLE other ADD COLUMN more INT; ALTER TABLE other DROP COLUMN more")
        lab.kill(old, UNIT)
        until("the replica has taken over", lambda: promoted(lab, heir) == heir)
    prove(lab, writer)


def test_what_was_received_is_applied_first(lab: Lab, writer: Writer) -> None:
    """The replica is half a minute behind, by a configured delay: every acknowledged row is there when it opens."""
    old = primary(lab)
    heir = other(lab, old)
    sql(lab, heir, "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY=15; START SLAVE")
    until("its new life is seen", lambda: "STALE" in reason(lab, heir))
    until("it is in sync again", lambda: status(lab, old)["healthy"])
    writer.progress()
    since = time.time() - 1
    acked = writer.acked()
    lab.kill(old, UNIT)
    until("the replica has taken over", lambda: promoted(lab, heir) == heir)
    assert acked <= {int(word) for word in sql(lab, heir, "SELECT id FROM acked").split()}
    assert any("applying what was received" in record["MESSAGE"] for record in lab.journal(heir, since))
    prove(lab, writer)


def test_every_connection_is_taken(lab: Lab, writer: Writer) -> None:
    """The agent still gives up a lost replica, and still switches over."""
    old = primary(lab)
    replica = other(lab, old)
    writer.close()
    with contextlib.ExitStack() as clients:
        for _ in range(CONNECTIONS + 5):
            clients.enter_context(session(lab, old, "DO 1;"))
        until("nobody else gets in", lambda: refused(lab, old))
        assert last_connection(lab, old, "SELECT 1") == "1", "root has a connection more"
        lab.kill(replica, UNIT, signal.SIGSTOP)
        try:
            done = last_connection(lab, old, "INSERT INTO other (who) VALUES ('while full'); SELECT 'acknowledged'")
            assert done == "acknowledged"
        finally:
            lab.kill(replica, UNIT, signal.SIGCONT)
        in_sync_again(lab)
        for _ in range(5):  # the replica's own connection was free for a while
            clients.enter_context(session(lab, old, "DO 1;"))
        until("nobody else gets in again", lambda: refused(lab, old))
        outcome = switchover(lab, replica)
        assert promoted(lab, old) == replica, outcome
    healthy(lab)
    assert sql(lab, replica, "SELECT 1 FROM other WHERE who = 'while full' LIMIT 1") == "1"


def last_connection(lab: Lab, node: str, statement: str) -> str:
    """The answer to root, who has one connection more than the others; while the agent looks at the server, it has that one."""

    def answered() -> subprocess.CompletedProcess[str] | None:
        done = lab.exec(node, ["mariadb", "-N", "-B", "proof"], timeout=120, input=statement)
        return None if "Too many connections" in done.stderr else done

    done: subprocess.CompletedProcess[str] = until("the last connection is free", answered)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def refused(lab: Lab, node: str) -> bool:
    done = lab.exec(node, ["mariadb", "-u", "app", "-e", "SELECT 1"], timeout=30)
    return "Too many connections" in done.stderr


def in_sync_again(lab: Lab) -> None:
    def in_sync() -> bool:
        instances = status(lab, lab.data_nodes[0])["services"][0]["instances"]
        return sorted(one["standing"] for one in instances) == ["in sync", "primary"]

    until("the replica is in sync again", in_sync)


def test_events_run_on_exactly_one_server(lab: Lab, writer: Writer) -> None:
    """Over a switchover and a crash; a disabled one stays disabled, and each keeps its definer and its schedule."""
    first = primary(lab)
    sql(
        lab,
        first,
        "CREATE TABLE IF NOT EXISTS ticks (id INT AUTO_INCREMENT PRIMARY KEY, server INT, as_user VARCHAR(80), at DATETIME(6));"
        "CREATE DEFINER=app@`%` EVENT tick ON SCHEDULE EVERY 1 SECOND ON COMPLETION PRESERVE COMMENT 'one a second' DO "
        "INSERT INTO ticks (server, as_user, at) VALUES (@@server_id, CURRENT_USER(), NOW(6));"
        "CREATE DEFINER=app@`%` EVENT never ON SCHEDULE EVERY 1 SECOND DISABLE DO "
        "INSERT INTO ticks (server, as_user, at) VALUES (-1, '', NOW(6));",
    )
    described = described_events(lab, first)
    try:
        for change in ("none", "switchover", "kill", "switchover"):
            where = primary(lab)
            if change == "switchover":
                outcome = switchover(lab, other(lab, where))
                assert outcome["result"] == "done", outcome
            elif change == "kill":
                lab.kill(where, UNIT)
                until("the other one serves", lambda where=where: promoted(lab, other(lab, where)) == other(lab, where))
            now = primary(lab)
            ticks_on(lab, now)
            assert sql(lab, now, "SELECT @@event_scheduler") == "ON"
            healthy(lab)
            assert sql(lab, other(lab, now), "SELECT @@event_scheduler") == "OFF"
            assert described_events(lab, now) == described
        assert sql(lab, primary(lab), "SELECT DISTINCT as_user FROM ticks") == "app@%"
    finally:
        sql(lab, primary(lab), "DROP EVENT tick; DROP EVENT never")
    prove(lab, writer)


def described_events(lab: Lab, node: str) -> str:
    wanted = "name, definer, status, interval_value, interval_field, on_completion, comment, starts, body, sql_mode"
    return sql(lab, node, f"SELECT {wanted} FROM mysql.event WHERE db = 'proof' ORDER BY name")


def ticks_on(lab: Lab, node: str) -> None:
    """Wait until new ticks come from ``node``, and from nobody else."""
    newest = int(sql(lab, node, "SELECT COALESCE(MAX(id), 0) FROM ticks"))
    own = sql(lab, node, "SELECT @@server_id")
    until(
        "events run",
        lambda: int(ask(lab, node, f"SELECT COUNT(*) FROM ticks WHERE id > {newest} AND server = {own}") or 0) > 2,
    )
    # The first of them may be the old primary's last, replicated; after that there is none but this server's.
    begin = sql(lab, node, f"SELECT MIN(id) FROM ticks WHERE id > {newest} AND server = {own}")
    assert sql(lab, node, f"SELECT DISTINCT server FROM ticks WHERE id > {begin}") == own
