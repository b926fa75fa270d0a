"""The faults inside a node: signals to its processes, a full disk, replication that somebody stops, units restarted."""

from __future__ import annotations

import time

from hafailover.crm.errors import HafailoverError
from hafailover.vagrant.drill import database
from hafailover.vagrant.drill.target import Target
from hafailover.vagrant.lab import Lab

# The wrappers first: they would start the server again. (The kernel keeps 15 characters of a program's name.)
SERVER_PROGRAMS = ("mariadbd-safe", "mysqld_safe", "mariadbd", "mysqld", "drill-null")
_SERVERS = ("mariadbd", "mysqld")
_COMM = 15
_EXEC_TIMEOUT = 15.0
_UNIT_TIMEOUT = 90.0
_LARGEST_DISK_KIB = 16 << 20
_FILLER = "drill-filler"

# Everything that is left, in pieces that get smaller; reserved blocks that are not written to take no room on the machine below.
# A file system that grows no further refuses the last piece, which is how it ends.
_FILL = """
set -e
cd "$0"
number=0
for size in 64M 8M 1M 64K 4K; do
  while fallocate -l $size "$1.$number" 2>/dev/null; do number=$((number + 1)); done
  rm -f "$1.$number"
done
date +%s.%N
"""
_FREE = 'rm -f "$0/$1".*'
_SIGNAL = 'date +%s.%N; kill -s "$0" "$@"'


class Breakage:
    """Breaks things inside the nodes of one lab, and mends them."""

    def __init__(self, lab: Lab, target: Target) -> None:
        self._lab = lab
        self._target = target

    def signal(self, node: str, process: str, name: str) -> float | None:
        """Send the signal ``name`` to a process of ``node`` as the scenario calls it; return when, in Unix seconds.

        None if no helper runs there, which need not be. HafailoverError if any other process is not running.
        """
        found = self._pids(node, process)
        if not found:
            if process == "helper":
                return None
            what = "database server" if process == "server" else process
            raise HafailoverError(f"kill: no {what} runs on {node}")
        # Looking for the processes and entering the node take their time; the fault is when the signal is sent.
        done = self._lab.exec(node, ["sh", "-c", _SIGNAL, name, *found], _EXEC_TIMEOUT, check=True)
        return float(done.stdout)

    def servers(self, node: str) -> list[str]:
        """The pids of the database server's processes in ``node``, wrappers apart."""
        found = self._lab.exec(node, ["pgrep", "--exact", "|".join(_SERVERS)], _EXEC_TIMEOUT)
        return found.stdout.split()

    def resume(self, node: str, process: str) -> None:
        """Let a paused process go on. One that is gone, or whose node is off or was restarted meanwhile, needs nothing."""
        if self._lab.states()[node].power != "on":
            return
        found = self._pids(node, process)
        if found:
            # Between the look and the signal the node may be fenced: then there is nothing to resume either.
            self._lab.exec(node, ["kill", "-s", "CONT", *found], _EXEC_TIMEOUT)

    def _pids(self, node: str, process: str) -> list[str]:
        if process == "helper":
            unit = f"hafailover-mariadb-{self._target.database}-tend.service"
            shown = self._lab.exec(node, ["systemctl", "show", "-P", "MainPID", unit], _EXEC_TIMEOUT)
            pid = shown.stdout.strip()
            return [pid] if pid not in ("", "0") else []
        names = SERVER_PROGRAMS if process == "server" else (process[:_COMM],)
        found = self._lab.exec(node, ["pgrep", "--list-name", "--exact", "|".join(names)], _EXEC_TIMEOUT)
        processes = dict(line.split(maxsplit=1) for line in found.stdout.splitlines())
        return sorted(processes, key=lambda pid: names.index(processes[pid]))

    def stop_replication(self, node: str) -> None:
        """STOP SLAVE, as a person might."""
        database.sql(self._lab, node, "STOP SLAVE")

    def fill(self, node: str) -> float:
        """Fill the file system of the datadir; return when it was full, in Unix seconds.

        HafailoverError if that is not a small file system of its own: what is below it is this machine's disk.
        """
        datadir = self._target.datadir
        shown = self._lab.exec(node, ["df", "--output=size,target", datadir], _EXEC_TIMEOUT, check=True)
        size, mounted = shown.stdout.splitlines()[-1].split(maxsplit=1)
        if mounted.strip() != datadir or int(size) > _LARGEST_DISK_KIB:
            raise HafailoverError(
                f"fill: {datadir} on {node} is not a small file system of its own; make the lab with 'lab up --disk 1024'"
            )
        done = self._lab.exec(node, ["sh", "-c", _FILL, datadir, _FILLER], _UNIT_TIMEOUT, check=True)
        return float(done.stdout.split()[-1])

    def free(self, node: str) -> None:
        """Give the room back; the node must have power."""
        self._lab.exec(node, ["sh", "-c", _FREE, self._target.datadir, _FILLER], _EXEC_TIMEOUT, check=True)

    def restart(self, node: str, unit: str) -> float:
        """Have systemd restart a unit without waiting for it; return when, in Unix seconds."""
        began = time.time()
        self._lab.exec(node, ["systemctl", "--no-block", "restart", unit], _UNIT_TIMEOUT, check=True)
        return began

    def start_cluster(self, node: str) -> None:
        """Start what a node starts when it boots and what is not running now."""
        if self._lab.states()[node].power != "on":
            return
        wanted = ["corosync-qnetd"] if node == self._lab.quorum_node else ["corosync", "pacemaker"]
        if node != self._lab.quorum_node and self._lab.quorum_node:
            wanted.insert(1, "corosync-qdevice")
        self._lab.exec(node, ["systemctl", "reset-failed", *wanted], _EXEC_TIMEOUT)
        # A unit that is active, or about to be, is left alone; a node that is fenced at this moment needs nothing.
        self._lab.exec(node, ["systemctl", "--no-block", "start", *wanted], _UNIT_TIMEOUT)
