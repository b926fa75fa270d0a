"""One run of a drill under load: clients ask, a fault strikes, everything comes back, the evidence is judged.

What is common to all loads is here; each of them says what it asks for, what breaks, and what the evidence proves.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Callable, ClassVar, Generic, NamedTuple, TypeVar

from hafailover.crm.errors import HafailoverError
from hafailover.vagrant.drill.loads import wait
from hafailover.vagrant.drill.loads.faults import Fault, Stage
from hafailover.vagrant.drill.loads.result import Column, Run
from hafailover.vagrant.lab import Lab

TOPOLOGIES = Path(__file__).resolve().parents[2] / "topologies"

_HEALTHY_WITHIN = 300.0

Say = Callable[[str], None]


class Load(abc.ABC):
    """Clients that ask again and again until they are ended."""

    @abc.abstractmethod
    def goes_on(self, without: str = "") -> None:
        """Wait until more of everything was acknowledged than by now; HafailoverError with who is behind.

        ``without``: a node whose own clients need not go on, for it is broken.
        """

    def comes_back(self, node: str) -> None:
        """Go on a little longer, now that ``node`` is back."""
        self.goes_on()

    @abc.abstractmethod
    def end(self) -> list[str]:
        """Ask for no more; what went wrong with that."""


class Struck(NamedTuple):
    """A fault that struck: its name, whether it was planned, on which node, when (Unix time), how long it took until all was healthy,
    what went wrong."""

    fault: str
    planned: bool
    node: str
    at: float
    back: float | None
    problems: tuple[str, ...]


L = TypeVar("L", bound=Load)
R = TypeVar("R", bound=Run)


class LoadDrill(abc.ABC, Generic[L, R]):
    """A drill under one kind of load. Its docstring is the command's help.

    ``name`` of the command; ``topology`` that a lab of its own runs; ``faults`` by name, those of ``default`` strike where none is named;
    ``in_turn``: whether a fault strikes each of ``nodes`` in turn, or whom :meth:`victim` finds; ``result`` is what a run yields,
    ``columns`` what of it stands in the table. Made for a lab: UsageError if that has not what the load needs.
    """

    name: ClassVar[str]
    topology: ClassVar[Path]
    faults: ClassVar[Mapping[str, Fault]]
    default: ClassVar[Sequence[str]]
    in_turn: ClassVar[bool] = True
    result: type[R]
    columns: Sequence[Column[R]]

    nodes: Sequence[str] = ()

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    @classmethod
    def require(cls) -> None:
        """UsageError if this machine lacks what the clients need."""

    @abc.abstractmethod
    def load(self) -> AbstractContextManager[L]:
        """The clients; leaving it ends them in any case."""

    @abc.abstractmethod
    def judged(self, load: L, struck: Struck) -> R:
        """The result, when the load has ended; its problems are those of ``struck`` and what the evidence shows."""

    def victim(self) -> str:
        """Whom to strike where nobody is named; HafailoverError if that cannot be told."""
        raise HafailoverError("say which node to strike")

    def await_ready(self) -> None:
        """Wait until a fault may strike; HafailoverError with what is not well."""
        await_health(self.lab)

    def run(self, name: str, node: str | None, say: Say, fault: Fault | None = None) -> R:
        """Strike once, with the fault ``name`` or another one in its place. Never raises HafailoverError: what went wrong is in the
        result's problems."""
        try:
            say("wait until everything is healthy")
            self.await_ready()
            node = node or self.victim()
            with self.load() as load:
                load.goes_on()
                struck = self._strike(
                    name, fault or self.faults[name], Stage(self.lab, node, _telling(load, node, say)), say
                )
                if not struck.problems:
                    say("everything is back; go on a little longer")
                    struck = struck._replace(problems=_problems(lambda: load.comes_back(struck.node)))
                struck = struck._replace(problems=(*struck.problems, *load.end()))
                say("look at what became of everything that was acknowledged")
                return self.judged(load, struck)
        except HafailoverError as error:
            return self.result(name, node or "?", (str(error),))

    def _strike(self, name: str, fault: Fault, stage: Stage, say: Say) -> Struck:
        """Break, and wait until everything is back."""
        say(f"{fault.summary[0].lower()}{fault.summary[1:]}: {stage.node}")
        at = time.time()
        problems = _problems(lambda: fault.strike(stage))
        say("wait until everything is back")
        problems += _problems(lambda: await_health(self.lab))
        return Struck(name, fault.planned, stage.node, at, None if problems else time.time() - at, problems)


def await_health(lab: Lab) -> None:
    """Wait until the lab has no problem for two looks in a row; HafailoverError with what is left after five minutes."""
    well = 0

    def reason() -> str | None:
        nonlocal well
        seen = lab.problems()
        well = 0 if seen else well + 1
        return None if well > 1 else f"not healthy: {'; '.join(seen) or 'only just'}"

    wait.until_none(reason, _HEALTHY_WITHIN)


def _telling(load: Load, node: str, say: Say) -> Callable[[], None]:
    def goes_on() -> None:
        load.goes_on(without=node)
        say("the load goes on")

    return goes_on


def _problems(do: Callable[[], Any]) -> tuple[str, ...]:
    try:
        do()
    except HafailoverError as error:
        return (str(error),)
    return ()
