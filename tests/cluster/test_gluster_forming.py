"""A volume forms itself whatever the order in which its nodes come, and whoever of them dies meanwhile; what an arbiter decides.

HAFAILOVER_GLUSTER_NODES="2 3 5" names the numbers of nodes that are tried; 3 when it does not (test_gluster_pair.py has the 2).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from hafailover.crm.files import RenderedFile
from hafailover.vagrant import seed
from hafailover.vagrant.lab import Lab
from labs import shell, until
from volumes import BRICK, MOUNT, bare, events, forms, give, now, same_everywhere, standby, well, whole

NAME = "glusterform"
COUNTS = [int(word) for word in os.environ.get("HAFAILOVER_GLUSTER_NODES", "3").split()]
SECOND = "/srv/second"
# The second when the write was under way while the bricks went.
_UNCONNECTED = re.compile("Transport endpoint is not connected|I/O error|Input/output error")
# Stands before the program on the agents' path; stops for good at a command whose beginning is in the file, and says so.
_WRAPPER = """#!/bin/sh
if [ -s /root/stop-at ]; then
    case "$*" in "--mode=script $(cat /root/stop-at)"*) touch /root/stopped; sleep 600;; esac
fi
exec /usr/sbin/gluster "$@"
"""


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with bare(NAME, request.param) as made:
        yield made


@pytest.mark.parametrize("lab", COUNTS, indirect=True)
def test_nodes_come_in_any_order(lab: Lab) -> None:
    count = len(lab.data_nodes)
    forms(lab, "arbiter" if count == 3 else min(count, 3))


@pytest.mark.parametrize("lab", [3], indirect=True)
def test_an_arbiter_has_names_alone_and_decides_who_writes(lab: Lab) -> None:
    shell(lab, "g1", f"echo whole >{MOUNT}/whole; sync -f {MOUNT}/whole")
    assert "1 x (2 + 1) = 3" in shell(lab, "g1", "gluster volume info content")
    sizes = [shell(lab, node, f"stat -c %s {BRICK}/whole") for node in lab.data_nodes]
    assert sizes == ["6", "6", "0"], "the third one has no contents"
    standby(lab, "g1", True)
    shell(lab, "g2", f"echo more >>{MOUNT}/whole; sync -f {MOUNT}/whole")
    standby(lab, "g3", True)
    refused = lab.exec("g2", ["sh", "-c", f"echo alone >>{MOUNT}/whole"])
    assert _UNCONNECTED.search(refused.stderr), f"one of three bricks takes no writes: {refused}"
    refused = lab.exec("g2", ["cat", f"{MOUNT}/whole"])
    assert _UNCONNECTED.search(refused.stderr), f"nor does it know whether it has the last ones: {refused}"
    standby(lab, "g1", False)
    standby(lab, "g3", False)
    well(lab)
    until("all is healed", lambda: whole(lab, "g2"))
    assert shell(lab, "g1", f"cat {MOUNT}/whole") == "whole\nmore"
    same_everywhere(lab)


def stopped(lab: Lab) -> str:
    """The node that has come to where it is to stop."""
    return next(
        (node for node in lab.data_nodes if lab.exec(node, ["test", "-e", "/root/stopped"]).returncode == 0), ""
    )


@pytest.mark.parametrize("lab", [3], indirect=True)
def test_what_a_dead_maker_left_another_one_finishes(lab: Lab) -> None:
    """It dies before a volume is created, and its successor before the volume is started."""
    since = now()
    before = {node: mount(lab, node) for node in lab.data_nodes}
    for node in lab.data_nodes:
        files = [RenderedFile("/usr/local/sbin/gluster", _WRAPPER.encode(), 0o755)]
        lab.unpack(node, seed.archive(files, {}))
        shell(lab, node, "echo volume create second >/root/stop-at")
    give(lab, {"volumes": {"content": {"replica": "arbiter", "mount": MOUNT}, "second": {"mount": SECOND}}})
    first = until("a maker has stopped before it creates the volume", lambda: stopped(lab))
    # While it still stands there: once it has booted again, it would go on before anything could be said to it.
    shell(lab, first, "echo volume start second >/root/stop-at; rm /root/stopped")
    lab.power_off(first, hold=True)
    for node in lab.data_nodes:
        if node != first:
            # Another node finishes only what can be done without the missing brick: this one has to wait for it.
            shell(lab, node, "echo volume start second >/root/stop-at")
            until(
                f"{node} waits for it",
                lambda node=node: f"{first} is not there" in "".join(events(lab, node, "waiting", since)),
            )
    lab.power_on(first)
    lab.await_boot(first)
    second = until("a maker has stopped before it starts the volume", lambda: stopped(lab))
    rest = [node for node in lab.data_nodes if node != second]
    for node in lab.data_nodes:
        shell(lab, node, "rm -f /root/stop-at /root/stopped")
    lab.power_off(second, hold=True)
    until("another one starts it", lambda: [node for node in rest if events(lab, node, "started", since)])
    lab.power_on(second)
    lab.await_boot(second)
    well(lab)
    until("it is mounted on all", lambda: all(mount(lab, node, SECOND) for node in lab.data_nodes))
    for node in set(lab.data_nodes) - {first, second}:
        assert mount(lab, node) == before[node], "what was mounted stays so"
    assert [node for node in rest if events(lab, node, "claim", since)]
    assert sum(len(events(lab, node, "created", since)) for node in lab.data_nodes) == 1
    assert shell(lab, rest[0], "gluster volume list") == "content\nsecond"
    shell(lab, rest[0], f"echo formed >{SECOND}/formed")
    assert {shell(lab, node, f"cat {SECOND}/formed") for node in lab.data_nodes} == {"formed"}
    same_everywhere(lab)


def mount(lab: Lab, node: str, directory: str = MOUNT) -> str:
    """The line of the mount, which another one at the same place does not have."""
    return str(lab.exec(node, ["grep", f" {directory} ", "/proc/self/mountinfo"]).stdout)
