"""What a node tells people of its database, in one attribute: why it may not be promoted, how it came back, how its hooks went.

One, for every attribute is asked for by a program of its own, and somebody waits for hafailover status. The text is
``why=…|rejoin=…|hooks=…``, with ``%`` and ``|`` in a value as in a URL. It lies in /run as well, behind the name of the attribute daemon
that was told; both end with the node's boot.
"""

from __future__ import annotations

import fcntl
import os
import time

from hafailover.agents import RUN_DIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hafailover.crm.pacemaker import Pacemaker

ATTRIBUTE = "told"
WHY, REJOIN, HOOKS = "why", "rejoin", "hooks"
"""Why the node cannot be promoted (``ok``: it can); agents/mariadb/rejoin_record.py; hooks/hooks_run.py."""
_LONGEST = 1 << 20  # bytes
_ALONE_WITHIN = 2.0  # seconds


def read(text: str) -> dict[str, str]:
    """Part → value."""
    pairs = (part.partition("=") for part in text.split("|") if "=" in part)
    return {name: value.replace("%7C", "|").replace("%25", "%") for name, _, value in pairs}


def write(parts: Mapping[str, str]) -> str:
    """The text of ``parts``."""
    plain = ((name, " ".join(value.splitlines())) for name, value in sorted(parts.items()))
    return "|".join(f"{name}={value.replace('%', '%25').replace('|', '%7C')}" for name, value in plain)


def published(pacemaker: Pacemaker, resource: str) -> dict[str, dict[str, str]]:
    """What every node tells: part → node → value. PacemakerError."""
    return sorted_out(pacemaker.published(attribute(resource)))


def sorted_out(texts: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Part → node → value, of node → text."""
    found: dict[str, dict[str, str]] = {WHY: {}, REJOIN: {}, HOOKS: {}}
    for node, text in texts.items():
        for part, value in read(text).items():
            found.setdefault(part, {})[node] = value
    return found


def attribute(resource: str) -> str:
    """The attribute's whole name."""
    return f"hafailover-{resource}-{ATTRIBUTE}"


def known(resource: str) -> dict[str, str]:
    """What this node tells since it booted."""
    try:
        with open(_path(resource), encoding="utf-8") as file:
            return read(file.read().partition(" ")[2])
    except OSError:
        return {}


def tell(resource: str, changed: Mapping[str, str], publish: Callable[[str], None], daemon: str = "") -> bool:
    """Have ``publish`` tell the parts in ``changed`` beside the others, unless all is told; whether a part is new.

    ``daemon``: a name for the running attribute daemon, if the caller knows it; another one has forgotten what was told. What ``publish``
    raises is raised; it is told at the next time then. Where nothing can be written down, it is told all the same, each time.
    """
    try:
        os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
        file = os.open(_path(resource), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        publish(write(changed))
        return True
    try:
        _lock(file)
        to, _, text = os.read(file, _LONGEST).decode("utf-8", "replace").partition(" ")
        before = read(text)
        now = write({**before, **changed})
        if now == text and daemon in ("", to):
            return False
        publish(now)
        try:
            os.ftruncate(file, 0)
            os.pwrite(file, f"{daemon or to or '-'} {now}".encode(), 0)
        except OSError:
            pass  # it is told, and will be told again
    finally:
        os.close(file)
    after = read(now)
    return any(before.get(part) != after[part] for part in changed)


def _lock(file: int) -> None:
    """Be alone, for a monitor and two hooks may have something to tell at the same moment; but no monitor waits for one that hangs."""
    end = time.monotonic() + _ALONE_WITHIN
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                return  # the next monitor tells what the other one has left out
        time.sleep(0.02)


def _path(resource: str) -> str:
    return f"{RUN_DIR}/{resource}.{ATTRIBUTE}"
