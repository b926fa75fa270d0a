"""Further facts that the agent relies on, as cases of ``trap_cases``: commits that wait, events, a relay log that is salvaged, a clone."""

from __future__ import annotations

import contextlib
import inspect
import os
import shutil
import subprocess
import sys
import threading
from typing import Any

from servers import HOME, PATIENCE, Server, Writing, locked, pair, until
from trap_recovery import NOBODY, ROWS, TRUNCATE, received, relay_files

# isort: split
from hafailover.agents.mariadb import agent, decide, gtid, tender
from hafailover.agents.mariadb.sql import Connection, SqlError

# The package shows the agent itself under its module's name, and loads the module when somebody wants the agent.
assert agent.name == "mariadb"
monitor = sys.modules["hafailover.agents.mariadb.actions"].monitor


def _waiting(one: Server, two: Server, *numbers: int) -> list[Writing]:
    """Clients whose commits wait for an acknowledgement that does not come."""
    two.run("STOP SLAVE IO_THREAD")
    clients = [Writing(one, number) for number in numbers]
    running = "SELECT id FROM information_schema.processlist WHERE info LIKE 'INSERT INTO proof.%'"
    with one.connect() as server:
        # The others wait for the first, and have no state of their own.
        until("all of them wait", lambda: server.waiters() and len(server.rows(running)) == len(clients))
    return clients


def waiter_killed() -> dict[str, Any]:
    one, two = pair()
    (client,) = _waiting(one, two, 1)
    with one.connect() as server:
        row = server.row(
            "SELECT id FROM information_schema.processlist WHERE state = 'Waiting for semi-sync ACK from slave'"
        )
        server.run(f"KILL CONNECTION {row['id']}")
    answered = client.outcome() == "OK"
    return {"answered": answered, "on one": one.ids(), "on two": two.ids()}


def waiter_ended(how: str) -> dict[str, Any]:
    """The server ends while a commit waits; then it is recovered as a replica, which removes what was not committed."""
    one, two = pair()
    (client,) = _waiting(one, two, 1)
    getattr(one, how)()
    answered = client.outcome() == "OK"
    one.unit().start((TRUNCATE,))
    return {"answered": answered, "on one": one.ids()}


def waiters_released() -> dict[str, Any]:
    one, two = pair()
    clients = _waiting(one, two, 1, 2, 3)
    one.run("SET GLOBAL rpl_semi_sync_master_enabled=OFF")
    return {"answers": [client.outcome() for client in clients], "on one": one.ids()}


def asked_with_waiters() -> dict[str, Any]:
    """The promoted monitor, every question that the agent knows, and the statement that it must not use."""
    one, two = pair()
    _waiting(one, two, 1, 2)
    with one.connect(5) as server:
        try:
            server.rows("SHOW MASTER STATUS")
            hangs = False
        except SqlError as error:
            hangs = "no answer" in str(error)
    questions = []
    with one.connect(PATIENCE) as server:
        for name, method in inspect.getmembers(server, inspect.ismethod):
            asks = not name.startswith("_") and name not in ("rows", "row", "run", "close")
            if asks and not inspect.signature(method).parameters:
                method()
                questions.append(name)
    with tender.Lock("one") as lock:
        assert lock.take(0)  # the helper's: so that nobody marks two as stale and releases them
        code = monitor(one.context("monitor", interval=2000, role="Promoted"))
    with one.connect() as server:
        return {"hangs": hangs, "questions": questions, "monitor": code, "still waiting": bool(server.waiters())}


def read_only_blocked(blocker: str) -> dict[str, Any]:
    """read_only=ON against something that it waits for: with the agent's bound, and without any."""
    one, two = pair()
    one.insert(*range(ROWS))
    with one.connect(3600) as session:
        if blocker == "waiters":
            _waiting(one, two, 101, 102)
        elif blocker == "lock tables":
            session.run("LOCK TABLES proof.rows WRITE")
        else:
            slow = "INSERT INTO proof.rows SELECT id + 1000, SLEEP(600) FROM proof.rows"
            threading.Thread(target=_ignoring_the_end, args=(session, slow), daemon=True).start()
            with one.connect() as server:
                running = "SELECT id FROM information_schema.processlist WHERE state = 'User sleep'"
                until("the long statement runs", lambda: server.rows(running))
        with one.connect(5) as server:
            try:
                server.run("SET GLOBAL read_only=ON")
                unbounded = "done"
            except SqlError as error:
                unbounded = "no answer" if "no answer" in str(error) else str(error)
        with one.connect() as server:
            for row in server.rows(
                "SELECT id FROM information_schema.processlist WHERE info = 'SET GLOBAL read_only=ON'"
            ):
                server.run(f"KILL CONNECTION {row['id']}")
            try:
                server.run("SET STATEMENT max_statement_time=2 FOR SET GLOBAL read_only=ON")
                bounded = 0
            except SqlError as error:
                bounded = error.errno
    return {"unbounded": unbounded, "bounded": bounded}


def _ignoring_the_end(session: Connection, statement: str) -> None:
    with contextlib.suppress(SqlError):
        session.run(statement)


def events() -> dict[str, Any]:
    one, two = pair()
    one.run("CREATE EVENT proof.on_one ON SCHEDULE EVERY 1 DAY DO DO 1")
    one.run("CREATE EVENT proof.off_one ON SCHEDULE EVERY 1 DAY DISABLE DO DO 1")
    until("two has them", lambda: two.reached(one))
    query = "SELECT event_name AS name, status FROM information_schema.events WHERE event_schema = 'proof'"
    return {server.name: {row["name"]: row["status"] for row in server.rows(query)} for server in (one, two)}


CUTS = {"whole": 0, "in the commit": 15, "before the commit": 31, "in the rows": 531}  # bytes that the last file loses


def salvage(cut: str, threads: str) -> dict[str, Any]:
    """A replica with several relay log files, most of it not applied, is killed, and its primary never returns."""
    one, two = pair(max_relay_log_size=65536, slave_parallel_threads=threads)
    one.insert(*range(1000, 1100))
    until("two has applied the beginning", lambda: two.reached(one))
    with locked(two):
        one.insert(*range(200))
        one.kill()
        two.kill()
    last = two.datadir / relay_files(two)[-1]
    os.truncate(last, last.stat().st_size - CUTS[cut])
    two.unit().start(())
    status = two.status()
    applied = int(two.value("@@global.gtid_slave_pos").split("-")[2])
    rest = [entry for entry in received(two) if entry[0] > applied]
    behind = (relay_files(two).index(status["Relay_Log_File"]), status["Relay_Log_Pos"]) < (
        relay_files(two).index(rest[0][1]),
        rest[0][2],
    )
    # A server with parallel threads dies of SIGSEGV when it is started at a position of a relay log (10.11.19).
    two.run(
        "SET GLOBAL slave_parallel_threads=0",
        f"CHANGE MASTER TO master_use_gtid=no, relay_log_file='{rest[0][1]}', relay_log_pos={rest[0][2]}",
        "START SLAVE SQL_THREAD",
    )

    def ended() -> bool:
        now = two.status()
        return bool(now["Last_SQL_Errno"]) or "read all relay log" in (now["Slave_SQL_Running_State"] or "")

    until("the relay log is applied", ended)
    error = two.status()["Last_SQL_Errno"]
    two.run("STOP SLAVE SQL_THREAD")
    salvaged = [number for number in two.ids() if number < 1000]
    position = two.value("@@global.gtid_slave_pos")
    two.run("CHANGE MASTER TO master_use_gtid=slave_pos")
    one.start(promoted=NOBODY)
    one.run("SET GLOBAL read_only=OFF")
    two.run("START SLAVE")
    until("two is level with its primary", lambda: two.reached(one))
    return {
        "several files": len({name for _, name, _ in rest}) > 1,
        "remembered position is behind": behind,
        "error": error,
        "salvaged": salvaged == list(range(len(salvaged))) and len(salvaged),
        "gtid_slave_pos moved": int(position.split("-")[2]) - applied,
        "purge": two.value("@@global.relay_log_purge"),
        "equal": one.checksum() == two.checksum(),
    }


def _as_state(entries: str) -> str:
    """A gtid_binlog_state in the order that the server wants: the last entry of a domain is its position."""
    return ",".join(sorted(entries.split(","), key=lambda entry: [int(part) for part in entry.split("-")][::2]))


def clone_position(order: str) -> dict[str, Any]:
    """A copy of a server in whose history several servers have written, with the donor's state set."""
    one, two = pair()
    two.remove()
    one.run("SET GLOBAL rpl_semi_sync_master_enabled=OFF")
    with one.connect() as session:
        for number, server_id in enumerate((7, 7, 2, 2, 1, 7, 1)):
            session.run(f"SET SESSION server_id={server_id}")
            session.run(f"INSERT INTO proof.rows VALUES ({number}, '')")
        session.run("SET SESSION server_id=7")
        session.run("SET SESSION gtid_domain_id=5")
        session.run("INSERT INTO proof.rows VALUES (500, '')")
    files = one.directory / "my.cnf"
    backup = HOME / "backup"
    shutil.rmtree(backup, ignore_errors=True)
    socket = one.directory / "mariadb.sock"
    program = ["mariadb-backup", f"--defaults-file={files}"]
    for step in (
        ["--backup", f"--socket={socket}", "--user=root", f"--target-dir={backup}"],
        ["--prepare", f"--target-dir={backup}"],
    ):
        subprocess.run([*program, *step], check=True, capture_output=True, timeout=PATIENCE)
    (info,) = backup.glob("*_binlog_info")  # its name begins with xtrabackup, from 11.1 on with mariadb_backup
    name, position, column_3 = info.read_text().split()
    exact = one.value(f"BINLOG_GTID_POS('{name}', {position})")
    donor = one.value("@@global.gtid_binlog_state")
    two.make()
    shutil.rmtree(two.datadir)
    shutil.copytree(backup, two.datadir)
    two.own()
    two.unit().start(())
    state = _as_state(donor) if order == "by sequence" else gtid.text(gtid.parse(donor))
    two.run("RESET MASTER", f"SET GLOBAL gtid_binlog_state='{state}'", f"SET GLOBAL gtid_slave_pos='{exact}'")
    two.terminate()
    two.unit().start(())
    result = {
        "column 3 is exact": set(column_3.split(",")) == set(exact.split(",")),
        "state": set(two.value("@@global.gtid_binlog_state").split(",")) == set(donor.split(",")),
        "position": two.value("@@global.gtid_binlog_pos") == one.value("@@global.gtid_binlog_pos"),
    }
    one.insert(600)
    two.monitor()
    until("the clone is level with its donor", lambda: two.reached(one))
    states = one.value("@@global.gtid_binlog_state"), two.value("@@global.gtid_binlog_state")
    return {
        **result,
        "divergence": [decide.divergence(states[0], states[1], "two"), decide.divergence(states[1], states[0], "one")],
        "equal": one.checksum() == two.checksum(),
    }
