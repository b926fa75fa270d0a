"""Two copies that are written one after the other: the one that is behind waits for the other, and only a person may have it go on alone.

Then files contradict each other, which is said, and the person chooses again.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hafailover.vagrant.lab import Lab
from labs import reason, shell, until
from volumes import MOUNT, VOLUME, bare, events, forms, mounted, same_everywhere, standby, well, whole

NAME = "glusterpair"
# g2 may have taken writes without it, or is known to have: it depends on whether g2 came to write that down.
WAITS = "; if lost, allow alone"
MARK = "/srv/gluster/content/.hafailover-brick-ahead"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with bare(NAME, 2) as made:
        yield made


def ahead(lab: Lab, node: str) -> bool:
    return lab.exec(node, ["test", "-e", MARK]).returncode == 0


def test_two_nodes_come_one_after_the_other(lab: Lab) -> None:
    forms(lab, 2)


def test_a_copy_that_is_behind_waits_for_the_other(lab: Lab) -> None:
    """Also when it had marked itself as the one that serves alone, a moment before the other one did, too."""
    shell(lab, "g1", f"echo both >{MOUNT}/both; echo old >{MOUNT}/changed")
    lab.power_off("g1", hold=True)
    shell(lab, "g2", f"echo new >{MOUNT}/changed; echo alone >{MOUNT}/alone; sync -f {MOUNT}/alone")
    until("g2 is marked as the copy that went on", lambda: ahead(lab, "g2"))
    lab.power_off("g2", hold=True)
    lab.power_on("g1")
    lab.await_boot("g1")
    until("g1 says for whom it waits", lambda: WAITS in reason(lab, "g1", "g1", VOLUME))
    assert lab.exec("g1", ["pgrep", "-x", "glusterfsd"]).returncode == 1, "its brick serves nobody"
    assert not mounted(lab, "g1")
    lab.power_on("g2")
    lab.await_boot("g2")
    well(lab)
    until("all is healed", lambda: whole(lab, "g2"))
    until("nobody is ahead any more", lambda: not ahead(lab, "g1") and not ahead(lab, "g2"))
    assert shell(lab, "g1", f"cat {MOUNT}/changed {MOUNT}/alone") == "new\nalone"
    same_everywhere(lab)
    assert "split-brain: 0" in shell(lab, "g1", "gluster volume heal content info split-brain")
    assert not events(lab, "g1", "alone")


def test_a_copy_that_a_person_lets_go_on_alone_and_the_split_brain_that_follows(lab: Lab) -> None:
    standby(lab, "g1", True)
    shell(lab, "g2", f"echo theirs >{MOUNT}/changed; sync -f {MOUNT}/changed")
    until("g2 is marked as the copy that went on", lambda: ahead(lab, "g2"))
    standby(lab, "g2", True)
    standby(lab, "g1", False)
    until("g1 says for whom it waits", lambda: WAITS in reason(lab, "g1", "g1", VOLUME))
    shell(lab, "g1", "crm_attribute -N g1 -l reboot -n files-content-allow -v alone")
    until("g1 serves", lambda: mounted(lab, "g1"))
    assert len(events(lab, "g1", "alone")) == 1
    shell(lab, "g1", f"echo ours >{MOUNT}/changed; sync -f {MOUNT}/changed")
    standby(lab, "g2", False)
    until("it is said", lambda: "split-brain: " in reason(lab, "g1", "g1", VOLUME) + reason(lab, "g1", "g2", VOLUME))
    assert events(lab, "g1", "split-brain") + events(lab, "g2", "split-brain")
    # g1 may have it in its cache.
    until("it cannot be read", lambda: "Input/output error" in lab.exec("g2", ["cat", f"{MOUNT}/changed"]).stderr)
    assert shell(lab, "g1", f"cat {MOUNT}/both") == "both", "other files are not concerned"
    # Not latest-mtime: the times of a file may have been healed already, and are equal then ("No difference in mtime").
    ours = shell(lab, "g1", "gluster volume info content | sed -n 's/^Brick1: //p'")
    shell(lab, "g1", f"gluster volume heal content split-brain source-brick {ours} /changed")
    well(lab)
    until("all is healed", lambda: whole(lab, "g1"))
    assert shell(lab, "g2", f"cat {MOUNT}/changed") == "ours"
    same_everywhere(lab)
