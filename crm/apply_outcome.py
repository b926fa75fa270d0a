"""What became of a patch: what it made of which configuration, also where that ended half-way or is not known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from hafailover.crm.errors import HafailoverError, IncompleteError
from hafailover.crm.revert import revert


@dataclass(frozen=True)
class Made:
    """What was patched: the element cib ``after`` in the place of ``before``. What the two differ in is this command's doing alone."""

    before: Any
    after: Any

    def then(self, later: Made) -> Made:
        """Both as one; what somebody else did between the two is in neither."""
        return Made(revert(later.before, self.before, self.after, force=False).tree, later.after)


class UncertainError(HafailoverError):
    """The cluster did not answer: ``made`` may be in, now or in a moment."""

    def __init__(self, text: str, made: Made) -> None:
        super().__init__(text)
        self.made = made


class HalfDoneError(IncompleteError):
    """``made`` is in, and the rest of the change is not; ``uncertain``: the rest, which is in ``made`` too, may be in."""

    def __init__(self, text: str, made: Made, uncertain: bool = False) -> None:
        super().__init__(text)
        self.made, self.uncertain = made, uncertain


def half_done(first: Made, error: BaseException, finish: str) -> HalfDoneError:
    """The error for when ``first`` is in, and ``error`` came before the rest was; ``finish`` says what to do for the rest."""
    # What was thrown says it of the rest alone, and knows of no first part.
    why = re.sub(r"[;,.]? *\(?[Nn]othing was changed(?: by this command)?\)?", "", str(error)) or "interrupted"
    uncertain = isinstance(error, UncertainError)
    made = first.then(error.made) if isinstance(error, UncertainError) else first
    return HalfDoneError(f"parameters were changed, and the rest was not: {why}: {finish}", made, uncertain)
