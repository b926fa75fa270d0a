"""A publisher and a consumer outside of the nodes, and their ledger: what was confirmed, and what has arrived."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hafailover.vagrant.drill.amqp_client import QUEUE
from hafailover.vagrant.lab import Lab

__all__ = ["QUEUE", "Load"]

_PROGRAM = ["/usr/bin/python3", "-I", str(Path(__file__).resolve().with_name("amqp_client.py"))]
_ENDING = 20.0


class Load:
    """Publishes numbers to a durable queue with confirms, and consumes them. The ledger is kept in ``directory``."""

    def __init__(self, lab: Lab, hosts: Sequence[str], account: tuple[str, str], directory: Path) -> None:
        self._lab, self._hosts, self._account, self._directory = lab, hosts, account, directory
        self._running: dict[str, subprocess.Popen[Any]] = {}
        for what in ("publish", "consume"):
            self.begin(what)

    def begin(self, what: str) -> None:
        """Start the publisher or the consumer."""
        user, password = self._account
        argv = [*_PROGRAM, what, str(self._directory / what), user, *self._hosts]
        process = self._lab.client_popen(argv, stdin=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(password.encode())
        process.stdin.close()
        self._running[what] = process

    def end(self, what: str) -> None:
        """End it."""
        process = self._running.pop(what)
        process.terminate()
        try:
            process.wait(timeout=_ENDING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=_ENDING)

    def close(self) -> None:
        """End both."""
        for what in list(self._running):
            self.end(what)

    def numbers(self, what: str) -> set[int]:
        """What was confirmed ("publish") or has arrived ("consume")."""
        return {number for number, _ in self.lines(what)}

    def lines(self, what: str) -> list[tuple[int, float]]:
        """The same with the Unix time of each."""
        path = self._directory / what
        text = path.read_text() if path.exists() else ""
        return [(int(line.split()[0]), float(line.split()[1])) for line in text.splitlines() if line.count(" ") == 1]
