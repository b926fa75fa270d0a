"""What the doctor makes of what nodes tell: their letters, and the whole report."""

import json
from pathlib import Path

import pytest
from doctor_cases import NOW, only, results, verdicts
from hafailover.crm import render, topology
from hafailover.crm.doctor import (
    OK,
    UNKNOWN,
    WARN,
    Letter,
    Seen,
    post,
    report,
    same,
)
from hafailover.crm.doctor.groups import GROUPS
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize("group", GROUPS)
def test_what_could_not_be_read_is_never_well(group):
    found = results(GROUPS[group], group, {"db1": {"error": "it is dark"}})
    assert OK not in verdicts(found)
    assert any("not looked at, because it is dark" in one.what for one in found)
    older = [*GROUPS[group].judge(Seen("db1", NOW, ("db1",), {"db1": Letter("db1", NOW, {})}, {}))]
    assert OK not in verdicts(older)
    assert UNKNOWN in verdicts(older)


def test_letters():
    facts = {"clock": {"synchronised": True}, "names": {"names": {"db1": ["10.0.0.1"]}}}
    assert post.read("db1", post.write(NOW, facts)) == Letter("db1", NOW, facts)
    for wrong in ("", "1", "2abc", "1AAAA", post.write(NOW, facts)[:-9], "1" + "A" * 99999):
        assert post.read("db1", wrong) is None


def test_a_letter_that_is_too_long_says_what_is_missing():
    import random

    noise = {"noise": "".join(chr(random.Random(7).randrange(33, 126)) for _ in range(10))}
    big = {"blob": [random.Random(number).random() for number in range(4000)]}
    text = post.write(NOW, {"clock": noise, "disk": big})
    assert len(text) <= post.LARGEST
    letter = post.read("db1", text)
    assert letter.facts["clock"] == noise
    assert "run hafailover doctor there" in letter.facts["disk"]["error"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "synchronised",
        "names",
        "addresses",
        "links",
        "mtus",
        "peers",
        "enabled",
        "devices",
        "votes",
        "expected",
        "needed",
        "device",
        "versions",
        "files",
        "stale",
        "unmade",
        "services",
        "disks",
        "binlogs",
        "found",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(list(GROUPS)), st.dictionaries(KEYS, JSON, max_size=4), max_size=6))
def test_whatever_a_node_tells_is_judged_and_never_raises(facts):
    told = {"db1": Letter("db1", NOW, facts), "db2": Letter("db2", NOW, facts)}
    found = report.judge(Seen("db1", NOW, ("db1", "db2", "db3"), told, {"db3": "it is off"}))
    json.dumps(report.as_json(found))
    for line in report.lines(found):
        assert line == "" or line.isprintable()


def a_report(**more):
    facts = {"clock": {"synchronised": True}, "modes": {"files": [["/etc/a", 0o644, 0o600, "root", "root"]]}}
    letters = {node: Letter(node, NOW, facts) for node in ("db1", "db2")}
    return report.judge(
        Seen("db1", NOW, ("db1", "db2", "db3"), letters, {"db3": "it is not a member of the cluster now"}, **more)
    )


def test_the_report():
    found = a_report()
    text = list(report.lines(found))
    assert text[0].startswith("FAIL  2 failed, ")
    assert [line for line in text if len(line) > 80] == []
    assert any(line.startswith("  ?     db3  not looked at, because it is not a member") for line in text)
    quiet = "\n".join(report.lines(found, quiet=True))
    assert "  ok " not in quiet
    told = report.as_json(found)
    assert told["result"] == "failed"
    assert told["counts"]["failed"] == 2
    assert sum(told["counts"].values()) == len(told["checks"])
    assert {"group", "check", "node", "result", "what", "why", "fix"} == set(told["checks"][0])
    assert [node["name"] for node in told["nodes"] if node["missing"]] == ["db3"]


def test_the_worst_decides_and_what_was_not_looked_at_is_not_well():
    seen_ = Seen("db1", NOW, ("db1",), {"db1": Letter("db1", NOW, {name: {"error": "x"} for name in GROUPS})}, {})
    assert report.judge(seen_).worst == UNKNOWN


def test_a_letter_of_before_is_told_to_be_one():
    facts = {"clock": {"synchronised": True}}
    letters = {"db1": Letter("db1", NOW, facts), "db2": Letter("db2", NOW - 90, facts)}
    found = report.judge(Seen("db1", NOW, ("db1", "db2"), letters, {}, {}, {"db2": "it did not answer in time"}))
    one = only(found.results, "node", WARN)
    assert one.what == "what it tells is 90 s old, and it could not be had to look again: it did not answer in time"


@pytest.mark.parametrize(
    "file",
    sorted((Path(__file__).resolve().parents[2] / "vagrant/topologies").glob("*.yml")),
    ids=lambda file: file.stem,
)
def test_a_nodes_files_can_be_made_without_its_secrets(file):
    wanted = topology.load(str(file))
    for node in wanted.nodes:
        made = render.render(wanted, node, lambda _: same._PLACEHOLDER)
        assert {"/etc/corosync/corosync.conf", "/etc/hafailover/topology.yml"} <= {
            one.path for one in made if not one.secret
        }
        assert not any(same._PLACEHOLDER in one.content for one in made if not one.secret)
