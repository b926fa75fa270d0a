"""What the cluster's tools print, as it was seen, and what is read from it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hafailover.crm.pacemaker import Membership, Pacemaker, PacemakerError

QUORUMTOOL = """Quorum information
------------------
Date:             Sat Nov 21 12:10:59 2026
Quorum provider:  corosync_votequorum
Nodes:            2
Node ID:          1
Ring ID:          1.9
Quorate:          {quorate}

Votequorum information
----------------------
Expected votes:   3
Highest expected: 3
Total votes:      3
Quorum:           2
Flags:            Quorate Qdevice

Membership information
----------------------
    Nodeid      Votes    Qdevice Name
         1          1    A,V,NMW 10.77.0.11 (local)
         2          1    A,V,NMW 10.77.0.12
         0          1            Qdevice
"""
ALONE = QUORUMTOOL.replace("         2          1    A,V,NMW 10.77.0.12\n", "")
STATES = (
    '<xpath-query><node_state id="1" uname="db1" in_ccm="true" crmd="online" join="member" expected="member"/>'
    '<node_state id="2" uname="db2" in_ccm="false" crmd="offline" join="down" expected="down"/></xpath-query>'
)


def pacemaker(out: str, rc: int = 0) -> Pacemaker:
    result: Any = SimpleNamespace(rc=rc, out=out, err="")
    return Pacemaker(lambda argv, timeout=None, input=None: result)


def test_the_membership_is_corosync_s() -> None:
    assert pacemaker(QUORUMTOOL.format(quorate="Yes")).membership() == Membership(True, frozenset({"0", "1", "2"}))
    assert pacemaker(ALONE.format(quorate="No"), 2).membership() == Membership(False, frozenset({"0", "1"}))


@pytest.mark.parametrize("said", ["", "Cannot initialize QUORUM service\n", "Quorate:          Yes\n"])
def test_no_answer_is_an_error(said: str) -> None:
    with pytest.raises(PacemakerError, match="does not say who is a member"):
        pacemaker(said, 1).membership()


def test_a_view_has_the_ids_of_the_nodes() -> None:
    view = pacemaker(STATES).view("group", "name")
    assert (view.ids, view.joined, view.clean_down) == ({"db1": "1", "db2": "2"}, {"db1"}, {"db2"})


PROPERTY = '<nvpair id="hafailover-db-journal" name="journal" value="v=1 why=&quot; name=&quot;master-db&quot;"/>'
SCORE = '<nvpair id="status-1-master-db" name="master-db" value="{}"/>'


@pytest.mark.parametrize(
    ("out", "found"),
    [
        (f"<xpath-query>\n  {PROPERTY}\n  {SCORE.format(50)}\n</xpath-query>", ('v=1 why=" name="master-db"', 50)),
        (f"<xpath-query>{SCORE.format('-INFINITY')}{PROPERTY}</xpath-query>", ('v=1 why=" name="master-db"', -1000000)),
        (PROPERTY, ('v=1 why=" name="master-db"', None)),
        (SCORE.format("+infinity"), (None, 1000000)),
        (SCORE.format("much"), (None, None)),
        ("", (None, None)),
    ],
    ids=["both", "the other way round", "no score", "no property", "no number", "neither"],
)
def test_a_property_and_a_score_in_one_reading(out: str, found: tuple[str | None, int | None]) -> None:
    rc = 0 if out else 105
    assert pacemaker(out, rc).property_and_score("hafailover-db", "journal", "db", "db1") == found
