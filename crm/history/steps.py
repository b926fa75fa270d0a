"""Steps that are put into entries one after another: which are free still, and which stand around a given one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hafailover.crm.history.words import Step


class Steps:
    """``steps`` in their order. A step is named by its place among them; one that is ``taken`` belongs to an entry."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._at = [step.at for step in steps]
        self._taken = [False] * len(steps)

    def _free(self, names: Sequence[str]) -> list[int]:
        return [number for number, step in enumerate(self._steps) if step.name in names and not self._taken[number]]

    def _window(
        self, first: int, seconds: float, wanted: Callable[[Step], bool], quiet: float = 0.0, end: int | None = None
    ) -> list[int]:
        """Free steps after ``first``, and before ``end``, within ``seconds``; with ``quiet``, up to the first pause of that length."""
        found = []
        last = start = self._at[first]
        for number in range(first + 1, len(self._steps) if end is None else end):
            at = self._at[number]
            if at - start > seconds or (quiet and at - last > quiet):
                break
            if not self._taken[number] and wanted(self._steps[number]):
                found.append(number)
                last = at
        return found

    def _back(self, first: int, seconds: float, quiet: float, wanted: Callable[[Step], bool]) -> list[int]:
        """Free steps before ``first``, back to the first pause of ``quiet`` seconds."""
        found = []
        last = start = self._steps[first].at
        for number in range(first - 1, -1, -1):
            step = self._steps[number]
            if start - step.at > seconds or last - step.at > quiet:
                break
            if not self._taken[number] and wanted(step):
                found.append(number)
                last = step.at
        return found[::-1]

    def _following(self, names: Sequence[str], about: Callable[[Step], str]) -> dict[int, int]:
        """For each step of these names the next one about the same."""
        found: dict[int, int] = {}
        latest: dict[str, int] = {}
        for number, step in enumerate(self._steps):
            if step.name in names:
                if about(step) in latest:
                    found[latest[about(step)]] = number
                latest[about(step)] = number
        return found
