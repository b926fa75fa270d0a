"""Alerts on two simulated nodes: real agents, real services, a real web server; every event once, in order, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import alert_nodes
import pytest
from alert_nodes import RESOURCE, bodies, spread, until
from hafailover.crm.commands import alerts
from topologies import invoke


@pytest.fixture
def web():
    with alert_nodes.serving() as made:
        yield made


@pytest.fixture
def cluster(tmp_path):
    return alert_nodes.cluster_of_two(tmp_path)


@pytest.fixture
def nodes(cluster, web):
    with alert_nodes.two(cluster, web) as made:
        yield made


def test_what_every_node_sees_is_delivered_by_one(nodes, web):
    for node in nodes:
        node.alert(kind="node", node="db3", nodeid="3", desc="lost")
        node.alert(
            sequence=2,
            kind="fencing",
            node="db3",
            task="reboot",
            rc="0",
            desc="Operation reboot of db3: OK (ref=1-2-3)",
        )
        node.alert(sequence=3, node=node.name, **RESOURCE)
        node.start()
    until(
        "all are settled", lambda: not nodes[0].waiting("hook") and not nodes[1].waiting("hook") and len(web.got) >= 4
    )
    for node in nodes:
        node.run()
    told = sorted((body["reporter"], body["kind"]) for body in bodies(web))
    assert told == [("db1", "fencing"), ("db1", "node"), ("db1", "resource"), ("db2", "resource")]
    assert [body["kind"] for body in bodies(web) if body["reporter"] == "db1"] == ["node", "fencing", "resource"]
    assert nodes[1].state("hook")["delivered"] == 1


def test_another_node_takes_over_from_one_that_dies(nodes, web, cluster):
    web.status = 500
    for node in nodes:
        node.alert(kind="fencing", node="db3", task="off", rc="0", desc="Operation off of db3: OK (ref=7)")
        node.start()
    until("the first node has tried", lambda: nodes[0].state("hook").get("attempts"))
    until("the second one waits", lambda: nodes[1].waiting("hook") == 1)
    assert not nodes[1].state("hook").get("attempts")
    nodes[0].end(signal.SIGKILL)
    cluster.members("db2")
    web.status = 200
    nodes[1].run()
    assert [(body["reporter"], body["kind"]) for body in bodies(web)] == [("db2", "fencing")]
    # The first one comes back with what is in its queue.
    cluster.members("db1", "db2")
    nodes[0].run()
    assert len(web.got) == 1
    assert nodes[0].waiting("hook") == 0


def test_a_cut_off_delivery_is_made_again_with_the_same_key(nodes, web):
    node = nodes[0]
    web.hang = 1.0
    node.alert(node="db1", **RESOURCE)
    node.start()
    until("it is under way", lambda: web.tried)
    node.end(signal.SIGKILL)
    web.hang = 0.0
    node.run()
    assert web.tried == 2
    assert len({headers["idempotency-key"] for _, headers in web.got}) == 1


def test_a_recipient_named_by_pacemaker_and_events_it_does_not_want(nodes, web):
    nodes[0].configure({"hook": web.recipient(events=["failures"]), "all": web.recipient()})
    nodes[0].alert(node="db1", **RESOURCE)
    nodes[0].run()
    assert len(web.got) == 1
    nodes[0].alert(node="db1", recipient="hook", **{**RESOURCE, "rc": "5"})
    nodes[0].run()
    assert [body["rc"] for body in bodies(web)] == ["0", "5"]


def test_a_removed_recipient_is_forgotten(nodes, web):
    web.status = 500
    nodes[0].alert(node="db1", **RESOURCE)
    nodes[0].start()
    until("it is queued", lambda: nodes[0].waiting("hook"))
    nodes[0].configure({})
    nodes[0].run()
    assert list((nodes[0].root / "queue").iterdir()) == []


def test_a_broken_configuration_keeps_everything(nodes, web):
    good = nodes[0].config.read_text()
    nodes[0].config.write_text("{")
    nodes[0].alert(node="db1", **RESOURCE)
    nodes[0].start()
    time.sleep(1)
    assert len(os.listdir(nodes[0].root / "inbox")) == 1
    nodes[0].config.write_text(good)
    nodes[0].run()
    assert len(web.got) == 1


def test_a_second_service_ends_at_once(nodes, web):
    web.status = 500
    nodes[0].alert(node="db1", **RESOURCE)
    nodes[0].start()
    until("the first one works", lambda: nodes[0].state("hook").get("attempts"))
    second = subprocess.run([str(nodes[0].root / "alerts-deliver")], env=nodes[0].environment, timeout=20, check=False)
    assert second.returncode == 75


def test_a_service_that_is_killed_again_and_again_loses_nothing(nodes, web):
    spread(nodes[0], 0, 400, time.time() - 60)
    for _ in range(5):
        nodes[0].start()
        before = len(web.got)
        until("it has delivered some", lambda before=before: len(web.got) > before + 20 or len(web.got) >= 400)
        nodes[0].end(signal.SIGKILL)
    nodes[0].run()
    by_key = {headers["idempotency-key"]: int(body["description"]) for body, headers in web.got}
    assert sorted(by_key.values()) == list(range(400))
    # At most the one that was under way, at each death, and it is told by its key.
    assert len(web.got) <= 405
    first: list[int] = []
    for body, _ in web.got:
        if int(body["description"]) not in first:
            first.append(int(body["description"]))
    assert first == sorted(first)


def test_the_commands_can_be_tried_and_answer_in_json(nodes, monkeypatch):
    node = nodes[0]
    for name, value in node.environment.items():
        if name != "PATH":
            monkeypatch.setenv(name, value)
    monkeypatch.setattr("hafailover.crm.local.run", lambda *_, **__: None)  # the service of this machine, if it has one
    spread(node, 0, 1, time.time())

    def files():
        return sorted(str(path) for path in node.root.rglob("*"))

    before = files()
    told = json.loads(invoke(alerts.command, "test", "hook", "--dry-run", "-o", "json").stdout)
    assert (told["recipient"], told["delivered"]) == ("hook", False)
    told = json.loads(invoke(alerts.command, "retry", "--dry-run", "-o", "json").stdout)
    assert (told["waiting"], told["tried"]) == (0, False)
    wrong = invoke(alerts.command, "test", "hok", "--dry-run", "-o", "json")
    assert "did you mean" in json.loads(wrong.stdout)["says"] and files() == before
    assert json.loads(invoke(alerts.command, "retry", "-o", "json").stdout)["tried"] and files() != before
