"""Looking at what is outside: the bytes, the judgement, and the look itself, at stand-ins and at a real Redis."""

import struct
import threading
import time

import pytest
from hafailover.crm import status_external
from hafailover.crm.observe import bson, mongodb, redis, targets
from hafailover.crm.observe.link import Link, LinkError
from hafailover.crm.observe.look import Look
from hafailover.crm.observe.mongodb import Hello
from hafailover.crm.observe.redis import Replication, Sentinel
from hafailover.crm.observe.targets import Target
from hafailover.crm.status import DEGRADED, OK, External, as_json
from hafailover.crm.status_judge import judge
from hafailover.crm.status_text import render
from hypothesis import given, settings
from hypothesis import strategies as st
from outside import answering, exactly, member, mongod, redis_server, saying, unused_port
from status_samples import status
from topologies import changed, parse

LONG = 60.0  # s: what answers at all has answered by then, however busy the machine is

# Made with the bson library of MongoDB's own driver: every type that answers of real servers have.
REAL = bytes.fromhex(
    "600200000868656c6c6f4f6b000103746f706f6c6f677956657273696f6e002d0000000770726f6365737349640065a1b2c3d4e5f60718293a4b12636f756e"
    "7465720006000000000000000004686f7374730025000000023000090000006d313a323730313700023100090000006d323a3237303137000004706173736976"
    "65730015000000023000090000006d333a323730313700000461726269746572730015000000023000090000006d343a32373031370000027365744e616d6500"
    "04000000727330001073657456657273696f6e00030000000869736d61737465720000087365636f6e646172790001027072696d61727900090000006d313a32"
    "3730313700026d6500090000006d323a323730313700036c6173745772697465005b000000036f7054696d65001c000000117473000100000000f15365127400"
    "020000000000000000096c61737457726974654461746500fa68e5cf8b010000096d616a6f72697479577269746544617465000068e5cf8b01000000106d6178"
    "42736f6e4f626a65637453697a650000000001096c6f63616c54696d6500e86be5cf8b010000106d61785769726556657273696f6e001500000008726561644f"
    "6e6c790000016f6b00000000000000f03f0324636c757374657254696d65005800000011636c757374657254696d65000100000000f15365037369676e617475"
    "7265003300000005686173680014000000000000000000000000000000000000000000000000126b657949640000000000000000000000116f7065726174696f"
    "6e54696d65000100000000f153650a6e6f7468696e6700ff6d696e000a72650000"
)


def test_a_real_answer():
    assert mongodb.answer(REAL) == Hello(
        "rs0", False, True, False, "m1:27017", ("m1:27017", "m2:27017"), ("m3:27017",), ("m4:27017",), 1700000000.25
    )


def test_the_question_is_the_one_every_driver_begins_with():
    asked = mongodb.question()
    assert struct.unpack("<iiii", asked[:16]) == (len(asked), 1, 0, 2004)
    assert asked[16:39] == b"\0\0\0\0admin.$cmd\0\0\0\0\0\xff\xff\xff\xff"
    assert bson.decode(asked[39:]) == {"isMaster": 1, "helloOk": True}


NAMES = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(NAMES, JSON, max_size=5))
def test_any_document(document):
    assert bson.decode(bson.encode(document)) == document


@settings(deadline=None)
@given(st.binary(max_size=80) | st.tuples(st.integers(0, 600), st.integers(0, 255)))
def test_damaged_documents_are_refused_in_words(damage):
    if isinstance(damage, tuple):
        damaged = bytearray(REAL)
        damaged[damage[0]] = damage[1]
        damage = bytes(damaged)
    try:
        mongodb.answer(damage)
    except LinkError as error:
        assert str(error).startswith(("sent an answer that ", "refuses to answer: "))


def test_a_document_too_deep_to_follow():
    deep = {}
    for _ in range(50):
        deep = {"a": deep}
    with pytest.raises(bson.BsonError, match="nested deeper than 20"):
        bson.decode(bson.encode(deep))


# What follows from the answers of a replica set
HOSTS = ("a:1", "b:1", "c:1")


def hello(**fields):
    return mongodb.answer(bson.encode(member(**{"hosts": HOSTS, **fields})))


def answers(primary="a:1", **others):
    return {**{host: hello(primary=primary, me=host) for host in HOSTS}, **others}


def test_a_whole_replica_set():
    assert mongodb.judge("rs0", answers()) == (True, "primary a:1, 3 voters, 3 of 3 asked answer", "", "", None)


def test_a_member_is_away():
    found = mongodb.judge("rs0", {**answers(), "b:1": "nothing listens there"})
    assert (found.usable, found.words) == (True, "primary a:1, 3 voters, 2 of 3 asked answer")
    assert found.problem == "b:1: nothing listens there"


def test_no_primary_and_since_when():
    alone = mongodb.answer(REAL)._replace(primary="", members=HOSTS, passives=(), arbiters=())
    found = mongodb.judge("rs0", {"a:1": "no answer in time", "b:1": alone, "c:1": "nothing listens there"})
    assert not found.usable
    assert found.problem.startswith("rs0 has no primary, so nothing can be written; a:1: no answer in time; c:1")
    assert found.advice.endswith("2 of 3 voters must see each other")
    assert found.since == 1700000000.25


def test_the_primary_is_there_but_not_for_us():
    found = mongodb.judge("rs0", {**answers(), "a:1": "no answer in time"})
    assert not found.usable
    assert found.problem == "the primary a:1 cannot be reached from here; a:1: no answer in time"


def test_two_voters_are_a_trap_although_all_is_well():
    two = {host: hello(primary="a:1", me=host, hosts=("a:1", "b:1")) for host in ("a:1", "b:1")}
    found = mongodb.judge("rs0", two)
    assert (found.usable, found.problem) == (True, "the set has two voters: when one dies, the other takes no writes")
    third = {host: hello(primary="a:1", me=host, hosts=("a:1", "b:1"), arbiters=("c:1",)) for host in ("a:1", "b:1")}
    assert mongodb.judge("rs0", third).problem == ""


def test_two_that_both_take_writes():
    both = {**answers(), "b:1": hello(primary="b:1", me="b:1")}
    assert mongodb.judge("rs0", both).problem == "a:1 and b:1 both take writes"


def test_another_set_and_none():
    other = hello(primary="a:1", me="a:1", name="rs9")
    found = mongodb.judge("rs0", {"a:1": other})
    assert (found.usable, found.problem) == (False, "a:1 belongs to the replica set rs9, not to rs0")
    assert mongodb.judge("rs0", {"a:1": hello(name="")}).problem.startswith("a:1 belongs to no replica set, or was not")
    mixed = mongodb.judge("rs0", {**answers(), "c:1": other})
    assert (mixed.usable, mixed.problem) == (True, "c:1: is not a member of rs0")


def test_a_single_server():
    assert mongodb.judge("", {"a:1": hello(name="", primary="a:1", me="a:1")}) == (
        True,
        "a:1 takes writes",
        "",
        "",
        None,
    )
    assert not mongodb.judge("", {"a:1": hello(primary="b:1", me="a:1")}).usable
    found = mongodb.judge("", {"a:1": "nothing listens there"})
    assert (found.usable, found.problem) == (False, "no server answers (a:1: nothing listens there)")


# Redis
INFO = (
    "# Replication\r\nrole:slave\r\nmaster_host:r1\r\nmaster_port:6379\r\n"
    "master_link_status:down\r\nmaster_link_down_since_seconds:90\r\n"
)


def test_a_redis_that_cannot_be_written_to():
    found = redis.judge("r2:6379", redis.replication(INFO), 1000.0)
    assert found.problem == "r2:6379 is a replica of r1:6379, which it cannot reach, and takes no writes"
    assert (found.usable, found.since) == (False, 910.0)


def test_sentinels():
    fine = Sentinel("r1:1", Replication("master", "", 0, 2))
    asked = {"s1:1": fine, "s2:1": fine, "s3:1": "nothing listens there"}
    found = redis.judge_sentinels(asked, 0.0)
    assert (found.usable, found.words) == (True, "primary r1:1, 2 replicas, 2 of 3 sentinels answer")
    assert found.problem == "s3:1: nothing listens there"
    found = redis.judge_sentinels({**asked, "s2:1": "x"}, 0.0)
    assert found.problem.endswith("that is no majority: when the primary dies, nobody is made primary")
    found = redis.judge_sentinels({**asked, "s3:1": Sentinel("r9:1", "nothing listens there")}, 0.0)
    assert (found.usable, found.problem) == (True, "the sentinels disagree: r1:1, r9:1")
    found = redis.judge_sentinels(dict.fromkeys(asked, Sentinel("r1:1", "no answer in time")), 0.0)
    assert (found.usable, found.problem) == (False, "r1:1: no answer in time")
    assert "no sentinel answers" in redis.judge_sentinels({"s": "x"}, 0.0).problem


# The look itself, at something that listens
def look(kind, *ports, name="", password="", limit=LONG):
    return Look((Target(kind, tuple(("127.0.0.1", port, False) for port in ports), name),), password, limit).findings()[
        0
    ][1]


def test_a_stand_in_replica_set_over_the_wire():
    gone = unused_port()
    with (
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
    gone = unused_port()
    with answering(saying(b"\1\0\0\0\0\0\x06\0\x0a\0\x0a\0\x09\xce")) as port:
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
    gone = unused_port()
    with (
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


# What a node is told to look at, and what status makes of it
def test_what_to_look_at_survives_its_file():
    text = changed(
        (
            "services:",
            'external: {mongodb: {uri: "mongodb://m1,m2/?replicaSet=rs0&tls=true", arbiters: [m3]}, redis: {hosts: [s1], sentinel: x},'
            ' rabbitmq: {urls: ["amqps://q/a", "amqps://q/b"], user: u, password: file:p}, storage: {host: "[fd00::1]"}}\nservices:',
        )
    )
    found = targets.of(parse(text).external)
    assert found == (
        Target("mongodb", (("m1", 27017, True), ("m2", 27017, True), ("m3", 27017, True)), "rs0"),
        Target("redis", (("s1", 26379, False),), "x"),
        Target("rabbitmq", (("q", 5671, True),)),
        Target("storage", (("fd00::1", 2049, False),)),
    )
    assert targets.read(targets.written(found).decode()) == found
    for damaged in ("", "{", "5", "[{}]", '[{"addresses": [1], "kind": 1}]'):
        with pytest.raises(ValueError, match=r".+"):
            targets.read(damaged)


def test_status_without_and_with_something_outside(tmp_path):
    assert status_external.PATH == targets.PATH
    path = tmp_path / "external.json"
    assert status_external.end(status_external.begin(str(path))) == ()
    path.write_text("{ half of")
    assert status_external.end(status_external.begin(str(path))) == ()
    path.write_bytes(targets.written(()))
    threads = threading.active_count()
    assert status_external.end(status_external.begin(str(path))) == ()
    assert threading.active_count() == threads
    with answering(mongod(member(me="x", primary="x", hosts=["x"]))) as port:
        path.write_bytes(targets.written((Target("mongodb", (("127.0.0.1", port, False),), "rs0"),)))
        (found,) = status_external.end(status_external.begin(str(path), LONG))
    assert found == External(
        "mongodb",
        "rs0",
        (f"127.0.0.1:{port}",),
        True,
        f"primary 127.0.0.1:{port}, 1 voter, 1 of 1 asked answer",
        "",
        "",
        None,
    )


MONGO = External("mongodb", "rs0", ("m1:27017",), True, "primary m1:27017, 3 voters, 3 of 3 asked answer", "", "", None)


def test_the_screen():
    found = status("healthy")._replace(external=(MONGO,))
    verdict = judge(found)
    assert (verdict.word, verdict.healthy) == (OK, True)
    assert "\nOutside of the cluster\n  MongoDB rs0  primary m1:27017, 3 voters, 3 of 3 asked answer\n" in render(
        found, verdict
    )
    assert as_json(found, verdict)["external"][0]["state"] == "primary m1:27017, 3 voters, 3 of 3 asked answer"


def test_what_is_wrong_outside_degrades():
    broken = MONGO._replace(usable=False, state="", problem="rs0 has no primary", advice="bring back m2", since=1.0)
    slow = External("redis", "", ("r1:6379",), True, "primary r1:6379", "s2: nothing listens there", "", None)
    found = status("healthy", at=100.0)._replace(external=(broken, slow))
    verdict = judge(found)
    assert (verdict.word, verdict.healthy) == (DEGRADED, False)
    assert [problem.what for problem in verdict.problems] == [
        "MongoDB rs0 (outside) cannot be used",
        "Redis (outside) has a problem",
    ]
    assert verdict.problems[0].why.startswith("rs0 has no primary (since ")
    screen = render(found, verdict)
    assert "  MongoDB rs0  CANNOT BE USED\n  Redis        primary r1:6379 (see below)\n" in screen
    assert [line for line in screen.splitlines() if len(line) > 80] == []
