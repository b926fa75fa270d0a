"""The host of a lab: what it must have, running its programs with a deadline, recognising a process again."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Callable

from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.crm.waiting import wait as wait

# Program -> Debian package, of what the lab starts on the host.
TOOLS = {
    "ip": "iproute2",
    "journalctl": "systemd",
    "mmdebstrap": "mmdebstrap",
    "mount": "mount",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}

# A short list: what a person exports for a shell (proxies, tokens, pyenv) has no business in a node.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
    "TERM": "dumb",
}

_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
_INOTIFY_INSTANCES = 1024
_NAME = re.compile(r"[a-z][a-z0-9-]{0,23}")


def require() -> None:
    """Raise UsageError, in one sentence, when this machine cannot run a lab at all."""
    if sys.platform != "linux":
        raise UsageError(f"the lab needs Linux (namespaces and cgroups); this is {sys.platform}.")
    if os.geteuid() != 0:
        raise UsageError("the lab makes namespaces, mounts and cgroups and needs root: run it with sudo.")
    for tool, package in TOOLS.items():
        if shutil.which(tool, path=ENVIRONMENT["PATH"]) is None:
            raise UsageError(f"the lab needs the program {tool}, which is not installed: apt-get install {package}.")


def allow_inotify(progress: Callable[[str], None]) -> None:
    """Let as many machines run at a time as there is memory for.

    Each systemd takes eight inotify instances of root's, of which Debian allows 128 in all: the sixteenth machine would neither mount
    nor listen for messages, and never finish booting, without a word in any log. This is a setting of the whole host, until it boots.
    """
    try:
        allowed = int(_INOTIFY.read_text())
        if allowed >= _INOTIFY_INSTANCES:
            return
        _INOTIFY.write_text(str(_INOTIFY_INSTANCES))
    except (OSError, ValueError):
        progress(
            f"this host does not let fs.inotify.max_user_instances be raised to {_INOTIFY_INSTANCES}: "
            "more than fifteen machines at a time, in all labs together, will not boot"
        )
        return
    progress(f"host: fs.inotify.max_user_instances is {_INOTIFY_INSTANCES} instead of {allowed} until it boots again")


def check_name(name: str) -> str:
    """Return ``name`` if it can name a lab (it becomes part of directory and cgroup names); UsageError if not."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"lab name {name!r}: allowed are up to 24 lower-case letters, digits and dashes, beginning with a letter."
        )
    return name


def labs_dir() -> Path:
    """Where labs keep their state and their nodes' disks (``HAFAILOVER_LAB_DIR``)."""
    return Path(os.environ.get("HAFAILOVER_LAB_DIR", "/var/lib/hafailover/labs"))


def cache_dir() -> Path:
    """Where images are kept between labs (``HAFAILOVER_CACHE_DIR``)."""
    return Path(os.environ.get("HAFAILOVER_CACHE_DIR", "/var/cache/hafailover"))


def package_root() -> Path:
    """The directory that holds agents/, crm/ and vagrant/: a checkout, or an installed hafailover package."""
    return Path(__file__).resolve().parent.parent


def filesystem(path: Path) -> str:
    """The type of the file system that ``path``, or its nearest directory that exists, is on."""
    while not path.exists():
        path = path.parent
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == wanted:
            return after.split()[0]
    return "unknown"


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    input: str | bytes | None = None,
    check: bool = True,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run ``argv`` for at most ``timeout`` seconds; HafailoverError with its last words if it fails (``check``) or hangs.

    The whole process group is killed at the deadline: nsenter and shells leave children behind otherwise.
    """
    process = subprocess.Popen(
        list(argv),
        stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(env or ENVIRONMENT),
        start_new_session=True,
    )
    try:
        given = input.encode() if isinstance(input, str) else input
        raw_out, raw_err = process.communicate(given, timeout=timeout)
    except BaseException as interruption:
        # An interruption may come in the moment between its end and our notice of it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(interruption, subprocess.TimeoutExpired):
            raise HafailoverError(f"{shorten(argv)}: no answer within {timeout:g} s.") from None
        raise
    out, err = raw_out.decode(errors="replace"), raw_err.decode(errors="replace")
    if check and process.returncode != 0:
        said = (err.strip() or out.strip() or "it said nothing").splitlines()
        raise HafailoverError(f"{shorten(argv)}: exit code {process.returncode}: {' / '.join(said[-3:])}")
    return subprocess.CompletedProcess(list(argv), process.returncode, out, err)


def shorten(argv: Sequence[str]) -> str:
    """``argv`` as one short line for a message."""
    line = " ".join(argv)
    return line if len(line) <= 120 else line[:117] + "..."


def start_time(pid: int) -> int | None:
    """When process ``pid`` was started, in clock ticks since boot; None if it is gone or only a zombie is left.

    A pid with its start time names one process for ever; a pid alone is reused.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def kill(pid: int, started: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal to the process that had ``pid`` and start time ``started``; False if that one is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # The descriptor holds whatever process has the pid now; only then is the start time compared.
        if start_time(pid) != started:
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True
