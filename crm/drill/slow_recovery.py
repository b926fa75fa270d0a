"""Makes the next start of a database server slow: once it has opened InnoDB's redo log, it stands still for a while.

Runs as a program of its own inside a node, so it imports nothing of hafailover. Arguments: the datadir and for how many seconds. It
prints "armed" when it watches, and ends when it has let that server go on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

_NAMES = frozenset(("mariadbd", "mysqld"))
_POLL = 0.005


def _servers() -> set[int]:
    found = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            # One that has just ended is none.
            with contextlib.suppress(OSError):
                if (process / "comm").read_text().strip() in _NAMES:
                    found.add(int(process.name))
    return found


def _recovers(pid: int, redo_log: str) -> bool:
    try:
        return any(str(file.readlink()).startswith(redo_log) for file in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False  # it has just ended, or closed a file


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def main() -> None:
    """Wait for a server that was not there before, and hold it up."""
    redo_log, seconds = f"{Path(sys.argv[1]).resolve()}/ib_logfile", float(sys.argv[2])
    before = _servers()
    _say("armed")
    while True:
        for pid in _servers() - before:
            if _recovers(pid, redo_log):
                os.kill(pid, signal.SIGSTOP)
                time.sleep(seconds)
                with contextlib.suppress(ProcessLookupError):  # somebody may have killed it for being slow
                    os.kill(pid, signal.SIGCONT)
                return
        time.sleep(_POLL)


if __name__ == "__main__":
    main()
