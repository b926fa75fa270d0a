"""Run programs on this node, never longer than asked, and never killed by the Ctrl-C that was meant for us."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from signal import SIG_IGN, SIGHUP, SIGINT, SIGTERM, signal
from typing import Any

from hafailover.agents import process
from hafailover.agents.process import find
from hafailover.crm.errors import HafailoverError

_TIMEOUT = 30.0  # seconds, for a caller that gives none
_OUTPUT_LIMIT = 256 << 20  # bytes: a journal or a large CIB is read whole
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_OF_PACEMAKER = ("crm", "cib", "stonith", "attrd")
NOT_ROOT = "the cluster only talks to root and to members of the group haclient: run it again with sudo"


class NotInstalled(HafailoverError):
    """A program is missing on this node."""


class Result:
    """A finished program: exit code (124 when it was killed at its timeout), standard output and error as text."""

    def __init__(self, rc: int, out: str, err: str) -> None:
        self.rc, self.out, self.err = rc, out, err


def environment() -> dict[str, str]:
    """Ours for a program: Pacemaker's tools are found also where the one who started us (cron) has no /usr/sbin in his path."""
    return {**os.environ, "LC_ALL": "C.UTF-8", "PATH": f"{os.environ.get('PATH', '')}:{_PATH}"}


def run(argv: Sequence[str], timeout: float | None = None, input: str | None = None) -> Result:
    """Run ``argv`` for at most ``timeout`` seconds, with ``input`` as its standard input; NotInstalled if there is no such program.

    It gets a session of its own: a Ctrl-C reaches us alone, so that what we do to clean up is not killed half-way.
    """
    limit, variables = _TIMEOUT if timeout is None else timeout, environment()
    program = find(argv[0], variables["PATH"])
    if program is None:
        # Permission is what is lacking, too, where a directory of PATH is not this user's to look into.
        hint = "; run this on a node of the cluster" if argv[0].startswith(_OF_PACEMAKER) else ""
        raise NotInstalled(f"{argv[0]} is not installed on this node{hint}")
    done = process.run(program, argv, limit, variables, input, session=True, limit=_OUTPUT_LIMIT)
    if done.timed_out:
        return Result(124, "", f"{argv[0]} did not answer within {limit:g} s")
    return Result(done.rc, done.out, done.err)


def hostname() -> str:
    """This machine's name, as its kernel knows it."""
    return os.uname().nodename


def named_here(names: Collection[str]) -> str | None:
    """Which of ``names`` this machine has, with or without its domain; None when it has none of them, or cannot tell which."""
    host = hostname()
    found = next((name for name in (host, host.partition(".")[0]) if name in names), None)
    # A node may have its domain in its name where the machine has not.
    longer = [name for name in names if name.partition(".")[0] == host]
    return longer[0] if found is None and len(longer) == 1 else found


def installed(program: str) -> bool:
    """Tell whether ``program`` can be run here."""
    return find(program, f"{os.environ.get('PATH', '')}:{_PATH}") is not None


def need_root(command: str, why: str) -> None:
    """HafailoverError, for whoever is not root, that ``command`` must be run as root, and ``why``; nothing was tried then."""
    if os.geteuid() != 0:
        raise HafailoverError(f"{command} must be run as root: {why}; run it again with sudo")


def may_ask_cluster() -> bool:
    """Tell whether this user may talk to Pacemaker: root, or a member of haclient."""
    if os.geteuid() == 0:
        return True
    import grp

    try:
        return grp.getgrnam("haclient").gr_gid in {*os.getgroups(), os.getegid()}
    except KeyError:
        return False


class Interrupts:
    """INT, TERM and HUP within a ``with``: each raises KeyboardInterrupt until ``hold``, and is only counted in ``came`` from then on.

    Who presses Ctrl-C again ends a wait that looks at ``came``, and never what takes back what he has begun.
    """

    def __init__(self) -> None:
        self.came = 0
        self._held = False
        self._previous: dict[Any, Any] = {}

    def hold(self) -> None:
        """Raise no more."""
        self._held = True

    def __enter__(self) -> Interrupts:
        self._previous = {number: signal(number, self._take) for number in (SIGINT, SIGTERM, SIGHUP)}
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._previous.items():
            signal(number, handler)

    def _take(self, _number: int, _frame: object) -> None:
        self.came += 1
        if not self._held:
            raise KeyboardInterrupt


@contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """A closed terminal or a TERM takes the request back, just as Ctrl-C does."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    previous = {number: signal(number, interrupt) for number in (SIGINT, SIGTERM, SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal(number, handler)


@contextmanager
def without_interrupts() -> Iterator[None]:
    """For the few steps that take something back: a second Ctrl-C does not stop them."""
    previous = {number: signal(number, SIG_IGN) for number in (SIGINT, SIGTERM, SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal(number, handler)
