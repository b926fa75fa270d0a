"""A volume of three copies, each on a disk of its own, when nodes and processes fail, and when disks are missing, are somebody else's, were
replaced, or came with a machine that was installed anew; the agents by hand.

Real: the daemons, bricks on xfs (ext4 where this machine's kernel has none) behind loop devices, FUSE mounts, fencing.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator

import pytest
from by_hand import passes_ocf_tester
from hafailover.agents.ocf import DEGRADED
from hafailover.vagrant.drill.loads.files.drill import FilesDrill
from hafailover.vagrant.lab import Lab
from labs import reason, shell, until
from volumes import (
    AGENT,
    BRICK,
    DEVICE,
    FSTYPE,
    LIST,
    MOUNT,
    NODES,
    VOLUME,
    events,
    now,
    same_everywhere,
    standby,
    trio_of,
    well,
    whole,
)

NAME = "glustertest"
SEED = 20260


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with trio_of(NAME) as made:
        yield made


@pytest.fixture(autouse=True)
def _healthy(lab: Lab) -> None:
    well(lab)


def test_one_volume_forms_on_marked_disks(lab: Lab) -> None:
    made = [len(events(lab, node, "created")) for node in NODES]
    assert sorted(made) == [0, 0, 1]
    for node in NODES:
        assert events(lab, node, "mkfs") == [f"{DEVICE} is blank; making {FSTYPE} on it"]
        assert shell(lab, node, "cat /srv/gluster/content/.hafailover-brick") == f"volume content on {node}"
    shell(lab, "g1", f"echo hello >{MOUNT}/greeting")
    assert {shell(lab, node, f"cat {MOUNT}/greeting") for node in NODES} == {"hello"}
    options = shell(lab, "g2", "gluster volume get content all")
    assert "network.ping-timeout                     10" in options
    assert "cluster.quorum-type                      auto" in options


def test_a_node_loses_its_power_under_writes(lab: Lab) -> None:
    """Scenario 33: the mount stays usable, and everything that was acknowledged is healed and read alike by all."""
    node = random.Random(SEED).choice(NODES)
    done = FilesDrill(lab).run("power-off", node, print)
    assert done.ok, done.problems
    assert (done.lost, done.acknowledged > 100) == (0, True)
    assert done.gap is not None


def test_processes_that_end_or_hang(lab: Lab) -> None:
    since = now()
    brick = shell(lab, "g1", "pgrep -x glusterfsd")
    hung = shell(lab, "g3", "systemctl show -P MainPID glusterd")
    lab.kill("g3", "glusterd.service", signal.SIGSTOP)
    # Before any daemon is restarted: one that has just been starts bricks by itself, and a brick that ended then has another one at once.
    lab.kill("g1", brick)
    lab.kill("g2", shell(lab, "g2", "pgrep -x glusterfsd"), signal.SIGSTOP)
    for node in ("g1", "g2"):
        until(f"the brick of {node} was started again", lambda node=node: events(lab, node, "revived", since))
    # A brick that runs again is not yet one that clients are connected to: they look for it every few seconds.
    writes = ["sh", "-c", f"echo again >{MOUNT}/again"]
    until("clients write again", lambda: lab.exec("g3", writes, timeout=60).returncode == 0)
    until("the daemon that hung is another one", lambda: shell(lab, "g3", "systemctl show -P MainPID glusterd") != hung)
    well(lab)
    brick = shell(lab, "g1", "pgrep -x glusterfsd")
    shell(lab, "g1", "systemctl kill --kill-who=main -s KILL glusterd")
    until("glusterd has ended", lambda: shell(lab, "g1", "systemctl is-active glusterd || true") != "active")
    until("glusterd was started again", lambda: shell(lab, "g1", "systemctl is-active glusterd || true") == "active")
    well(lab)
    assert shell(lab, "g1", "pgrep -x glusterfsd") == brick, "the brick goes on without the daemon"
    until("all is healed", lambda: whole(lab, "g3"))
    same_everywhere(lab)


def test_a_disk_that_vanishes_under_a_brick_is_mounted_again(lab: Lab) -> None:
    since = now()
    shell(lab, "g3", "umount --lazy /srv/gluster/content")
    said = f"the brick {BRICK} cannot be read: No such file"
    until("it is told", lambda: said in reason(lab, "g1", "g3", VOLUME, over=True))
    until("it serves again", lambda: events(lab, "g3", "up", since))
    well(lab)
    assert "gluster-content" in shell(lab, "g3", "findmnt -no SOURCE /srv/gluster/content")
    until("all is healed", lambda: whole(lab, "g3"))


def test_a_full_brick_is_told(lab: Lab) -> None:
    shell(lab, "g1", f"fallocate -l $(($(df --output=avail -B1M {MOUNT} | tail -1) - 6))M {MOUNT}/large")
    try:
        until("it is told", lambda: "is full" in reason(lab, "g1", "g2", VOLUME))
        assert f"the brick {BRICK} is full" in reason(lab, "g1", "g2", VOLUME, rc=DEGRADED)
    finally:
        shell(lab, "g1", f"rm {MOUNT}/large")


@pytest.mark.parametrize(
    ("parameters", "rc", "said"),
    [
        ("", 6, "parameter volume is required"),
        ("volume=x/y", 6, "'x/y' is not letters, digits, - and _"),
        ("replica=4", 6, "not one of 2, 3, arbiter"),
        ("nodes=g1", 6, "'g1' is not name:address"),
        ("nodes=g1:10.82.0.1", 6, "3 copies needs 3 nodes, and there are 1"),
        ("nodes=other:10.82.0.1", 5, "parameter nodes does not name g1, but other"),
        ("brick=/a,b", 6, "a path with blanks, commas or colons"),
        ("options=ping", 6, "'ping', which is not name=value"),
    ],
)
def test_wrong_parameters(lab: Lab, parameters: str, rc: int, said: str) -> None:
    right = {"volume": "tried", "nodes": LIST, "replica": "3", "brick": "/srv/tried"} if parameters else {}
    name, _, value = parameters.partition("=")
    given = {**right, **({name: value} if name else {})}
    words = " ".join(f"OCF_RESKEY_{key}='{one}'" for key, one in given.items())
    done = by_hand(lab, "g1", "glustervolume validate-all", words)
    assert done[0] == rc, done[1]
    assert said in done[1]


def by_hand(lab: Lab, node: str, action: str, words: str) -> tuple[int, str]:
    """The exit code of an agent's action, and what it said."""
    common = f"OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=tried OCF_RESKEY_CRM_meta_timeout=60000 {words}"
    done = lab.exec(node, ["sh", "-c", f"{common} {AGENT}/{action}"])
    return done.returncode, done.stderr


def tried(**given: str) -> str:
    """Parameters of a volume that nobody has."""
    values = {"volume": "tried", "nodes": LIST, "replica": "3", "brick": "/srv/tried", **given}
    return " ".join(f"OCF_RESKEY_{key}='{value}'" for key, value in values.items())


def test_an_address_that_the_node_has_not(lab: Lab) -> None:
    done = by_hand(lab, "g1", "glusterd validate-all", f"OCF_RESKEY_nodes='{LIST.replace('10.82.0.1', '10.82.0.9')}'")
    assert done[0] == 1
    assert "gives g1 the address 10.82.0.9, which is none of this node's" in done[1]


def test_a_volume_that_was_made_by_hand_is_left_alone(lab: Lab) -> None:
    words = " ".join(f"10.82.0.{number}:/srv/hand/brick" for number in (1, 2, 3))
    command = "gluster --mode=script volume"
    for node in NODES:
        shell(lab, node, "mkdir /srv/hand")
    shell(lab, "g1", f"{command} create tried replica 3 {words} force && {command} start tried")
    pids = shell(lab, "g1", "pgrep -x glusterfsd")
    assert len(pids.split()) == 2
    assert by_hand(lab, "g1", "glustervolume monitor", tried())[0] == 7
    done = by_hand(lab, "g1", "glustervolume start", tried())
    assert done[0] == 1
    assert "the cluster made none: it was made by hand; nothing is touched" in done[1]
    assert by_hand(lab, "g1", "glustervolume stop", tried())[0] == 0
    assert shell(lab, "g1", "pgrep -x glusterfsd") == pids
    shell(lab, "g1", f"{command} stop tried && {command} delete tried")


# What is on the disk, the command that puts it there, what is said of it, and a command that shows that it is there still.
FOREIGN = [
    ("swap", f"mkswap {DEVICE} >/dev/null", "holds swap, and nothing is overwritten", f"blkid -p {DEVICE} | grep swap"),
    (
        "partitions",
        f"printf '\\0\\0\\0\\0\\203\\0\\0\\0\\0\\10\\0\\0\\0\\10\\0\\0' | dd of={DEVICE} bs=1 seek=446 conv=notrunc status=none; "
        f"printf '\\125\\252' | dd of={DEVICE} bs=1 seek=510 conv=notrunc status=none",
        "holds dos, and nothing is overwritten",
        f"blkid -p {DEVICE} | grep dos",
    ),
    (
        "bytes that nobody knows",
        f"echo treasure | dd of={DEVICE} bs=1M seek=256 conv=notrunc status=none",
        "holds bytes that are not zero and no file system that is known, and nothing is overwritten",
        f"dd if={DEVICE} bs=1M skip=256 count=1 status=none | grep -a treasure",
    ),
    (
        "a file system with files",
        f"mkfs.ext4 -q {DEVICE}; mount {DEVICE} /mnt; echo treasure >/mnt/treasure; umount /mnt",
        "is not empty (treasure) and no brick of this volume; give an empty one",
        f"mount {DEVICE} /mnt; cat /mnt/treasure; umount /mnt",
    ),
    (
        "another volume's bricks",
        f"mkfs.ext4 -q {DEVICE}; mount {DEVICE} /mnt; echo volume other on g3 >/mnt/.hafailover-brick; umount /mnt",
        "has the brick of volume other on g3, not of volume tried on g3",
        f"mount {DEVICE} /mnt; cat /mnt/.hafailover-brick; umount /mnt",
    ),
    (
        "mounted elsewhere",
        f"mkfs.ext4 -q {DEVICE}; mount {DEVICE} /mnt",
        "is mounted at /mnt, not at /srv/tried; unmount it there",
        "echo here >/mnt/here; umount /mnt",
    ),
]


def test_a_missing_disk_is_told_and_nothing_is_written_in_its_stead(lab: Lab) -> None:
    standby(lab, "g3", True)
    shell(lab, "g3", f"mv {DEVICE} {DEVICE}.away")
    try:
        standby(lab, "g3", False)
        until("it is told", lambda: "disk is missing" in reason(lab, "g1", "g3", VOLUME, over=True))
        assert shell(lab, "g3", "ls -A /srv/gluster/content") == ""
    finally:
        shell(lab, "g3", f"mv {DEVICE}.away {DEVICE}; crm_resource --cleanup -r files-content")


def zero(lab: Lab, node: str) -> None:
    """Make the disk as blank as it was at first."""
    shell(lab, node, f"blkdiscard -z {DEVICE} || dd if=/dev/zero of={DEVICE} bs=4M || true", timeout=300)


def test_a_disk_with_something_else_on_it_is_refused_and_a_blank_one_is_filled(lab: Lab) -> None:
    before = same_everywhere(lab)
    standby(lab, "g3", True)
    since = now()
    # The first and last bytes are where signatures lie; with them gone the disk would still not be blank.
    shell(lab, "g3", f"wipefs -qa {DEVICE}; dd if=/dev/zero of={DEVICE} bs=1M count=1 status=none")
    standby(lab, "g3", False)
    until("it is refused", lambda: "nothing is overwritten" in reason(lab, "g1", "g3", VOLUME, over=True))
    for what, put, said, there in FOREIGN:
        zero(lab, "g3")
        shell(lab, "g3", put)
        done = by_hand(lab, "g3", "glustervolume start", tried(device=DEVICE, fstype="ext4"))
        assert done[0] == 1, what
        assert said in done[1], what
        assert by_hand(lab, "g3", "glustervolume stop", tried(device=DEVICE))[0] == 0, what
        shell(lab, "g3", there)
    assert not events(lab, "g3", "mkfs", since)
    zero(lab, "g3")
    shell(lab, "g3", "crm_resource --cleanup -r files-content")
    until("it is filled anew", lambda: events(lab, "g3", "reset", since))
    well(lab)
    until("all is healed", lambda: whole(lab, "g1"))
    assert same_everywhere(lab) == before


def test_a_node_that_the_pool_rejects_and_that_is_installed_anew_is_taken_in(lab: Lab) -> None:
    before, since = same_everywhere(lab), now()
    # Another description of the volume, with the same version: neither side is the newer one.
    shell(lab, "g2", "echo performance.cache-size=64MB >>/var/lib/glusterd/vols/content/info")
    lab.kill("g2", "glusterd.service")
    until("it is told", lambda: "glusterd rejects g2" in reason(lab, "g1", "g1", VOLUME))
    who = shell(lab, "g2", "sed -n s/UUID=//p /var/lib/glusterd/glusterd.info")
    standby(lab, "g2", True)
    shell(
        lab,
        "g2",
        f"rm -rf /var/lib/glusterd; echo 0123456789abcdef0123456789abcdef >/etc/machine-id; wipefs -qa {DEVICE}",
    )
    zero(lab, "g2")
    standby(lab, "g2", False)
    until("it is filled anew", lambda: events(lab, "g2", "reset", since))
    well(lab)
    assert shell(lab, "g2", "sed -n s/UUID=//p /var/lib/glusterd/glusterd.info") == who
    until("all is healed", lambda: whole(lab, "g1"))
    assert same_everywhere(lab) == before


# The last one: it takes GlusterFS out of the cluster's hands.
def test_ocf_tester(lab: Lab) -> None:
    shell(lab, "g1", "crm --wait resource stop files-content-mount-clone files-content-clone files-clone", timeout=300)
    passes_ocf_tester(lab, "g1", "glusterd", "files", nodes=LIST)
    shell(lab, "g1", "systemctl start glusterd")
    volume = {"volume": "content", "nodes": LIST, "replica": "3", "device": DEVICE, "brick": "/srv/gluster/content"}
    passes_ocf_tester(lab, "g1", "glustervolume", "files-content", **volume)
