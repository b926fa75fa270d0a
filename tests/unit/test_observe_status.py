"""What a node is told to look at outside of the cluster, and what status makes of it."""

import threading

import pytest
from hafailover.crm import status_external
from hafailover.crm.observe import targets
from hafailover.crm.observe.targets import Target
from hafailover.crm.status import DEGRADED, OK, External, as_json
from hafailover.crm.status_judge import judge
from hafailover.crm.status_text import render
from outside import LONG, answering, member, mongod
from status_samples import status
from topologies import changed, parse


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


@pytest.mark.parametrize("content", ["", '[{"kind": "redis"', '{"kind": 1}', "[1]"])
def test_half_a_file_is_told_and_not_taken_for_nothing_outside(tmp_path, content):
    file = tmp_path / "external.json"
    file.write_text(content)
    found = status_external.end(status_external.begin(str(file)))
    verdict = judge(status("healthy")._replace(external=found))
    (problem,) = verdict.problems
    assert (verdict.word, problem.severity) == (DEGRADED, DEGRADED)
    assert str(file) in problem.what and "nobody looks" in problem.why and "render" in problem.advice
