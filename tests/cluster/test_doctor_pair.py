"""``hafailover doctor`` on a real pair: each fault is made, found from the other node, and gone after what it says was pasted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab
from labs import lab_of, shell, until

NAME = "doctor"
LIMIT = 60.0  # seconds; it promises half of that, and the machine may be busy
# Containers share the clock of their machine, which nobody may keep right.
SHARED = "clock-kept"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, DEFAULT_TOPOLOGY) as made:
        yield made


@pytest.fixture
def pair(lab: Lab) -> tuple[str, str]:
    """Who asks, and who has the fault; both well."""
    one, two = lab.data_nodes
    until("the cluster is healthy", lambda: lab.exec(one, ["hafailover", "status", "--check"]).returncode == 0)
    return one, two


def doctor(lab: Lab, node: str) -> tuple[int, dict[str, Any]]:
    begun = time.monotonic()
    done = lab.exec(node, ["hafailover", "doctor", "-o", "json"], timeout=2 * LIMIT)
    assert time.monotonic() - begun < LIMIT
    told: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, told


def found(told: dict[str, Any], check: str, node: str | None = None, result: str = "failed") -> list[dict[str, str]]:
    return [
        one
        for one in told["checks"]
        if one["check"] == check and one["result"] == result and node in (None, one["node"])
    ]


def only(told: dict[str, Any], check: str, node: str | None = None, result: str = "failed") -> dict[str, str]:
    fitting = found(told, check, node, result)
    assert len(fitting) == 1, [one for one in told["checks"] if one["result"] != "ok"]
    return fitting[0]


def seen(lab: Lab, asker: str, check: str, node: str, result: str) -> tuple[int, dict[str, Any]]:
    """The doctor's answer when it has found that; on a busy machine the other node may miss its seconds once."""

    def looked() -> tuple[int, dict[str, Any]] | None:
        code, told = doctor(lab, asker)
        return (code, told) if found(told, check, node, result) else None

    answer: tuple[int, dict[str, Any]] = until(f"{check} of {node} is found", looked)
    return answer


@contextmanager
def fault(lab: Lab, node: str, make: str, mend: str) -> Iterator[None]:
    shell(lab, node, make)
    try:
        yield
    finally:
        shell(lab, node, mend)


def test_a_healthy_pair_is_well_from_each_node(lab: Lab, pair: tuple[str, str]) -> None:
    for node in pair:
        code, told = doctor(lab, node)
        wrong = [one for one in told["checks"] if one["result"] != "ok" and one["check"] != SHARED]
        assert (code, wrong) == (0, [])
        assert {one["name"]: one["missing"] for one in told["nodes"]} == {pair[0]: "", pair[1]: ""}
        groups = {one["group"] for one in told["checks"]}
        assert len(groups) == 12, groups
        skews = found(told, "clock-skew", result="ok")
        assert [one["node"] for one in skews] == [name for name in pair if name != node]


def test_the_screen(lab: Lab, pair: tuple[str, str]) -> None:
    done = lab.exec(pair[0], ["hafailover", "doctor"], timeout=LIMIT)
    lines = done.stdout.splitlines()
    assert lines[0].split()[0] in ("OK", "WARN")
    assert [line for line in lines if len(line) > 80] == []
    assert "\033" not in done.stdout
    quiet = lab.exec(pair[0], ["hafailover", "doctor", "--quiet"], timeout=LIMIT).stdout
    assert "  ok " not in quiet


# The word at the end is what the result must name.
FAULTS = {
    "a secret that everybody can read": (
        "chmod 644 /etc/pacemaker/authkey", "chmod 640 /etc/pacemaker/authkey", "secret-mode", "failed", "authkey (0644"
    ),
    "a unit of the cluster's that starts at boot": (
        "systemctl enable mariadb", "systemctl disable mariadb", "starts-at-boot", "failed", "mariadb.service"
    ),
    "a setting that loses acknowledged writes": (
        "mariadb -e 'SET GLOBAL sync_binlog=0'", "mariadb -e 'SET GLOBAL sync_binlog=1'", "database-settings", "failed", "sync_binlog is 0"
    ),
    "a file that is not the topology's": (
        "echo '# by hand' >> /etc/hafailover/hosts", "sed -i '$d' /etc/hafailover/hosts", "rendered-files", "warning", "hafailover/hosts"
    ),
    "a full disk": (
        # What writes there, the history among it, may have filled it sooner, and may just have a file open when it goes.
        "mount -t tmpfs -o size=8m tmpfs /var/lib/hafailover; head -c 7900k /dev/zero > /var/lib/hafailover/full || true",
        "umount --lazy /var/lib/hafailover", "disk", "failed", "/var/lib/hafailover has",
    ),
    "a quorum device that does not vote": (
        "systemctl stop corosync-qdevice", "systemctl start corosync-qdevice", "quorum-device", "failed", "does not run"
    ),
    "a name that leads elsewhere": (
        "cp /etc/hosts /root/hosts; sed -i '1i 192.0.2.9 db1' /etc/hosts; sed -i '/10.77.0.11/d' /etc/hosts",
        "cat /root/hosts > /etc/hosts", "name-forward", "warning", "192.0.2.9"
    ),
}  # fmt: skip
# What a fault's fix is, when it can be pasted as it stands.
PASTED = ("secret-mode", "starts-at-boot")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_from_the_other_node(lab: Lab, pair: tuple[str, str], name: str) -> None:
    make, mend, check, result, word = FAULTS[name]
    asker, sick = pair
    with fault(lab, sick, make, mend):
        code, told = seen(lab, asker, check, sick, result)
        one = only(told, check, sick, result)
        assert word in one["what"]
        assert one["why"]
        assert one["fix"]
        assert code == (1 if result == "failed" else 0)
        if check in PASTED:
            shell(lab, sick, one["fix"])
            until("the paste has mended it", lambda: not found(doctor(lab, asker)[1], check, sick))
    until("it is well again", lambda: not found(doctor(lab, asker)[1], check, sick, result))


def test_a_node_that_cannot_be_had_to_look_again(lab: Lab, pair: tuple[str, str]) -> None:
    """Its peer service takes no account that others can read: what it told before is used, and said to be old."""
    asker, sick = pair
    with fault(lab, sick, "chmod 644 /etc/hafailover/db.cred", "chmod 600 /etc/hafailover/db.cred"):
        assert "could not be had to look again" in only(doctor(lab, asker)[1], "node", sick, "warning")["what"]
        shell(lab, sick, "systemctl start hafailover-doctor")
        assert "db.cred (0644" in only(doctor(lab, asker)[1], "secret-mode", sick)["what"]
        # Its own account is what this node would have asked with.
        assert "is open to others" in only(doctor(lab, sick)[1], "node", asker, "warning")["what"]


def test_a_corosync_conf_that_is_not_the_same(lab: Lab, pair: tuple[str, str]) -> None:
    asker, sick = pair
    with fault(lab, sick, "echo '# by hand' >> /etc/corosync/corosync.conf", "sed -i '$d' /etc/corosync/corosync.conf"):
        code, told = doctor(lab, asker)
        one = only(told, "same-files")
        assert "/etc/corosync/corosync.conf is not the same" in one["what"]
        assert code == 1
    assert found(doctor(lab, asker)[1], "same-files") == []


def test_packets_that_are_too_large_for_one_end(lab: Lab, pair: tuple[str, str]) -> None:
    asker, sick = pair
    size = shell(lab, sick, "ip -o link show eth1 | sed 's/.* mtu \\([0-9]*\\).*/\\1/'")
    with fault(lab, sick, f"ip link set dev eth1 mtu {int(size) - 200}", f"ip link set dev eth1 mtu {size}"):
        code, told = doctor(lab, asker)
        lost = only(told, "path-mtu", asker)
        assert lost["what"] == f"to {sick} on link 1 packets of {size} bytes get lost, smaller ones do not"
        assert "link 1 has ends of different size" in only(told, "link-mtu", result="warning")["what"]
        assert code == 1
    assert found(doctor(lab, asker)[1], "path-mtu") == []


def test_a_link_that_is_cut(lab: Lab, pair: tuple[str, str]) -> None:
    asker, sick = pair
    with fault(lab, sick, "ip link set dev eth1 down", "ip link set dev eth1 up"):
        until("Corosync has noticed", lambda: "disconnected" in shell(lab, asker, "corosync-cfgtool -s"))
        code, told = doctor(lab, asker)
        assert f"link 1 to {sick} is disconnected" in only(told, "corosync-link", asker)["what"]
        assert any("link 1" in one["what"] for one in found(told, "path-mtu", asker, "not looked at"))
        assert code == 1
        problems = json.loads(lab.exec(asker, ["hafailover", "status", "-o", "json"]).stdout)["problems"]
        assert f"Corosync's link 1 from {asker} to {sick} is cut" in [one["what"] for one in problems]
    for node in pair:
        until("it is back", lambda node=node: "disconnected" not in shell(lab, node, "corosync-cfgtool -s"))


# A stand-in for a clock that is wrong: all containers have that of their machine, so the node's programs are given another time, and its
# kernel, which would tell the right one, is not asked.
SHIFT = "import time; real = time.time; time.time = lambda: real() + 30; exec(open('/usr/lib/hafailover/doctor-show').read())"
DROP_IN = "/run/systemd/system/hafailover-doctor.service.d/shift.conf"


def test_a_clock_that_is_ahead_by_a_stand_in(lab: Lab, pair: tuple[str, str]) -> None:
    asker, sick = pair
    make = f"""
        mkdir -p "$(dirname {DROP_IN})"
        cat > {DROP_IN} << 'END'
[Service]
ExecStart=
ExecStart=/usr/bin/python3 -c "{SHIFT}"
END
        systemctl daemon-reload
        nft add table inet shift
        nft add chain inet shift input '{{ type filter hook input priority 0; }}'
        nft add rule inet shift input icmp type timestamp-request drop
    """
    mend = f"rm {DROP_IN}; systemctl daemon-reload; nft delete table inet shift; systemctl start hafailover-doctor"
    with fault(lab, sick, make, mend):
        code, told = doctor(lab, asker)
        one = only(told, "clock-skew", sick)
        assert f"ahead of {asker}'s" in one["what"]
        assert code == 1
    assert found(doctor(lab, asker)[1], "clock-skew") == []


def test_a_fencing_device_that_does_not_answer(lab: Lab, pair: tuple[str, str]) -> None:
    asker, sick = pair
    agent = "/usr/sbin/fence_lab"
    make = f"mv {agent} {agent}.away; printf '#!/bin/sh\\necho no route to the switch >&2; exit 1\\n' > {agent}; chmod 755 {agent}"
    fences = len(lab.fence_log())
    with fault(lab, sick, make, f"mv {agent}.away {agent}"):
        code, told = doctor(lab, asker)
        assert code == 1
        (one,) = found(told, "fence-device", sick)
        assert f"fence-{asker} does not answer" in one["what"]
    shell(lab, sick, "crm_resource --cleanup")
    assert len(lab.fence_log()) == fences, "nothing was switched"
    until("the cluster is healthy", lambda: lab.exec(asker, ["hafailover", "status", "--check"]).returncode == 0)


def test_a_node_whose_cluster_is_down_says_what_it_can(lab: Lab, pair: tuple[str, str]) -> None:
    asker, sick = pair
    with fault(lab, sick, "systemctl stop pacemaker", "systemctl start pacemaker"):
        code, told = doctor(lab, sick)
        assert code == 4
        assert told["result"] != "ok"
        assert "does not answer" in only(told, "node", asker, "not looked at")["what"]
        assert found(told, "disk", sick, "ok")
        code, told = doctor(lab, asker)
        assert code in (1, 4)
        assert "not a member" in only(told, "node", sick, "not looked at")["what"]


def test_a_dead_peer_holds_nothing_up_and_is_never_well(lab: Lab, pair: tuple[str, str]) -> None:
    asker, sick = pair
    lab.power_off(sick, hold=True)
    try:
        for _ in range(3):
            code, told = doctor(lab, asker)
            assert code != 0
            if found(told, "node", sick, "not looked at"):
                break
        only(told, "node", sick, "not looked at")
        assert not [one for one in told["checks"] if one["node"] == sick and one["result"] == "ok"]
    finally:
        lab.power_on(sick)
        lab.await_boot(sick)


def test_nobody_but_root_is_told(lab: Lab) -> None:
    argv = ["setpriv", "--reuid=hacluster", "--regid=haclient", "--clear-groups", "hafailover", "doctor"]
    done = lab.exec(lab.data_nodes[0], argv)
    assert (done.returncode, done.stdout) == (1, "")
    assert "root" in done.stderr
