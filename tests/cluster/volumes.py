"""What the tests of GlusterFS volumes ask and do."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hafailover.crm.errors import DONE, INCOMPLETE
from hafailover.crm.files import RenderedFile
from hafailover.vagrant import seed
from hafailover.vagrant.lab import Lab, Options
from labs import GLUSTER, lab_of, reason, shell, until

AGENT = "/usr/lib/ocf/resource.d/hafailover"
VOLUME = "files-content"  # the resource
MOUNT = "/srv/content"
BRICK = "/srv/gluster/content/brick"
FSTYPE = "xfs" if "\txfs\n" in Path("/proc/filesystems").read_text() else "ext4"
DEVICE = "/dev/disk/by-id/gluster-content"
NODES = ["g1", "g2", "g3"]
LIST = "g1:10.82.0.1 g2:10.82.0.2 g3:10.82.0.3"
SEED = 33
_FILE = "/etc/hafailover/topology.yml"
_TRIO = """
version: 1
lab: true
cluster: {{name: {name}, encryption: off, detection: {{token: 1s}}}}
nodes:
  g1: {{id: 1, links: [10.82.0.1, 10.82.1.1]}}
  g2: {{id: 2, links: [10.82.0.2, 10.82.1.2]}}
  g3: {{id: 3, links: [10.82.0.3, 10.82.1.3]}}
services:
  files:
    type: glusterfs
    volumes:
      content: {{replica: 3, device: {device}, fstype: {fstype}, mount: {mount}}}
"""


@contextmanager
def bare(name: str, count: int) -> Iterator[Lab]:
    """A cluster of nodes that can have GlusterFS, and have nothing yet."""
    lines = [
        f"  g{number}: {{id: {number}, links: [10.83.0.{number}, 10.83.1.{number}]}}" for number in range(1, count + 1)
    ]
    device = "quorum: {device: {host: 10.83.0.99, tls: off}}\n" if count == 2 else ""
    text = (
        f"version: 1\nlab: true\ncluster: {{name: {name}, encryption: off, detection: {{token: 1s}}}}\nnodes:\n"
        + "\n".join(lines)
        + f"\n{device}services: {{}}\n"
    )
    with lab_of(name, text, Options(sets=GLUSTER, timeout=300)) as made:
        _lighten(made)
        yield made


def _lighten(lab: Lab) -> None:
    """Take geo-replication away, which nobody uses here: each start of glusterd would run that program some twenty times."""
    for node in lab.data_nodes:
        shell(lab, node, "rm /usr/lib/*/glusterfs/gsyncd")


def give(lab: Lab, service: dict[str, Any]) -> None:
    """Have this service of type glusterfs, and no other, in the topology, and apply that."""
    first = lab.data_nodes[0]
    data = yaml.safe_load(shell(lab, first, f"cat {_FILE}"))
    data["services"] = {"files": {"type": "glusterfs", **service}}
    for node in lab.data_nodes:
        lab.unpack(node, seed.archive([RenderedFile(_FILE, yaml.safe_dump(data, sort_keys=False).encode())], {}))
        shell(lab, node, f"hafailover render {_FILE} --install")
    done = lab.exec(first, ["hafailover", "apply", _FILE, "--yes", "--wait=0"], timeout=120)
    assert done.returncode in (DONE, INCOMPLETE), done.stderr


def all_standby(lab: Lab) -> None:
    """Put every node into standby: nothing starts until one is taken out."""
    for node in lab.data_nodes:
        shell(lab, node, f"crm_standby -N {node} -v on")


def forms(lab: Lab, replica: int | str) -> None:
    """Have a volume form itself while the nodes come one after the other, in an order that the number of nodes decides, and use it."""
    all_standby(lab)
    give(lab, {"volumes": {"content": {"replica": replica, "mount": MOUNT}}})
    count = len(lab.data_nodes)
    order = random.Random(SEED + count).sample(lab.data_nodes, count)
    for node, following in zip(order, order[1:]):
        standby(lab, node, False)
        until(f"{node} waits for others", lambda node=node: events(lab, node, "waiting"))
        assert f"{following} is not there" in events(lab, node, "waiting")[-1], order
    if count > 2:
        # Its monitor has been degraded for another reason before, which is the one that Pacemaker has recorded.
        until(
            "the first one says for whom it waits now",
            lambda: reason(lab, order[0], order[0], VOLUME).endswith(f": {order[-1]} is not there"),
        )
    standby(lab, order[-1], False)
    well(lab)
    assert sum(len(events(lab, node, "created")) for node in order) == 1
    for node in order:
        shell(lab, node, f"echo {node} >{MOUNT}/of-{node}")
    assert len(shell(lab, order[0], f"ls {MOUNT}").split()) == count
    same_everywhere(lab)


@contextmanager
def trio_of(name: str) -> Iterator[Lab]:
    """A lab of three nodes with a volume of three copies, each on a disk of its own."""
    text = _TRIO.format(name=name, device=DEVICE, fstype=FSTYPE, mount=MOUNT)
    with lab_of(name, text, Options(sets=GLUSTER, timeout=300)) as made:
        _lighten(made)
        yield made


def events(lab: Lab, node: str, name: str, since: float = 0.0) -> list[str]:
    """The messages of the volume agent's events of this name."""
    return [record["MESSAGE"] for record in lab.journal(node, since, [f"HAFAILOVER_EVENT=glustervolume.{name}"])]


def well(lab: Lab, nodes: Sequence[str] = (), directory: str = MOUNT) -> None:
    """Wait until the lab has no problem, and the volume is mounted on every node (of ``nodes``, when they are given)."""
    wanted = nodes or lab.data_nodes
    try:
        until("the lab is healthy", lambda: not lab.problems() and all(mounted(lab, one, directory) for one in wanted))
    except AssertionError as error:
        seen = shell(lab, lab.data_nodes[0], "crm_mon -1rf; journalctl -q -n 60 -t hafailover-glustervolume")
        raise AssertionError(f"{lab.problems()}\n{seen}") from error


def mounted(lab: Lab, node: str, directory: str = MOUNT) -> bool:
    """Whether a volume is mounted there."""
    return lab.exec(node, ["grep", "-q", f" {directory} fuse.glusterfs ", "/proc/mounts"]).returncode == 0


def standby(lab: Lab, node: str, on: bool) -> None:
    """Put a node into standby and wait until it has nothing left of GlusterFS, or take it out."""
    shell(lab, node, f"crm_standby -N {node} -v {'on' if on else 'off'}")
    if on:
        until(f"{node} has stopped", lambda: lab.exec(node, ["pgrep", "gluster"]).returncode != 0)


def whole(lab: Lab, node: str, volume: str = "content") -> bool:
    """Whether every brick is connected and nothing waits to be healed."""
    said = lab.exec(node, ["gluster", "volume", "heal", volume, "info"], timeout=60).stdout
    bricks = said.count("\nStatus: ")
    return bricks > 1 and said.count("Status: Connected\nNumber of entries: 0") == bricks


def same_everywhere(lab: Lab) -> str:
    """The checksum of the tree, which every node must read alike."""
    script = f"cd {MOUNT} && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum"
    sums = {node: shell(lab, node, script) for node in lab.data_nodes}
    assert len(set(sums.values())) == 1, sums
    return next(iter(sums.values()))


def now() -> float:
    """The time to look for events from."""
    return time.time()
