"""Carries out a scenario's steps: finds the function for each, and takes back in the end what nobody took back."""

from __future__ import annotations

from collections.abc import Mapping

from hafailover.crm.drill import actions, alterations, checks, faults, people
from hafailover.crm.drill.actions import ACTIONS, FAULTS, Step
from hafailover.crm.drill.stage import Act, Stage
from hafailover.crm.errors import HafailoverError

TABLE: Mapping[str, Act] = {**faults.TABLE, **people.TABLE, **alterations.TABLE, **checks.TABLE}
"""The function that carries out each of ACTIONS."""

assert TABLE.keys() == ACTIONS.keys()

_SHOWN = ("do", "for", "until", "that", "text", "process", "unit", "command", "operation", "link")
_NOT_ABOUT_A_NODE = frozenset(("takeover", "settled", "nobody-promoted", "serving", "silent"))


class Steps:
    """One run's steps on ``stage``. What a fault did and nobody took back is remembered; :meth:`undo` takes it back."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._outstanding: list[Step] = []

    def perform(self, step: Step) -> None:
        """Do one step; HafailoverError says what did not happen in time."""
        if step.action in FAULTS and self.stage.fault is None:
            self.stage.await_in_sync()
        self.stage.begins(step)
        self._outstanding = [other for other in self._outstanding if other != step] + actions.undo(step)
        try:
            TABLE[step.action](self.stage, step)
        except HafailoverError as error:
            if not step.parameters.get("optional"):
                raise
            self.stage.notes.append(f"not done: {error}")

    def describe(self, step: Step) -> str:
        """Return the step in words, with the node's name in place of its role."""
        parameters = step.parameters
        words = [step.action, *(self.stage.words(str(parameters[name])) for name in _SHOWN if name in parameters)]
        if "node" in parameters and not _NOT_ABOUT_A_NODE & {parameters.get("until"), parameters.get("that")}:
            words.append(self.stage.node(step))
        return " ".join(words)

    @property
    def outstanding(self) -> bool:
        """Whether something is still to be taken back."""
        return bool(self._outstanding or self.stage.restores)

    def undo(self) -> None:
        """Take back what is still broken, the last first; HafailoverError with the first thing that did not work."""
        failed = []
        while self._outstanding:
            try:
                self.perform(self._outstanding.pop())
            except HafailoverError as error:
                failed.append(str(error))
        try:
            self.stage.take_back()
        except HafailoverError as error:
            failed.append(str(error))
        if failed:
            raise HafailoverError(failed[0])
