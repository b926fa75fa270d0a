"""From a topology's key hooks to the file that the agents read, and what is wrong with one."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hafailover.crm import promotion_hooks, yamldoc
from hafailover.crm import topology as topologies
from hafailover.crm.errors import UsageError
from mistakes import one_sentence

TOPOLOGY = """
version: 1
lab: true
cluster: {name: c1, encryption: off}
nodes:
  db1: {id: 1, links: [192.0.2.11]}
  db2: {id: 2, links: [192.0.2.12]}
quorum: {two_node: true}
vips: {vip: {ip: 192.0.2.10/24, follows: db.primary}}
services: {db: {type: mariadb}}
hooks:
"""


def load(text: str) -> topologies.Topology:
    return topologies.parse(yamldoc.parse(TOPOLOGY + text, "t.yml"))


def test_a_topology_becomes_the_file_of_the_agents():
    wanted = load("""
  pre-promote: [{name: dns, command: [/usr/local/sbin/dns, "a b"], critical: true, timeout: 2s}]
  post-promote: [{name: proxy, command: [/bin/true], critical: false, on: all}]
""")
    (file,) = promotion_hooks.files(wanted)
    data = json.loads(file.content)["services"]["db"]
    assert data["hooks"]["pre-promote"] == [
        {"name": "dns", "command": ["/usr/local/sbin/dns", "a b"], "critical": True, "timeout": 2.0, "on": "primary"}
    ]
    assert data["addresses"] == ["192.0.2.10"]
    assert (file.mode, dataclasses.asdict(wanted.hooks[1])["on"]) == (0o600, "all")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  pre-promote: [{name: a, command: [dns], critical: true}]", "must be the absolute path of a program"),
        ("  pre-promote: [{name: a, command: [/a/../b], critical: true}]", "must be the absolute path of a program"),
        ("  pre-promote: [{name: a, command: [/a]}]", "critical: is missing"),
        ("  pre-promote: [{name: a, command: /a, critical: true}]", "write a list such as"),
        ("  pre-promote: [{name: a, command: [/a], critical: true, timeout: 21s}]", "20s is the most"),
        ("  post-promote: [{name: a, command: [/a], critical: true, timeout: 2m}]", "between 100ms and 60s"),
        ("  pre-demote: []", "unknown key 'pre-demote'"),
        ("  post-demote: [{name: a, command: [/a], critical: true, service: dbb}]", "did you mean 'db'?"),
        ("  post-demote: [{name: a, command: [/a], critical: true}, {name: a, command: [/b], critical: true}]", "another post-demote hook"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_clear_sentence(text, said):
    with pytest.raises(UsageError) as caught:
        load(text)
    one_sentence(str(caught.value), said)
