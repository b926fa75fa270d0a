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
    assert 10 < (second.order - second.at) / 1e6 < 31
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
