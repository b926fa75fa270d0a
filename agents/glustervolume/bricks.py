"""The brick processes of a volume on this node, and what their bricks know to be missing elsewhere."""

from __future__ import annotations

import os
import time

from hafailover.agents import child, proc
from hafailover.agents.gluster import store

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence
else:
    import _signal as signal  # the signal module would build enums for 5 ms

_RUN = "/run/gluster"
_INDEX = ".glusterfs/indices/xattrop"
_BASE = "xattrop-"  # what the other entries of the index are hard links of
_LOOKED = 300  # entries whose copies are looked at; all are counted
_POLL = 0.1


def pid(volume: str, host: str, path: str) -> int:
    """The process that serves a brick, or 0."""
    name = f"{_RUN}/vols/{volume}/{host}{path.replace('/', '-')}.pid"
    return _pid(name, f"--brick-name\0{path}\0")


def healer(volume: str) -> int:
    """The self-heal daemon of this node, which serves all volumes, or 0."""
    return _pid(f"{_RUN}/shd/{volume}/{volume}-shd.pid", "glustershd\0")


def _pid(file: str, has: str) -> int:
    """The process in a pid file, if it is one with ``has`` in its command line: the pid may be another program's by now."""
    try:
        with open(file) as stream:
            text = stream.read().strip()
        number = int(text)
        if proc.living(number) is None:
            return 0
        with open(f"/proc/{number}/cmdline", encoding="utf-8", errors="replace") as stream:
            return number if has in stream.read() + "\0" else 0
    except (OSError, ValueError):
        return 0


def others(host: str) -> list[int]:
    """The processes of all bricks of this node, whichever volume's."""
    found = (store.volume(name) for name in store.volumes())
    bricks = [
        (name, path) for name, one in zip(store.volumes(), found) if one for _, at, path, _ in one.bricks if at == host
    ]
    return [number for number in (pid(name, host, path) for name, path in bricks) if number]


def stopped(number: int) -> bool:
    """Whether a process is stopped by a signal or a debugger: it holds its connections open and answers nobody."""
    found = proc.living(number)
    return found is not None and found.state in "Tt"


def end(pids: Sequence[int], seconds: float) -> tuple[list[int], list[int]]:
    """TERM, then KILL: those that had to be killed, and those that hang in the kernel in spite of that."""
    for number in pids:
        _kill(number, signal.SIGTERM)
        _kill(number, signal.SIGCONT)
    killed = _wait(pids, seconds / 2)
    for number in killed:
        _kill(number, signal.SIGKILL)
    return killed, _wait(killed, seconds / 2)


def _wait(pids: Sequence[int], seconds: float) -> list[int]:
    until = time.monotonic() + seconds
    while True:
        left = [number for number in pids if proc.living(number) is not None]
        if not left or time.monotonic() > until:
            return left
        time.sleep(_POLL)


def _kill(number: int, what: int) -> None:
    try:
        os.kill(number, what)
    except ProcessLookupError:
        return


# -- what a brick knows ---------------------------------------------------------------------------------------------------------


class State:
    """A look at a brick: how many are ``pending`` to be healed elsewhere, the first of these ``entries``, ids of the bricks ``blamed`` for
    them, percent that is ``free`` of its file system's space or inodes, whichever is less.
    """

    __slots__ = ("blamed", "entries", "free", "pending")

    def __init__(self, pending: int, blamed: frozenset[str], free: float, entries: frozenset[str]) -> None:
        self.pending, self.blamed, self.free, self.entries = pending, blamed, free, entries


def look(path: str, copies: Sequence[str], seconds: float) -> State | None:
    """The state of a brick; ``copies`` are the ids of its set's others. None when its disk does not answer; OSError."""
    answer = child.ask(lambda: _look(path, copies), seconds)
    if answer.text is None:
        return None
    error = child.error(answer.text)
    if error:
        raise OSError(error[0], error[1], path)
    pending, free, blamed, entries = answer.text.split(" ")
    return State(int(pending), _set(blamed), float(free), _set(entries))


def _set(text: str) -> frozenset[str]:
    return frozenset(filter(None, text.split(",")))


def _look(path: str, copies: Sequence[str]) -> str:
    """Runs in the child."""
    status = os.statvfs(path)
    free = min(_percent(status.f_bavail, status.f_blocks), _percent(status.f_favail, status.f_files))
    try:
        entries = [name for name in os.listdir(f"{path}/{_INDEX}") if not name.startswith(_BASE)]
    except FileNotFoundError:
        entries = []  # nobody has written to it yet
    blamed: set[str] = set()
    for entry in entries[:_LOOKED]:
        file = f"{path}/.glusterfs/{entry[:2]}/{entry[2:4]}/{entry}"
        for name in set(copies) - blamed:
            if _changes(file, name):
                blamed.add(name)
    return f"{len(entries)} {free:.2f} {','.join(sorted(blamed))} {','.join(entries[:_LOOKED])}"


def _percent(free: int, of: int) -> float:
    return 100.0 * free / of if of else 100.0  # a file system that makes inodes as they are needed counts none


def _changes(file: str, copy: str) -> bool:
    """Whether this copy has changes of a file or directory that another one has not."""
    try:
        return any(os.getxattr(file, f"trusted.afr.{copy}"))
    except OSError:
        return False  # healed meanwhile, or never changed without that copy


def split_brain(text: str) -> tuple[str, ...]:
    """The entries that ``gluster volume heal VOLUME info split-brain`` names, each once."""
    found: dict[str, None] = {}
    for line in text.splitlines():
        if line.startswith(("/", "<gfid:")):
            found[line.removesuffix(" - Is in split-brain").strip()] = None
    return tuple(found)
