"""Wait for something that comes about by itself, with a limit."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

from hafailover.crm.errors import HafailoverError

T = TypeVar("T")


def wait(what: str, timeout: float, attempt: Callable[[], T | None], interval: float = 0.05) -> T:
    """Call ``attempt`` until it returns something that is not None; HafailoverError naming ``what`` after ``timeout`` s."""
    deadline = time.monotonic() + timeout
    while True:
        result = attempt()
        if result is not None:
            return result
        if time.monotonic() >= deadline:
            raise HafailoverError(f"{what}: not within {timeout:g} s.")
        time.sleep(interval)
