"""The examples of promotion hooks: what they say to ProxySQL, HAProxy and a name server, from whatever state these are in."""

from __future__ import annotations

import sqlite3
import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "hooks/examples"
NEW = {"HAFAILOVER_NEW": "db2", "HAFAILOVER_NEW_ADDRESS": "192.0.2.12", "HAFAILOVER_PORT": "3306"}
TABLE = """CREATE TABLE mysql_servers (hostgroup_id INT DEFAULT 0, hostname VARCHAR, port INT DEFAULT 3306, weight INT DEFAULT 1,
PRIMARY KEY (hostgroup_id, hostname, port))"""


def example(tmp_path: Path, name: str, tool: str, script: str, *words: str, **given: str):
    """Run an example with ``script`` for the tool that it calls."""
    (tmp_path / tool).write_text(f"#!/bin/sh\ncd {tmp_path}\n{script}\n")
    (tmp_path / tool).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", **NEW, **given}
    argv = ["/bin/sh", str(EXAMPLES / name), *words]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize(
    "before",
    [
        [(10, "192.0.2.11", 7), (20, "192.0.2.12", 5)],
        # The writer is a reader too, and so is who becomes one.
        [(10, "192.0.2.11", 7), (20, "192.0.2.11", 7), (20, "192.0.2.12", 5)],
        [(10, "192.0.2.11", 7), (10, "192.0.2.12", 5), (20, "192.0.2.12", 5)],
        # It was run already.
        [(10, "192.0.2.12", 5), (20, "192.0.2.11", 7)],
    ],
)
def test_proxysql(tmp_path, before):
    done = example(tmp_path, "proxysql-repoint", "mysql", "cat > said", "10", "20")
    assert done.returncode == 0, done.stderr
    said = (tmp_path / "said").read_text()
    sql = "".join(line + "\n" for line in said.splitlines() if not line.startswith(("LOAD", "SAVE")))
    assert len(said.splitlines()) == len(sql.splitlines()) + 2
    with sqlite3.connect(":memory:") as database:  # which ProxySQL keeps this table in
        database.execute(TABLE)
        database.executemany("INSERT INTO mysql_servers (hostgroup_id, hostname, weight) VALUES (?, ?, ?)", before)
        database.executescript(sql)
        after = database.execute("SELECT hostgroup_id, hostname, weight FROM mysql_servers ORDER BY 1").fetchall()
    assert after == [(10, "192.0.2.12", 5), (20, "192.0.2.11", 7)]


def test_proxysql_is_told_no_sql_of_others(tmp_path):
    done = example(
        tmp_path, "proxysql-repoint", "mysql", "touch said", "10", "20", HAFAILOVER_NEW_ADDRESS="1'; DROP TABLE x"
    )
    assert done.returncode == 1 and "unusable" in done.stderr and not (tmp_path / "said").exists()


HAPROXY = r"""
read -r line
echo "$line" >> said
case $line in
  "show servers state db_write") printf '1\n# be_id be_name srv_id srv_name srv_addr\n'
    for n in 1 2 3; do echo "4 db_write $n db$n 192.0.2.1$n 2 0 1 1"; done; echo ;;
  show*) echo "Can't find backend." ;;
  *db3*) [ ! -e broken ] || echo "No such server." ;;
esac
"""


@pytest.mark.parametrize("old", ["db1", "", "db2"])
def test_haproxy_has_one_server_that_takes_writes_whoever_was_the_last(tmp_path, old):
    done = example(tmp_path, "haproxy-repoint", "socat", HAPROXY, "db_write", HAFAILOVER_OLD=old)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "said").read_text().splitlines()[1:] == [
        "set server db_write/db2 state ready",
        "set server db_write/db1 state maint",
        "set server db_write/db3 state maint",
    ]


def test_haproxy_that_does_not_do_it_fails_the_hook(tmp_path):
    (tmp_path / "broken").touch()
    done = example(tmp_path, "haproxy-repoint", "socat", HAPROXY, "db_write")
    assert done.returncode == 1 and "No such server." in done.stderr
    done = example(tmp_path, "haproxy-repoint", "socat", HAPROXY, "other")
    assert done.returncode == 1 and "other has no server db2" in done.stderr
    assert example(tmp_path, "haproxy-repoint", "socat", "exit 1", "db_write").returncode == 1


@pytest.mark.parametrize(("address", "kind"), [("192.0.2.12", "A"), ("2001:db8::12", "AAAA")])
def test_a_name_in_the_dns(tmp_path, address, kind):
    given = {"HAFAILOVER_NEW_ADDRESS": address}
    done = example(tmp_path, "nsupdate-primary", "nsupdate", "cat > said", "db.example.net", "192.0.2.53", **given)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "said").read_text().splitlines() == [
        "server 192.0.2.53",
        f"update delete db.example.net {kind}",
        f"update add db.example.net 30 {kind} {address}",
        "send",
    ]
    refused = "echo 'update failed: REFUSED' >&2; exit 2"
    assert example(tmp_path, "nsupdate-primary", "nsupdate", refused, "db.example.net").returncode == 2
