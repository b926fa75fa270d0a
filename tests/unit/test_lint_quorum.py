"""Lint's rules about quorum, links and fencing races: what each must flag, and what it must not."""

from __future__ import annotations

import pytest
from hafailover.crm import fence_agents
from lint_facts import clone, conf, device, facts, found, primitive, put
from test_fence_agents import METADATA

PAIR = [primitive("f1", "stonith:fence_x", pcmk_host_list="a"), primitive("f2", "stonith:fence_x", pcmk_host_list="b")]


@pytest.mark.parametrize(
    ("code", "bad", "good", "where", "said"),
    [
        ("L17", conf("two_node: 1", device=device()), conf("", device=device()), "corosync.conf:20", "stands beside the quorum device q"),
        ("L17b", conf(""), conf("", nodes=("a", "b", "c")), "corosync.conf:18", "when one is lost the other stops too"),
        ("L18", conf("two_node: 1\nwait_for_all: 0"), conf("two_node: 1"), "corosync.conf:21", "a node that boots alone"),
        ("L19", conf("", device=device(host="b")), conf("", device=device(host="q")), "corosync.conf:25", "asked at b, which is b"),
        ("L19", conf("", device=device(host="10.0.1.2")), conf("", device=device(host="10.0.1.9")), "corosync.conf:25", "which is b"),
        ("L19", conf("", device=device(host="B.example.org")), conf("", device=device(host="bb.example.org")), "corosync.conf:25", "is b"),
        ("L19b", conf("", device=device(votes="2")), conf("", device=device()), "corosync.conf:23", "2; ffsplit with 2 nodes needs 1"),
        (
            "L19b",
            conf("", nodes="abcd", device=device("1", algorithm="lms")),
            conf("", nodes="abcd", device=device("3", algorithm="lms")),
            "corosync.conf:35",
            "lms with 4 nodes needs 3",
        ),
        ("L19c", conf("last_man_standing: 1", device=device()), conf("last_man_standing: 1"), "corosync.conf:20", "does not start"),
        ("L22", conf(links=1), conf(links=2), "corosync.conf:4", "by one link alone, 10.0.0.1 and 10.0.0.2"),
        ("L22b", conf(links=[2, 1]), conf(links=[2, 2]), "corosync.conf:11", "b has no address for link 1"),
    ],
)  # fmt: skip
def test_a_rule_about_corosync(code, bad, good, where, said):
    ((place, text, fix),) = found(code, facts(corosync=bad))
    assert (place, said in text, bool(fix)) == (where, True, True), text
    assert found(code, facts(corosync=good)) == []


def test_the_votes_that_corosync_takes_by_itself():
    unsaid = device().replace("votes: 1\n", "")
    assert found("L19b", facts(corosync=conf("", device=unsaid))) == []
    ((_, text, fix),) = found("L19b", facts(corosync=conf("", nodes="abcd", device=unsaid)))
    assert "3, because none are given" in text
    assert "crm corosync set quorum.device.votes 1" in fix
    ((_, text, _),) = found("L19b", facts(corosync=conf("expected_votes: 3", device=unsaid)))
    assert "Corosync does not start so" in text


def test_two_nodes_with_a_tie_breaker_go_on():
    assert found("L17b", facts(corosync=conf("auto_tie_breaker: 1"))) == []


# -- fencing ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("devices", "more", "flagged"),
    [
        (PAIR, {}, True),
        (PAIR, {"corosync": conf("", device=device())}, False),
        (PAIR, {"corosync": conf("", nodes="abc")}, False),
        (PAIR, {"properties": {"stonith-enabled": "false"}}, False),
        (PAIR, {"properties": {"priority-fencing-delay": "10s"}}, True),
        ([*PAIR, primitive("db", "ocf:x:y", {"priority": "10"})], {"properties": {"priority-fencing-delay": "10s"}}, False),
        ([PAIR[0], primitive("f2", "stonith:fence_x", pcmk_host_list="b", pcmk_delay_base="5s")], {}, False),
        ([PAIR[0], primitive("f2", "stonith:fence_x", pcmk_host_list="b", delay="5")], {}, False),
        ([primitive(name, "stonith:fence_x", pcmk_host_list=node, pcmk_delay_base="5s") for name, node in ("1a", "2b")], {}, True),
        ([primitive("f", "stonith:fence_x", pcmk_host_map="a:1;b:2")], {}, True),
        ([primitive("f", "stonith:fence_x", pcmk_host_map="A:1;B:2")], {}, True),
        ([primitive("f", "stonith:fence_x", pcmk_host_map="a:1;b:2", pcmk_delay_max="5s")], {}, False),
        ([primitive("f", "stonith:fence_x", pcmk_host_map="a:1;b:2", pcmk_delay_base="a:5s;b:0s")], {}, False),
        ([primitive("f", "stonith:fence_scsi", pcmk_host_list="a b")], {}, False),
        ([], {}, False),
    ],
)  # fmt: skip
def test_two_nodes_that_shoot_each_other(devices, more, flagged):
    named = [one.replace('id="1"', 'id="f1"').replace('id="2"', 'id="f2"') for one in devices]
    assert bool(found("L21", facts(*named, **{"corosync": conf(), **more}))) is flagged


def test_the_race_is_said_with_names():
    ((where, text, fix),) = found("L21", facts(*PAIR, corosync=conf()))
    assert where == "f1"
    assert text == "f1 and f2 fence a and b without a difference (neither waits) and nobody else votes"
    assert fix == "crm resource param f1 set pcmk_delay_base 5s"


IDLE = facts(
    *PAIR, clone("c", primitive("db", "ocf:x:y"), promotable="true"), properties={"priority-fencing-delay": "10s"}
)


def test_a_priority_delay_without_priorities():
    ((where, text, fix),) = found("L21b", IDLE)
    assert (where, text) == ("priority-fencing-delay", "10s waits for nothing: no resource has a priority")
    assert fix == "crm resource meta db set priority 10"
    weighed = [*PAIR, primitive("db", "ocf:x:y", {"priority": "10"})]
    assert found("L21b", facts(*weighed, properties={"priority-fencing-delay": "10s"})) == []
    assert found("L21b", facts(*PAIR)) == []
    late = primitive("f3", "stonith:fence_x", pcmk_host_list="a", pcmk_delay_max="15s")
    ((_, text, fix),) = found("L21b", facts(*weighed, late, properties={"priority-fencing-delay": "10s"}))
    assert "cancelled by the delay of f3, which is up to 15 s" in text
    assert fix == "crm configure property priority-fencing-delay=30s"


def test_two_nodes_that_trust_their_watchdogs():
    watchdog = {"stonith-watchdog-timeout": "10"}
    ((where, text, _),) = found("L20", facts(properties=watchdog, corosync=conf()))
    assert where == "stonith-watchdog-timeout"
    assert "two nodes without a quorum device trust that a lost node's watchdog" in text
    assert found("L20", facts(properties=watchdog, corosync=conf("", device=device()))) == []
    assert found("L20", facts(properties=watchdog, corosync=conf("", nodes="abc"))) == []
    assert (
        found("L20", facts(primitive("s", "stonith:fence_sbd", devices="/dev/x"), properties=watchdog, corosync=conf()))
        == []
    )
    assert found("L20", facts(properties={"stonith-watchdog-timeout": "0"}, corosync=conf())) == []


@pytest.mark.parametrize(
    ("timeout", "file", "flagged"),
    [
        ("10s", "SBD_WATCHDOG_TIMEOUT=10\n", True),
        ("10s", "# nothing\n", False),
        ("9s", "", True),
        ("20s", 'SBD_WATCHDOG_TIMEOUT="10" # s\n', False),
        ("-1", "SBD_WATCHDOG_TIMEOUT=10\n", False),
        ("10s", "SBD_WATCHDOG_TIMEOUT=10\nSBD_DEVICE=/dev/x\n", False),
    ],
)
def test_the_watchdogs_own_time(tmp_path, timeout, file, flagged):
    put(tmp_path, "/etc/default/sbd", file)
    assert bool(found("L20b", facts(properties={"stonith-watchdog-timeout": timeout}, node=tmp_path))) is flagged


def test_a_fence_device_by_its_agents_own_words(monkeypatch):
    known = fence_agents.parse("fence_toy", METADATA)
    monkeypatch.setattr(fence_agents, "metadata", lambda agent: known if agent == "fence_toy" else None)
    wrong = primitive("f;1", "stonith:fence_toy", ip="x", usernam="u", lanplus="perhaps", pcmk_host_list="a")
    assert found("L11b", facts(wrong)) == [
        (
            "f;1",
            "usernam is unknown: fence_toy has no such parameter and would ignore it; did you mean username?",
            "crm resource param 'f;1' set username <VALUE> && crm resource param 'f;1' delete usernam",
        ),
        (
            "f;1",
            "lanplus is no value that fence_toy takes: it wants 1 or 0",
            "crm resource param 'f;1' set lanplus <VALUE>",
        ),
    ]
    old = facts(primitive("f1", "stonith:fence_toy", ipaddr="x", pcmk_host_list="a"))
    assert found("L11c", old) == [
        (
            "f1",
            "ipaddr is deprecated; fence_toy calls it ip now",
            "crm resource param f1 set ip <VALUE> && crm resource param f1 delete ipaddr",
        )
    ]
    assert found("L11b", old) == []
    assert found("L11b", facts(primitive("f1", "stonith:fence_toy", ip="x", pcmk_host_list="a"))) == []
    assert found("L11b", facts(primitive("f1", "stonith:fence_other", nonsense="x"))) == []
