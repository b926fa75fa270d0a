"""The lab's own groups in every cgroup hierarchy of the host.

A node's systemd makes groups below the one it was started in, in each hierarchy it sees (on a hybrid host: name=systemd
and the unified one). Without a group of its own two nodes share /system.slice and collide. The groups
are also how a crashed lab is found again: every process of a lab is a member of its group, whoever its parent is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hafailover.crm.errors import HafailoverError, UsageError

_PREFIX = "hafailover-lab."

# The hierarchies a node writes to. nspawn shows a node the others read-only, and a group in "cpu" would take the
# real-time scheduling from Corosync on kernels with RT_GROUP_SCHED.
_WRITTEN = ("", "name=systemd", "memory", "pids")


class Hierarchy(NamedTuple):
    """One mounted cgroup hierarchy: its mount point, and its v1 name ("" for the unified one)."""

    mount: Path
    name: str


def parse_mounts(mountinfo: str) -> list[Hierarchy]:
    """The hierarchies a node needs a group in, from the text of /proc/self/mountinfo, each once, unified first."""
    found: dict[str, Hierarchy] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        mount = Path(fields[4].replace("\\040", " "))
        if kind[0] == "cgroup2":
            found.setdefault("", Hierarchy(mount, ""))
        elif kind[0] == "cgroup":
            options = kind[2].split(",")
            names = [option for option in options if option not in ("rw", "ro", "xattr", "noprefix", "clone_children")]
            name = ",".join(n for n in names if not n.startswith("release_agent="))
            found.setdefault(name, Hierarchy(mount, name))
    return sorted((h for h in found.values() if h.name in _WRITTEN), key=lambda h: h.name)


def hierarchies() -> list[Hierarchy]:
    """What is mounted on this host; UsageError if nspawn could not work with it."""
    found = parse_mounts(Path("/proc/self/mountinfo").read_text())
    if not any(h.name in ("", "name=systemd") for h in found):
        raise UsageError(
            "the lab's nodes run systemd, which needs a cgroup hierarchy, and none is mounted: "
            "mount -t cgroup2 none /sys/fs/cgroup."
        )
    return found


def directories(lab: str, node: str = "") -> list[Path]:
    """The directory of a lab (or of one of its nodes) in each hierarchy; they need not exist."""
    return [h.mount / (_PREFIX + lab) / node for h in hierarchies()]


def labs() -> set[str]:
    """Names of all labs that have a group, running or left behind."""
    return {path.name[len(_PREFIX) :] for h in hierarchies() for path in h.mount.glob(_PREFIX + "*")}


def create(lab: str, node: str) -> list[Path]:
    """Make the groups of a node, ready to be entered; return the ``cgroup.procs`` files to enter them by.

    UsageError where the host does not allow it.
    """
    entrances = []
    for directory in directories(lab, node):
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"the lab cannot make cgroups ({directory}: {error.strerror}); inside of a container it needs a "
                "privileged one with a writable /sys/fs/cgroup."
            ) from error
        entrances.append(directory / "cgroup.procs")
    return entrances


def enter(pid: int, entrances: Iterable[Path]) -> None:
    """Move process ``pid`` into groups made by :func:`create`."""
    for file in entrances:
        file.write_text(str(pid))


def pids(lab: str, node: str = "") -> set[int]:
    """Every process in the groups of a lab or node, in any hierarchy, at any depth."""
    found: set[int] = set()
    for top in directories(lab, node):
        for directory, _, _ in os.walk(top):
            with contextlib.suppress(OSError):
                found.update(int(pid) for pid in (Path(directory) / "cgroup.procs").read_text().split())
    found.discard(0)
    return found


def member(pid: int, lab: str, node: str = "") -> bool:
    """Whether process ``pid`` is in a group of that lab or node now."""
    marker = f"/{_PREFIX}{lab}/{node}".rstrip("/") + "/"
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(marker in line + "/" for line in groups.splitlines())


def kill(lab: str, timeout: float, node: str = "") -> None:
    """SIGKILL all processes in the groups of a lab or node until none is left; HafailoverError after ``timeout`` s."""
    deadline = time.monotonic() + timeout
    while True:
        left = pids(lab, node)
        if not left:
            return
        if time.monotonic() > deadline:
            raise HafailoverError(f"lab {lab}: processes {sorted(left)} do not end within {timeout:g} s of SIGKILL.")
        for pid in left:
            _kill_member(pid, lab, node)
        time.sleep(0.01)


def _kill_member(pid: int, lab: str, node: str) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Held by the descriptor the pid cannot be reused any more, so membership is asked after opening it.
        if member(pid, lab, node):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def remove(lab: str, node: str = "", timeout: float = 5.0) -> None:
    """Remove the groups of a lab or node, which must be empty of processes; HafailoverError after ``timeout`` s."""
    deadline = time.monotonic() + timeout
    for top in directories(lab, node):
        while top.exists():
            busy = None
            for directory, _, _ in os.walk(top, topdown=False):
                try:
                    Path(directory).rmdir()
                except FileNotFoundError:
                    continue
                except OSError as error:
                    if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                        raise
                    busy = directory
            if busy is not None:
                # The kernel lets go of a dead process's group a moment after the process.
                if time.monotonic() > deadline:
                    raise HafailoverError(f"cgroup {busy} stays busy; no process is in it.")
                time.sleep(0.01)
