"""What one monitor leaves for the next: a file on a tmpfs, because no action outlives its process."""

from __future__ import annotations

import os

from hafailover.agents import RUN_DIR


class Unit:
    """One unit as the last look found it.

    ``pid`` and ``started`` name its process (0 and "": none is expected, or a new one is awaited). ``since`` is when its
    restart was begun (monotonic seconds, 0: none is under way). ``silent``, ``stopped`` and ``unconnected`` count
    monitors in a row, ``met`` is 1 once it was seen with a broker.
    """

    __slots__ = ("met", "name", "pid", "silent", "since", "started", "stopped", "unconnected")

    def __init__(
        self,
        name: str,
        pid: int = 0,
        started: str = "",
        since: float = 0.0,
        silent: int = 0,
        stopped: int = 0,
        unconnected: int = 0,
        met: int = 0,
    ) -> None:
        self.name, self.pid, self.started, self.since = name, pid, started, since
        self.silent, self.stopped, self.unconnected, self.met = silent, stopped, unconnected, met

    def renew(self, pid: int, started: str) -> None:
        """A new process: all that was counted was counted of another one."""
        self.__init__(self.name, pid, started)  # type: ignore[misc]

    def restarting(self, now: float) -> None:
        """Its process is about to be replaced."""
        self.__init__(self.name, since=now)  # type: ignore[misc]


class Memory:
    """The units by name, the generation numbers they began with, when units were restarted in place, brokers.

    ``anew`` is when units were last restarted for a new generation (0: never), ``deep`` counts failed deep checks in a row.
    """

    __slots__ = ("anew", "brokers", "deaths", "deep", "generations", "units")

    def __init__(self) -> None:
        self.units: dict[str, Unit] = {}
        self.generations: dict[str, int] = {}
        self.deaths: list[float] = []
        self.brokers: list[tuple[str, int]] = []
        self.deep = 0
        self.anew = 0.0

    def text(self) -> str:
        """As it is written, a line for each thing."""
        lines = [
            f"unit {u.name} {u.pid} {u.started or '-'} {u.since:.3f} {u.silent} {u.stopped} {u.unconnected} {u.met}"
            for u in self.units.values()
        ]
        lines += [f"generation {name} {number}" for name, number in self.generations.items()]
        lines += [f"restart {moment:.3f}" for moment in self.deaths]
        lines += [f"broker {host} {port}" for host, port in self.brokers]
        lines += [f"deep {self.deep}", f"anew {self.anew:.3f}"]
        return "\n".join(lines) + "\n"


def parse(text: str) -> Memory:
    """The reverse of ``text``. ValueError if it is not that."""
    found = Memory()
    for line in text.splitlines():
        word, *rest = line.split()
        if word == "unit":
            name, pid, started, since, *numbers = rest
            silent, stopped, unconnected, met = map(int, numbers)
            begun = "" if started == "-" else started
            found.units[name] = Unit(name, int(pid), begun, float(since), silent, stopped, unconnected, met)
        elif word == "generation":
            found.generations[rest[0]] = int(rest[1])
        elif word == "restart":
            found.deaths.append(float(rest[0]))
        elif word == "broker":
            found.brokers.append((rest[0], int(rest[1])))
        elif word == "deep":
            found.deep = int(rest[0])
        elif word == "anew":
            found.anew = float(rest[0])
        else:
            raise ValueError(f"unknown line {line!r}")
    return found


def path(instance: str) -> str:
    """The file of a resource."""
    return f"{RUN_DIR}/{instance}.st2"


def load(instance: str) -> Memory | None:
    """What the last action of the resource on this node left, None if nothing (readable) is there."""
    try:
        with open(path(instance)) as file:
            return parse(file.read())
    except (FileNotFoundError, ValueError, IndexError):  # a new look makes a new one
        return None


def save(instance: str, memory: Memory) -> None:
    """Keep it for the next action. OSError."""
    os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
    temporary = path(instance) + ".new"
    with open(temporary, "w") as file:
        file.write(memory.text())
    os.replace(temporary, path(instance))


def forget(instance: str) -> None:
    """The resource is stopped. OSError."""
    try:
        os.unlink(path(instance))
    except FileNotFoundError:
        return
