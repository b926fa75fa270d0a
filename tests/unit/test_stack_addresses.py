"""Where an address really is: on this node's interfaces, or behind which hardware address."""

import json

import pytest
from hafailover.crm import local, stack_addresses
from hafailover.crm.stack_addresses import misplaced

LINKS = {"n1": ("10.0.0.1", "10.1.0.1"), "n2": ("10.0.0.2", "10.1.0.2"), "n3": ("10.0.0.3",)}


@pytest.fixture
def network(monkeypatch):
    """Asked as n1: ``ask(own addresses, IPv4 address → hardware address)`` says why 10.0.0.9 is not on ``node``."""
    monkeypatch.setattr(stack_addresses, "_WITHIN", 0.0)
    monkeypatch.setattr(stack_addresses, "_LOOK", 0.0)
    monkeypatch.setattr(stack_addresses, "_poke", lambda address: None)

    def ask(own, known, node="n2", ip="10.0.0.9", rc=0):
        told = [
            {"addr_info": [{"local": one.partition("/")[0], "prefixlen": int(one.partition("/")[2])} for one in own]}
        ]
        monkeypatch.setattr(stack_addresses, "_neighbours", lambda: known)
        run = lambda argv, timeout=None, input=None: local.Result(rc, json.dumps(told), "")  # noqa: E731
        return misplaced(run, ip, node, "n1", LINKS)

    return ask


HOME = ["127.0.0.1/8", "10.0.0.1/24"]
MACS = {"10.0.0.2": "02:02", "10.0.0.3": "02:03"}


def test_here(network):
    assert network([*HOME, "10.0.0.9/24"], {}, node="n1") is None
    assert network(HOME, {}, node="n1") == "Pacemaker says that 10.0.0.9 is on n1, but no interface here has it"


def test_on_another_node(network):
    assert network(HOME, {**MACS, "10.0.0.9": "02:02"}) is None
    assert network(HOME, {**MACS, "10.0.0.9": "02:03"}) == "n3 answers for 10.0.0.9, which should be on n2"
    assert network(HOME, MACS) == "nobody answers for 10.0.0.9 in the network"
    assert "n1 still has 10.0.0.9" in network([*HOME, "10.0.0.9/24"], {**MACS, "10.0.0.9": "02:02"})


def test_what_cannot_be_told_is_no_fault(network):
    assert network(HOME, {**MACS, "10.0.0.9": "aa:aa"}) is None, "another interface of that node"
    assert network(["10.5.0.1/24"], MACS) is None, "there is a router between"
    assert network(HOME, {}) is None
    assert network([*HOME, "fd00::1/64"], MACS, ip="fd00::9") is None
    assert network(HOME, MACS, rc=1) is None
