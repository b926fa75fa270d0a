"""What may break under any load, and how it is given back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable, NamedTuple

from hafailover.crm.drill import database
from hafailover.crm.errors import HafailoverError
from hafailover.vagrant import host
from hafailover.vagrant.drill import target
from hafailover.vagrant.lab import Lab

_FENCED_WITHIN = 120.0
SETTLES_WITHIN = 240


class Stage(NamedTuple):
    """A run's surroundings: the lab, the node that the fault is about, and how to wait until the load goes on without it."""

    lab: Lab
    node: str
    goes_on: Callable[[], None]


class Fault(NamedTuple):
    """A fault: what happens, as one line, and what carries it out; HafailoverError when something did not happen in time.

    ``each_node``: whether it is about each node in turn; ``planned``: whether the cluster was asked for it.
    """

    summary: str
    strike: Callable[[Stage], None]
    each_node: bool = True
    planned: bool = False


@contextmanager
def afterwards(undo: Callable[[], object]) -> Iterator[None]:
    """Undo at the end, also after an error."""
    try:
        yield
    finally:
        undo()


def power_off(stage: Stage) -> None:
    """Take the node's power, and give it back when the load goes on without it."""
    stage.lab.power_off(stage.node, hold=True)
    with afterwards(lambda: _power_on(stage)):
        stage.goes_on()


def _power_on(stage: Stage) -> None:
    stage.lab.power_on(stage.node)
    stage.lab.await_boot(stage.node)


def cut(stage: Stage) -> None:
    """Pull the node's cables, and put them back when it was fenced and the load goes on without it."""
    boots = stage.lab.states()[stage.node].boots
    stage.lab.cut(stage.node)
    with afterwards(lambda: stage.lab.heal(stage.node)):
        # Whoever is cut loses quorum and is fenced; without quorum it must not go on working by itself.
        host.wait(
            f"{stage.node} was fenced",
            _FENCED_WITHIN,
            lambda: True if stage.lab.states()[stage.node].boots > boots else None,
            0.3,
        )
        stage.goes_on()


def kill(stage: Stage, process: str, user: str = "") -> None:
    """Kill every process of that name on the node (of that user, if one is named); HafailoverError when there is none."""
    pids = stage.lab.exec(stage.node, ["pgrep", *(["-u", user] if user else []), "-x", process]).stdout.split()
    if not pids:
        raise HafailoverError(f"no {process} runs on {stage.node}")
    for pid in pids:
        stage.lab.kill(stage.node, int(pid))


def stand_by(stage: Stage) -> None:
    """Everything leaves the node as planned, and comes back."""
    argv = ["crm_standby", "--node", stage.node]
    stage.lab.exec(stage.node, [*argv, "--update", "on"], check=True)
    with afterwards(lambda: stage.lab.exec(stage.node, [*argv, "--delete"], check=True)):
        settle(stage)
        stage.goes_on()
    settle(stage)
    stage.goes_on()


def settle(stage: Stage) -> None:
    """Wait until Pacemaker has nothing more to do."""
    argv = ["crm_resource", "--wait", f"--timeout={SETTLES_WITHIN}"]
    stage.lab.exec(stage.node, argv, timeout=SETTLES_WITHIN + 30, check=True)


def move_database(stage: Stage) -> None:
    """The database's primary is moved as planned."""
    aim = target.of_lab(stage.lab.name)
    heir = next(node for node in aim.nodes if node != database.primary(stage.lab, aim))
    stage.lab.exec(heir, ["hafailover", "promote", heir, "--yes"], timeout=300, check=True)
    stage.goes_on()
