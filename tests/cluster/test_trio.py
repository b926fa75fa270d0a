"""Three database nodes: one acknowledgement releases a commit, so what a promotion hears of every replica decides."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab
from labs import PATIENCE, lab_of, shell, until
from pair import UNIT, assert_same_rows, healthy, primary, recorded, rows, status, writing

NAME = "triotest"
TRIO = DEFAULT_TOPOLOGY.with_name("mariadb-trio.yml")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, TRIO) as made:
        healthy(made)
        shell(made, primary(made), "mariadb -e 'CREATE DATABASE proof; CREATE TABLE proof.rows (id INT PRIMARY KEY)'")
        yield made


def replicas(lab: Lab, first: str) -> list[str]:
    return [node for node in lab.data_nodes if node != first]


def in_sync(lab: Lab, node: str) -> set[str]:
    return set(recorded(lab, node).sync)


def chosen(lab: Lab, first: str) -> str:
    """Whom Pacemaker would promote if ``first`` was gone: of equal scores it takes either."""
    done = shell(lab, first, f"crm_simulate -L -S -d {first}")
    line = next(line for line in done.splitlines() if "Promote " in line and "-> Promoted" in line)
    return line.rpartition("-> Promoted")[2].strip(" )")


def test_the_one_that_has_received_less_is_refused_and_the_other_one_serves(lab: Lab) -> None:
    """The refused one is restarted by Pacemaker; what its life had received was said before, and still counts."""
    healthy(lab)
    first = primary(lab)
    behind = chosen(lab, first)
    ahead = next(node for node in replicas(lab, first) if node != behind)
    number = lab.data_nodes.index(behind) + 1
    shell(lab, first, f"ip route add blackhole 10.77.0.1{number}/32")  # nothing that it writes arrives there any more
    try:
        assert writing(lab, first, 1).wait(PATIENCE) == 0
        lab.power_off(first, hold=True)
        until("another one serves", lambda: recorded(lab, ahead).primary == ahead)
        assert 1 in rows(lab, ahead)
    finally:
        lab.power_on(first)
    healthy(lab)
    assert_same_rows(lab, {1})


def test_a_server_that_is_left_running_still_counts(lab: Lab) -> None:
    """Pacemaker is shut down on a replica in maintenance, to be upgraded, say: the server goes on and acknowledges."""
    healthy(lab)
    first = primary(lab)
    left, last = replicas(lab, first)
    shell(lab, first, f"crm_attribute -N {left} -n maintenance -v on; crm_resource --wait -T 60")
    shell(lab, left, f"systemctl stop pacemaker; systemctl is-active {UNIT}")
    try:
        life = recorded(lab, first).sync[last]
        lab.kill(last, UNIT)
        until("another life is in sync", lambda: recorded(lab, first).sync.get(last, life) != life)
        assert in_sync(lab, first) == {left, last}
        shell(lab, left, "systemctl start pacemaker")
        until("it is back", lambda: any(n["name"] == left and n["online"] for n in status(lab, first)["nodes"]))
        assert in_sync(lab, first) == {left, last}
    finally:
        shell(lab, left, "systemctl start pacemaker")
        shell(lab, first, f"crm_attribute -N {left} -n maintenance -D")
    healthy(lab)
