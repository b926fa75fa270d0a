"""Lint's rules that look at a node's option files and accounts of databases."""

from __future__ import annotations

import pytest
from hafailover.agents.mariadb.sql import SqlError
from hafailover.crm.lint import accounts
from hafailover.crm.lint.node_files import NodeFiles
from hafailover.crm.lint.option_files import server_options
from hafailover.crm.lint.rules.databases import may_come
from hypothesis import given, settings
from hypothesis import strategies as st
from lint_facts import DB, MQ, clone, conf, facts, found, places, primitive, put

# -- databases -----------------------------------------------------------------------------------------------------------------------


def test_option_files_are_read_as_the_server_does(tmp_path):
    put(
        tmp_path,
        "/etc/mysql/my.cnf",
        "[client]\nserver-id=9\n[mysqld]\nserver-id = 1 # one\n!includedir /etc/mysql/conf.d/\n",
    )
    put(
        tmp_path,
        "/etc/mysql/conf.d/10.cnf",
        "[mariadb-10.11]\nserver_id='2'\nskip-networking\n!include /etc/mysql/my.cnf\n",
    )
    put(tmp_path, "/etc/mysql/conf.d/20.txt", "[mysqld]\nserver_id=3\n")
    said = server_options(NodeFiles(tmp_path))
    assert said["server_id"] == ("2", "/etc/mysql/conf.d/10.cnf:2")
    assert said["skip_networking"].value == ""


@pytest.mark.parametrize(
    ("text", "flagged"),
    [
        ("[mysqld]\nlog_bin\n", True),
        ("[mysqld]\nlog_bin\nserver-id=7\n", False),
        ("[client]\nport=1\n", False),
        (None, False),
    ],
)
def test_a_server_without_a_number(tmp_path, text, flagged):
    if text is not None:
        put(tmp_path, "/etc/mysql/my.cnf", text)
    result = found("L29b", facts(DB, node=tmp_path, corosync=conf()))
    assert bool(result) is flagged
    assert all(fix == "[mysqld]\nserver_id = 1" for _, _, fix in result)
    galera = clone("c", primitive("db", "ocf:heartbeat:galera"), promotable="true")
    assert found("L29b", facts(galera, node=tmp_path, corosync=conf())) == []


@pytest.mark.parametrize(
    ("resource", "path", "text", "flagged"),
    [
        (DB, "/etc/mysql/my.cnf", "[mysqld]\nbind-address = 127.0.0.1\n", True),
        (DB, "/etc/mysql/my.cnf", "[mysqld]\nbind-address = 127.0.0.1,10.0.0.1\n", False),
        (DB, "/etc/mysql/my.cnf", "[mysqld]\nbind-address = 0.0.0.0\n", False),
        (DB, "/etc/mysql/my.cnf", "[mysqld]\n", False),
        (primitive("c", "systemd:memcached"), "/etc/memcached.conf", "-m 64\n-l 127.0.0.1\n-l ::1\n", True),
        (primitive("c", "ocf:hafailover:memcached"), "/etc/memcached.conf", "-l 10.0.0.1,127.0.0.1\n", False),
        (primitive("c", "systemd:memcached"), "/etc/memcached.conf", "#-l 127.0.0.1\n", False),
        (primitive("r", "ocf:heartbeat:redis"), "/etc/redis/redis.conf", "bind 127.0.0.1 -::1\n", True),
        (primitive("r", "ocf:heartbeat:redis"), "/etc/redis/redis.conf", "bind 127.0.0.1 10.0.0.1\n", False),
        (primitive("m", "systemd:mongod"), "/etc/mongod.conf", "net:\n  port: 27017\n", True),
        (primitive("m", "systemd:mongod"), "/etc/mongod.conf", "net:\n  bindIp: 127.0.0.1,10.0.0.1\n", False),
        (primitive("m", "systemd:mongod"), "/etc/mongod.conf", "net: {bindIpAll: true}\n", False),
        (primitive("m", "systemd:mongod"), "/etc/mongod.conf", "net: [\n", False),
        (MQ, "/etc/rabbitmq/rabbitmq.conf", "listeners.tcp.local = 127.0.0.1:5672\n", True),
        (MQ, "/etc/rabbitmq/rabbitmq.conf", "listeners.tcp.default = 5672\n", False),
        (primitive("x", "systemd:other"), "/etc/mysql/my.cnf", "[mysqld]\nbind-address = 127.0.0.1\n", False),
    ],
)
def test_what_listens_to_itself_alone(tmp_path, resource, path, text, flagged):
    put(tmp_path, path, text)
    assert bool(places("L29d", facts(resource, node=tmp_path))) is flagged


@pytest.mark.parametrize(
    ("accounts", "said"),
    [
        ([("repl", "10.0.0.2")], None),
        ([("repl", "%")], None),
        ([("repl", "10.0.%")], None),
        ([("repl", "10.0.0.0/255.255.255.0")], None),
        ([("repl", "b")], None),
        ([("repl", "10.0.0.1")], "account 'repl' may replicate from a, and not from b"),
        ([("repl", "192.0.2.7")], None),
        ([], None),
    ],
)
def test_accounts_for_replication(tmp_path, accounts, said):
    result = found("L29e", facts(corosync=conf(), node=tmp_path, accounts=accounts))
    assert [text for _, text, _ in result] == ([said] if said else [])
    assert all(fix == "GRANT REPLICATION SLAVE ON *.* TO 'repl'@'10.0.0.2';" for _, _, fix in result)


def test_accounts_are_asked_of_the_server(tmp_path, monkeypatch):
    monkeypatch.setattr(accounts, "SOCKETS", (str(tmp_path / "none"), str(tmp_path)))
    assert accounts.replication() == (), "a directory is no socket"

    class Server:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def rows(self, statement):
            assert "Repl_slave_priv" in statement
            return [{"user": "repl", "host": "%"}]

    monkeypatch.setattr(accounts.sql, "local", lambda socket, timeout, life: Server())
    assert accounts.replication() == (("repl", "%"),)

    def refuse(socket, timeout, life):
        raise SqlError(1045, "no")

    monkeypatch.setattr(accounts.sql, "local", refuse)
    assert accounts.replication() == ()


def test_a_third_node_that_was_forgotten(tmp_path):
    what = facts(corosync=conf(nodes=("a", "b", "c")), node=tmp_path, accounts=[("r'x", "10.0.0.2")])
    ((_, text, fix),) = found("L29e", what)
    assert text == 'account "r\'x" may replicate from b, and not from c'
    assert fix == "GRANT REPLICATION SLAVE ON *.* TO 'r\\'x'@'10.0.0.3';"


@settings(max_examples=100, deadline=2000)
@given(st.text("%_ab./0123456789[]*?", max_size=300))
def test_any_pattern_of_an_account_has_an_answer(host):
    assert may_come(host, "10.0.0.1", "a" * 60) in (True, False)


@pytest.mark.parametrize(
    ("uri", "flagged"),
    [
        ("mongodb://m1,m2/?replicaSet=rs0", True),
        ("mongodb://u:hunter2@m1:1,m2:2/st2?replicaSet=rs0", True),
        ("mongodb://m1,m2,m3/?replicaSet=rs0", False),
        ("mongodb://m1/", False),
        ("mongodb://m1,m2/", False),
        ("mongodb://[", False),
    ],
)
def test_a_replica_set_of_two(tmp_path, uri, flagged):
    put(tmp_path, "/etc/st2/st2.conf", f"[database]\nhost = {uri}\n")
    result = found("L28", facts(primitive("w", "ocf:hafailover:st2", units="active"), node=tmp_path))
    assert bool(result) is flagged
    assert "hunter2" not in str(result)
