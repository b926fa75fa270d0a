"""What the tests of stubborn servers share: a database with a writer, sessions that stay, and the proof that nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hafailover.crm import topology as topologies
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab
from labs import until
from pair import healthy, other, status

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
RUNS = "SELECT 1 FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND info LIKE '{}%' LIMIT 1"


def make(name: str, directory: Path, options: str) -> Lab:
    """Bring up a lab whose server has ``options`` of the topology, and the tables. The caller takes it down."""
    file = directory / f"{name}.yml"
    file.write_text(Path(DEFAULT_TOPOLOGY).read_text().replace("type: mariadb}", f"type: mariadb{options}}}"))
    Lab.down(name)
    made = Lab.up(name, topologies.load(file))
    healthy(made)
    sql(made, primary(made), SCHEMA)
    return made


def primary(lab: Lab) -> str:
    return str(until("there is a primary", lambda: promoted(lab, lab.data_nodes[0])))


def promoted(lab: Lab, seen_from: str) -> str | None:
    services = status(lab, seen_from).get("services", [])
    return services[0]["primary"] if services else None


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


def reason(lab: Lab, node: str) -> str:
    instances = status(lab, node)["services"][0]["instances"]
    return next(str(one["reason"]) for one in instances if one["node"] == node)
