"""How the delivery of this node's alerts stands, a test event, and trying at once."""

from __future__ import annotations

import getpass
import os
import pwd
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hafailover.crm import local
from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.crm.schema import unknown
from hafailover.crm.status_words import clock
from hafailover.hooks.alerts import config, event, spool
from hafailover.hooks.alerts.config import Config, ConfigError
from hafailover.hooks.alerts.spool import Spool, State

UNIT = "hafailover-alerts"
SCHEMA = 1
_USER = "hacluster"
_UNSEEN = 10.0  # seconds after which an event that nobody has taken from the inbox means that nobody delivers
_LOOK = 0.2


@dataclass(frozen=True)
class Standing:
    """A recipient: what waits for it (``oldest`` as Unix time, 0 for nothing) and how its delivery went."""

    name: str
    type: str
    waiting: int
    oldest: float
    state: State


@dataclass(frozen=True)
class Seen:
    """``stuck``: seconds for which the oldest event has been in the inbox, when that is too long, else 0. ``inbox``: how many are there.
    ``closed``: why Pacemaker's agent cannot leave events there, or "".
    """

    node: str
    inbox: int
    stuck: float
    closed: str
    recipients: tuple[Standing, ...]

    @property
    def well(self) -> bool:
        """Whether everybody can be told."""
        return not self.stuck and not self.closed and not any(one.state.failing_since for one in self.recipients)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"schema": SCHEMA, "well": self.well, **asdict(self)}


def look() -> Seen:
    """How everything stands; HafailoverError when this node has no alerts, or they cannot be looked at."""
    known, there = _config(), _spool()
    try:
        inbox = sorted((path.name for path in Path(there.inbox).iterdir()), key=event.order)
        oldest = min((_age(f"{there.inbox}/{name}") for name in inbox[:1]), default=0.0)
        found = []
        for name, recipient in known.recipients.items():
            queued = there.queued(name)
            found.append(
                Standing(
                    name,
                    recipient.type,
                    len(queued),
                    float(event.order(queued[0])[0]) if queued else 0.0,
                    there.state(name),
                )
            )
    except OSError as error:
        raise _closed(error) from None
    closed = _unusable(there.inbox)
    return Seen(known.node, len(inbox), oldest if oldest > _UNSEEN else 0.0, closed, tuple(found))


def lines(seen: Seen, now: float) -> Iterator[str]:
    """What is seen, for a person."""
    if seen.closed:
        yield f"Nothing arrives: {seen.closed}. Mend it: systemd-tmpfiles --create /usr/lib/tmpfiles.d/{UNIT}.conf"
    if seen.stuck:
        yield (
            f"Nobody delivers: the oldest of {seen.inbox} events has been in the inbox for {seen.stuck:.0f} s. "
            f"systemctl restart {UNIT}.path; journalctl -u {UNIT}"
        )
    for one in seen.recipients:
        state = one.state
        what = f"{one.waiting} waiting" + (f", the oldest since {clock(one.oldest, now)}" if one.oldest else "")
        last = f", last {clock(state.last_delivery, now)}" if state.last_delivery else ""
        dropped = f"; {state.dropped} dropped" if state.dropped else ""
        yield f"{one.name} ({one.type}): {what}; {state.delivered} delivered{last}{dropped}"
        if state.failing_since:
            since, wait = clock(state.failing_since, now), max(0.0, state.next_try - now)
            yield f"  fails since {since} ({state.attempts} attempts, the next in {wait:.0f} s): {state.error}"
    if not seen.recipients:
        yield "No recipient is configured."


def would_test(name: str) -> str:
    """What :func:`test` would do, after it has looked whether it can."""
    known, _ = _config(), _spool()
    if name not in known.recipients:
        raise UsageError(unknown("recipient", name, known.recipients))
    return f"a test event would be sent to {name} ({known.recipients[name].type}); nothing was sent (--dry-run)"


def waiting() -> int:
    """How many events wait, for all recipients together."""
    known, there = _config(), _spool()
    return sum(len(there.queued(name)) for name in known.recipients)


def test(name: str, timeout: float) -> str:
    """Send a test event to ``name`` and wait until it has been delivered; HafailoverError when it was not."""
    known, there = _config(), _spool()
    if name not in known.recipients:
        raise UsageError(unknown("recipient", name, known.recipients))
    said = f"a test by {getpass.getuser()} from {known.node}: alerts arrive here"
    before = there.state(name)
    try:
        sent = spool.write(
            there.root, {"kind": "test", "recipient": name, "node": known.node, "desc": said}, time.time()
        )
    except OSError as error:
        raise _closed(error) from None
    end = time.monotonic() + timeout
    hung = False
    while time.monotonic() < end:
        queued = (Path(there.root) / "queue" / name / sent).exists()
        hung = hung or queued or not there.in_inbox(sent)
        state = there.state(name)
        if hung and not queued:
            # It has left the queue; how, is written down a moment later.
            if state.last_delivery > before.last_delivery or state.delivered > before.delivered:
                return f"delivered to {name}"
            if state.refused > before.refused:
                raise HafailoverError(f"{name} refuses it: see journalctl -u {UNIT}")
        if queued and state.error and state.attempts and state.next_try > time.time() - 1:
            raise HafailoverError(f"not delivered yet to {name}, and tried on: {state.error}")
        time.sleep(_LOOK)
    if not hung:
        raise HafailoverError(
            f"nobody takes events from the inbox: systemctl restart {UNIT}.path; journalctl -u {UNIT}"
        )
    raise HafailoverError(f"not delivered to {name} within {timeout:g} s; it is tried on: hafailover alerts status")


def retry() -> int:
    """Have everything tried now; how many events wait. HafailoverError."""
    known, there = _config(), _spool()
    path = Path(there.root) / "retry"
    try:
        path.touch()
        os.utime(path)
    except OSError as error:
        raise _closed(error) from None
    if Path("/run/systemd/system").is_dir() and local.installed("systemctl"):
        local.run(["systemctl", "start", "--no-block", f"{UNIT}.service"], timeout=10)
    return sum(len(there.queued(name)) for name in known.recipients)


def _unusable(inbox: str) -> str:
    """Why the user that Pacemaker runs alerts as cannot leave anything in ``inbox``; "" when it can, or there is no such user."""
    try:
        user = pwd.getpwnam(_USER)
        groups = {user.pw_gid, *os.getgrouplist(_USER, user.pw_gid)}
    except (KeyError, OSError):
        return ""
    for path in (*reversed(Path(inbox).parents), Path(inbox)):
        found = path.stat()
        shift = 6 if found.st_uid == user.pw_uid else 3 if found.st_gid in groups else 0
        need = 0o3 if path == Path(inbox) else 0o1
        if (found.st_mode >> shift) & need != need:
            return f"{_USER} may not {'write into' if need == 3 else 'enter'} {path} (mode {stat.S_IMODE(found.st_mode):o})"
    return ""


def _config() -> Config:
    file = config.path()
    try:
        known = config.load(file)
    except ConfigError as error:
        raise HafailoverError(f"{error} (as root or hacluster)" if os.geteuid() else str(error)) from None
    if known is config.NOTHING:
        raise HafailoverError(
            f"there is no {file}: name recipients in the topology (alerts), then hafailover render --install"
        )
    return known


def _spool() -> Spool:
    return Spool(os.environ.get("HAFAILOVER_ALERTS") or spool.ROOT)


def _age(path: str) -> float:
    try:
        return time.time() - Path(path).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _closed(error: OSError) -> HafailoverError:
    hint = "; run it as root" if isinstance(error, PermissionError) else ""
    missing = "; run hafailover install on this node" if isinstance(error, FileNotFoundError) else ""
    return HafailoverError(f"{error.filename}: {error.strerror}{hint}{missing}")
