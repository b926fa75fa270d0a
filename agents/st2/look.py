"""What the kernel tells of processes and their connections, without asking systemd or running anything."""

from __future__ import annotations

import os

from hafailover.agents import proc, sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Broker = tuple[str, int]


class Process:
    """A process: ``started`` (clock ticks since boot) tells it from a later one of the same pid; ``state`` as in ps."""

    __slots__ = ("started", "state")

    def __init__(self, started: str, state: str) -> None:
        self.started, self.state = started, state

    def age(self, uptime: float) -> float:
        """Seconds since it was started, at ``uptime`` seconds (``uptime()``)."""
        return uptime - int(self.started) / os.sysconf("SC_CLK_TCK")


def process(pid: int) -> Process | None:
    """The process of this pid, None if there is none that lives."""
    found = proc.living(pid)
    return None if found is None else Process(found.started, found.state)


def uptime() -> float:
    """Seconds since boot on the clock that processes' start times are told in."""
    with open("/proc/uptime") as file:
        return float(file.read().split()[0])


def connections(ports: Iterable[int]) -> dict[str, Broker]:
    """Socket inode → far end, of all established TCP connections to these ports."""
    wanted = {f"{port:04X}" for port in ports}
    return {
        one.inode: (sockets.host(one.remote[0]), int(one.remote[1], 16))
        for one in sockets.tcp()
        if one.remote[1] in wanted and one.state == sockets.ESTABLISHED
    }


def remotes(pid: int, known: dict[str, Broker]) -> set[Broker]:
    """The far ends of those ``known`` connections that the process has open."""
    found = set()
    directory = f"/proc/{pid}/fd"
    try:
        for entry in os.listdir(directory):
            try:
                target = os.readlink(f"{directory}/{entry}")
            except FileNotFoundError:
                continue
            if target.startswith("socket:[") and target[8:-1] in known:
                found.add(known[target[8:-1]])
    except (FileNotFoundError, ProcessLookupError):  # it has just ended, which the next look tells
        return found
    return found
