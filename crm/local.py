"""Run programs on this node, never longer than asked, and never killed by the Ctrl-C that was meant for us."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from signal import SIG_IGN, SIGHUP, SIGINT, SIGTERM, signal

from hafailover.agents.process import find
from hafailover.crm.errors import HafailoverError

_TIMEOUT = 30.0  # seconds, for a caller that gives none
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
NOT_ROOT = "the cluster only talks to root and to members of the group haclient: run it again with sudo"


class NotInstalled(HafailoverError):
    """A program is missing on this node."""


class Result:
    """A finished program: exit code (124 when it was killed at its timeout), standard output and error as text."""

    def __init__(self, rc: int, out: str, err: str) -> None:
        self.rc, self.out, self.err = rc, out, err


def run(argv: Sequence[str], timeout: float | None = None, input: str | None = None) -> Result:
    """Run ``argv`` for at most ``timeout`` seconds, with ``input`` as its standard input; NotInstalled if there is no such program.

    It gets a session of its own: a Ctrl-C reaches us alone, so that what we do to clean up is not killed half-way.
    """
    limit = _TIMEOUT if timeout is None else timeout
    try:
        done = subprocess.run(
            list(argv),
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": f"{os.environ.get('PATH', '')}:{_PATH}"},
            start_new_session=True,
            check=False,
        )
    except FileNotFoundError:
        raise NotInstalled(f"{argv[0]} is not installed on this node") from None
    except subprocess.TimeoutExpired:
        return Result(124, "", f"{argv[0]} did not answer within {limit:g} s")
    return Result(done.returncode, done.stdout, done.stderr)


def named_here(names: Collection[str]) -> str | None:
    """Which of ``names`` this machine has, with or without its domain; None when it has none of them."""
    host = socket.gethostname()
    return next((name for name in (host, host.partition(".")[0]) if name in names), None)


def installed(program: str) -> bool:
    """Tell whether ``program`` can be run here."""
    return find(program, f"{os.environ.get('PATH', '')}:{_PATH}") is not None


def may_ask_cluster() -> bool:
    """Tell whether this user may talk to Pacemaker: root, or a member of haclient."""
    if os.geteuid() == 0:
        return True
    import grp

    try:
        return grp.getgrnam("haclient").gr_gid in {*os.getgroups(), os.getegid()}
    except KeyError:
        return False


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
