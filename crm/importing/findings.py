"""What an import has to tell a person: notes of a few kinds, each about a place, in plain words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

BECOMES = "becomes"
"""A resource that another agent takes over: what that one also does."""
ASSUMED = "assumed"
"""A value that is nowhere in the source and had to be chosen."""
LEFT_OUT = "left-out"
"""Something of the cluster that a topology cannot say."""
STATE = "state"
"""A state of the cluster (standby, a ban), which is no part of a topology."""
SECRET = "secret"  # noqa: S105 - the name of a kind
"""A file that has to be made, because the source held a secret."""
ELSEWHERE = "elsewhere"
"""What the service is also made of, and no CIB knows."""

KINDS = (BECOMES, ASSUMED, LEFT_OUT, STATE, SECRET, ELSEWHERE)
MAX_SHOWN = 200


def visible(text: object, limit: int = MAX_SHOWN) -> str:
    """``text`` in one line that no terminal and no YAML comment can take for anything else."""
    shown = str(text)[: limit + 1]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


@dataclass(frozen=True)
class Note:
    """One of KINDS; ``where`` names a thing of the source; ``fix`` is what can be done about it, often a line for a shell."""

    kind: str
    where: str
    text: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" + (f"  ->  {self.fix}" if self.fix else "")


def lines(notes: Iterable[Note]) -> list[str]:
    """A line for each note; of those that say the same, one line for all."""
    wheres: dict[tuple[str, str], list[str]] = {}
    for note in notes:
        wheres.setdefault((note.text, note.fix), []).append(note.where)
    return [f"{', '.join(names)}: {text}" + (f"  ->  {fix}" if fix else "") for (text, fix), names in wheres.items()]


@dataclass
class Notes:
    """The notes in the order in which they were found, none of them twice."""

    found: dict[Note, None] = field(default_factory=dict)

    def add(self, kind: str, where: str, text: str, fix: str = "") -> None:
        """Remember one; ``where`` may be hostile, the sentences are ours."""
        self.found[Note(kind, visible(where, 170), text, fix)] = None

    def of(self, *kinds: str) -> list[Note]:
        """Those of some kinds."""
        return [note for note in self.found if note.kind in kinds]
