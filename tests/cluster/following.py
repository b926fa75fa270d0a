"""A command that runs in a node, while the test looks at what it says."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence

from hafailover.vagrant.lab import Lab
from labs import PATIENCE, until


class Following:
    """``argv`` as root in ``node``; its lines can be waited for."""

    def __init__(self, lab: Lab, node: str, argv: Sequence[str]) -> None:
        self._process = lab.popen(
            node,
            ["bash", "-c", f"echo $$; exec {' '.join(argv)}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.pid = int(until("it has started", lambda: self.lines and self.lines[0]))

    def _read(self) -> None:
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))

    def await_line(self, text: str) -> None:
        """Wait until it has said ``text``; AssertionError when it has ended without."""

        def said() -> bool:
            over = self._process.poll() is not None
            if over:
                self._reader.join(5)
            if any(text in line for line in self.lines):
                return True
            assert not over, f"it has ended with {self._process.returncode}: {self.lines}"
            return False

        until(f"{text!r} in {self.lines}", said)

    def end(self, seconds: float = PATIENCE) -> tuple[int, str]:
        """Its exit code and everything that it has said."""
        code = self._process.wait(seconds)
        self._reader.join(5)
        return code, "\n".join(self.lines)
