"""Whatever is written where, cut off and healed in whatever order: in the end every node has the same list."""

import os
import threading
import time

from hafailover.crm.history import mailbox, records
from hafailover.crm.history.entries import entries
from hafailover.crm.history.store import Store
from history_cluster import FENCED, KEEP, NODES, Cluster, event, failure
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

STEPS = st.one_of(
    st.tuples(st.just("tell"), st.sampled_from(NODES), st.integers(1, 5)),
    st.tuples(st.just("flood"), st.sampled_from(NODES), st.integers(60, 130)),
    st.tuples(st.just("fence"), st.sampled_from(NODES), st.just(1)),
    st.tuples(st.just("drain"), st.sampled_from(NODES), st.just(1)),
    st.tuples(st.just("cut"), st.sampled_from(NODES), st.just(1)),
    st.tuples(st.just("heal"), st.just(""), st.just(1)),
    st.tuples(st.just("again"), st.sampled_from(NODES), st.just(1)),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(STEPS, max_size=25), st.tuples(*[st.integers(-40, 40)] * 3))
def test_any_interleaving_ends_in_the_same_list(tmp_path_factory, steps, skews):
    cluster = Cluster(tmp_path_factory.mktemp("nodes"), skews)
    fenced = 0
    for what, node, count in steps:
        if what == "tell":
            cluster.tell(node, *[event(cluster.count + number) for number in range(count)])
        elif what == "flood":
            cluster.tell(node, *[failure(cluster.count + number) for number in range(count)])
        elif what == "fence":
            cluster.tell(node, FENCED)
            fenced += 1
        elif what == "drain":
            cluster.run(node)
        elif what == "cut":
            cluster.attributes.cut({node}, set(NODES) - {node})
        elif what == "heal":
            cluster.attributes.heal()
        else:  # its Pacemaker is restarted: what it has shown is gone
            for other in NODES:
                cluster.attributes.shown[other].pop(node, None)
    cluster.attributes.heal()
    cluster.settle()
    one, *others = cluster.lists()
    assert all(other == one for other in others)
    assert all(entries(other) == entries(one) for other in others)
    assert len({record.id for record in one}) == len(one)
    # A flood of failures leaves everything else.
    assert sum(record.kind == "fencing" for record in one) == fenced
    assert sum(record.klass == records.FAILURE for record in one) <= 3 * KEEP


def test_a_node_that_was_away_for_long_catches_up_from_any_other(tmp_path):
    cluster = Cluster(tmp_path)
    cluster.attributes.cut({"db3"}, {"db1", "db2"})
    for number in range(40):
        cluster.tell("db1", *[event(number * 10 + one) for one in range(10)], FENCED)
        cluster.run("db1")
        cluster.run("db2")
    cluster.attributes.cut({"db1"}, {"db2", "db3"})  # the writer itself is not there when it returns
    rounds = 0
    while cluster.run("db3").missing or not cluster.lists()[2]:
        cluster.run("db2")
        rounds += 1
        assert rounds < 20
    assert cluster.lists()[2] == cluster.lists()[1]
    assert sum(record.kind == "fencing" for record in cluster.lists()[2]) == 40


def test_a_member_that_takes_nothing_does_not_keep_the_others_waiting(tmp_path):
    cluster = Cluster(tmp_path)
    letter = mailbox.write(mailbox.Letter(cluster.now * 1_000_000, {}, ()))
    cluster.tell("db1", *[event(number) for number in range(300)])
    for _ in range(12):
        cluster.run("db1")
        cluster.attributes.shown["db1"]["db2"] = letter  # db2 shows for ever that it has nothing
        cluster.run("db3")
    lists = cluster.lists()
    assert lists[2] == lists[0] and len(lists[0]) == KEEP


def test_a_node_that_lost_its_disk_has_everything_again_when_the_others_timers_came_round(tmp_path):
    cluster = Cluster(tmp_path)

    def everything(node):
        return Store(str(tmp_path / node / "store")).everything(1000)

    for number in range(0, 1000, 100):
        cluster.tell("db1", *[event(f"{number + one} {os.urandom(30).hex()}") for one in range(100)])
        cluster.drain("db1", 1000).once()
    assert len(everything("db1")) == 1000
    cluster.drain("db3", 1000).once()  # shows that it has nothing
    cluster.drain("db1", 1000).once()  # the first piece
    done = []
    needy = threading.Thread(target=lambda: done.append(cluster.drain("db3", 1000).until_settled(0.2, 0.01, more=20.0)))
    needy.start()
    time.sleep(0.6)
    assert needy.is_alive() and 0 < len(everything("db3")) < 500, "it has got a piece, so it waits for more"
    state = cluster.drain("db1", 1000).until_settled(2.0, 0.01, more=2.0)
    needy.join(10)
    assert not done[0].missing and not state.lagging
    assert everything("db3") == everything("db1")


def test_who_takes_nothing_is_not_waited_for(tmp_path):
    cluster = Cluster(tmp_path)
    cluster.tell("db1", *[event(number) for number in range(30)])
    cluster.run("db1")
    cluster.attributes.shown["db1"]["db2"] = mailbox.write(mailbox.Letter(cluster.now * 1_000_000, {}, ()))
    for _ in range(3):
        began = time.monotonic()
        state = cluster.drain("db1").until_settled(5.0, 0.01, more=5.0)
        assert state.lagging and not state.helped
        assert time.monotonic() - began < 2
