"""Looking at what is outside, over the wire: at stand-ins that listen, and at a real Redis."""

import struct
import threading
import time

import pytest
from hafailover.crm.observe.link import Link, LinkError
from hafailover.crm.observe.look import Look
from hafailover.crm.observe.targets import Target
from outside import LONG, answering, exactly, member, mongod, redis_server, refusing, saying


def look(kind, *ports, name="", password="", limit=LONG):
    return Look((Target(kind, tuple(("127.0.0.1", port, False) for port in ports), name),), password, limit).findings()[
        0
    ][1]


def test_a_stand_in_replica_set_over_the_wire():
    with (
        refusing() as gone,
        answering(lambda connection: reply[0](connection)) as one,
        answering(lambda connection: reply[1](connection)) as two,
    ):
        hosts = [f"127.0.0.1:{port}" for port in (one, two, gone)]
        reply = [mongod(member(primary=hosts[0], me=host, hosts=hosts)) for host in hosts]
        found = look("mongodb", one, two, gone, name="rs0")
    assert (found.usable, found.words) == (True, f"primary {hosts[0]}, 3 voters, 2 of 3 asked answer")
    assert found.problem == f"{hosts[2]}: nothing listens there"


def test_a_server_that_hangs_is_waited_for_until_the_limit():
    over = threading.Event()

    def hangs(connection):
        connection.recv(1 << 16)
        over.wait(300)

    with answering(hangs) as hung, answering(mongod(member(me="x", primary="x", hosts=["x"]))) as well:
        found = look("mongodb", hung, well, name="rs0", limit=10.0)
        assert not over.is_set()  # it was the limit that ended it: the stand-in would go on for minutes
        over.set()
    assert (found.usable, found.problem) == (True, f"127.0.0.1:{hung}: no answer in time")


@pytest.mark.parametrize(
    ("kind", "reply", "said"),
    [
        ("mongodb", saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "does not speak MongoDB's protocol"),
        ("mongodb", saying(b""), "hung up without an answer"),
        ("mongodb", mongod(b"\x05\0\0\0\1"), "sent an answer that has a document of a wrong length"),
        ("mongodb", mongod({"ok": 0.0, "errmsg": "not now"}), "refuses to answer: not now"),
        ("redis", saying(b"SSH-2.0-OpenSSH\r\n"), "does not speak Redis's protocol"),
        ("redis", saying(b"$99999999\r\n"), "sends an answer that is too long"),
        ("redis", saying(b"+OK\r\n"), "does not answer PING with PONG"),
        ("redis", saying(b"$x\r\n"), "does not speak Redis's protocol"),
        ("rabbitmq", saying(b"AMQP\0\0\x09\x01"), "speaks another version of AMQP"),
        ("rabbitmq", saying(b"HTTP/1.1 400"), "does not speak AMQP"),
        ("mariadb", saying(b"\x17\0\0\0\xff\x10\x04Too many connections"), "refuses: Too many connections"),
        ("mariadb", saying(b"SSH-2.0-OpenSSH"), "does not speak MariaDB's protocol"),
        ("storage", saying(b"HTTP/1.1 400 Bad Request"), "does not speak NFS"),
    ],
)
def test_what_is_not_what_it_should_be(kind, reply, said):
    with answering(reply) as port:
        found = look(kind, port)
    assert not found.usable
    assert f"127.0.0.1:{port}: {said}" in found.problem


def nfsd(*versions):
    """A stand-in of an NFS server: answers the null call."""

    def reply(connection):
        while True:
            data = exactly(connection, 44)
            (call, _, _, program, version, procedure) = struct.unpack(">6I", data[4:28])
            assert (program, procedure) == (100003, 0)
            status = (0,) if version in versions else (2, 3, 3)
            body = struct.pack(f">{5 + len(status)}I", call, 1, 0, 0, 0, *status)
            connection.sendall(struct.pack(">I", 0x80000000 | len(body)) + body)

    return reply


@pytest.mark.parametrize(
    ("kind", "reply", "words"),
    [
        ("rabbitmq", saying(b"\1\0\0\0\0\0\x06\0\x0a\0\x0a\0\x09\xce"), "answers"),
        ("mariadb", saying(b"\x1a\0\0\0\x0a5.5.5-10.11.6-MariaDB\0abc"), "answers, version 10.11.6-MariaDB"),
        ("storage", nfsd(3, 4), "answers NFS version 4"),
        ("storage", nfsd(3), "answers NFS version 3"),
    ],
)
def test_stand_ins_of_what_only_has_to_answer(kind, reply, words):
    with answering(reply) as port:
        assert look(kind, port) == (True, f"127.0.0.1:{port} {words}", "", "", None)


def test_one_of_two_brokers_is_enough_and_the_other_is_named():
    with refusing() as gone, answering(saying(b"\1\0\0\0\0\0\x06\0\x0a\0\x0a\0\x09\xce")) as port:
        found = look("rabbitmq", port, gone)
    assert (found.usable, found.problem) == (True, f"127.0.0.1:{gone}: nothing listens there")


def test_a_name_nobody_knows():
    with pytest.raises(LinkError, match=r"its name is not known|cannot be reached"):
        Link("no-such-host.invalid", 1, time.monotonic() + LONG)
    with pytest.raises(LinkError, match="no answer in time"):
        Link("127.0.0.1", 1, time.monotonic() - 1)


def test_a_real_redis(tmp_path):
    with redis_server(tmp_path, "--save", "", "--requirepass", "geheim") as port:
        here = f"127.0.0.1:{port}"
        assert look("redis", port, password="geheim") == (True, f"primary {here}, 0 replicas", "", "", None)
        assert "refuses to answer: NOAUTH" in look("redis", port).problem
        assert "refuses to answer: WRONGPASS" in look("redis", port, password="wrong").problem
        # Whoever may not read the password sees that it answers.
        assert look("redis", port, password=None) == (
            True,
            "answers; whether it is the primary is only shown to root",
            "",
            "",
            None,
        )


def test_a_real_replica_and_real_sentinels(tmp_path):
    with (
        refusing() as gone,
        redis_server(tmp_path, "--save", "") as primary,
        redis_server(tmp_path, "--save", "", "--replicaof", "127.0.0.1", str(gone)) as orphan,
    ):
        found = look("redis", orphan)
        assert (
            found.problem
            == f"127.0.0.1:{orphan} is a replica of 127.0.0.1:{gone}, which it cannot reach, and takes no writes"
        )
        assert found.since is not None
        conf = tmp_path / "sentinel.conf"
        conf.write_text(f"sentinel monitor st2 127.0.0.1 {primary} 1\n")
        with redis_server(tmp_path, str(conf), "--sentinel") as sentinel:
            assert look("redis", sentinel, name="st2") == (
                True,
                f"primary 127.0.0.1:{primary}, 0 replicas, 1 of 1 sentinel answer",
                "",
                "",
                None,
            )
            assert "knows no primary named other" in look("redis", sentinel, name="other").problem
