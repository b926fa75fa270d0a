"""Where the words of a switchover go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hafailover.crm import switchover_text
from hafailover.crm.colour import paint
from hafailover.crm.progress import tell
from hafailover.crm.switchover import Check
from hafailover.crm.switchover_run import Step


class Talk:
    """Text on standard output; with JSON there, progress on standard error. A lost terminal stops nothing."""

    def __init__(self, output: str) -> None:
        self.json = output == "json"
        self.paint = paint(err=self.json)

    def say(self, text: str) -> None:
        """One line, or several."""
        tell(text, self.json)

    def lines(self, lines: Iterable[str]) -> None:
        """Each of them."""
        for line in lines:
            self.say(line)

    def step(self, step: Step) -> None:
        """A step as it happens."""
        self.say(switchover_text.step_line(step))

    def wait(self, text: str) -> None:
        """A sentence during a long wait."""
        self.say(f"                          {text}")

    def refused(self, against: Sequence[Check]) -> None:
        """Why nothing is done, in one line on standard error."""
        why = against[0].says if len(against) == 1 else f"{len(against)} checks stand in the way"
        tell(f"hafailover: refused, nothing was changed: {why}", err=True)
