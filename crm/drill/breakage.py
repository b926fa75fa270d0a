"""The faults inside a node: signals to its processes, a full disk, replication that somebody stops, units restarted."""

from __future__ import annotations

import time

from hafailover.crm import corosync_conf, corosync_links, waiting
from hafailover.crm.corosync_conf import CorosyncConf
from hafailover.crm.drill import cutting, database
from hafailover.crm.drill.place import Place
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import HafailoverError

# The wrappers first: they would start the server again. (The kernel keeps 15 characters of a program's name.)
SERVER_PROGRAMS = ("mariadbd-safe", "mysqld_safe", "mariadbd", "mysqld", "drill-null")
_COMM = 15
_EXEC_TIMEOUT = 15.0
_UNIT_TIMEOUT = 90.0
_STOP_TIMEOUT = 300.0
_NOTICED_WITHIN = 60.0  # it depends on the token
_NOTICED_POLL = 0.5
_UNITS = ("corosync", "corosync-qdevice", "pacemaker")  # in the order in which they are started
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
# By where they run: "mariadbd --version", which every start asks, is no server, and neither is one that is dead and not yet waited for.
_ALL_SERVERS = """
for pid in $(pgrep --exact 'mariadbd|mysqld'); do
  place=$(readlink "/proc/$pid/cwd") && [ "$place" = "$(readlink -f "${0:-$place}")" ] && echo "$pid"
done
true
"""
# What is in a pid file may be an old server's number that another program has now.
_OWN_SERVER = """
cd "$0" || exit 0
read -r pid < "$1" || [ "$pid" ] || exit 0
case $(cat "/proc/$pid/comm") in mariadbd|mysqld) ;; *) exit 0 ;; esac
[ "$(readlink "/proc/$pid/cwd")" = "$(pwd -P)" ] || exit 0
parent=$(awk '{ sub(/.*\\) /, ""); print $2 }' "/proc/$pid/stat")
case $(cat "/proc/$parent/comm") in mariadbd-safe|mysqld_safe) echo "$parent" ;; esac
echo "$pid"
"""
_SIGNAL = 'date +%s.%N; kill -s "$0" "$@"'


class Breakage:
    """Breaks things inside the nodes of one cluster, and mends them."""

    def __init__(self, place: Place, target: Target) -> None:
        self._place = place
        self._target = target
        self._stopped: dict[str, list[str]] = {}

    def signal(self, node: str, process: str, name: str) -> float | None:
        """Send the signal ``name`` to a process of ``node`` as the scenario calls it; return when, in Unix seconds.

        None if no helper runs there, which need not be. HafailoverError if any other process is not running.
        """
        # On a real cluster other database servers may run beside the one that was announced.
        found = self._own_server(node) if process == "server" and self._real() else self._pids(node, process)
        if not found:
            if process == "helper":
                return None
            what = "database server" if process == "server" else process
            raise HafailoverError(f"kill: no {what} runs on {node}")
        # Looking for the processes and entering the node take their time; the fault is when the signal is sent.
        done = self._place.exec(node, ["sh", "-c", _SIGNAL, name, *found], _EXEC_TIMEOUT, check=True)
        return float(done.stdout)

    def _real(self) -> bool:
        return not self._place.tables()

    def _own_server(self, node: str) -> list[str]:
        """The server of the drill's service alone, which tells itself which process it is, and a wrapper that would restart it."""
        [[file, datadir]] = database.sql(self._place, node, "SELECT @@pid_file, @@datadir")
        return self._place.exec(node, ["sh", "-c", _OWN_SERVER, datadir, file], _EXEC_TIMEOUT).stdout.split()

    def servers(self, node: str) -> list[str]:
        """The pids of the database servers that run in ``node`` on the target's datadir, or on any if it is not known; wrappers apart."""
        return self._place.exec(node, ["sh", "-c", _ALL_SERVERS, self._target.datadir], _EXEC_TIMEOUT).stdout.split()

    def resume(self, node: str, process: str) -> None:
        """Let a paused process go on. One that is gone, or whose node is off or was restarted meanwhile, needs nothing."""
        if self._place.states()[node].power != "on":
            return
        found = self._pids(node, process)
        if found:
            # Between the look and the signal the node may be fenced: then there is nothing to resume either.
            self._place.exec(node, ["kill", "-s", "CONT", *found], _EXEC_TIMEOUT)

    def _pids(self, node: str, process: str) -> list[str]:
        if process == "helper":
            unit = f"hafailover-mariadb-{self._target.database}-tend.service"
            shown = self._place.exec(node, ["systemctl", "show", "-P", "MainPID", unit], _EXEC_TIMEOUT)
            pid = shown.stdout.strip()
            return [pid] if pid not in ("", "0") else []
        names = SERVER_PROGRAMS if process == "server" else (process[:_COMM],)
        found = self._place.exec(node, ["pgrep", "--list-name", "--exact", "|".join(names)], _EXEC_TIMEOUT)
        processes = dict(line.split(maxsplit=1) for line in found.stdout.splitlines())
        return sorted(processes, key=lambda pid: names.index(processes[pid]))

    def stop_replication(self, node: str) -> None:
        """STOP SLAVE, as a person might."""
        database.sql(self._place, node, "STOP SLAVE")

    def fill(self, node: str) -> float:
        """Fill the file system of the datadir; return when it was full, in Unix seconds.

        HafailoverError if that is not a small file system of its own: what is below it is this machine's disk.
        """
        datadir = self._target.datadir
        shown = self._place.exec(node, ["df", "--output=size,target", datadir], _EXEC_TIMEOUT, check=True)
        size, mounted = shown.stdout.splitlines()[-1].split(maxsplit=1)
        if mounted.strip() != datadir or int(size) > _LARGEST_DISK_KIB:
            raise HafailoverError(
                f"fill: {datadir} on {node} is not a small file system of its own; make the lab with 'lab up --disk 1024'"
            )
        done = self._place.exec(node, ["sh", "-c", _FILL, datadir, _FILLER], _UNIT_TIMEOUT, check=True)
        return float(done.stdout.split()[-1])

    def free(self, node: str) -> None:
        """Give the room back; the node must have power."""
        self._place.exec(node, ["sh", "-c", _FREE, self._target.datadir, _FILLER], _EXEC_TIMEOUT, check=True)

    def restart(self, node: str, unit: str) -> float:
        """Have systemd restart a unit without waiting for it; return when, in Unix seconds."""
        began = time.time()
        self._place.exec(node, ["systemctl", "--no-block", "restart", unit], _UNIT_TIMEOUT, check=True)
        return began

    def stop_cluster(self, node: str) -> None:
        """Stop what makes the node a member, in good order; what ran is remembered."""
        running = [unit for unit in _UNITS if self._active(node, unit)]
        self._stopped[node] = running
        self._place.exec(node, ["systemctl", "stop", *reversed(running)], _STOP_TIMEOUT, check=True)

    def standby(self, node: str, on: bool) -> None:
        """Send a node into standby, or end that; returns when the cluster was told."""
        word = ["-v", "on"] if on else ["-D"]
        self._place.exec(node, ["crm_standby", "-N", node, *word], _EXEC_TIMEOUT, check=True)

    def _active(self, node: str, unit: str) -> bool:
        return self._place.exec(node, ["systemctl", "--quiet", "is-active", unit], _EXEC_TIMEOUT).returncode == 0

    def start_cluster(self, node: str) -> None:
        """Start what :meth:`stop_cluster` stopped, or else what a node starts when it boots, and what is not running now."""
        if self._place.states()[node].power != "on":
            return
        wanted = ["corosync-qnetd"] if node == self._place.quorum_node else ["corosync", "pacemaker"]
        if node != self._place.quorum_node and self._place.quorum_node:
            wanted.insert(1, "corosync-qdevice")
        wanted = self._stopped.pop(node, []) or self._at_boot(node, wanted)
        self._place.exec(node, ["systemctl", "reset-failed", *wanted], _EXEC_TIMEOUT)
        # A unit that is active, or about to be, is left alone; a node that is fenced at this moment needs nothing.
        self._place.exec(node, ["systemctl", "--no-block", "start", *wanted], _UNIT_TIMEOUT)

    def _at_boot(self, node: str, wanted: list[str]) -> list[str]:
        """On a real cluster, whose quorum device is not ours: also its daemon, where it is started at boot."""
        if self._place.quorum_node or self._place.tables():
            return wanted
        device = "corosync-qdevice"
        there = self._place.exec(node, ["systemctl", "--quiet", "is-enabled", device], _EXEC_TIMEOUT).returncode == 0
        return [wanted[0], device, *wanted[1:]] if there else wanted

    def cut_link(self, node: str, link: int) -> None:
        """Drop Corosync's packets on one link of a node; returns when Corosync has noticed. HafailoverError if it is the only one."""
        conf = corosync_conf.parse(
            self._place.exec(node, ["cat", corosync_conf.PATH], _EXEC_TIMEOUT, check=True).stdout, corosync_conf.PATH
        )
        own, peers = link_addresses(conf, node, link)
        run = self._runner(node)
        cutting.cut_link(run, cutting.resolved(run, [own]), cutting.resolved(run, peers))
        waiting.wait(
            f"cut-link: Corosync on {node} does not say that link {link} is down", _NOTICED_WITHIN,
            lambda: None if "connected" in self._link(node, link) else True, _NOTICED_POLL,
        )  # fmt: skip

    def _link(self, node: str, link: int) -> list[str]:
        """The states of a link to the other nodes, as Corosync calls them."""
        said = self._place.exec(node, ["corosync-cfgtool", "-s"], _EXEC_TIMEOUT).stdout
        return list(corosync_links.parse(said).get(str(link), {"": "connected"}).values())

    def heal_link(self, node: str) -> None:
        """Take that back, on a node that has power."""
        if self._place.states()[node].power == "on":
            cutting.heal(self._runner(node))

    def _runner(self, node: str) -> cutting.Run:
        return lambda argv, input="": self._place.exec(node, argv, _EXEC_TIMEOUT, input or None, check=True).stdout


def link_addresses(conf: CorosyncConf, node: str, link: int) -> tuple[str, list[str]]:
    """The address of ``node`` on a link and those of all others; HafailoverError if there is none, or it is the node's only one."""
    own = next((one for one in conf.nodes if one.name == node), None)
    if own is None:
        raise HafailoverError(f"cut-link: corosync.conf names no node {node}")
    if link not in own.links:
        raise HafailoverError(f"cut-link: {node} has no link {link}")
    if len(own.links) < 2:
        raise HafailoverError(f"cut-link: {node} has only one link: without it the node would be fenced")
    peers = [one.links[link] for one in conf.nodes if one.name != node and link in one.links]
    return own.links[link], peers
