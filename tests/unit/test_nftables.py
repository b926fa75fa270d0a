"""What a real ruleset does to a new connection: listings of nft 1.0.6, made from many.nft and by iptables-nft 1.8.9."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hafailover.crm.lint.nftables import ACCEPT, DROP, Outcome, Packet, Ruleset

DATA = Path(__file__).parent / "data" / "firewall"
NODE, VIP, PEER, STRANGER = "192.168.60.101", "192.168.60.100", "192.168.60.102", "203.0.113.7"
BOTH = frozenset({ACCEPT, DROP})


def ruleset(name: str) -> Ruleset:
    return Ruleset(json.loads((DATA / f"{name}.json").read_text()))


def outcome(
    port: int,
    source: str | None = PEER,
    *,
    protocol: str = "tcp",
    to: str = NODE,
    interface: str | None = "eth0",
    of: str = "many",
) -> Outcome:
    return ruleset(of).outcome(Packet(protocol, port, source, to, interface))


def test_nothing_filters_without_rules() -> None:
    assert Ruleset({}).outcome(Packet("tcp", 1, None, NODE, None)) == Outcome(frozenset({ACCEPT}))


@pytest.mark.parametrize(
    ("port", "more", "possible"),
    [
        (3306, {}, {ACCEPT}),  # named sets, a network and a port
        (3306, {"source": STRANGER}, {DROP}),
        (3306, {"source": None}, BOTH),  # it depends on who asks
        (5500, {}, {ACCEPT}),  # a range in a set
        (5001, {}, {DROP}),  # accepted here, dropped by an earlier chain
        (5405, {"protocol": "udp"}, {ACCEPT}),
        (5405, {"protocol": "udp", "source": STRANGER}, {DROP}),
        (5407, {"protocol": "udp"}, {DROP}),
        (4369, {}, {ACCEPT}),  # an element with a counter
        (11211, {}, {ACCEPT}),  # ct state new, counter, log
        (22, {"source": STRANGER}, BOTH),  # a limit
        (25672, {}, {ACCEPT}),  # tcp flags syn
        (25673, {}, {ACCEPT}),  # of a mask
        (4444, {}, {ACCEPT}),  # th dport
        (80, {}, {DROP}),  # for the virtual address alone
        (80, {"to": VIP}, {ACCEPT}),
        (8080, {}, {ACCEPT}),
        (8080, {"interface": "eth1"}, {DROP}),
        (8080, {"interface": None}, BOTH),
        (3306, {"interface": "eth9"}, {DROP}),
        (8081, {}, {DROP}),
        (9101, {}, {ACCEPT}),  # verdict maps, written there and named
        (9102, {}, {DROP}),
        (9103, {}, {ACCEPT}),
        (9104, {}, {ACCEPT}),  # a jump out of a map
        (60001, {}, {ACCEPT}),
        (2049, {}, {DROP}),  # return: the caller rejects it
        (2224, {}, {ACCEPT}),
        (53, {}, {ACCEPT}),  # goto
        (54, {}, {DROP}),
        (1000, {}, {DROP}),
        (1000, {"source": "10.1.1.1"}, {DROP}),
        (3306, {"to": "fd00::11", "source": "fd00::12"}, {DROP}),
        (9104, {"to": "fd00::11", "source": "fd00::12"}, {ACCEPT}),
        (2224, {"to": "fd00::11", "source": "fd00::12"}, {DROP}),
    ],
)
def test_what_becomes_of_it(port: int, more: dict[str, str], possible: set[str]) -> None:
    assert outcome(port, **more).possible == possible


def test_who_drops_is_named_as_nft_lists_it() -> None:
    listing = json.loads((DATA / "many.json").read_text())["nftables"]
    handles = {json.dumps(entry["rule"]["expr"]): entry["rule"]["handle"] for entry in listing if "rule" in entry}
    early = next(handle for expr, handle in handles.items() if "5001" in expr)
    assert outcome(5001).dropped_by == f"rule {early} of chain pre of table ip early"
    mark = next(handle for expr, handle in handles.items() if '"mark"' in expr)
    policy = Ruleset({"nftables": [entry for entry in listing if "rule" not in entry]})
    found = policy.outcome(Packet("tcp", 3306, None, NODE, None))
    assert found.possible == {DROP}
    assert found.dropped_by == "the policy of chain input of table inet filter"
    assert f"rule {mark} of chain input of table inet filter" in outcome(8081, STRANGER).unclear


def test_only_what_is_not_understood_is_unclear() -> None:
    assert outcome(3306, None).unclear == (), "who asks is not a riddle"
    assert outcome(22, STRANGER).unclear
    assert outcome(3306).unclear == ()


@pytest.mark.parametrize(
    ("op", "mask", "right", "matches"),
    [
        ("==", ["fin", "syn"], ["fin", "syn"], False),
        ("!=", ["fin", "syn", "rst", "ack"], "syn", False),
        ("==", ["fin", "syn", "rst", "ack"], "syn", True),
        ("==", "syn", "syn", True),
        ("==", ["fin", "rst"], "syn", False),
        ("!", None, ["fin", "syn", "rst", "psh", "ack", "urg"], False),
        ("!", None, ["fin", "rst"], True),
        ("in", None, "syn", True),
        ("in", None, ["fin", "rst"], False),
        ("!=", None, "syn", False),
        ("==", None, {"set": ["ack", "syn"]}, True),
    ],
)
def test_flags_of_the_first_packet(op: str, mask: object, right: object, matches: bool) -> None:
    flags: dict[str, object] = {"payload": {"protocol": "tcp", "field": "flags"}}
    left = flags if mask is None else {"&": [flags, mask]}
    base = {"family": "inet", "table": "t", "name": "c", "type": "filter", "hook": "input", "policy": "accept"}
    match = {"match": {"op": op, "left": left, "right": right}}
    drop = {"family": "inet", "table": "t", "chain": "c", "handle": 2, "expr": [match, {"drop": None}]}
    rules = Ruleset({"nftables": [{"chain": base}, {"rule": drop}]})
    assert rules.outcome(Packet("tcp", 1, PEER, NODE, "eth0")).possible == {DROP if matches else ACCEPT}
    assert rules.outcome(Packet("udp", 1, PEER, NODE, "eth0")).possible == {ACCEPT}


def test_what_was_translated_is_unclear_only_where_somebody_translates() -> None:
    status = {"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}
    base = {"family": "inet", "table": "t", "name": "c", "type": "filter", "hook": "input", "policy": "drop"}
    accept = {"family": "inet", "table": "t", "chain": "c", "handle": 2, "expr": [status, {"accept": None}]}
    redirect = {"family": "inet", "table": "t", "chain": "n", "handle": 3, "expr": [{"redirect": {"port": 3306}}]}
    packet = Packet("tcp", 1, PEER, NODE, "eth0")
    assert Ruleset({"nftables": [{"chain": base}, {"rule": accept}]}).outcome(packet).possible == {DROP}
    assert (
        Ruleset({"nftables": [{"chain": base}, {"rule": accept}, {"rule": redirect}]}).outcome(packet).possible == BOTH
    )


def test_rules_of_iptables_are_followed_as_far_as_nft_tells_them() -> None:
    # The chain drops what is invalid by an extension that nft does not describe, so nothing is certain.
    accepted = outcome(3306, of="iptables-nft")
    assert accepted.possible == BOTH
    assert accepted.unclear == tuple(f"rule {number} of chain INPUT of table ip filter" for number in (4, 5, 6))
    assert "rule 13 of chain INP of table ip filter" in outcome(11211, of="iptables-nft").unclear
    assert outcome(3306, of="iptables-nft", to="fd00::11", source="fd00::12").possible == {ACCEPT}, "no table of ip6"


@pytest.mark.parametrize(
    ("statement", "possible"),
    [
        ({"queue": {"num": 0}}, BOTH),
        ({"xt": {"type": "target", "name": "REJECT"}}, BOTH),
        ({"xt": {"type": "match", "name": "multiport"}}, BOTH),
        ({"xt": {"type": "match", "name": "comment"}}, {DROP}),
        ({"vmap": {"key": {"meta": {"key": "mark"}}, "data": {"set": [[1, {"drop": None}]]}}}, BOTH),
        ({"vmap": {"key": {"concat": []}, "data": "@unknown"}}, BOTH),
        ({"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": 1}}, BOTH),
        ({"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": 6}}, {DROP}),
        ({"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": {"set": [1, 17]}}}, {ACCEPT}),
        ({"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "protocol"}}, "right": 6}}, {DROP}),
        ({"match": {"op": "==", "left": "something else", "right": 1}}, BOTH),
        ({"match": {"op": "^", "left": {"meta": {"key": "l4proto"}}, "right": "tcp"}}, BOTH),
        ({"match": {"op": "==", "left": {"ct": {"key": "state"}}, "right": {"|": ["new", "untracked"]}}}, BOTH),
        ({"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}, {ACCEPT}),
        ({"match": {"op": "==", "left": {"ct": {"key": "direction"}}, "right": "original"}}, {DROP}),
        ({"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "eth*"}}, {DROP}),
        ({"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "ens*"}}, {ACCEPT}),
        ({"match": {"op": "!=", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 1}}, {ACCEPT}),
    ],
)
def test_statements_that_this_machine_s_kernel_or_nft_does_not_show(statement: object, possible: set[str]) -> None:
    base = {"family": "inet", "table": "t", "name": "c", "type": "filter", "hook": "input", "policy": "accept"}
    drop = {"family": "inet", "table": "t", "chain": "c", "handle": 2, "expr": [statement, {"drop": None}]}
    rules = Ruleset({"nftables": [{"chain": base}, {"rule": drop}]})
    assert rules.outcome(Packet("tcp", 1, PEER, NODE, "eth0")).possible == possible
