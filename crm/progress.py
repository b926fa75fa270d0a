"""What is told while something takes long: on a terminal a line that moves, in a log plain lines with times.

Every line says how many seconds have passed since the beginning. What is under way (:meth:`Progress.now`) is the terminal's last line,
with a bar where it is known how much there is; in a file or a pipe it is a line when it begins, at each tenth, and after each ten seconds.
"""

from __future__ import annotations

import atexit
import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from typing import IO, Any

import click
from hafailover.crm import colour

_TENTHS = 10  # percent between two lines in a log
_EVERY = 10.0  # seconds after which a log hears again of what goes on
_A_SECOND = 4  # pictures on a terminal


def tell(text: str, err: bool = False) -> None:
    """A line on standard output, or on standard error, from a command that changes something.

    A terminal that is gone, a pipe that nobody reads and a full disk stop nothing: what was begun has still to be brought to its end.
    """
    with contextlib.suppress(OSError):
        click.echo(text, err=err)


class Progress:
    """Tells each step, and what is under way, with the seconds since it was made; on standard error, or with ``err=False`` output.

    ``run`` is what is told before each text. A terminal that is gone stops nothing.
    """

    def __init__(self, err: bool = True) -> None:
        self.run = ""
        self._err = err
        self._began = time.monotonic()
        self._line: _Line | None = None
        self._said: tuple[str, int] = ("", -1)
        self._at = 0.0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def __call__(self, text: str) -> None:
        """A line that stays."""
        self._put(f"{self.seconds:6.1f} s  {self.run}{text}")

    def now(self, text: str, done: float = 0, total: float = 0, about: str = "", log: bool = True) -> None:
        """``text`` is under way, ``done`` of ``total`` of it, if that is known; ``about`` is said after it. It is replaced by the next.

        ``log``: whether a log hears of it, too, which the steps that are told meanwhile may make needless.
        """
        stream = sys.stderr if self._err else sys.stdout
        more = f", {about}" if about else ""
        percent = min(100, int(100 * done / total)) if total else 0
        if colour.moves(stream):
            shown, measured = f"{self.run}{text}{more}", percent if total else None
            if self._line is None:
                self._line = _Line(stream, shown, measured)
            else:
                self._line.show(shown, measured)
            return
        if not log:
            return
        said, now = (text, percent // _TENTHS), time.monotonic()
        if said != self._said or now - self._at >= _EVERY:
            self._said, self._at = said, now
            self(f"{text}: {percent} %{more}" if total else f"{text}{more}")

    def end(self) -> None:
        """Nothing is under way any more; what is written from now on is not written over."""
        self._said = ("", -1)
        if self._line is not None:
            self._line.end()
            self._line = None

    @contextlib.contextmanager
    def until_end(self) -> Iterator[Progress]:
        """This one, ended whatever happens."""
        try:
            yield self
        finally:
            self.end()

    def _put(self, line: str) -> None:
        if self._line is not None:
            self._line.above(line)
            return
        tell(line, self._err)


def under_way(say: object, text: str, done: float = 0, total: float = 0, about: str = "", log: bool = False) -> None:
    """:meth:`Progress.now` of ``say`` where it is one; whoever only takes steps is not told."""
    if isinstance(say, Progress):
        say.now(text, done, total, about, log)


class _Line:
    """The last line of a terminal, drawn by rich."""

    def __init__(self, stream: IO[Any], text: str, percent: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Drawn
        from rich.table import Column
        from rich.text import Text

        class Bar(ProgressColumn):
            """A bar with its percentage, where there is something to measure."""

            def render(self, task: Task) -> Any:
                return drawn.render(task) if task.fields["measured"] else Text("")

        class Percent(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(f"{task.percentage:.0f} %" if task.fields["measured"] else "")

        class Quiet(Console):
            """A console that leaves the cursor alone: whoever is killed leaves a terminal that can be used."""

            def show_cursor(self, show: bool = True) -> bool:
                return False

        drawn = BarColumn(bar_width=20)
        coloured = colour.wanted(stream)
        steady: Any = _Steady(stream)
        console = Quiet(file=steady, force_terminal=True, no_color=not coloured, highlight=False)
        what = TextColumn(
            "{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
        )
        self._drawn = Drawn(
            SpinnerColumn("line"), what, Bar(), Percent(), TimeElapsedColumn(),
            console=console, transient=True, expand=True, refresh_per_second=_A_SECOND, redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._task = self._drawn.add_task("", total=100, measured=False)
        self.show(text, percent)
        # Its thread draws; a signal that was held back from the main thread must not come in through it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._drawn.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        atexit.register(self.end)

    def show(self, text: str, percent: int | None) -> None:
        """What is under way."""
        clean = "".join(one if one.isprintable() else " " for one in text)
        self._drawn.update(self._task, description=clean, completed=percent or 0, measured=percent is not None)

    def above(self, line: str) -> None:
        """A line that stays."""
        self._drawn.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def end(self) -> None:
        """Take it away."""
        atexit.unregister(self.end)
        self._drawn.stop()


class _Steady:
    """A stream whose terminal may go away: then nobody reads, and nothing else happens."""

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int(self._stream.write(text) or 0)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
