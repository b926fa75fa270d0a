"""Where what happened is handed in for the history: by agents, alerts and commands, in a fraction of a millisecond.

One file for each record in a directory in memory: a disk that hangs or is full delays no action of the cluster. The group haclient may
add files, because Pacemaker runs its alerts as a user of it, and can neither read nor remove those of others. The root side
(``hafailover.crm.history.drain``), which systemd starts as soon as a file is there, believes nothing of what it finds.
"""

from __future__ import annotations

import os
import time

from hafailover.agents import RUN_DIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DIRECTORY = f"{RUN_DIR}/inbox"
MODE = 0o1770
GROUP = "haclient"
MOST = 1000  # files; more are not taken until the root side has read these
LONGEST = 8192  # bytes of one file
_VALUE = 2000  # characters of one value
_SHORT = 64  # bytes of one value that are not worth cutting
_RESERVED = 200  # files more, for commands: who gave one is written down also in a flood of other things


def put(fields: Mapping[str, str]) -> bool:
    """Hand in one record: ``fields`` and the time. Never blocks or raises; False when there is nobody to take it, or too much is there."""
    now = time.time_ns()
    most = MOST + (_RESERVED if fields.get("kind") == "audit" else 0)
    data = _text({"at": str(now // 1000), **{key: value for key, value in fields.items() if value and key != "at"}})
    name = f"{now:020d}.{os.getpid()}"
    try:
        # Counting is not exact when many hand in at once; the bound need not be.
        if len(os.listdir(DIRECTORY)) >= most:
            return False
        new = os.open(
            f"{DIRECTORY}/.{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            whole = os.write(new, data) == len(data)  # memory that is nearly full takes a part
            if whole:
                os.rename(f"{DIRECTORY}/.{name}", f"{DIRECTORY}/{name}")  # nobody reads half a record
        except OSError:
            whole = False
        finally:
            os.close(new)
        if not whole:
            os.unlink(f"{DIRECTORY}/.{name}")
        return whole
    except OSError:
        return False


def _text(fields: Mapping[str, str]) -> bytes:
    """A file's content. What is too long is cut where it is longest: 2000 letters may be 8000 bytes, and the other fields count too."""
    parts = {key: value[:_VALUE].replace("\0", " ").encode("utf-8", "replace") for key, value in fields.items()}
    while sum(len(key.encode()) + len(value) + 2 for key, value in parts.items()) > LONGEST:
        longest = max(parts, key=lambda key: len(parts[key]))
        if len(parts[longest]) < _SHORT:
            break
        parts[longest] = parts[longest][: len(parts[longest]) // 2]
    data = b"".join(key.encode() + b"=" + value + b"\0" for key, value in parts.items())
    return data if len(data) <= LONGEST else data[: data.rindex(b"\0", 0, LONGEST) + 1]


def read(data: bytes) -> dict[str, str]:
    """The fields of one file; what was cut off at its end is left out, and what has no value."""
    pairs = (part.partition("=") for part in data[:LONGEST].decode("utf-8", "replace").split("\0")[:-1])
    return {key: value for key, equals, value in pairs if equals and key and value}
