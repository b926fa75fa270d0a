"""A program that asks until its input ends, outside of the cluster or inside a node, and what it has said so far."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

from hafailover.vagrant.lab import Lab

_PROGRAMS = Path(__file__).resolve().with_name("programs")
_ENDING = 60.0  # seconds; what it has asked for last may take its time
_CHUNK = 1 << 20
_Self = TypeVar("_Self", bound="Client")


def program(name: str) -> list[str]:
    """The command line of one of ``programs``, whose orders are one line of JSON on standard input."""
    return ["/usr/bin/python3", "-I", str(_PROGRAMS), name]


class Client:
    """Runs the program ``name`` with ``orders``, in ``node`` or outside of all. A context manager: leaving it ends the program."""

    def __init__(self, lab: Lab, name: str, orders: Mapping[str, Any], node: str | None = None) -> None:
        self._lab, self._orders, self.node = lab, orders, node
        self._argv = program(name)
        self._process: subprocess.Popen[str] | None = None
        self._output: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._taken = 0
        self._said: list[dict[str, Any]] = []
        self.words = ""

    def __enter__(self: _Self) -> _Self:
        # Appended to and read at our own position: the program shares the file's offset with us.
        self._output = tempfile.TemporaryFile("a+b", prefix="hafailover-client-")
        streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": self._output, "stderr": subprocess.STDOUT}
        self._process = (
            self._lab.client_popen(self._argv, start_new_session=True, text=True, **streams)
            if self.node is None
            else self._lab.popen(self.node, self._argv, text=True, **streams)
        )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its node may be gone already
            self._process.stdin.write(json.dumps(self._orders) + "\n")
            self._process.stdin.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._output is not None:
            self._output.close()

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def said(self) -> list[dict[str, Any]]:
        """Every entry so far, oldest first. What else it has written last, such as an error of its own, is in ``words``."""
        with self._lock:
            if self._output is not None and not self._output.closed:
                self._take(self._output.fileno())
            return list(self._said)

    def _take(self, descriptor: int) -> None:
        while True:
            # The last line may be half written.
            whole, end, _ = os.pread(descriptor, _CHUNK, self._taken).rpartition(b"\n")
            if not end:
                return
            self._taken += len(whole) + 1
            for line in whole.decode(errors="replace").splitlines():
                try:
                    self._said.append(dict(json.loads(line)))
                except (ValueError, TypeError):
                    self.words = line or self.words

    def stop(self) -> str | None:
        """Have it end, which the end of its input tells it; why not, when it had to be killed."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        killed = None
        try:
            process.wait(timeout=_ENDING)
        except subprocess.TimeoutExpired:
            killed = f"what it asked for last did not end within {_ENDING:g} s"
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=_ENDING)
        self.said()
        return killed
