"""Whether anybody can have been promoted without a witness, by what corosync.conf says of votes."""

from __future__ import annotations

import pytest
from corosync_cmap import nodelist
from hafailover.agents.mariadb import outage
from hafailover.agents.mariadb.outage import Votes

NODES = nodelist(
    {"name": "db1", "nodeid": 1, "ring0_addr": "10.77.0.11"},
    {"name": "db2", "ring0_addr": "10.77.0.12"},
    {"quorum_votes": 1, "ring0_addr": "10.77.0.13"},
)
THREE = NODES + "quorum.provider (str) = corosync_votequorum\nquorum.two_node (u8) = 0\n"


def test_three_nodes_and_nothing_else() -> None:
    assert outage.read(THREE) == Votes(3, plain=True)


@pytest.mark.parametrize(
    "line",
    [
        "quorum.device.model (str) = net",
        "quorum.device.votes (u32) = 1",
        "quorum.two_node (u8) = 1",
        "quorum.last_man_standing (u8) = 1",
        "quorum.auto_tie_breaker (u8) = 1",
        "quorum.allow_downscale (u8) = 1",
        "quorum.expected_votes (u32) = 2",
        "nodelist.node.1.quorum_votes (u32) = 2",
    ],
)
def test_what_else_can_make_a_quorum_proves_nothing(line: str) -> None:
    votes = outage.read(THREE + line)
    assert votes == Votes(3, plain=False)
    assert not outage.witnessed(votes, 2)


@pytest.mark.parametrize(
    ("nodes", "joined", "proved"),
    [
        (2, 1, True),
        (2, 2, True),
        (3, 1, False),
        (3, 2, True),
        (4, 2, True),
        (4, 1, False),
        (5, 3, True),
        (5, 2, False),
        (3, 4, False),
    ],
)
def test_who_is_away_cannot_have_had_quorum(nodes: int, joined: int, proved: bool) -> None:
    """A pair without a device and without two_node: one node alone never has quorum, absent or not."""
    assert outage.witnessed(Votes(nodes, plain=True), joined) is proved


def test_nothing_is_known() -> None:
    assert not outage.witnessed(outage.read(""), 1)
