"""The process that delivers: it empties the inbox into the queues and ends when nothing is left. systemd starts it again when there is.

One on each node: a second one ends at once.
"""

from __future__ import annotations

import importlib
import os
import pwd
import signal
import sys
import time
from types import FrameType

from hafailover.agents import journal
from hafailover.hooks.alerts import config, sending
from hafailover.hooks.alerts.config import NOTHING, Config, ConfigError
from hafailover.hooks.alerts.event import Event
from hafailover.hooks.alerts.peers import Peers
from hafailover.hooks.alerts.spool import ROOT, Spool
from hafailover.hooks.alerts.worker import Worker

_TURN = 0.25  # seconds between two looks at the inbox
_IDLE = 20.0  # seconds without work after which it ends; systemd watches the inbox
_LAST = 20.0  # seconds for the attempts under way when it is to end
_CHANGED = 90.0  # seconds for the same when a recipient changes: never two threads for one
_TEMPORARY = 75  # exit code EX_TEMPFAIL
_FULL = 5.0  # seconds until a full disk is tried again


class Service:
    """The delivery from one spool by one configuration."""

    def __init__(self, spool: Spool, file: str) -> None:
        self._spool, self._file = spool, file
        self._config: Config = NOTHING
        self._read_at: tuple[int, int] | None = (-1, -1)
        self._workers: dict[str, Worker] = {}
        self._stopping = False
        self._retried = spool.asked_to_retry()

    def run(self, idle: float = _IDLE) -> None:
        """Deliver until nothing was left for ``idle`` seconds, or until SIGTERM."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        busy = time.monotonic()
        while not self._stopping:
            self._configure()
            took = self._empty_inbox()
            asked = self._spool.asked_to_retry()
            if asked != self._retried:
                self._retried = asked
                for worker in self._workers.values():
                    worker.retry()
            if took or self._spool.waiting() or not all(worker.idle for worker in self._workers.values()):
                busy = time.monotonic()
            elif time.monotonic() - busy > idle:
                break
            if not took:
                time.sleep(_TURN)
        for worker in self._workers.values():
            worker.stop(_LAST if self._stopping else 2.0)
        for name in self._spool.queues():
            self._spool.close_queue(name)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _configure(self) -> None:
        """Take in a configuration that has changed."""
        try:
            status = os.stat(self._file)
            stamp: tuple[int, int] | None = (status.st_mtime_ns, status.st_ino)
        except FileNotFoundError:
            stamp = None
        if stamp == self._read_at:
            return
        self._read_at = stamp
        try:
            self._config = config.load(self._file)
        except ConfigError as error:
            # What is queued is kept; what comes meanwhile waits in the inbox of a service without recipients no longer than it has room.
            log("error", str(error))
            return
        for name, worker in list(self._workers.items()):
            if self._config.recipients.get(name) != worker.recipient:
                worker.stop(_CHANGED)
                del self._workers[name]
        for name, recipient in self._config.recipients.items():
            if name not in self._workers:
                self._workers[name] = Worker(self._spool, self._config, recipient, Peers(self._config.node, name), log)
                self._workers[name].start()
        for name in self._spool.queues():
            if name not in self._config.recipients:
                left = self._spool.queued(name)
                for one in left:
                    self._spool.done(name, one)
                self._spool.close_queue(name)
                log("warning", f"{name} is no recipient any more: {len(left)} events for it are dropped")

    def _empty_inbox(self) -> bool:
        """Hang what has arrived into the queues; whether there was anything."""
        self._lost(self._spool.overflowed(), "dropped because nobody emptied the inbox")
        if self._config is NOTHING and self._read_at is not None:
            return False  # not readable: everything stays where it is
        events = self._spool.arrived()
        added: dict[str, list[str]] = {}
        hung = []
        try:
            for event in events:
                wanted = [name for name in self._config.recipients if _wants(self._config, name, event)]
                for name in self._spool.hang(event.name, wanted):
                    added.setdefault(name, []).append(event.name)
                hung.append(event.name)
        except OSError as error:
            log("error", f"{self._spool.root}: {error.strerror}; the events stay in the inbox")
            time.sleep(_FULL)
        self._spool.sync(list(added))
        # On a full disk the agent can make a file, and put nothing into it.
        self._lost(sum(event.empty for event in events[: len(hung)]), "lost because the disk was full")
        for one in hung:
            self._spool.taken(one)
        for name, names in added.items():
            self._workers[name].add(names)
        return bool(hung)

    def _lost(self, number: int, why: str) -> None:
        """Every recipient is told with the next event how many never came to it."""
        if not number:
            return
        for worker in self._workers.values():
            worker.dropped(number)
        log("warning", f"{number} events were {why}")


def _wants(known: Config, name: str, event: Event) -> bool:
    asked = event.fields["recipient"]
    if event.kind == "test":
        return asked == name
    # In our own part of the CIB there is no recipient; an alert of somebody's own may name one of ours.
    if asked in known.recipients and asked != name:
        return False
    return bool(known.recipients[name].events & event.words())


def _become(user: str) -> None:
    """Go on as ``user``, when one is named and this is root. What may lie where only root can read has been loaded by then."""
    if not user or os.geteuid() != 0:
        return
    for module in set(sending.MODULES.values()):
        importlib.import_module(f"hafailover.hooks.alerts.{module}")
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise OSError(0, f"there is no user {user}: is Pacemaker installed?") from None
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def log(level: str, text: str) -> None:
    """Say something in the journal, or on standard error where there is none."""
    if not journal.send(level, "hafailover-alerts", text):
        sys.stderr.write(f"{level}: {text}\n")


def main() -> None:
    """Entry point of the program /usr/lib/hafailover/alerts-deliver."""
    spool = Spool(os.environ.get("HAFAILOVER_ALERTS") or ROOT)
    os.umask(0o007)
    try:
        _become(os.environ.get("HAFAILOVER_ALERTS_USER") or "")
        spool.make()
        lock = spool.lock()
        if lock is None:
            log("notice", "another process delivers already")
            sys.exit(_TEMPORARY)
        Service(spool, config.path()).run(float(os.environ.get("HAFAILOVER_ALERTS_IDLE") or _IDLE))
    except OSError as error:
        log("error", f"{error.filename or spool.root}: {error.strerror}")
        sys.exit(1)
