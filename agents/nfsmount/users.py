"""Who uses a directory, found without touching it: fuser and lsof ``stat`` every open file and hang with a hung mount.

Links of /proc are read, not followed. A process's maps and command line need a lock of its memory, which a page fault on a
hung file holds; so these come last, and all of it runs in a child.

A process that hangs in opening or closing a file has no link to it: the one has it not yet, the other no longer. It holds the mount
all the same, and goes on when the server is back or the mount was forced, then in the directory below. Such a process is found by what the
kernel says it waits in.
"""

from __future__ import annotations

import os

from hafailover.agents import child
from hafailover.agents.proc import stat as fields_of
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Look = Callable[[str, str], str]

_PF_KTHREAD = 0x00200000


class User(NamedTuple):
    """A process: pid, start time (clock ticks since boot), short name, and by what it uses the directory."""

    pid: int
    started: str
    name: str
    by: str

    def __str__(self) -> str:
        return f"{self.name}[{self.pid}] ({self.by})"


def find(directory: str, seconds: float, proc: str = "/proc") -> list[User]:
    """The processes that use something in ``directory``, except this one and its parents; after ``seconds`` those found so far."""
    spared = _own_line(proc)
    return _parsed(child.lines(lambda: scan(directory, proc, spared), seconds))


def _parsed(lines: Sequence[str]) -> list[User]:
    found: dict[int, User] = {}
    for line in lines:
        fields = line.split("\t")
        if len(fields) == 4 and fields[0].isdecimal():
            found.setdefault(int(fields[0]), User(int(fields[0]), fields[1], fields[2], fields[3]))
    return sorted(found.values())


def scan(directory: str, proc: str, spared: Sequence[int] = (), looks: Sequence[Look] | None = None) -> Iterator[str]:
    """One line for each use: pid, start time, name and by what, parted by tabs."""
    pids = [int(name) for name in os.listdir(proc) if name.isdecimal() and int(name) not in spared]
    for look in looks or (_links, _opening, _mapped):
        for pid in pids:
            by = look(f"{proc}/{pid}", directory)
            if by:
                started, name = _identity(f"{proc}/{pid}")
                if started:
                    yield f"{pid}\t{started}\t{name}\t{by}"


def waiting(seconds: float, proc: str = "/proc") -> list[User]:
    """The processes that hang in NFS now, on whichever mount, except this one and its parents."""
    spared = _own_line(proc)
    return _parsed(child.lines(lambda: scan("", proc, spared, (_in_nfs,)), seconds))


def inside(path: str, directory: str) -> bool:
    """Whether ``path``, as the kernel writes it in /proc, is ``directory`` or lies in it."""
    path = path[: -len(" (deleted)")] if path.endswith(" (deleted)") else path
    return path == directory or path.startswith(directory + "/")


def _links(process: str, directory: str) -> str:
    for name in ("cwd", "root", "exe"):
        if inside(_readlink(f"{process}/{name}"), directory):
            return name
    try:
        descriptors = os.listdir(f"{process}/fd")
    except OSError:  # it has ended, or is a kernel thread
        return ""
    return next((f"fd {fd}" for fd in descriptors if inside(_readlink(f"{process}/fd/{fd}"), directory)), "")


def _mapped(process: str, directory: str) -> str:
    try:
        with open(f"{process}/maps", encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError:
        return ""
    for line in text.splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and inside(fields[5], directory):
            return "mapped file"
    return ""


def _in_nfs(process: str, directory: str) -> str:
    """Whether a thread of the process hangs in the kernel's NFS client; in whichever directory."""
    return "waits in NFS" if _hanging(process) else ""


def _hanging(process: str) -> list[str]:
    """The threads that do, as paths below /proc. None of the kernel's own: they serve all mounts."""
    try:
        tasks = [f"{process}/task/{name}" for name in os.listdir(f"{process}/task")]
    except OSError:
        return []
    return [task for task in tasks if sleeps(_text(f"{task}/stat")) and in_nfs(_text(f"{task}/stack"))]


def sleeps(stat: str) -> bool:
    """Whether /proc/PID/stat is that of a program, not of a kernel thread, in uninterruptible sleep."""
    fields = stat.rpartition(") ")[2].split()
    return len(fields) > 6 and fields[0] == "D" and not int(fields[6]) & _PF_KTHREAD


def in_nfs(stack: str) -> bool:
    """Whether a kernel stack, as /proc/PID/stack has it, goes through the NFS client."""
    names = [line.partition("] ")[2] for line in stack.splitlines()]
    return any(name.startswith("nfs") or name.endswith("[nfs]") for name in names)


def _opening(process: str, directory: str) -> str:
    for task in _hanging(process):
        for address in arguments(_text(f"{task}/syscall")):
            if inside(_string(f"{process}/mem", address), directory):
                return "waits for a path in it"
    return ""


def arguments(syscall: str) -> list[int]:
    """The first two arguments in the text of /proc/PID/syscall: what has a path has it there, on every architecture."""
    fields = syscall.split()
    return [int(field, 16) for field in fields[1:3]] if len(fields) == 9 else []


def _string(memory: str, address: int) -> str:
    """The text at an address, as far as its page goes; "" where there is none."""
    try:
        with open(memory, "rb", buffering=0) as file:
            file.seek(address)
            return file.read(4096 - address % 4096).partition(b"\0")[0].decode("utf-8", "surrogateescape")
    except (OSError, ValueError, OverflowError):  # no such page; it ended
        return ""


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _readlink(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _identity(process: str) -> tuple[str, str]:
    try:
        with open(f"{process}/stat", encoding="utf-8", errors="replace") as file:
            before, _, after = file.read().rpartition(")")
    except OSError:
        return "", ""
    name = " ".join(before.partition("(")[2].split())
    return after.split()[19], name


def _own_line(proc: str) -> list[int]:
    """This process, its parents up to init, and init: who ends one of them ends the action, or the node."""
    line = [1]
    pid = os.getpid()
    while pid > 1 and pid not in line:
        line.append(pid)
        fields = fields_of(f"{proc}/{pid}/stat")
        if fields is None:
            return line
        pid = int(fields[1])
    return line
