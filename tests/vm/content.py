"""An NFS server that can move between two machines, and the agent nfsmount on both: what the tests say and do."""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

from machines import Machine

VIP = "10.77.0.100"
DISK = "/srv/disk"
SERVED = f"{DISK}/content"
POINT = "/mnt/content"
_DEVICE = "/dev/disk/by-id/virtio-shared"
_AGENT = "/usr/lib/ocf/resource.d/hafailover/nfsmount"


class Did(NamedTuple):
    """One action of the agent: its exit code, seconds by the machine's own clock, and what it said (journal and stderr)."""

    rc: int
    seconds: float
    said: str


# -- the server -----------------------------------------------------------------------------------------------------


def format_disk(machine: Machine) -> None:
    """An empty file system on the shared disk, with the directory that is served."""
    machine.must(
        f"mkfs.ext4 -q -F {_DEVICE} && mkdir -p {DISK} && mount {_DEVICE} {DISK} && "
        f"mkdir {SERVED} {DISK}/nfsdcld && umount {DISK}"
    )


def serve(machine: Machine, *, grace: int, export: str = "", disk: bool = True, scope: str = "content") -> None:
    """Mount the disk and serve it at the address. ``grace`` (lease and grace time) in seconds; ``export``: more options;
    without ``disk`` the server's own directory at its place is served. What nfsd knows of its clients lies on the disk, too.
    ``scope`` is the server scope; a client reclaims nothing from a server with another one.
    """
    options = f"rw,no_root_squash,no_subtree_check,fsid=77{',' if export else ''}{export}"
    machine.must(
        f"""set -e
        mkdir -p {DISK} /etc/nfs.conf.d
        {f"mountpoint -q {DISK} || mount {_DEVICE} {DISK}" if disk else ":"}
        printf '[nfsd]\\ngrace-time={grace}\\nlease-time={grace}\\nthreads=4\\n' >/etc/nfs.conf.d/test.conf
        mkdir -p /var/lib/nfs/nfsdcld /run/systemd/system/nfs-server.service.d
        printf '[Service]\nExecStart=\nExecStart=unshare --uts sh -c "hostname {scope}; exec rpc.nfsd"\n' \
            >/run/systemd/system/nfs-server.service.d/scope.conf
        systemctl daemon-reload
        {f"mountpoint -q /var/lib/nfs/nfsdcld || mount --bind {DISK}/nfsdcld /var/lib/nfs/nfsdcld" if disk else ":"}
        systemctl start nfs-server
        exportfs -o {options} 10.77.0.0/24:{SERVED}
        """
    )
    take_address(machine)


def take_address(machine: Machine) -> None:
    """Have the server's address, and let the other machine know."""
    machine.must(f"ip addr replace {VIP}/24 dev eth1 && arping -U -c 2 -w 3 -I eth1 {VIP} >/dev/null || true")


def unserve(machine: Machine) -> None:
    """Stop serving in the cluster's order: address, exports and server, disk."""
    machine.must(
        f"""ip addr del {VIP}/24 dev eth1 2>/dev/null
        exportfs -ua; systemctl stop nfs-server nfsdcld rpcbind.socket rpcbind
        mountpoint -q /var/lib/nfs/nfsdcld && umount /var/lib/nfs/nfsdcld
        ! mountpoint -q {DISK} || umount {DISK}""",
        timeout=200,
    )


# -- the agent ------------------------------------------------------------------------------------------------------


def agent(machine: Machine, action: str, *, timeout: int = 60, interval: int = 0, level: int = 0, **given: str) -> Did:
    """Run an action as Pacemaker does; killed ten seconds after the ``timeout`` that it is told, which is a failed test."""
    params = {"server": VIP, "export": SERVED, "directory": POINT, **given}
    environment = {
        "OCF_ROOT": "/usr/lib/ocf",
        "OCF_RA_VERSION_MAJOR": "1",
        "OCF_RA_VERSION_MINOR": "1",
        "OCF_RESOURCE_INSTANCE": "content",
        "OCF_RESOURCE_TYPE": "nfsmount",
        "OCF_CHECK_LEVEL": str(level),
        "OCF_RESKEY_CRM_meta_timeout": str(timeout * 1000),
        "OCF_RESKEY_CRM_meta_interval": str(interval * 1000),
        "OCF_RESKEY_CRM_meta_on_node": machine.name,
        **{f"OCF_RESKEY_{name}": value for name, value in params.items() if value},
    }
    words = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    done = machine.run(
        f"""since=$(date +%s.%N)
        env {words} timeout -s KILL {timeout + 10} {_AGENT} {action} 2>/tmp/agent.err >/tmp/agent.out; rc=$?
        until=$(date +%s.%N)
        journalctl --sync; journalctl -q -o cat -t hafailover-nfsmount --since "@$since"; cat /tmp/agent.err
        echo "rc=$rc $since $until" """,
        timeout=timeout + 120,
    )
    said, _, last = done.out.rstrip("\n").rpartition("\n")
    found = re.fullmatch(r"rc=(\d+) (\S+) (\S+)", last)
    assert found, done
    return Did(int(found[1]), float(found[3]) - float(found[2]), said)


def hanging(machine: Machine, program: str = "") -> list[str]:
    """Processes in uninterruptible sleep, as ``pid name``; only those of a name if one is given."""
    lines = machine.must("ps -eo stat=,pid=,comm=").splitlines()
    found = [line.split(None, 2) for line in lines]
    return [f"{pid} {name}" for stat, pid, name in found if stat.startswith("D") and program in name]


def mounted(machine: Machine, point: str = POINT) -> str:
    """Type of the file system that is mounted at ``point``, "" if none is."""
    lines = machine.must("cat /proc/self/mountinfo").splitlines()
    return next((line.split(" - ")[1].split()[0] for line in reversed(lines) if line.split()[4] == point), "")
