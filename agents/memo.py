"""What actions of one resource on one node leave for the next ones, on a tmpfs: it ends with the node."""

from __future__ import annotations

import os
import time

from hafailover.agents import RUN_DIR


class Memo:
    """Named notes of a resource."""

    def __init__(self, resource: str) -> None:
        self._base = f"{RUN_DIR}/{resource}."

    def read(self, name: str) -> str | None:
        """The note, or None."""
        try:
            with open(self._base + name) as file:
                return file.read()
        except FileNotFoundError:
            return None

    def write(self, name: str, text: str) -> None:
        """Write the note. OSError."""
        os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
        temporary = f"{self._base}{name}.new"
        with open(temporary, "w") as file:
            file.write(text)
        os.replace(temporary, self._base + name)

    def clear(self, *names: str) -> bool:
        """Forget notes; whether one of them was there."""
        there = False
        for name in names:
            try:
                os.unlink(self._base + name)
                there = True
            except FileNotFoundError:
                continue
        return there

    def since(self, name: str) -> float:
        """For how many seconds something has been so, counted from the first time it was asked for."""
        now = time.monotonic()
        text = self.read(name)
        if text is None:
            self.write(name, f"{now:.6f}")
            return 0.0
        return max(0.0, now - float(text))
