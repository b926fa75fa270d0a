"""That a drill ends in order when somebody interrupts it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator
from types import FrameType


def _heeded(*numbers: signal.Signals) -> list[signal.Signals]:
    """Those that nobody has had ignored for us, as nohup does and a shell for what it puts into the background."""
    return [one for one in numbers if signal.getsignal(one) is not signal.SIG_IGN]


@contextlib.contextmanager
def _handled(numbers: Iterable[signal.Signals], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have ``handler`` called for these signals, and afterwards what was called before."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the drill as Ctrl-C does, so that it cleans up after itself; what nohup has ignored stays so."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled(_heeded(signal.SIGTERM, signal.SIGHUP), interrupt):
        yield


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Hold interruptions back while something is put in order: half of that would be worse than a moment's wait."""
    numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


@contextlib.contextmanager
def interrupted_once(say: Callable[[str], None]) -> Iterator[None]:
    """The first Ctrl-C, TERM or HUP ends the scenario and begins the restoring, which no further one ends."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        # A signal may come in the middle of another line, and then this one cannot be written.
        with contextlib.suppress(RuntimeError):
            say(
                f"{signal.Signals(number).name}: what was broken is put right now; that may take minutes, and is not interrupted any more"
            )
        raise KeyboardInterrupt

    numbers = _heeded(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    with _handled(numbers, interrupt):
        yield
