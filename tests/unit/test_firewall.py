"""The ports that services and the cluster say they need, and the fragment that opens them."""

from __future__ import annotations

import pytest
from hafailover.crm import firewall, topology
from topologies import BASE, EXAMPLES, changed, parse, services
from topologies import CONTROLLERS as STACK
from topologies import CONTROLLERS_OPEN as OPEN

NODE = "controller01-dev"


def needed(text, node="db1"):
    return [f"{one.port.protocol} {one.port.number} {one.port.who}" for one in firewall.openings(parse(text), node)]


def test_what_the_controllers_need():
    wanted = topology.load(STACK)
    for node in wanted.nodes:
        assert [f"{one.port.protocol} {one.port.number}" for one in firewall.openings(wanted, node)] == OPEN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BASE, ["udp 5405 nodes", "udp 5406 nodes", "tcp 3306 clients", "tcp 4444 nodes"]),
        (changed(("{type: mariadb}", "{type: mariadb, port: 3307}")), ["tcp 3307 clients", "tcp 4445 nodes"]),
        (changed(("{type: mariadb}", "{type: mariadb, clone_port: 5000}")), ["tcp 5000 nodes"]),
        (
            services(
                "  mq: {type: rabbitmq, port: 5673, options: {listeners.ssl.default: 5671, management.tcp.port: 15672}}\n"
            ),
            ["tcp 5673 clients", "tcp 5671 clients", "tcp 15672 clients", "tcp 4369 nodes", "tcp 25672 nodes"],
        ),
        (
            services(
                "  st2: {type: stackstorm, units: [st2api, st2auth, st2actionrunner], auth: 'http://127.0.0.1:9999'}\n"
            ),
            ["tcp 443 clients", "tcp 9101 clients", "tcp 9999 clients"],
        ),
        (services("  cache: {type: memcached, port: 11311}\n"), ["tcp 11311 clients"]),
        (
            BASE
            + "external:\n  mongodb: {uri: 'mongodb://10.77.0.11:27018,10.77.0.12:27018,x1:27017/?replicaSet=r'}\n",
            ["tcp 27018 nodes"],
        ),
    ],
)
def test_what_a_service_needs(text, expected):
    assert set(expected) <= set(needed(text))


def test_a_mount_needs_nothing_and_a_file_server_one_port():
    stack = topology.load(STACK.with_name("stackstorm-pair.yml"))
    owners = {one.owner: one.port.number for one in firewall.openings(stack, next(iter(stack.nodes)))}
    assert owners["content"] == "2049"
    assert "mnt" not in owners


def test_a_node_that_does_not_have_the_service_does_not_open_for_it():
    text = changed(
        ("{type: mariadb}", "{type: mariadb, on: [db1, db2]}"),
        ("quorum:", "  db3: {id: 3, links: [10.77.0.14, 10.77.1.14]}\nquorum:"),
        (", tls: off", ", tls: off, algorithm: lms"),
    )
    assert needed(text, "db3") == ["udp 5405 nodes", "udp 5406 nodes"]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_fragment_has_every_port_once_and_only_nodes_where_only_nodes_talk(file):
    wanted = topology.load(file)
    for node in wanted.nodes:
        text = firewall.fragment(wanted, node)
        rules = [line.strip() for line in text.splitlines() if " dport " in line]
        for opening in firewall.openings(wanted, node):
            (rule,) = (one for one in rules if f'comment "{opening.owner}: {opening.port.what}"' in one)
            assert f"{opening.port.protocol} dport {opening.port.number} accept" in rule
            assert (" saddr " in rule) == (opening.port.who == "nodes" or bool(opening.port.sources))
        assert all(address in text for address in firewall.node_addresses(wanted))


def test_clients_that_are_named_are_let_in_and_the_nodes_with_them():
    rule = next(line for line in firewall.fragment(topology.load(STACK), NODE).splitlines() if "11211" in line)
    assert (
        rule
        == '    ip saddr { 192.168.60.0/24, 192.168.62.101, 192.168.62.102 } tcp dport 11211 accept comment "cache: memcached"'
    )
    files = topology.load(STACK.with_name("stackstorm-pair.yml"))
    assert "ip saddr { 10.77.0.0/24, 10.77.1.21, 10.77.1.22 } tcp dport 2049" in firewall.fragment(files, "st2-node")
    named = changed(
        ("lease: 10s", "lease: 10s\n    clients: '@netgroup'"), text=STACK.with_name("stackstorm-pair.yml").read_text()
    )
    assert "    tcp dport 2049 accept" in firewall.fragment(parse(named), "st2-node")


def test_the_virtual_addresses_are_among_the_nodes_addresses():
    assert firewall.node_addresses(parse()) == ("10.77.0.11", "10.77.0.12", "10.77.0.100", "10.77.1.11", "10.77.1.12")


def test_both_families_have_a_set_of_their_own():
    text = BASE
    for old, new in (("10.77.1.11", "fd00::11"), ("10.77.1.12", "fd00::12")):
        text = changed((old, new), text=text)
    found = firewall.fragment(parse(text), "db1")
    assert "set hafailover_nodes6 {\n    type ipv6_addr" in found
    assert 'ip6 saddr { fd00::11, fd00::12 } udp dport 5406 accept comment "corosync: link 1 of the cluster"' in found
    assert "ip6 saddr @hafailover_nodes6 tcp dport 4444" in found
    assert "tcp 5403 of 10.77.0.13 (the quorum device)" in found
