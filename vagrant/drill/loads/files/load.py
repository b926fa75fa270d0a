"""Writers of numbered files on the nodes of a lab, through their own mounts; what was acknowledged is kept outside of the nodes."""

from __future__ import annotations

import contextlib
import json
from typing import Callable

from hafailover.vagrant.drill.loads import wait
from hafailover.vagrant.drill.loads.client import Client, program
from hafailover.vagrant.drill.loads.files import oracle
from hafailover.vagrant.drill.loads.files.oracle import Written
from hafailover.vagrant.drill.loads.frame import Load
from hafailover.vagrant.lab import Lab

_EVERY = 0.1
_MORE = 20
_READ = 300.0


class Writer(Client):
    """Writes files through the mount of one node until it is ended, or its node is."""

    def __init__(self, lab: Lab, node: str, directory: str, life: int) -> None:
        super().__init__(lab, "files", {"directory": directory, "prefix": f"{node}-{life}", "every": _EVERY}, node)
        self.at = node

    def written(self) -> list[Written]:
        """What was acknowledged so far."""
        return [Written(one["name"], one["sum"], one["at"], self.at) for one in self.said() if "sum" in one]

    def errors(self) -> list[str]:
        """What was refused, and why."""
        return [f"{one['name']}: {one['error']}" for one in self.said() if "error" in one]


class Writers(Load):
    """Writers on all nodes. Use as a context manager: leaving it ends them."""

    def __init__(self, lab: Lab, nodes: tuple[str, ...], directory: str) -> None:
        self._lab, self._nodes, self.directory = lab, nodes, directory
        self._lives: dict[str, list[Writer]] = {node: [] for node in nodes}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Writers:
        for node in self._nodes:
            self.begin(node)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self, node: str) -> None:
        """Let a node write, again if its writer ended with it."""
        lives = self._lives[node]
        if not (lives and lives[-1].alive):
            lives.append(self._stack.enter_context(Writer(self._lab, node, self.directory, len(lives) + 1)))

    def _all(self) -> list[Writer]:
        return [writer for lives in self._lives.values() for writer in lives]

    def written(self) -> list[Written]:
        """What was acknowledged by all, and by those that ended."""
        return [one for writer in self._all() for one in writer.written()]

    def errors(self) -> list[str]:
        """What was refused."""
        return [one for writer in self._all() for one in writer.errors()]

    def goes_on(self, without: str = "") -> None:
        """Wait until the writer of every node but ``without`` has had more files acknowledged."""
        writers = {node: lives[-1] for node, lives in self._lives.items() if node != without}

        def stalled(behind: list[str]) -> str:
            said = [(*writers[node].errors(), writers[node].words)[-1:] for node in behind]
            why = "; ".join(one for last in said for one in last if one)
            return f"no file is acknowledged on {', '.join(behind)}: {why or 'writes hang'}"

        wait.until_more({node: (_count(writer), _MORE) for node, writer in writers.items()}, stalled)

    def comes_back(self, node: str) -> None:
        """The node writes again, and all the others go on."""
        self.begin(node)
        self.goes_on()

    def end(self) -> list[str]:
        """Write nothing any more; a write that hangs is a problem, unless its node is gone."""
        ended = [(writer, writer.stop()) for lives in self._lives.values() for writer in lives[-1:]]
        return [f"{writer.at}: {killed}" for writer, killed in ended if killed]


def _count(writer: Writer) -> Callable[[], int]:
    return lambda: len(writer.written())


def read(lab: Lab, node: str, directory: str) -> dict[str, str]:
    """What a node reads through its mount: the checksum of each file. HafailoverError."""
    orders = json.dumps({"directory": directory}) + "\n"
    return oracle.sums(lab.exec(node, program("sums"), timeout=_READ, input=orders, check=True).stdout)
