"""hafailover lint: its rules, what it prints, its exit codes."""

from __future__ import annotations

import json

import pytest
from hafailover.crm import firewall, lint, local, topology
from hafailover.crm.commands.lint import command
from hafailover.crm.lint import Facts, Finding, Found
from hafailover.crm.lint.nftables import Ruleset
from hafailover.crm.lint.node import Listener, NodeFacts
from topologies import BASE, EXAMPLES, changed, invoke, parse, services
from topologies import CONTROLLERS as STACK
from topologies import CONTROLLERS_OPEN as OPEN

NODE, LINK, PEER = "controller01-dev", "192.168.60.101", "192.168.60.102"


def base(policy="drop", family="inet"):
    return {"chain": {"family": family, "table": "t", "name": "c", "type": "filter", "hook": "input", "policy": policy}}


def accept(protocol, port, *matches, verdict="accept"):
    dport = {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": "dport"}}, "right": port}}
    return {
        "rule": {"family": "inet", "table": "t", "chain": "c", "handle": 9, "expr": [*matches, dport, {verdict: None}]}
    }


def accepting(*leave_out):
    """Rules that accept everything that is needed, except for some ports."""
    found = []
    for name in OPEN:
        protocol, port = name.split()
        low, _, high = port.partition("-")
        if name not in leave_out:
            found.append(accept(protocol, {"range": [int(low), int(high)]} if high else int(low)))
    return found


ALL = (
    [Listener("udp", LINK, 5405), Listener("udp", "192.168.62.101", 5406), Listener("tcp", "0.0.0.0", 3306)]
    + [Listener("tcp", "::", port) for port in (4444, 5672, 4369, 25672)]
    + [Listener("tcp", LINK, 11211)]
)


def judged(*rules, listeners=None, fragment=None, why=""):
    """The findings on a node of the OpenStack topology: rule → texts."""
    wanted = topology.load(STACK)
    ruleset = None if why else Ruleset({"nftables": list(rules)})
    mine = firewall.fragment(wanted, NODE).encode() if fragment is None else fragment
    interfaces = {LINK: "eth0", "192.168.62.101": "eth1"}
    facts = NodeFacts(NODE, ruleset, why, tuple(ALL if listeners is None else listeners), interfaces, mine)
    found = {}
    for one in lint.check(Facts(wanted, facts)):
        found.setdefault(one.rule, []).append(one.text)
    return found


TWICE = services("  mq: {type: rabbitmq}\n  cache: {type: memcached, port: 25672, clients: [10.77.0.0/24]}\n")


# -- rules about a topology ------------------------------------------------------------------------------------------------------


def found(text):
    return [(one.rule, one.where, one.text) for one in lint.check(Facts(parse(text)))]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_examples_are_clean(file):
    assert list(lint.check(Facts(topology.load(file)))) == []


def test_a_port_that_two_services_want():
    ((rule, where, said),) = found(TWICE)
    assert (rule, where) == ("port-shared", "services.cache")
    assert said == "tcp 25672 (cache: memcached) is also tcp 25672 (mq: between brokers), on db1"
    assert found(services("  cache: {type: memcached, port: 5405, clients: [10.77.0.0/24]}\n")) == [], (
        "one is TCP, the other UDP"
    )
    taken = services("  mq: {type: rabbitmq}\n  cache: {type: memcached, port: 35680, clients: [10.77.0.9]}\n")
    assert [one[0] for one in found(taken)] == ["port-shared"], "of a range"


def test_an_option_that_opens_another_port():
    text = changed(
        ("{type: mariadb}", "{type: mariadb, options: {extra_port: 3310, report_port: 0, max_connections: 10}}")
    )
    assert found(text) == [
        ("port-unlisted", "services.db.options.extra_port", "port 3310 is in no rule of /etc/hafailover/firewall.nft")
    ]
    listeners = "listeners.tcp.local: '127.0.0.1:5680', listeners.ssl.default: 5671"
    assert [one[1] for one in found(services(f"  mq: {{type: rabbitmq, options: {{{listeners}}}}}\n"))] == [
        "services.mq.options.listeners.tcp.local"
    ]


def test_a_range_of_ports():
    text = (
        STACK.with_name("gluster-volume.yml").read_text()
        + "  cache: {type: memcached, port: 50000, clients: [10.77.0.9]}\n"
    )
    assert found(text) == [
        (
            "port-shared",
            "services.cache",
            "tcp 50000 (cache: memcached) is also tcp 49152-60999 (files: GlusterFS bricks), on files1",
        ),
    ]


def test_a_cache_that_anybody_may_read_and_write():
    ((rule, where, said),) = found(services("  cache: {type: memcached}\n"))
    assert (rule, where) == ("cache-open", "services.cache.clients")
    assert said == "anybody may read and write the cache on tcp 11211: none are named"


def test_a_mount_that_is_called_back():
    mount = "  mnt: {{type: nfs-mount, server: 192.0.2.1, to: {{x: /mnt/x}}, fstype: nfs{}}}\n"
    assert [one[:2] for one in found(services(mount.format("")))] == [("nfs3-callback", "services.mnt")]
    assert found(services(mount.format(", options: 'vers=4.2'"))) == []
    assert [one[0] for one in found(services(mount.format(", options: 'vers=3'")))] == ["nfs3-callback"]


# -- rules about a node ----------------------------------------------------------------------------------------------------------


def test_a_node_without_a_firewall_is_clean():
    assert judged() == {}
    assert judged(base("accept")) == {}


def test_a_firewall_that_lets_in_what_is_needed_is_clean():
    assert judged(base(), *accepting()) == {}


@pytest.mark.parametrize("port", OPEN)
def test_each_port_that_is_dropped_is_named(port):
    (said,) = judged(base(), *accepting(port))["firewall-drops"]
    assert said.startswith(port)
    assert "is dropped by the policy of chain c of table inet t" in said


def test_a_rule_that_drops_is_named_by_its_handle():
    (said,) = judged(accept("tcp", 25672, verdict="drop"), base("accept"))["firewall-drops"]
    assert said == f"tcp 25672 (mq: between brokers) from {PEER} is dropped by rule 9 of chain c of table inet t"


def test_clients_may_be_limited_and_nodes_may_not():
    friends = {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "203.0.113.7"}}
    only = [accept("tcp", 3306, friends), accept("tcp", 25672, friends)]
    said = judged(base(), *only, *accepting("tcp 3306", "tcp 25672"))
    assert [text[:9] for text in said["firewall-drops"]] == ["tcp 25672"]


def test_clients_may_come_to_the_virtual_address_alone():
    address = {
        "match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "192.168.60.100"}
    }
    assert judged(base(), accept("tcp", 3306, address), *accepting("tcp 3306")) == {}


def test_what_is_not_understood_is_said_once_for_all_ports():
    mark = {"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": 1}}
    rules = [accept("tcp", port, mark) for port in (5672, 11211)]
    said = judged(base(), *rules, *accepting("tcp 5672", "tcp 11211"))
    assert said == {
        "firewall-unclear": [
            "rule 9 of chain c of table inet t is not understood here, and decides about tcp 5672, tcp 11211"
        ]
    }


def test_a_firewall_that_cannot_be_seen_is_said():
    assert judged(why="nft is not installed here") == {
        "firewall-unclear": ["what a firewall drops cannot be told: nft is not installed here"]
    }


def test_a_fragment_that_is_old_or_missing():
    assert judged(fragment=b"old") == {"firewall-file": ["/etc/hafailover/firewall.nft is another one"]}


def test_what_does_not_listen_or_on_the_loopback_alone():
    said = judged(listeners=[one for one in ALL if one.port != 25672])
    assert said == {"port-silent": ["nothing listens on tcp 25672 (mq: between brokers)"]}
    loopback = [one for one in ALL if one.port != 11211] + [Listener("tcp", "127.0.0.1", 11211)]
    assert judged(listeners=loopback) == {"port-loopback": ["tcp 11211 (cache: memcached) listens on 127.0.0.1 alone"]}
    assert judged(listeners=[*ALL, Listener("tcp", "127.0.0.1", 11211)]) == {}


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_a_cache_that_listens_on_every_address(address):
    wide = [*ALL[:-1], Listener("tcp", address, 11211)]
    assert judged(listeners=wide) == {
        "cache-wide": [f"tcp 11211 (cache: memcached) listens on {address}, every address"]
    }


def on_a_brick_node(*listeners, rules=()):
    """What lint finds on a node of a GlusterFS volume: rule → texts."""
    wanted = topology.load(STACK.with_name("gluster-volume.yml"))
    node = next(iter(wanted.nodes))
    cluster = [Listener("udp", link, 5405 + at) for at, link in enumerate(wanted.nodes[node].links)]
    facts = NodeFacts(
        node,
        Ruleset({"nftables": list(rules)}),
        "",
        (*cluster, *listeners),
        {},
        firewall.fragment(wanted, node).encode(),
    )
    found = {}
    for one in lint.check(Facts(wanted, facts)):
        found.setdefault(one.rule, []).append(one.text)
    return found


def test_of_a_range_one_port_has_somebody_who_listens():
    daemon, brick = Listener("tcp", "0.0.0.0", 24007), Listener("tcp", "0.0.0.0", 54148)
    assert on_a_brick_node(daemon, brick) == {}
    assert on_a_brick_node(daemon, Listener("tcp", "0.0.0.0", 61000)) == {
        "port-silent": ["nothing listens on tcp 49152-60999 (files: GlusterFS bricks)"]
    }
    assert on_a_brick_node(daemon, Listener("tcp", "127.0.0.1", 50000)) == {
        "port-loopback": ["tcp 49152-60999 (files: GlusterFS bricks) listens on 127.0.0.1 alone"]
    }


@pytest.mark.parametrize("opened", [[49152, 51000], [50000, 60999]])
def test_a_range_that_is_open_in_part_is_said(opened):
    def ports(low, high):
        return accept("tcp", {"range": [low, high]})

    udp = accept("udp", {"range": [5405, 5406]})
    listening = (Listener("tcp", "0.0.0.0", 24007), Listener("tcp", "0.0.0.0", 50500))
    assert on_a_brick_node(*listening, rules=(base(), udp, ports(24007, 24007), ports(49152, 60999))) == {}
    said = on_a_brick_node(*listening, rules=(base(), udp, ports(24007, 24007), ports(*opened)))
    assert [text.partition(" from ")[0] for text in said["firewall-drops"]] == [
        "tcp 49152-60999 (files: GlusterFS bricks)"
    ]


def test_the_quorum_devices_host_lets_in_votes_of_the_nodes_alone():
    found = firewall.device_fragment(parse())
    (rule,) = (line.strip() for line in found.splitlines() if " dport " in line)
    assert rule == 'ip saddr @hafailover_nodes tcp dport 5403 accept comment "corosync-qnetd: votes of the cluster c1"'
    assert "10.77.1.12" in found
    assert '#         include "/etc/hafailover/firewall-c1.nft"' in found
    other = parse(changed((", tls: off", ", tls: off, port: 5500")))
    assert "tcp dport 5500" in firewall.device_fragment(other)
    assert firewall.device_openings(topology.load(STACK.with_name("gluster-volume.yml"))) == []


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("::1234", False),
        ("192.168.60.101", False),
        ("fe80::1%eth0", False),
        ("::ffff:192.0.2.1", False),
    ],
)
def test_where_only_this_machine_reaches_it(address, loopback):
    assert Listener("tcp", address, 1).loopback == loopback


def test_what_may_be_on_the_other_node_need_not_listen():
    wanted = topology.load(STACK.with_name("stackstorm-pair.yml"))
    node = next(iter(wanted.nodes))
    facts = NodeFacts(node, Ruleset({}), "", (), {}, firewall.fragment(wanted, node).encode())
    said = [one.text for one in lint.check(Facts(wanted, facts)) if one.rule == "port-silent"]
    assert any("tcp 5672" in text for text in said)
    assert not any("2049" in text or "443" in text for text in said)


# -- the command -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "t.yml"
    made.write_text(BASE)
    return made


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch):
    monkeypatch.setattr(local, "hostname", lambda: "somewhere")


def test_every_rule_has_an_id_a_sentence_and_a_remedy():
    rules = lint.known()
    assert len({one.id for one in rules}) == len(rules) > 5
    for one in rules:
        assert one.summary.endswith(".") and one.remedy and one.severity in lint.SEVERITIES
        assert one.id == one.id.lower()
        assert len(one.why) > 20 and not one.why.endswith("."), "one sentence, which others put a full stop behind"
    assert len({one.code for one in rules}) == len(rules)


def test_two_rules_of_one_id_or_a_severity_of_its_own_are_refused():
    with pytest.raises(ValueError, match="two rules port-shared"):
        lint.rule("port-shared", lint.ERROR, remedy="x", code="L98")(lambda facts: [Found("x", "y")])
    with pytest.raises(ValueError, match="unknown severity fatal"):
        lint.rule("x", "fatal", remedy="x", code="L98")


def test_clean_is_0(file):
    done = invoke(command, file)
    assert done.exit_code == 0
    assert done.stdout.endswith(f"this machine is none of the nodes\nnothing found in {file}\n")


def test_an_error_is_1_and_a_warning_is_not(file):
    file.write_text(TWICE)
    done = invoke(command, file)
    assert done.exit_code == 1
    assert done.stdout.startswith(f"1 ERROR:\n\n  L42 port-shared: services.cache  ({file}:12)\n      tcp 25672")
    assert "\n      Do:  give one of them another port in the topology\n" in done.stdout
    assert done.stdout.endswith(f"\n1 error in {file}\n")
    file.write_text(changed(("{type: mariadb}", "{type: mariadb, options: {extra_port: 3310}}")))
    done = invoke(command, file)
    assert done.exit_code == 0
    assert done.stdout.endswith(f"1 warning in {file}\n")
    assert invoke(command, file, "--fail-on", "warning").exit_code == 1


def test_json_has_the_rules_that_looked(file):
    file.write_text(TWICE)
    done = invoke(command, file, "-o", "json")
    found = json.loads(done.stdout)
    assert done.exit_code == 1
    assert found["node"] is None
    assert "port-shared" in found["rules"] and "firewall-drops" not in found["rules"]
    ((finding),) = found["findings"]
    assert {"rule", "code", "severity", "where", "text", "why", "remedy", "fix"} <= set(finding)


def test_wrong_usage_is_refused(file):
    assert "say what to look at" in str(invoke(command).exception)
    wrong = invoke(command, file, "--node", "db9")
    assert getattr(wrong.exception, "exit_code", None) == 2
    assert "unknown node" in str(wrong.exception)
    file.write_text("version: 1\n")
    assert getattr(invoke(command, file).exception, "exit_code", None) == 2


def test_a_node_is_looked_at_by_root_alone(file, monkeypatch):
    monkeypatch.setattr(local, "hostname", lambda: "db1.example")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    done = invoke(command, file)
    assert done.exit_code == 0
    assert "only root can see, and this is not root (on db1)" in " ".join(done.stdout.split())
    assert "only root" in str(invoke(command, file, "--node", "db1").exception)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    facts = NodeFacts("db1", Ruleset({}), "", (), {}, b"")
    monkeypatch.setattr("hafailover.crm.lint.node.gather", lambda name: facts)
    done = invoke(command, file)
    assert f"in {file} and on db1" in done.stdout
    assert "port-silent" in done.stdout and "firewall-file" in done.stdout


def test_the_rules_are_listed():
    assert "firewall-drops" in invoke(command, "--rules").stdout
    listed = json.loads(invoke(command, "--rules", "-o", "json").stdout)
    assert {"id", "code", "severity", "summary", "why", "remedy", "needs", "on_node"} == set(listed[0])


def test_this_machine_can_be_looked_at(monkeypatch):
    from hafailover.crm.lint import node

    monkeypatch.setattr(node, "_LEGACY", ("/nonexistent",))
    seen = node.gather("here")
    assert seen.ruleset is not None or seen.why
    assert seen.interfaces["127.0.0.1"] == "lo"
    monkeypatch.setattr(node, "_LEGACY", ("/proc/self/status",))
    assert "the old iptables" in node.gather("here").why


def test_a_finding_is_complete():
    assert Finding("a", "error", "b", "c", "d").as_json() == {
        "rule": "a", "severity": "error", "where": "b", "text": "c", "remedy": "d", "code": "", "why": "", "fix": "",
    }  # fmt: skip
