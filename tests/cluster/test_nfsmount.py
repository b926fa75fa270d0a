"""Content on a shared disk, served by one node and mounted by both, when servers, mounts and nodes fail.

Real: the disk's file system, the stock agents, Ganesha, the address, fencing, a client that speaks NFSv4. The client is test equipment
(vagrant/standins/labnfs.py): the kernel's own, with its own way to hang, is not to be had in a container.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from by_hand import passes_ocf_tester
from hafailover.vagrant.lab import Lab, Options
from labs import STACK, lab_of, shell, until
from pair import other

NAME = "nfsmount"
TOPOLOGY = Path(__file__).resolve().parents[2] / "vagrant/topologies/content-pair.yml"
PACKS = "/opt/stackstorm/packs"
AGENT = "/usr/lib/ocf/resource.d/hafailover/nfsmount"
HANGS = "/run/labnfs/opt-stackstorm-packs"
SOURCE = {"server": "10.77.0.110", "export": "/srv/st2/packs", "fstype": "fuse.labnfs", "directory": "/mnt/by-hand"}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, TOPOLOGY, Options(sets=STACK)) as made:
        shell(made, made.data_nodes[0], f"mkdir {PACKS}/core; dd if=/dev/urandom of={PACKS}/core/data bs=64k count=16")
        yield made
    backing = [file.read_text() for file in Path("/sys/block").glob("loop*/loop/backing_file")]
    assert not [file for file in backing if f"/labs/{NAME}/" in file], "the shared disk is gone with the lab"


@pytest.fixture(autouse=True)
def _healthy(lab: Lab) -> None:
    well(lab)


def well(lab: Lab) -> None:
    try:
        until("the lab is healthy", lambda: not lab.problems())
    except AssertionError as error:
        seen = shell(lab, lab.data_nodes[0], "crm_mon -1rf; journalctl -q -n 60 -t hafailover-nfsmount")
        raise AssertionError(f"{lab.problems()}\n{seen}") from error


def holder(lab: Lab) -> str:
    """The node that has the address of the server."""
    answer = until(
        "the address is somewhere", lambda: lab.exec(lab.data_nodes[0], ["crm_resource", "-WQr", "vip"]).stdout
    )
    return str(answer).split()[0]


def mounted(lab: Lab, node: str, directory: str = PACKS) -> list[str]:
    """The lines of mountinfo about ``directory``."""
    lines = shell(lab, node, "cat /proc/self/mountinfo").splitlines()
    return [line for line in lines if line.split()[4] == directory]


def sums(lab: Lab, node: str) -> str:
    """Checksums of all content."""
    return shell(lab, node, f"cd {PACKS}; find . -type f | sort | xargs sha256sum")


def events(lab: Lab, node: str, name: str, since: float) -> list[dict[str, str]]:
    return list(lab.journal(node, since=since, matches=[f"HAFAILOVER_EVENT=nfsmount.{name}"]))


def generation(lab: Lab, node: str) -> int:
    return int(shell(lab, node, "cut -f1 /run/hafailover/mnt-packs.generation"))


def agent(lab: Lab, node: str, action: str, timeout: float = 60, **parameters: str) -> subprocess.CompletedProcess[str]:
    """Run one action by hand as Pacemaker does."""
    given = {**SOURCE, **parameters}
    words = [f"OCF_RESKEY_{name}={value}" for name, value in given.items()]
    words += [
        "OCF_ROOT=/usr/lib/ocf",
        "OCF_RESOURCE_INSTANCE=by-hand",
        f"OCF_RESKEY_CRM_meta_timeout={int(timeout * 1000)}",
    ]
    return lab.exec(node, ["env", *words, AGENT, action], timeout=timeout + 60)


def test_what_one_node_writes_the_other_reads(lab: Lab) -> None:
    one, two = lab.data_nodes
    assert sums(lab, one) == sums(lab, two)
    assert "core/data" in sums(lab, one)
    disks = [node for node in lab.data_nodes if mounted(lab, node, "/srv/st2")]
    assert disks == [holder(lab)], "the disk is mounted on one node only"


def test_hang_is_reported_while_the_mount_waits_and_nothing_is_restarted(lab: Lab) -> None:
    node = other(lab, holder(lab))
    before, number, begun = mounted(lab, node), generation(lab, node), time.time()
    shell(lab, node, f"echo hang >{HANGS}")
    try:
        until("it is degraded", lambda: "has not answered for" in shell(lab, node, "crm_mon -1"))
        # Several looks at a mount that hangs leave one child behind at most, and each comes to an end.
        for _ in range(3):
            done = agent(lab, node, "monitor", 20, directory=PACKS, patience="1s")
            assert done.returncode == 190, done.stderr
            assert "waiting up to 120 s for its server to come back" in done.stderr
        children = shell(
            lab, node, "grep -slE 'statvfs|nfsmount' /proc/[0-9]*/comm | wc -l; cat /run/hafailover/by-hand.hung"
        )
        assert int(children.split()[0]) <= 2, "one of the cluster's monitor, one of ours"
    finally:
        shell(lab, node, f"rm {HANGS}")
    until("it says that it is back", lambda: events(lab, node, "back", begun))
    assert mounted(lab, node) == before, "still the same mount"
    assert generation(lab, node) == number, "its users go on"
    assert not events(lab, node, "down", begun)


def test_hang_that_lasts_too_long_is_a_failure(lab: Lab) -> None:
    node = other(lab, holder(lab))
    assert agent(lab, node, "start").returncode == 0
    shell(lab, node, "echo hang >/run/labnfs/mnt-by-hand")
    try:
        first = agent(lab, node, "monitor", 20, patience="500ms", ride_through="2s")
        assert first.returncode == 190, first.stderr
        time.sleep(2)
        second = agent(lab, node, "monitor", 20, patience="500ms", ride_through="2s")
        assert second.returncode == 1, second.stderr
        assert "longer than ride_through=2s" in second.stderr
        begun = time.monotonic()
        assert agent(lab, node, "stop", 20).returncode == 0
        assert time.monotonic() - begun < 20
        assert mounted(lab, node, "/mnt/by-hand") == []
    finally:
        shell(lab, node, "rm /run/labnfs/mnt-by-hand")


def test_node_leaves_with_a_hung_mount_and_is_not_fenced(lab: Lab) -> None:
    node = other(lab, holder(lab))
    begun, fenced = time.time(), lab.fence_log()
    user = lab.popen(node, ["sh", "-c", f"cd {PACKS} && trap '' TERM && while :; do sleep 1; done"])
    shell(lab, node, f"sleep 1; echo hang >{HANGS}")
    reader = lab.popen(node, ["cat", f"{PACKS}/core/data"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        shell(lab, node, f"crm_standby -v on -N {node}")
        until("the mount is let go", lambda: not mounted(lab, node))
        (down,) = until("it says how", lambda: [e for e in events(lab, node, "down", begun) if "packs" in e["MESSAGE"]])
        assert down["HAFAILOVER_HOW"] in ("unmounted", "forced", "detached")
        assert user.wait(timeout=120) == -signal.SIGKILL or user.returncode == 128 + signal.SIGKILL
        reader.wait(timeout=120)
        assert "sh[" in lab.logs(node, since=begun), "who held it is in the journal"
    finally:
        shell(lab, node, f"rm -f {HANGS}; crm_standby -D -N {node}")
        user.kill()
        reader.kill()
    well(lab)
    assert lab.fence_log() == fenced
    assert sums(lab, node) == sums(lab, other(lab, node))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (f"echo stale >{HANGS}", "its file handle is stale"),
        (f"kill -KILL $(pgrep -f 'labnfs.* {PACKS}( |$)')", "the program that serves this mount has ended"),
    ],
)
def test_mount_that_is_broken_is_recovered_by_mounting_anew(lab: Lab, fault: str, said: str) -> None:
    node = other(lab, holder(lab))
    begun, number = time.time(), generation(lab, node)
    shell(lab, node, fault)
    until("it is mounted anew", lambda: events(lab, node, "up", begun))
    well(lab)
    assert events(lab, node, "down", begun)
    assert generation(lab, node) > number
    assert said in lab.logs(node, since=begun)
    assert sums(lab, node) == sums(lab, other(lab, node))


def test_process_that_holds_the_mount_at_stop_is_named_and_ended(lab: Lab) -> None:
    node = other(lab, holder(lab))
    assert agent(lab, node, "start").returncode == 0
    begun = time.time()
    script = "exec 9>>/mnt/by-hand/held; trap '' TERM; echo ready; while :; do sleep 1; done"
    user = lab.popen(node, ["sh", "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert user.stdout is not None
        assert user.stdout.readline() == "ready\n"
        assert agent(lab, node, "stop").returncode == 0
        assert mounted(lab, node, "/mnt/by-hand") == []
        user.wait(timeout=120)
    finally:
        user.kill()
    log = lab.logs(node, since=begun)
    assert "ending what uses it: sh[" in log
    assert "(fd 9)" in log


@pytest.mark.parametrize("bound", [False, True], ids=["remote", "bind"])
def test_stop_leaves_nothing_where_somebody_mounted_it_a_second_time(lab: Lab, bound: bool) -> None:
    node = other(lab, holder(lab))
    disk = {"serves": "/mnt/disk/packs"} if bound else {}
    again = "--bind /mnt/disk/packs" if bound else f"-t {SOURCE['fstype']} {SOURCE['server']}:{SOURCE['export']}"
    if bound:
        shell(lab, node, "mkdir -p /mnt/disk; mount -t tmpfs disk /mnt/disk; mkdir /mnt/disk/packs")
    try:
        assert agent(lab, node, "start", **disk).returncode == 0
        shell(lab, node, f"mount {again} /mnt/by-hand")
        assert len(mounted(lab, node, "/mnt/by-hand")) == 2
        assert agent(lab, node, "stop", **disk).returncode == 0
        assert mounted(lab, node, "/mnt/by-hand") == []
    finally:
        shell(lab, node, "if mountpoint -q /mnt/disk; then umount /mnt/disk; fi")


def test_stop_succeeds_when_a_directory_above_the_mount_is_mounted_over(lab: Lab) -> None:
    node = other(lab, holder(lab))
    inside = {"directory": "/mnt/above/by-hand"}
    assert agent(lab, node, "start", **inside).returncode == 0
    user = lab.popen(node, ["sh", "-c", "cd /mnt/above/by-hand && exec sleep 300"])
    try:
        until(
            "it uses the mount", lambda: "/mnt/above/by-hand" in shell(lab, node, "readlink /proc/[0-9]*/cwd || true")
        )
        shell(lab, node, "mount -t tmpfs over /mnt/above")
        begun = time.time()
        done = agent(lab, node, "stop", **inside)
        assert done.returncode == 0, "a failure would have the node fenced: " + done.stderr
        assert user.wait(timeout=120) != 0
        (down,) = events(lab, node, "down", begun)
        assert down["HAFAILOVER_HOW"] == "hidden"
        assert mounted(lab, node, "/mnt/above"), "what somebody mounted is not ours to take away"
        refused = agent(lab, node, "start", **inside)
        assert (refused.returncode, "over it at /mnt/above; unmount that first" in refused.stderr) == (1, True)
    finally:
        shell(lab, node, "umount /mnt/above || true")
        user.kill()
    assert agent(lab, node, "stop", **inside).returncode == 0
    assert mounted(lab, node, "/mnt/above/by-hand") == []


def test_servers_node_loses_power_while_others_read_and_write(lab: Lab) -> None:
    lost = holder(lab)
    node = other(lab, lost)
    before, mount, begun = sums(lab, node), mounted(lab, node), time.time()
    writing = f"i=0; while [ ! -e /run/enough ]; do i=$((i+1)); echo $i >>{PACKS}/written || exit 1; sleep 0.05; done"
    reading = f"while [ ! -e /run/enough ]; do sha256sum {PACKS}/core/data || exit 1; sleep 0.05; done | sort -u"
    writer = lab.popen(node, ["sh", "-c", writing], stderr=subprocess.PIPE, text=True)
    reader = lab.popen(node, ["sh", "-c", reading], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until("something is written", lambda: shell(lab, node, f"wc -l <{PACKS}/written") > "5")
        lab.power_off(lost)
        until("the other node serves", lambda: lab.states()[node].power == "on" and _serves(lab, node))
        at = int(shell(lab, node, f"wc -l <{PACKS}/written", timeout=150))
        until("writing goes on", lambda: int(shell(lab, node, f"wc -l <{PACKS}/written", timeout=150)) > at + 5)
    finally:
        shell(lab, node, "touch /run/enough")
    _, wrong = writer.communicate(timeout=150)
    assert writer.returncode == 0, wrong
    seen, wrong = reader.communicate(timeout=150)
    assert len(seen.splitlines()) == 1, wrong
    assert wrong == ""
    shell(lab, node, "rm /run/enough")
    assert mounted(lab, node) == mount, "it rode through: nothing was mounted anew"
    assert not events(lab, node, "down", begun)
    if lab.states()[lost].power == "off":
        lab.power_on(lost)
    well(lab)
    lines = shell(lab, node, f"cat {PACKS}/written").split()
    assert lines == [str(number) for number in range(1, len(lines) + 1)], "no line is lost, torn or doubled"
    shell(lab, node, f"rm {PACKS}/written")
    assert sums(lab, node) == before
    assert sums(lab, lost) == before


def _serves(lab: Lab, node: str) -> bool:
    return "Started" in next(
        (line for line in shell(lab, node, "crm_mon -1r").splitlines() if "* vip" in line and node in line), ""
    )


def test_remount_binds_on_the_serving_node_and_follows_it(lab: Lab) -> None:
    first = lab.data_nodes[0]
    before = sums(lab, first)
    _choose(lab, "remount")
    try:
        for _ in range(2):
            node = holder(lab)
            (bind,) = until("the serving node has it without NFS", lambda n=node: _only(lab, n, "ext4"))
            assert " /packs " in bind
            until("the other one mounts it", lambda n=node: _only(lab, other(lab, n), "fuse.labnfs"))
            assert sums(lab, first) == before
            fenced = lab.fence_log()
            shell(
                lab,
                first,
                f"crm_resource --move -r content -N {other(lab, node)} --lifetime=PT1M; crm_resource --wait -T 150",
            )
            shell(lab, first, "crm_resource --clear -r content")
            until("the content has moved", lambda n=node: holder(lab) != n)
            well(lab)
            assert lab.fence_log() == fenced
            disks = [name for name in lab.data_nodes if mounted(lab, name, "/srv/st2")]
            assert disks == [other(lab, node)], "nothing kept the disk in use on the other node"
    finally:
        _choose(lab, "ride-through")
    assert sums(lab, first) == before


def _only(lab: Lab, node: str, fstype: str) -> list[str]:
    lines = mounted(lab, node)
    return lines if len(lines) == 1 and f" - {fstype} " in lines[0] else []


def _choose(lab: Lab, choice: str) -> None:
    """Change on_server_move as an operator does: in the topology, by apply."""
    first = lab.data_nodes[0]
    file = "/etc/hafailover/topology.yml"
    shell(lab, first, f"sed -i 's/on_server_move: .*/on_server_move: {choice}/' {file}")
    done = lab.exec(first, ["hafailover", "apply", file, "--yes", "--wait=100"], timeout=150)
    # Incomplete (4) is what a busy machine needs longer for; that it gets there is asked next.
    assert done.returncode in (0, 4), done.stdout + done.stderr
    well(lab)


def test_ocf_tester_passes_it(lab: Lab) -> None:
    node = other(lab, holder(lab))
    passes_ocf_tester(lab, node, "nfsmount", "by-hand", **SOURCE)
    assert mounted(lab, node, "/mnt/by-hand") == []


@pytest.mark.parametrize(
    ("parameters", "rc", "reason"),
    [
        ({"export": ""}, 6, "parameter export is required"),
        ({"directory": "/opt/stackstorm"}, 6, "a directory of the system"),
        ({"options": "soft,hard"}, 6, "contradict each other"),
        ({"options": "bg"}, 6, "in the background"),
        ({"patience": "0s"}, 6, "out of range"),
        ({"fstype": "glusterfs"}, 5, "no program mount.glusterfs; install the package glusterfs-client"),
        ({"directory": "/lib/by-hand"}, 6, "symbolic link; give its real path, /usr/lib/by-hand"),
        ({"directory": "/etc/hosts"}, 6, "not a directory"),
        ({"directory": "/run"}, 6, "a directory of the system"),
        ({"directory": "/dev/shm"}, 1, "tmpfs (tmpfs) is mounted at /dev/shm instead of 10.77.0.110:/srv/st2/packs"),
        ({"directory": "/etc/corosync", "cover": "false"}, 1, "is not empty, and the mount would hide"),
        ({"server": "10.77.0.199"}, 1, "cannot mount 10.77.0.199:/srv/st2/packs"),
    ],
)
def test_start_that_cannot_succeed_says_why(lab: Lab, parameters: dict[str, str], rc: int, reason: str) -> None:
    node = lab.data_nodes[0]
    done = agent(lab, node, "start", 14, **parameters)
    assert done.returncode == rc, done.stderr
    assert reason in done.stderr
    assert agent(lab, node, "stop", 20, **parameters).returncode == 0
    assert mounted(lab, node, "/mnt/by-hand") == []


def test_mount_program_that_takes_long_is_waited_for(lab: Lab) -> None:
    node = lab.data_nodes[0]
    assert agent(lab, node, "start", 60, options="delay=6").returncode == 0
    assert agent(lab, node, "monitor").returncode == 0
    assert agent(lab, node, "stop").returncode == 0
    assert agent(lab, node, "monitor").returncode == 7


def test_agent_that_is_killed_at_any_step_leaves_what_the_next_action_can_deal_with(lab: Lab) -> None:
    node = lab.data_nodes[0]
    words = " ".join(f"OCF_RESKEY_{name}={value}" for name, value in SOURCE.items())
    call = f"env {words} OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=by-hand OCF_RESKEY_CRM_meta_timeout=60000 {AGENT}"
    for action in ("start", "stop"):
        for moment in (0.02, 0.05, 0.1, 0.2, 0.4, 0.8):
            if action == "stop":
                assert agent(lab, node, "start").returncode == 0
            # In a process group of its own, which is killed whole, as Pacemaker does on a timeout.
            shell(
                lab,
                node,
                f"setsid {call} {action} >/dev/null 2>&1 & pid=$!; sleep {moment}; kill -KILL -$pid || true; wait",
            )
            done = agent(lab, node, "monitor")
            # What serves a FUSE mount may have been killed, too, before it had gone into the background.
            assert done.returncode in (0, 7) or "has ended" in done.stderr, done.stderr
            done = agent(lab, node, "start")
            assert done.returncode == 0, done.stderr
            assert agent(lab, node, "monitor").returncode == 0
            done = agent(lab, node, "stop")
            assert done.returncode == 0, done.stderr
            assert mounted(lab, node, "/mnt/by-hand") == []
