"""Two virtual machines with Debian's kernel, a network of their own and a disk that both have.

What is done to them and expected of them is in the tests; these need no more than the public names of Machine, so that other
machines (a Vagrant lab's, say) can stand in for these. qemu emulates the processor, which makes everything slow, unless
HAFAILOVER_VM_ACCEL=kvm is set.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.vagrant.host import package_root
from vm_image import Image, ensure

_BOOT = 600.0  # seconds; 40 on an idle machine without KVM
_MEMORY = 768  # MiB
# KVM starts and then hangs inside some virtual machines, so it is used only when asked for.
_ACCELERATOR = os.environ.get("HAFAILOVER_VM_ACCEL", "tcg")
_TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "ssh": "openssh-client",
    "mkfs.ext4": "e2fsprogs",
    "setpriv": "util-linux",
}


class Result(NamedTuple):
    """What a command on a machine left: its exit code, output, and how many seconds it took as seen from here."""

    rc: int
    out: str
    err: str
    seconds: float


class Machine:
    """One virtual machine; ``address`` is its own on the network that is tested."""

    def __init__(self, name: str, index: int, address: str, image: Image, directory: Path) -> None:
        self.name, self.address = name, address
        self._index, self._image, self._dir = index, image, directory
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        run_copy(image.disk, directory / f"{name}.img")

    # -- power ------------------------------------------------------------------------------------------------

    def power_on(self) -> None:
        """Start it; await_boot() says when it can be used."""
        self._port = _free_port()
        log = (self._dir / f"{self.name}.console").open("ab")
        with log:
            self._process = subprocess.Popen(
                # A test run that is killed takes its machines with it.
                ["nice", "-n", "19", "setpriv", "--pdeathsig=KILL", *self._command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def power_off(self) -> None:
        """Off at once, as a fence device does it: what was not written to a disk is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for name in ("qmp", "net", "ssh"):
            self._path(name).unlink(missing_ok=True)

    def await_boot(self) -> None:
        """Return when commands can be run; HafailoverError with the console's end if that does not happen."""
        until = time.monotonic() + _BOOT
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                if self.run("systemctl is-active vm-net", timeout=30).rc == 0:
                    return
            except subprocess.TimeoutExpired:
                continue
            time.sleep(1)
        console = (self._dir / f"{self.name}.console").read_text(errors="replace")
        raise HafailoverError(f"machine {self.name} cannot be reached; its console ends with: {console[-1500:]}")

    # -- network ----------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Take its cable out; commands still reach it another way."""
        self._qmp("set_link", name="n1", up=False)

    def heal(self) -> None:
        """Put the cable in again."""
        self._qmp("set_link", name="n1", up=True)

    # -- commands ---------------------------------------------------------------------------------------------

    def run(self, script: str, timeout: float = 120, input: bytes = b"") -> Result:
        """Run a shell script as root; subprocess.TimeoutExpired when it takes longer (it may go on there)."""
        begun = time.monotonic()
        done = subprocess.run(
            [*self._ssh(), "--", script],
            input=input,
            capture_output=True,
            timeout=timeout,
        )
        seconds = time.monotonic() - begun
        return Result(
            done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"), seconds
        )

    def must(self, script: str, timeout: float = 120, input: bytes = b"") -> str:
        """The output of a script that has to succeed; HafailoverError with what it said."""
        done = self.run(script, timeout, input)
        if done.rc != 0:
            raise HafailoverError(f"{self.name}: {script!r} ended with {done.rc}: {done.err or done.out}")
        return done.out

    def background(self, script: str) -> subprocess.Popen[bytes]:
        """Start a shell script that goes on; what it prints is lost unless it writes it to a file."""
        return subprocess.Popen(
            [*self._ssh(), "--", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def install(self) -> None:
        """Give it this checkout and its agents."""
        rooms = ["agents", "crm", "hooks", "vagrant", "bin"]
        code = subprocess.run(
            ["tar", "-C", str(package_root()), "--exclude=__pycache__", "-cz", *rooms], check=True, capture_output=True
        ).stdout
        self.must("rm -rf /opt/hafailover && mkdir -p /opt/hafailover && tar -C /opt/hafailover -xz", input=code)
        self.must("/opt/hafailover/bin/hafailover install", timeout=400)

    # -- inside -----------------------------------------------------------------------------------------------

    def _path(self, name: str) -> Path:
        return self._dir / f"{self.name}.{name}"

    def _ssh(self) -> list[str]:
        options = {
            "ConnectTimeout": "20",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "ControlMaster": "auto",
            "ControlPath": str(self._path("ssh")),
            "ControlPersist": "600",
        }
        given = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "none", "-i", str(self._image.key), *given, "-p", str(self._port), "root@127.0.0.1"]

    def _command(self) -> list[str]:
        other = self._dir / f"{'b' if self.name == 'a' else 'a'}.net"
        append = f"root=/dev/vda rw console=ttyS0 no_timer_check net.ifnames=0 quiet systemd.hostname={self.name} vm.index={self._index}"
        mac = f"52:54:00:77:{self._index:02x}"
        return [
            "qemu-system-x86_64",
            *("-machine", f"q35,accel={_ACCELERATOR}", "-smp", "1", "-m", str(_MEMORY)),
            *("-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"),
            *("-kernel", str(self._image.kernel), "-initrd", str(self._image.initrd), "-append", append),
            *("-drive", f"file={self._dir / f'{self.name}.img'},format=raw,if=none,id=root,cache=unsafe"),
            *("-device", "virtio-blk-pci,drive=root"),
            *("-drive", f"file={self._dir / 'shared.img'},format=raw,if=none,id=shared,cache=none,file.locking=off"),
            *("-device", "virtio-blk-pci,drive=shared,share-rw=on,serial=shared"),
            *("-netdev", f"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{self._port}-:22"),
            *("-device", f"virtio-net-pci,netdev=n0,mac={mac}:00"),
            *(
                "-netdev",
                f"dgram,id=n1,local.type=unix,local.path={self._path('net')},remote.type=unix,remote.path={other}",
            ),
            *("-device", f"virtio-net-pci,netdev=n1,mac={mac}:01"),
            *("-device", "virtio-rng-pci"),
            *("-qmp", f"unix:{self._path('qmp')},server=on,wait=off"),
        ]

    def _qmp(self, command: str, **arguments: Any) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self._path("qmp")))
            stream = connection.makefile("rw")
            stream.readline()
            for each in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                stream.write(json.dumps(each) + "\n")
                stream.flush()
                answer = json.loads(stream.readline())
                while "event" in answer:
                    answer = json.loads(stream.readline())
                if "error" in answer:
                    raise HafailoverError(f"{self.name}: {command}: {answer['error']['desc']}")


class Pair:
    """Both machines, from power-on to the removal of everything that they left on this host."""

    def __init__(self, directory: Path) -> None:
        require()
        image = ensure()
        directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(["truncate", "-s", "256M", str(directory / "shared.img")], check=True, timeout=30)
        self.a = Machine("a", 1, "10.77.0.1", image, directory)
        self.b = Machine("b", 2, "10.77.0.2", image, directory)
        self.machines = (self.a, self.b)
        self._dir = directory

    def up(self) -> None:
        """Boot both and install the agents."""
        for machine in self.machines:
            machine.power_on()
        for machine in self.machines:
            machine.await_boot()
            machine.install()

    def down(self) -> None:
        """Stop both and remove their disks."""
        for machine in self.machines:
            machine.power_off()
        shutil.rmtree(self._dir)


def require() -> None:
    """UsageError when this host cannot run the machines."""
    for tool, package in _TOOLS.items():
        if shutil.which(tool) is None:
            raise UsageError(
                f"the virtual machines need the program {tool}: apt-get install --no-install-recommends {package}."
            )


def run_copy(source: Path, target: Path) -> None:
    """Copy a sparse disk."""
    subprocess.run(["cp", "--reflink=auto", "--sparse=always", str(source), str(target)], check=True, timeout=300)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
