"""ocf:hafailover:nfsmount against the kernel's own NFS server and client.

Machine a serves first, machine b is the client. The machines may be slow beyond measure (software emulation on a busy host), so actions
get much time and nothing here depends on how long they take.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import content
import pytest
from content import POINT, SERVED, agent, hanging, mounted
from machines import Machine, Pair

HERE = Path(__file__).resolve().parent
SUCCESS, GENERIC, DEGRADED = 0, 1, 190
_LONG = 300  # seconds that an action gets
_DEADLINE = 600  # seconds that something may take to happen


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    made = Pair(Path(tempfile.mkdtemp(prefix="hafailover-vm-")))
    try:
        made.up()
        content.format_disk(made.a)
        for machine in made.machines:
            for program in ("appender.py", "hangers.py"):
                machine.must(f"cat >/root/{program}", input=(HERE / program).read_bytes())
        yield made
    finally:
        made.down()


@pytest.fixture
def mounts(pair: Pair) -> Iterator[Pair]:
    """Served by a, mounted on b; afterwards nothing is left of either."""
    content.serve(pair.a, grace=15)
    assert agent(pair.b, "start", timeout=_LONG).rc == SUCCESS
    try:
        yield pair
    finally:
        for machine in pair.machines:
            machine.heal()
            machine.run(
                f"pkill -KILL -f /root/.*[.]py; umount -f {POINT}; umount -l {POINT}; rm -f /run/hafailover/*; true"
            )
        for machine in pair.machines:
            content.unserve(machine)


def monitor(machine: Machine, **given: object) -> content.Did:
    return agent(machine, "monitor", timeout=_LONG, interval=10, **given)  # type: ignore[arg-type]


def until(machine: Machine, rc: int, **given: object) -> content.Did:
    """The first monitor that ends with ``rc``."""
    end = time.monotonic() + _DEADLINE
    while True:
        did = monitor(machine, **given)
        if did.rc == rc:
            return did
        assert time.monotonic() < end, did


def started(machine: Machine, program: str, *words: str) -> None:
    machine.must(f"cd /; setsid python3 /root/{program} {' '.join(words)} >/dev/null 2>&1 </dev/null &")


# -- a hang -----------------------------------------------------------------------------------------------------------


def test_a_hang_is_a_degradation_leaves_one_child_at_most_and_is_over_when_the_server_is_back(mounts):
    b = mounts.b
    mounts.a.cut()
    for level in (0, 10, 20, 0):
        did = monitor(b, level=level)
        assert did.rc == DEGRADED, did
        assert did.seconds < _LONG / 2
    assert b.must("pgrep -fc resource.d/hafailover/[n]fsmount || true").strip() in ("0", "1")
    assert monitor(b, ride_through="0").rc == GENERIC
    # It is the same mount all the time: nobody is told to begin anew.
    generation = b.must("cat /run/hafailover/content.generation")
    mounts.a.heal()
    assert "answers again" in until(b, SUCCESS).said
    assert b.must("cat /run/hafailover/content.generation") == generation


def test_a_hung_mount_that_nobody_uses_is_let_go(mounts):
    mounts.a.cut()
    assert monitor(mounts.b).rc == DEGRADED
    assert agent(mounts.b, "stop", timeout=_LONG).rc == SUCCESS
    assert mounted(mounts.b) == ""


def test_a_hung_mount_with_processes_in_every_kind_of_call_is_let_go_and_none_of_them_survives(mounts):
    b = mounts.b
    b.must(f"echo here >{POINT}/file")
    for call in ("fsync", "list", "create", "close"):
        started(b, "hangers.py", call, POINT)
    b.must(f"for i in $(seq 300); do [ -e {POINT}/closing ] && exit 0; sleep 1; done; exit 1", timeout=400)
    mounts.a.cut()
    end = time.monotonic() + _DEADLINE
    while len(hanging(b, "python3")) < 4:
        assert time.monotonic() < end, hanging(b)
        time.sleep(2)
    did = agent(b, "stop", timeout=_LONG)
    assert did.rc == SUCCESS, did
    assert mounted(b) == ""
    assert "waits for a path in it" in did.said
    assert hanging(b, "python3") == []
    # Who survives goes on in the directory below.
    assert b.must(f"ls -A {POINT}") == ""


# -- a move ---------------------------------------------------------------------------------------------------------


def test_a_writer_rides_through_a_move_of_the_server_to_its_own_node_and_back(mounts):
    b = mounts.b
    started(b, "appender.py", f"{POINT}/lines", "/root/report")
    for source, target in ((mounts.a, b), (b, mounts.a)):
        b.must("for i in $(seq 300); do [ $(wc -l </root/report) -gt 5 ] && exit 0; sleep 1; done; exit 1", timeout=400)
        content.unserve(source)
        content.serve(target, grace=15)
        count = int(b.must("wc -l </root/report"))
        end = time.monotonic() + _DEADLINE
        while int(b.must("wc -l </root/report")) < count + 5:
            assert time.monotonic() < end, b.must("tail -2 /root/report")
            time.sleep(2)
    b.must("pkill -f /root/[a]ppender.py")
    report = [line.split()[0] for line in b.must("cat /root/report").splitlines()]
    assert "failed" not in report
    written = b.must(f"cat {POINT}/lines").split()
    assert written[: len(report)] == report


def test_the_serving_node_has_a_bind_mount_when_that_is_asked_for_and_a_move_is_noticed(mounts):
    a, served = mounts.a, {"serves": SERVED, "disk": content.DISK}
    assert agent(a, "start", timeout=_LONG, **served).rc == SUCCESS
    assert mounted(a) == "ext4"
    assert monitor(a, **served).rc == SUCCESS
    moved = monitor(mounts.b, **served)
    assert moved.rc == SUCCESS, moved
    assert agent(a, "stop", timeout=_LONG, **served).rc == SUCCESS
    content.unserve(a)
    content.serve(mounts.b, grace=15)
    did = monitor(mounts.b, **served)
    assert did.rc == GENERIC
    assert "serves" in did.said


# -- a stale handle -------------------------------------------------------------------------------------------------


def test_an_export_with_another_fsid_is_stale_and_a_new_start_mounts_it(mounts):
    a, b = mounts.a, mounts.b
    a.must(f"exportfs -ua; exportfs -f; exportfs -o rw,no_root_squash,no_subtree_check,fsid=78 10.77.0.0/24:{SERVED}")
    assert "stale" in until(b, GENERIC).said
    assert agent(b, "stop", timeout=_LONG).rc == SUCCESS
    assert agent(b, "start", timeout=_LONG).rc == SUCCESS
    assert monitor(b).rc == SUCCESS


def test_the_servers_own_disk_below_a_fixed_fsid_is_noticed(mounts):
    a, b = mounts.a, mounts.b
    content.unserve(a)
    a.must(f"mkdir -p {SERVED} && echo wrong >{SERVED}/wrong")
    try:
        content.serve(a, grace=15, disk=False)
        until(b, GENERIC)
        content.unserve(a)
        content.serve(a, grace=15, disk=False, export=f"mountpoint={content.DISK}")
        assert agent(b, "stop", timeout=_LONG).rc == SUCCESS
        assert agent(b, "start", timeout=60).rc == GENERIC
    finally:
        content.unserve(a)
        a.must(f"rm -r {SERVED}")


def test_an_export_that_is_taken_away_is_said_and_is_over_when_it_is_back(mounts):
    a, b = mounts.a, mounts.b
    a.must("exportfs -ua; exportfs -f")
    did = monitor(b)
    assert did.rc == GENERIC
    assert "exports" in did.said or "stale" in did.said
    a.must(f"exportfs -o rw,no_root_squash,no_subtree_check,fsid=77 10.77.0.0/24:{SERVED}")
    assert until(b, SUCCESS).rc == SUCCESS


# -- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", ["soft,timeo=10,retrans=1", "hard,vers=3,timeo=50,retrans=2"])
def test_other_ways_to_mount_hang_and_stop_in_the_same_way(mounts, options):
    b = mounts.b
    assert agent(b, "stop", timeout=_LONG).rc == SUCCESS
    fstype = "nfs" if "vers=3" in options else "nfs4"
    did = agent(b, "start", timeout=_LONG, fstype=fstype, options=options)
    assert did.rc == SUCCESS, did
    assert ("use hard" in did.said) is ("soft" in options)
    mounts.a.cut()
    assert monitor(b, fstype=fstype, options=options).rc in (DEGRADED, GENERIC)
    assert agent(b, "stop", timeout=_LONG, fstype=fstype, options=options).rc == SUCCESS
    assert mounted(b) == ""
