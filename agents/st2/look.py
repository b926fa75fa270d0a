"""What the kernel tells of processes and their connections, without asking systemd or running anything."""

from __future__ import annotations

import os

from hafailover.agents import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Broker = tuple[str, int]

_ESTABLISHED = "01"


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
    found = {}
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(path) as file:
                lines = file.readlines()[1:]
        except FileNotFoundError:  # IPv6 is disabled
            continue
        for line in lines:
            fields = line.split()
            address, _, port = fields[2].partition(":")
            if port in wanted and fields[3] == _ESTABLISHED:
                found[fields[9]] = (host(address), int(port, 16))
    return found


def host(digits: str) -> str:
    """The address in the kernel's notation, 0B004D0A, as text, 10.77.0.11; IPv6 that maps IPv4 becomes IPv4."""
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    packed = b"".join(words)
    if len(packed) == 16 and packed[:12] == b"\0" * 10 + b"\xff\xff":
        packed = packed[12:]
    if len(packed) == 4:
        return ".".join(str(byte) for byte in packed)
    return ":".join(packed[at : at + 2].hex().lstrip("0") or "0" for at in range(0, 16, 2))


def remotes(pid: int, sockets: dict[str, Broker]) -> set[Broker]:
    """The far ends of those of ``sockets`` that the process has open."""
    found = set()
    directory = f"/proc/{pid}/fd"
    try:
        for entry in os.listdir(directory):
            try:
                target = os.readlink(f"{directory}/{entry}")
            except FileNotFoundError:
                continue
            if target.startswith("socket:[") and target[8:-1] in sockets:
                found.add(sockets[target[8:-1]])
    except (FileNotFoundError, ProcessLookupError):  # it has just ended, which the next look tells
        return found
    return found
