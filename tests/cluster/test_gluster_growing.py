"""Two nodes become four while their volumes are in use: nothing is restarted, one volume grows, the other gets an arbiter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hafailover.agents.ocf import DEGRADED
from hafailover.vagrant.lab import Lab
from labs import reason, shell, until
from volumes import bare, events, give, mounted, well, whole

NAME = "glustergrow"
PAIR = ["g1", "g2"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with bare(NAME, 4) as made:
        yield made


def volumes(second: int | str) -> dict[str, object]:
    return {"large": {"replica": 2, "mount": "/srv/large"}, "safe": {"replica": second, "mount": "/srv/safe"}}


def served(lab: Lab) -> dict[str, str]:
    """The bricks and mounts of the first nodes."""
    script = "pgrep -x glusterfsd; grep -E ' /srv/(large|safe) ' /proc/self/mountinfo"
    return {node: shell(lab, node, script) for node in PAIR}


def bricks(lab: Lab, volume: str) -> str:
    return shell(lab, "g1", f"gluster volume info {volume} | grep -E '^Number|^Brick[0-9]'")


def test_two_nodes_become_four(lab: Lab) -> None:
    give(lab, {"on": PAIR, "volumes": volumes(2)})
    well(lab, PAIR, "/srv/safe")
    shell(lab, "g1", "for n in $(seq 20); do echo $n >/srv/large/$n; echo $n >/srv/safe/$n; done")
    before = served(lab)
    give(lab, {"on": [*PAIR, "g3", "g4"], "volumes": volumes("arbiter")})
    until("the one grows", lambda: "2 x 2 = 4" in bricks(lab, "large"))
    until("the other has an arbiter", lambda: "1 x (2 + 1) = 3" in bricks(lab, "safe"))
    assert "10.83.0.3:/srv/gluster/safe/brick" in bricks(lab, "safe")
    assert served(lab) == before, "nothing that served or was mounted has ended"
    said = "2 more nodes would complete"
    until("g4 says why it has no brick", lambda: said in reason(lab, "g1", "g4", "files-safe", DEGRADED))
    until("it is mounted on the third", lambda: mounted(lab, "g3", "/srv/safe"))
    for volume in ("large", "safe"):
        until(f"{volume} is whole", lambda volume=volume: whole(lab, "g1", volume))
        assert shell(lab, "g3", f"cat /srv/{volume}/* | sort -n | tail -1") == "20"
    grown = [one for node in lab.data_nodes for one in events(lab, node, "grown")]
    assert sorted(grown) == ["g3 has bricks of safe now", "g3, g4 has bricks of large now"]
