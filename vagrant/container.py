"""The container provider: nodes are systemd-nspawn machines on this host, run by a daemon per lab (powerd)."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.vagrant import cgroups, host
from hafailover.vagrant.host import ENVIRONMENT, labs_dir, package_root, wait
from hafailover.vagrant.plan import Plan
from hafailover.vagrant.provider import NodeState, PowerEvent, Progress

# Starts a module of this package whether it lies in a checkout or is installed: argv is the package's directory, then
# the module, then the module's own arguments.
BOOTSTRAP = (
    "import importlib, sys; m = sys.modules['hafailover'] = type(sys)('hafailover'); m.__path__ = [sys.argv[1]]; "
    "importlib.import_module('hafailover.' + sys.argv[2]).main(sys.argv[3:])"
)

_DAEMON_GROUP = "powerd"
# File systems that overlayfs refuses as its writable side.
_NO_UPPER = ("overlay", "nfs", "nfs4", "vfat", "fuse", "fuseblk")
_REQUEST_TIMEOUT = 90.0
# sockaddr_un holds 108 bytes, one of them the final zero.
_SOCKET_PATH_LIMIT = 107


class Containers:
    """See :class:`hafailover.vagrant.provider.Provider`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.directory = labs_dir() / plan.name
        self._control = self.directory / "control.sock"

    def create(self, progress: Progress) -> None:
        """Start the machine room; every node exists and is off afterwards."""
        self._check_paths()
        cgroups.hierarchies()
        host.allow_inotify(progress)
        for share in self.plan.shares:
            (self.directory / "shares" / share).mkdir(parents=True, exist_ok=True)
        progress(f"network: {', '.join(self.plan.subnets)} in a namespace of its own")
        argv = ["unshare", "--mount", sys.executable, "-c", BOOTSTRAP, str(package_root()), "vagrant.powerd"]
        with (self.directory / "powerd.log").open("ab") as log:
            daemon = subprocess.Popen(
                [*argv, str(self.directory)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**ENVIRONMENT, "HAFAILOVER_LAB_DIR": str(labs_dir())},
                cwd="/",
                start_new_session=True,
            )
        # It waits for its plan: killed before this, we leave a daemon behind that reads end of file and goes; killed
        # after this, it is in the lab's cgroup, where "down" finds it.
        cgroups.enter(daemon.pid, cgroups.create(self.plan.name, _DAEMON_GROUP))
        assert daemon.stdin is not None
        with contextlib.suppress(BrokenPipeError), daemon.stdin:
            daemon.stdin.write(json.dumps(self.plan.to_json()).encode() + b"\n")

        def answers() -> bool | None:
            if daemon.poll() is not None:
                said = (self.directory / "powerd.log").read_text(errors="replace").strip().splitlines()
                raise HafailoverError(f"lab {self.plan.name}: {said[-1] if said else 'its daemon ended at once'}")
            return True if self.alive() else None

        wait(f"lab {self.plan.name}: its daemon answers", 20.0, answers, 0.02)

    def destroy(self) -> None:
        """Kill what is in the lab's cgroups (mounts and network namespaces go with it), then remove its files."""
        cgroups.kill(self.plan.name, 15.0)
        cgroups.remove(self.plan.name)
        if self.directory.exists():
            shutil.rmtree(self.directory)

    def alive(self) -> bool:
        """Whether the lab's daemon answers."""
        try:
            self._request({"do": "state"}, timeout=5.0)
        except (HafailoverError, OSError):
            return False
        return True

    def states(self) -> dict[str, NodeState]:
        """The state of every node, from the daemon."""
        nodes: dict[str, dict[str, Any]] = self._request({"do": "state"})["nodes"]
        return {n: NodeState(s["power"], s["cut"], s["held"], s["boots"]) for n, s in nodes.items()}

    def power_on(self, node: str) -> None:
        """Boot a node that is off and end a hold."""
        self._request({"do": "on", "node": node})

    def power_off(self, node: str, *, hold: bool) -> None:
        """SIGKILL a node's init, its cables pulled first."""
        self._request({"do": "off", "node": node, "hold": hold})

    def cut(self, node: str) -> None:
        """Set the wire side of all the node's links down."""
        self._request({"do": "cut", "node": node})

    def heal(self, node: str) -> None:
        """Set the wire side of all the node's links up."""
        self._request({"do": "heal", "node": node})

    def command(self, node: str, argv: Sequence[str]) -> list[str]:
        """nsenter into the node's init; HafailoverError if the node is off."""
        init = self._request({"do": "state"})["nodes"][node]["init"]
        if init is None:
            raise HafailoverError(f"{node} is off; 'hafailover lab power on {node} --lab {self.plan.name}' boots it.")
        return ["nsenter", f"--target={init}", "--all", "--root", "--wd", *argv]

    def client_command(self, argv: Sequence[str]) -> list[str]:
        """nsenter into the client's network namespace only; the process keeps this machine's files."""
        return ["nsenter", f"--net={self._request({'do': 'state'})['client']}", *argv]

    def journal_command(self, node: str, options: Sequence[str]) -> list[str]:
        """Reads the node's disk from outside, so it works with the power off."""
        journal = self.directory / "nodes" / node / "upper/var/log/journal"
        return ["journalctl", f"--directory={journal}", "--quiet", "--no-pager", *options]

    def power_log(self) -> list[PowerEvent]:
        """The daemon's log of what it did to power and cables."""
        try:
            lines = (self.directory / "power.log").read_text().splitlines()
        except FileNotFoundError:
            return []
        entries = [json.loads(line) for line in lines]
        return [
            PowerEvent(e["t"], e["node"], e["action"], e["by"], e.get("seconds"), e.get("refused", "")) for e in entries
        ]

    def details(self) -> dict[str, Any]:
        """The lab's directory and image."""
        return {"directory": str(self.directory), "image": self.plan.image}

    def _check_paths(self) -> None:
        longest = max(len(m.name) for m in self.plan.machines)
        if len(str(self.directory)) + longest + len("/nodes//fence/power.sock") > _SOCKET_PATH_LIMIT:
            raise UsageError(
                f"{self.directory} is too long a path for the lab's unix sockets (107 bytes in all): "
                "set HAFAILOVER_LAB_DIR to a shorter one."
            )
        if host.filesystem(self.directory) in _NO_UPPER:
            raise UsageError(
                f"{labs_dir()} is on {host.filesystem(self.directory)}, which cannot hold the nodes' disks (the upper "
                "side of an overlay): set HAFAILOVER_LAB_DIR to a directory on ext4, xfs, btrfs or tmpfs."
            )

    def _request(self, request: dict[str, Any], timeout: float = _REQUEST_TIMEOUT) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            try:
                connection.connect(str(self._control))
                connection.sendall(json.dumps(request).encode() + b"\n")
                line = connection.makefile().readline()
            except socket.timeout:
                raise HafailoverError(
                    f"lab {self.plan.name}: its daemon did not answer {request['do']!r} within {timeout:g} s."
                ) from None
            except (FileNotFoundError, ConnectionError):
                line = ""
        if not line:
            raise HafailoverError(
                f"lab {self.plan.name}: its daemon is gone; 'hafailover lab down {self.plan.name}' clears the rest away."
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise HafailoverError(answer["error"])
        result: dict[str, Any] = answer["ok"]
        return result
