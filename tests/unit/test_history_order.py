"""In which order things are told when the clocks of the nodes do not agree."""

import pytest
from history_cluster import Cluster, event


def test_what_was_known_stays_before_what_followed_though_a_clock_is_behind(tmp_path):
    cluster = Cluster(tmp_path, skews=(0, -30, 0))
    cluster.tell("db1", event("first"))
    cluster.settle()
    cluster.tell("db2", event("second"))
    cluster.settle()
    texts = [(record.facts["text"], record.node) for record in cluster.lists()[0] if record.kind == "event"]
    assert texts == [("event first", "db1"), ("event second", "db2")]
    second = next(record for record in cluster.lists()[0] if record.facts.get("text") == "event second")
    assert 5 < (second.order - second.at) / 1e6 < 31
    clocks = [record for record in cluster.lists()[2] if record.kind == "clock"]
    assert {(record.node, record.facts["node"]) for record in clocks} >= {("db2", "db1")}
    assert len(clocks) <= 4  # told once, not in every run


@pytest.mark.parametrize("ahead", [600, 10 * 86400])
def test_a_clock_far_in_the_future_does_not_order_the_others(tmp_path, ahead):
    cluster = Cluster(tmp_path, skews=(ahead, 0, 0))
    cluster.tell("db1", event("future"))
    cluster.settle()
    cluster.tell("db2", event("now"))
    cluster.settle()
    now = next(record for record in cluster.lists()[0] if record.facts.get("text") == "event now")
    assert now.order == now.at < 1_700_000_100 * 1_000_000


def test_what_two_nodes_saw_in_the_same_second_is_told_as_it_happened(tmp_path):
    """A primary dies on db1 and db2 is promoted before db1 comes to write down that it died: it takes what db2 wrote in the same run."""
    cluster = Cluster(tmp_path)
    died = (cluster.now + 1) * 1_000_000
    cluster.tell("db1", event("died", at=str(died)))
    cluster.tell("db2", event("promoted", at=str(died + 500_000)))
    cluster.run("db2")
    cluster.run("db1")  # shows db2 that it lacks the record
    cluster.run("db2")
    cluster.tell("db1", event("stopped", at=str(died + 300_000)))
    db1 = cluster.drain("db1")
    db1.once()
    cluster.tell("db1", event("cleaned", at=str(died + 400_000)))
    db1.once()
    cluster.settle()
    told = [record for record in cluster.lists()[2] if record.kind == "event"]
    assert [record.facts["text"] for record in told] == [
        "event died", "event stopped", "event cleaned", "event promoted"
    ]  # fmt: skip
    assert all(record.order == record.at for record in told)
