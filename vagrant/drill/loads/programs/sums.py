"""Says what a node reads in a directory.

Its orders: ``directory``. It says ``{"name", "sum"}`` for each file, or ``{"name", "error"}`` for one that cannot be read.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from .pace import orders, say


def main() -> None:
    """Read every file once."""
    for file in sorted(Path(orders()["directory"]).iterdir()):
        try:
            say({"name": file.name, "sum": hashlib.sha256(file.read_bytes()).hexdigest()})
        except OSError as error:
            say({"name": file.name, "error": error.strerror or str(error)})
