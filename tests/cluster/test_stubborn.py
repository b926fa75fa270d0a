"""What stands in the way of a switchover or a failover on a real pair: locks, long work, privileged writers, full disks, no connections.

Every case ends with the same proof: one primary, both servers hold the same rows, and none that a client saw acknowledged is missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import pytest
from hafailover.crm import topology as topologies
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab

NAME = "stubborntest"
UNIT = "hafailover-mariadb-db.service"
PATIENCE = 180.0  # seconds; generous, so that a slow machine fails no test
CONNECTIONS = 40
ADDRESS = "10.77.0.100"
SCHEMA = """
CREATE DATABASE proof;
CREATE TABLE proof.acked (id INT PRIMARY KEY);
CREATE TABLE proof.other (id INT AUTO_INCREMENT PRIMARY KEY, who VARCHAR(60));
CREATE TABLE proof.bulk (id BIGINT PRIMARY KEY, t VARCHAR(200));
CREATE TABLE proof.wide ENGINE=InnoDB AS SELECT seq AS id, REPEAT('x', 100) AS t FROM proof.seq_1_to_400000;
CREATE USER app@'%' IDENTIFIED BY '';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, LOCK TABLES, EVENT ON proof.* TO app@'%';
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file = tmp_path_factory.mktemp("stubborn") / "stubborn.yml"
    options = f"options: {{event_scheduler: ON, max_connections: {CONNECTIONS}}}"
    file.write_text(Path(DEFAULT_TOPOLOGY).read_text().replace("type: mariadb}", f"type: mariadb, {options}}}"))
    Lab.down(NAME)
    try:
        made = Lab.up(NAME, topologies.load(file))
        healthy(made)
        sql(made, primary(made), SCHEMA)
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
    return json.loads(done.stdout) if done.stdout else {"healthy": False, "services": []}


def healthy(lab: Lab) -> None:
    until("the cluster is healthy", lambda: status(lab, lab.data_nodes[0])["healthy"])


def primary(lab: Lab) -> str:
    return str(until("there is a primary", lambda: promoted(lab, lab.data_nodes[0])))


def promoted(lab: Lab, seen_from: str) -> str | None:
    services = status(lab, seen_from).get("services", [])
    return services[0]["primary"] if services else None


def other(lab: Lab, node: str) -> str:
    return next(name for name in lab.data_nodes if name != node)


def sql(lab: Lab, node: str, statement: str, timeout: float = 120) -> str:
    done = lab.exec(
        node, ["mariadb", "-N", "-B", "proof" if "CREATE DATABASE" not in statement else "mysql"], timeout, statement
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ask(lab: Lab, node: str, question: str) -> str:
    """The answer, or "" from a server that gives none now."""
    done = lab.exec(node, ["mariadb", "-N", "-B", "proof"], timeout=60, input=question)
    return done.stdout.strip() if done.returncode == 0 else ""


def events(lab: Lab, node: str, since: float, name: str) -> list[str]:
    """What the agent recorded under ``name``."""
    return [record["MESSAGE"] for record in lab.journal(node, since, [f"HAFAILOVER_EVENT={name}"])]


@contextlib.contextmanager
def session(lab: Lab, node: str, statements: str, user: str = "app") -> Iterator[subprocess.Popen[str]]:
    """A client that has been sent ``statements`` and stays connected."""
    argv = ["mariadb", "--unbuffered", "--force", "-N", "-B", f"--user={user}", "proof"]
    client = lab.popen(
        node, argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert client.stdin is not None
        client.stdin.write(statements + "\n")
        client.stdin.flush()
        yield client
    finally:
        end(client)


def end(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


class Writer:
    """Inserts rows through the address, one after the other; ``acked`` are those whose insert was answered."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self._ledger = directory / "acked"
        first = int(sql(lab, primary(lab), "SELECT COALESCE(MAX(id), 0) + 1000 FROM acked"))
        script = (
            f"i={first}; while :; do i=$((i+1)); timeout 20 mariadb --connect-timeout=2 -h {ADDRESS} -u app proof "
            '-e "INSERT INTO acked VALUES ($i)" 2>/dev/null && echo $i; sleep 0.05; done'
        )
        with self._ledger.open("w") as out:
            # On a data node it would end with the node, when that is fenced.
            self._process = lab.popen(lab.quorum_node or "", ["sh", "-c", script], stdin=subprocess.DEVNULL, stdout=out)

    def acked(self) -> set[int]:
        return {int(line) for line in self._ledger.read_text().split()}

    def progress(self) -> None:
        """Wait until writes are answered again."""
        before = len(self.acked())
        until("writes are answered", lambda: len(self.acked()) > before + 3)

    def close(self) -> None:
        end(self._process)


@pytest.fixture
def writer(lab: Lab, tmp_path: Path) -> Iterator[Writer]:
    healthy(lab)
    made = Writer(lab, tmp_path)
    try:
        made.progress()
        yield made
    finally:
        made.close()


def prove(lab: Lab, writer: Writer) -> None:
    """Nothing acknowledged is missing, and both servers hold the same."""
    writer.progress()
    writer.close()
    healthy(lab)
    position = sql(lab, primary(lab), "SELECT @@gtid_binlog_pos")
    assert sql(lab, other(lab, primary(lab)), f"SELECT MASTER_GTID_WAIT('{position}', 120)") == "0"
    found = [contents(lab, node) for node in lab.data_nodes]
    assert found[0] == found[1]
    assert writer.acked() <= {int(word) for word in sql(lab, primary(lab), "SELECT id FROM acked").split()}


def contents(lab: Lab, node: str) -> str:
    tables = sql(
        lab, node, "SELECT table_name FROM information_schema.tables WHERE table_schema='proof' ORDER BY 1"
    ).split()
    return sql(lab, node, f"CHECKSUM TABLE {', '.join(tables)} EXTENDED; XA RECOVER")


def switchover(lab: Lab, target: str) -> dict[str, Any]:
    argv = ["hafailover", "promote", target, "--yes", "-o", "json", "--accept", "lag", "--accept", "failures"]
    done = lab.exec(target, argv, timeout=300)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@dataclass(frozen=True)
class Blocker:
    """``statements`` are sent by ``user``; ``there`` is a question that answers something as soon as they stand in the way."""

    name: str
    statements: str
    there: str
    user: str = "app"


RUNS = "SELECT 1 FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND info LIKE '{}%' LIMIT 1"
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


def reason(lab: Lab, node: str) -> str:
    instances = status(lab, node)["services"][0]["instances"]
    return next(str(one["reason"]) for one in instances if one["node"] == node)


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
        assert sql(lab, old, "SELECT 1") == "1", "root has a connection more"
        lab.kill(replica, UNIT, signal.SIGSTOP)
        try:
            assert (
                sql(lab, old, "INSERT INTO other (who) VALUES ('while full'); SELECT 'acknowledged'") == "acknowledged"
            )
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


def test_a_server_that_survives_sigkill(lab: Lab, writer: Writer) -> None:
    """A thread hangs in the kernel: the peer serves at once, for a killed server answers nobody, and the node is fenced."""
    old = primary(lab)
    heir = other(lab, old)
    since = time.time() - 1
    lab.exec(old, ["mkdir", "-p", "/root/hanging"], check=True)
    lab.exec(old, ["chmod", "755", "/root"], check=True)
    program = (Path(__file__).parent / "programs" / "hanging_disk.py").read_text()
    lab.exec(old, ["tee", "/root/hanging.py"], input=program, check=True)
    disk = lab.popen(old, ["python3", "/root/hanging.py", "/root/hanging"], stdin=subprocess.DEVNULL)
    try:
        until("it is mounted", lambda: lab.exec(old, ["mountpoint", "-q", "/root/hanging"]).returncode == 0)
        with session(lab, old, "SELECT LOAD_FILE('/root/hanging/hang');", "root"):
            until("a thread reads", lambda: ask(lab, old, RUNS.format("SELECT LOAD_FILE")))
            argv = ["hafailover", "promote", heir, "--yes", "-o", "json"]
            lab.exec(heir, argv, timeout=300)
        assert promoted(lab, heir) == heir
        until("the node is fenced", lambda: any(node == old and at > since for at, node, _ in lab.fence_log()))
        assert events(lab, old, since, "stuck")
        said = [record["MESSAGE"] for record in lab.journal(old, since) if "survives SIGKILL" in record["MESSAGE"]]
        assert said, "the reason is told"
    finally:
        end(disk)
        lab.power_on(old)
    lab.await_boot(old)
    prove(lab, writer)


def test_a_full_disk_moves_the_primary(lab: Lab, writer: Writer) -> None:
    """The server answers every SELECT and no commit; its role moves to a replica with space, and it comes back when there is some."""
    for node in (other(lab, primary(lab)), primary(lab)):
        small_disk(lab, node)
    old = primary(lab)
    heir = other(lab, old)
    writer.progress()
    since = time.time() - 1
    fill(lab, old)
    until("the replica has taken over", lambda: promoted(lab, heir) == heir)
    assert "disk is full" in events(lab, old, since, "hand-over")[0]
    writer.progress()
    fill(lab, heir)  # now both are full: nothing may move
    until("it is reported", lambda: "disk is full" in failed_actions(lab, heir))
    for _ in range(10):
        assert promoted(lab, heir) == heir
        time.sleep(0.5)
    free(lab, heir)
    free(lab, old)
    lab.exec(heir, ["crm_resource", "--cleanup", "-r", "db"], timeout=60)
    prove(lab, writer)


def test_a_full_disk_of_a_replica_bars_it(lab: Lab, writer: Writer) -> None:
    first = primary(lab)
    replica = other(lab, first)
    fill(lab, replica)
    try:
        until("it is barred", lambda: "disk is full" in reason(lab, replica))
        writer.progress()
        assert promoted(lab, first) == first
    finally:
        free(lab, replica)
    prove(lab, writer)


def failed_actions(lab: Lab, node: str) -> str:
    return lab.exec(node, ["crm_mon", "-1"], timeout=30).stdout


def small_disk(lab: Lab, node: str) -> None:
    """Put the data directory on a file system that can be filled without filling this machine."""
    lab.exec(node, ["crm_standby", "-v", "on", "-N", node], check=True)
    until(f"the server on {node} has ended", lambda: lab.exec(node, ["pgrep", "-x", "mariadbd"]).returncode == 1)
    script = (
        "mkdir -p /root/small && mount -t tmpfs -o size=900m tmpfs /root/small && cp -a /var/lib/mysql/. /root/small/ && "
        "mount --bind /root/small /var/lib/mysql && chown mysql:mysql /var/lib/mysql"
    )
    lab.exec(node, ["sh", "-c", script], check=True)
    lab.exec(node, ["crm_standby", "-D", "-N", node], check=True)
    healthy(lab)


def fill(lab: Lab, node: str) -> None:
    lab.exec(node, ["sh", "-c", "dd if=/dev/zero of=/var/lib/mysql/filling bs=64k 2>/dev/null; sync"])


def free(lab: Lab, node: str) -> None:
    lab.exec(node, ["rm", "-f", "/var/lib/mysql/filling"], check=True)
