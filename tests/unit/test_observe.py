"""What servers outside of the cluster answer: the bytes, and what follows from them."""

import struct

import pytest
from hafailover.crm.observe import bson, mongodb, redis
from hafailover.crm.observe.link import LinkError
from hafailover.crm.observe.mongodb import Hello
from hafailover.crm.observe.redis import Replication, Sentinel
from hypothesis import given, settings
from hypothesis import strategies as st
from outside import member

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
