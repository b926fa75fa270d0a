"""``hafailover status --watch``: on a terminal one screen that is written over in place; anywhere else a block for each change.

Nothing is ever cleared before it is written, so nothing flickers: each line is written over the old one and its rest erased, and a terminal
that can holds the picture back until it is whole. A log gets what it says only once.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Callable, NamedTuple, TextIO

HOME, END_OF_LINE, END_OF_SCREEN = "\033[H", "\033[K", "\033[J"
_ENTER, _LEAVE = (
    "\033[?1049h\033[?25l\033[?7l",
    "\033[?7h\033[?25h\033[?1049l",
)  # another screen, no cursor, long lines are cut
# "Synchronized output": who does not know it ignores it.
_HOLD, _SHOW = "\033[?2026h", "\033[?2026l"
_COLOUR = re.compile(r"\033\[[\d;]*m")
# What is another one in every picture and says nothing: the time it was made, and what comes and goes in healthy replication.
_TIME = re.compile(r"(?<=seen from )(\S+) at [\d: -]*\d(?=;)")
_PASSING = re.compile(r", \d+ (?:trx|wait now)\b")
_SECONDS = re.compile(r"\b\d+(?= s\b)")


def fitted(text: str, columns: int, rows: int, last: str) -> list[str]:
    """The lines of ``text`` for a screen of this size, ``last`` at its bottom; what has no room is counted in it.

    Where the window is narrower than the text, lines go on in the next one: what to do stands at the end of the long ones.
    """
    lines = [piece for line in text.rstrip("\n").split("\n") for piece in folded(line, columns)]
    room = max(1, rows - 1)
    if len(lines) > room:
        hidden = len(lines) - room
        lines = lines[:room]
        last = f"{last}  ({hidden} more lines below: make the window higher)"
    return [cut(line, columns) for line in lines] + [""] * (room - len(lines)) + [cut(last, columns)]


def folded(line: str, columns: int) -> Iterator[str]:
    """``line`` in pieces of at most ``columns`` columns, the later ones further in, its colours whole."""
    seen = _COLOUR.sub("", line)
    indent = " " * min(len(seen) - len(seen.lstrip()) + 2, columns // 3)
    first, colour = True, ""
    while len(seen) > (room := max(1, columns if first else columns - len(indent))):
        blank = seen.rfind(" ", len(seen) - len(seen.lstrip()) + 1, room + 1)
        end = blank if blank > 0 else room
        piece, line, now = _split(line, end, colour)
        yield ("" if first else indent) + colour + piece + ("\033[0m" if now else "")
        first, colour = False, now
        dropped = len(line) - len(line.lstrip(" ")) if blank > 0 else 0
        line, seen = line[dropped:], seen[end + dropped :]
    yield ("" if first else indent) + colour + line


def _split(line: str, end: int, colour: str) -> tuple[str, str, str]:
    """What is shown in the first ``end`` columns of ``line``, the rest, and the colour in between; ``colour`` is the one it begins with."""
    shown = position = 0
    for match in _COLOUR.finditer(line):
        if shown + match.start() - position > end:
            break
        shown += match.start() - position
        position = match.end()
        colour = "" if match[0] == "\033[0m" else match[0]
    at = position + end - shown
    return line[:at], line[at:], colour


def cut(line: str, columns: int) -> str:
    """``line`` in at most ``columns`` columns, its colours whole."""
    shown, parts, position = 0, [], 0
    for match in [*_COLOUR.finditer(line), None]:
        end = match.start() if match else len(line)
        piece = line[position:end][: max(0, columns - shown)]
        parts.append(piece)
        shown += len(piece)
        if match:
            parts.append(match[0])
            position = match.end()
    return "".join(parts)


def picture(lines: Sequence[str]) -> str:
    """What to write so that the screen shows ``lines`` and nothing else, without an empty moment in between."""
    return _HOLD + HOME + f"{END_OF_LINE}\r\n".join(lines) + END_OF_LINE + END_OF_SCREEN + _SHOW


def essence(text: str) -> str:
    """``text`` without what is another one at each look though nothing has changed; of seconds only how many digits they have."""
    text = _COLOUR.sub("", text)
    # The columns of a table are as wide as what stands in them, and where a line ends depends on that, too.
    text = _PASSING.sub("", _TIME.sub(r"\1", " ".join(text.split())))
    return _SECONDS.sub(lambda match: "9" * len(match[0]), text)


class Picture(NamedTuple):
    """What is shown; ``said`` is what it says: a log gets one only when that differs from the last."""

    text: str
    said: str


class Log:
    """A block for each change, below a line with the time: for a file, a pipe, or a terminal that cannot do more."""

    def __init__(
        self, write: Callable[[str], None], stamped: bool = True, clock: Callable[[], float] = time.time
    ) -> None:
        self._write, self._stamped, self._clock = write, stamped, clock
        self._last: str | None = None

    def show(self, picture: Picture) -> None:
        """Write ``picture`` if it says something else than the last one."""
        if picture.said == self._last:
            return
        text = picture.text.rstrip("\n") + "\n"
        if self._stamped:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S%z", time.localtime(self._clock()))
            text = f"{'' if self._last is None else chr(10)}=== {stamp}\n{text}"
        self._write(text)
        self._last = picture.said

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def close(self) -> None:
        """Nothing is left to do."""


class Screen:
    """A terminal's other screen; what was on it before comes back at the end, and while Ctrl-Z has stopped this program.

    A window that changes its size is drawn anew at once. Handlers of signals only take a note: one may run amid a write, or amid an
    operation on a lock.
    """

    def __init__(self, out: TextIO, every: float) -> None:
        self._out, self._every = out, every
        self._picture = Picture("", "")
        self._resized = self._stopped = False
        self._before = {
            signal.SIGWINCH: signal.signal(signal.SIGWINCH, self._resize),
            signal.SIGTSTP: signal.signal(signal.SIGTSTP, self._stop),
        }
        out.write(_ENTER)

    def _resize(self, _number: int, _frame: object) -> None:
        self._resized = True

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopped = True

    def show(self, shown: Picture) -> None:
        """Write over what is there."""
        self._picture = shown
        size = shutil.get_terminal_size((80, 24))
        last = f"every {self._every:g} s; end with Ctrl-C"
        self._out.write(picture(fitted(shown.text, size.columns, size.lines, last)))
        self._out.flush()

    def wait(self, seconds: float) -> None:
        """Sleep; a new size is drawn at once."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            # A signal's handler in Python does not end the wait; short ones let a new size be drawn soon.
            time.sleep(min(left, 0.1))
            if self._stopped:
                self._rest()
            if self._resized:
                self._resized = False
                self.show(self._picture)

    def _rest(self) -> None:
        """Stop, as Ctrl-Z asks for, with the terminal as it was before; go on where somebody brings this program back."""
        self._stopped = False
        self._out.write(_LEAVE)
        self._out.flush()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._stop)
        self._out.write(_ENTER)
        self._resized = True

    def close(self) -> None:
        """Give the terminal back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._out.write(_LEAVE)
        self._out.flush()


def watch(
    look: Callable[[], Picture], every: float, out: TextIO, screen: bool, stamped: bool = True, times: int | None = None
) -> None:
    """Show what ``look`` returns every ``every`` seconds until KeyboardInterrupt (or ``times``); the terminal is always given back.

    screen: ``out`` is a terminal to draw on; else it gets a block for each change, below a line with the time if ``stamped``.
    """

    def write(text: str) -> None:
        out.write(text)
        out.flush()

    shown: Log | Screen = Screen(out, every) if screen else Log(write, stamped)
    try:
        while times is None or times > 0:
            begun = time.monotonic()
            shown.show(look())
            times = None if times is None else times - 1
            if times != 0:
                shown.wait(max(0.1, every - (time.monotonic() - begun)))
    except KeyboardInterrupt:
        return
    finally:
        shown.close()
