"""Whether anybody can have been promoted without a witness, by the votes."""

from __future__ import annotations

import pytest
from hafailover.agents.mariadb import outage
from hafailover.agents.mariadb.outage import Votes

PRINTED = """Quorum information
------------------
Nodes:            2
Node ID:          1
Quorate:          Yes

Votequorum information
----------------------
Expected votes:   3
Highest expected: 3
Total votes:      3
Quorum:           2 {blocked}
Flags:            Quorate {flags}

Membership information
----------------------
    Nodeid      Votes    Qdevice Name
         1          1    A,V,NMW db1 (local)
         2          1    A,V,NMW db2
         0          1            Qdevice
"""


@pytest.mark.parametrize(
    ("flags", "shrinking"),
    [("Qdevice", False), ("Qdevice WaitForAll", False), ("2Node WaitForAll", True), ("AllowDownscale", True)],
)
def test_what_corosync_prints(flags: str, shrinking: bool) -> None:
    assert outage.read(PRINTED.format(flags=flags, blocked="")) == Votes(3, 2, (1, 1), shrinking)
    assert outage.read(PRINTED.format(flags=flags, blocked="Activity blocked")) == Votes(3, 2, (1, 1), shrinking)


@pytest.mark.parametrize("printed", ["", "Cannot initialize CMAP service", "Expected votes:   3", "Quorum: 2\n1 1 db1"])
def test_too_little_is_nothing(printed: str) -> None:
    assert outage.read(printed) is None
    assert not outage.witnessed(None, 2)


@pytest.mark.parametrize(
    ("votes", "joined", "proved"),
    [
        # Two nodes and a quorum device, the peer away: it and the device are a quorum.
        (Votes(3, 2, (1,), False), 1, False),
        # Three nodes, one away: it alone is none.
        (Votes(3, 2, (1, 1), False), 2, True),
        # The same, but one of the two has not told yet what it knows.
        (Votes(3, 2, (1, 1), False), 1, False),
        # Three nodes and a device with two votes (last man standing), one away: it and the device are a quorum.
        (Votes(5, 3, (1, 1), False), 2, False),
        # Two data nodes and two witnesses, one data node away.
        (Votes(4, 3, (1, 1, 1), False), 3, True),
        # Both halves of a pair have quorum.
        (Votes(2, 1, (1,), True), 1, False),
        (Votes(3, 2, (1, 1), True), 2, False),
    ],
)
def test_who_is_away_cannot_have_had_quorum(votes: Votes, joined: int, proved: bool) -> None:
    assert outage.witnessed(votes, joined) is proved
