"""The result of one run of a load's drill, as the documented JSON, and many of them as a table."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Generic, TypeVar

from hafailover.crm.drill import columns

_SECONDS = {"seconds": True}


def seconds() -> Any:
    """A dataclass field for a time, None until it is measured; in JSON its name ends with ``_s``."""
    return field(default=None, metadata=_SECONDS)


def seconds_by_kind() -> Any:
    """The same for several times, by name."""
    return field(default_factory=dict, metadata=_SECONDS)


@dataclass(frozen=True)
class Run:
    """One run: a drill adds the fields that it measures, which are None where a value was not reached; then ``problems`` says why.

    Times are in seconds.
    """

    fault: str
    node: str
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """The run in the documented shape."""
        found = {
            f"{one.name}_s" if "seconds" in one.metadata else one.name: _rounded(getattr(self, one.name))
            for one in dataclasses.fields(self)
        }
        found["problems"] = list(found.pop("problems"))
        return {**found, "ok": self.ok}


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    return round(value, 2) if isinstance(value, float) else value


R_contra = TypeVar("R_contra", bound=Run, contravariant=True)
R = TypeVar("R", bound=Run)


@dataclass(frozen=True)
class Column(Generic[R_contra]):
    """A column of the table: its heading, what stands there, with how many digits if it is a time, on which side."""

    heading: str
    value: Callable[[R_contra], object]
    digits: int = 1
    left: bool = False

    def cell(self, run: R_contra) -> str:
        """What stands there for a run."""
        value = self.value(run)
        if value is None:
            return "-"
        return f"{value:.{self.digits}f}" if isinstance(value, float) else str(value)


FAULT: Column[Run] = Column("fault", lambda run: run.fault, left=True)
NODE: Column[Run] = Column("node", lambda run: run.node, left=True)
_OK: Column[Run] = Column("", lambda run: "ok" if run.ok else "FAILED", left=True)


def as_table(runs: Sequence[R], between: Sequence[Column[R]]) -> str:
    """A table for people, then what went wrong in each failed run."""
    every: list[Column[R]] = [FAULT, *between, _OK]
    rows = [[column.heading for column in every], *([column.cell(run) for column in every] for run in runs)]
    lines = list(columns.lines(rows, [at for at, column in enumerate(every) if column.left]))
    for run in runs:
        lines += [f"{run.fault} {run.node}: {problem}" for problem in run.problems]
    failed = sum(not run.ok for run in runs)
    return "\n".join([*lines, f"{len(runs)} runs, {f'{failed} failed' if failed else 'all ok'}"])


def as_json(runs: Sequence[Run]) -> str:
    """All runs as one JSON document."""
    return json.dumps({"runs": [run.as_json() for run in runs]}, indent=2)
