"""One container node, as the machine room sees it: disk, cables, power."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable

from hafailover.crm.errors import HafailoverError
from hafailover.vagrant import cgroups, disks, network
from hafailover.vagrant.host import ENVIRONMENT, run
from hafailover.vagrant.plan import DATA, QUORUM, Plan

OFF, BOOTING, ON = "off", "booting", "on"

# Where a node finds its fence socket and the shared directories.
FENCE_MOUNT = "/run/hafailover-lab"
SHARE_MOUNT = "/shared"

# nspawn's exit code when the machine inside rebooted by itself and --keep-unit leaves the restart to us.
_REBOOTED = 133

_BOOT_TIMEOUT = 60.0


class Node:
    """A container with its own disk (an overlay over the image), network namespace and cgroup."""

    def __init__(self, directory: Path, plan: Plan, index: int, wire: Path, record: Callable[..., None]) -> None:
        self.plan = plan
        self.machine = plan.machines[index]
        self.index = index
        self.directory = directory / "nodes" / self.machine.name
        self.root = self.directory / "root"
        self.fence_socket = self.directory / "fence" / "power.sock"
        self.is_cut = False
        self._wire = wire
        self._namespace = wire.parent / f"node-{self.machine.name}"
        self._record = record
        self._shares = directory / "shares"
        # Serialises power and cable operations: two nodes may fence a third one at the same time.
        self._lock = threading.RLock()
        self._power = OFF
        self._held = False
        self._boots = 0
        self._init: int | None = None
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._disks: list[disks.Disk] = []
        self._plugged: list[disks.Shared] = []

    def build(self, shared: Sequence[disks.Shared] = ()) -> None:
        """Make the directories and mount the disk; the node stays off. A data node sees the disks in ``shared``, too, and its own ones."""
        for name in ("upper", "work", "root", "fence"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={self.plan.image},upperdir={self.directory}/upper,workdir={self.directory}/work"
        # Without it, a directory that comes from the image cannot be renamed, as it can on every disk.
        options += ",redirect_dir=on"
        run(["mount", "-t", "overlay", "-o", options, "overlay", str(self.root)], timeout=10)
        if self.machine.role == DATA:
            own = [disk for disk in self.plan.own_disks if self.machine.name in disk.nodes]
            self._plugged = [*shared, *(disks.blank(self.directory, disk) for disk in own)]
            self._disks = [disks.make(self.directory, self.root, path, self.plan.disk_mib) for path in self.plan.disks]

    def state(self) -> dict[str, Any]:
        """What status shows: power off|booting|on, whether cut or held off, pid of its init, number of boots."""
        return {
            "power": self._power,
            "cut": self.is_cut,
            "held": self._held,
            "init": self._init,
            "boots": self._boots,
        }

    def cut(self) -> dict[str, Any]:
        """Pull all network cables."""
        return self._cable(up=False)

    def heal(self) -> dict[str, Any]:
        """Put all network cables back."""
        return self._cable(up=True)

    def _cable(self, *, up: bool) -> dict[str, Any]:
        with self._lock:
            self.is_cut = not up
            if self._power != OFF:
                self._batch(network.cable(self.index, len(self.machine.interfaces), up=up))
            self._record(node=self.machine.name, action="heal" if up else "cut", by="lab")
            return self.state()

    def power_off(self, *, by: str, hold: bool | None) -> dict[str, Any]:
        """Take the power: everything in the node is dead, silently, when this returns.

        ``hold`` True keeps a later "on" by fencing from working; only a person's power-on ends that; None leaves it.
        """
        with self._lock:
            if hold is not None:
                self._held = hold
            began = time.time()
            self._stop()
            self._record(node=self.machine.name, action="off", by=by, seconds=round(time.time() - began, 4))
            return self.state()

    def power_on(self, *, by: str, hold: bool | None) -> dict[str, Any]:
        """Boot the node if it is off; returns when its init runs, not when it has booted. ``hold`` as in power_off."""
        with self._lock:
            if hold is not None:
                self._held = hold
            if self._held:
                self._record(node=self.machine.name, action="on", by=by, refused="held off by the lab")
            elif self._power == OFF:
                self._start()
                self._record(node=self.machine.name, action="on", by=by)
            return self.state()

    def _stop(self) -> None:
        nspawn, self._nspawn = self._nspawn, None
        if nspawn is None:
            return
        # The cables first: a machine without power sends no FIN for its connections, but a dying process does.
        self._batch(network.cable(self.index, len(self.machine.interfaces), up=False), force=True)
        if self._init is not None:
            _kill_and_wait(self._init)
        nspawn.kill()
        cgroups.kill(self.plan.name, 10.0, self.machine.name)
        self._init = None
        self._power = OFF

    def _start(self) -> None:
        name = self.machine.name
        cgroups.remove(self.plan.name, name)
        entrances = cgroups.create(self.plan.name, name)
        self._plug()
        notify_path = self.directory / "notify"
        with contextlib.suppress(FileNotFoundError):
            notify_path.unlink()
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(notify_path))
        enter = "".join(f"echo $$ >{file} && " for file in entrances)
        with (self.directory / "console.log").open("ab") as console:
            nspawn = subprocess.Popen(
                ["sh", "-c", f'{enter} exec "$@"', "sh", *self._nspawn_argv()],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={**ENVIRONMENT, "NOTIFY_SOCKET": str(notify_path)},
                start_new_session=True,
            )
        self._nspawn = nspawn
        self._boots += 1
        self._power = BOOTING
        self._init = self._await_leader(notify, nspawn)
        for disk in self._plugged:
            # Not bound: the stock agent Filesystem takes every mount whose line contains the device's name, and would
            # unmount that one, too.
            disks.plug(disk, Path(f"/proc/{self._init}/root"))
        threading.Thread(target=self._await_ready, args=(notify, nspawn), daemon=True).start()
        threading.Thread(target=self._await_end, args=(nspawn,), daemon=True).start()

    def _plug(self) -> None:
        """Fresh network hardware for a boot: a machine that comes back has none of its old addresses."""
        if self._namespace.exists():
            network.batch(self._wire, network.unplug(self.index, len(self.machine.interfaces)), force=True)
            network.drop_namespace(self._namespace)
        network.make_namespace(self._namespace)
        self._batch(network.plug(self.index, self.machine.interfaces, self._namespace, up=not self.is_cut))
        network.batch(self._namespace, network.addresses(self.machine.interfaces))

    def _batch(self, text: str, *, force: bool = False) -> None:
        network.batch(self._wire, text, force=force)

    def _nspawn_argv(self) -> list[str]:
        argv = [
            "systemd-nspawn",
            "--quiet",
            "--boot",
            "--console=pipe",
            "--notify-ready=yes",
            "--register=no",
            "--keep-unit",
            f"--directory={self.root}",
            # Only seen in ps; 64 characters is the longest name a machine may have.
            "--machine=" + f"{self.plan.name}-{self.machine.name}"[:64].rstrip("-"),
            f"--hostname={self.machine.name}",
            f"--uuid={uuid.uuid5(uuid.NAMESPACE_DNS, f'{self.machine.name}.{self.plan.name}')}",
            f"--network-namespace-path={self._namespace}",
            "--capability=all",
            "--system-call-filter=open_by_handle_at",
            "--link-journal=no",
            "--resolv-conf=off",
            "--timezone=off",
            f"--bind={self.fence_socket.parent}:{FENCE_MOUNT}",
            f"--bind-ro={self.plan.checkout}",
        ]
        if Path("/dev/fuse").exists():
            argv.append("--bind=/dev/fuse")
        argv += [f"--bind={disk.mounted}:{disk.path}" for disk in self._disks]
        if self.machine.role != QUORUM:
            argv += [f"--bind={self._shares / share}:{SHARE_MOUNT}/{share}" for share in self.plan.shares]
        return argv

    def _await_leader(self, notify: socket.socket, nspawn: subprocess.Popen[bytes]) -> int:
        deadline = time.monotonic() + _BOOT_TIMEOUT
        notify.settimeout(0.2)
        while time.monotonic() < deadline:
            with contextlib.suppress(socket.timeout):
                for line in notify.recv(4096).decode(errors="replace").splitlines():
                    key, _, value = line.partition("=")
                    if key == "X_NSPAWN_LEADER_PID":
                        return int(value)
            if nspawn.poll() is not None:
                break
        nspawn.kill()
        nspawn.wait()
        self._nspawn, self._power = None, OFF
        notify.close()
        console = (self.directory / "console.log").read_text(errors="replace").strip().splitlines()
        raise HafailoverError(
            f"{self.machine.name} does not boot: {' / '.join(console[-3:]) or 'its console is empty'}"
        )

    def _await_ready(self, notify: socket.socket, nspawn: subprocess.Popen[bytes]) -> None:
        notify.settimeout(0.2)
        with notify:
            while nspawn.poll() is None:
                with contextlib.suppress(socket.timeout):
                    if "READY=1" in notify.recv(4096).decode(errors="replace").splitlines():
                        # Only this boot's: the node may have been powered off and on while we waited.
                        if self._nspawn is nspawn:
                            self._power = ON
                        return

    def _await_end(self, nspawn: subprocess.Popen[bytes]) -> None:
        """Reap the node; if nobody took its power it went down by itself, and a reboot is ours to finish."""
        code = nspawn.wait()
        with self._lock:
            if self._nspawn is not nspawn:
                return
            self._stop()
            self._record(node=self.machine.name, action="down", by="itself", code=code)
            if code == _REBOOTED:
                self.power_on(by="itself", hold=None)


def _kill_and_wait(pid: int) -> None:
    """SIGKILL a node's init. When a PID namespace's init is gone so is every process in it: the kernel sees to that."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        if not select.select([descriptor], [], [], 10.0)[0]:
            raise HafailoverError(f"init {pid} does not end within 10 s of SIGKILL")
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def remove_disk(directory: Path) -> None:
    """Remove the files of a lab; its mounts died with its daemon."""
    shutil.rmtree(directory, ignore_errors=False)
