"""hafailover drill: break the lab under load, count what a client lost, and say how long it took."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

import click
from hafailover.crm import topology as topologies
from hafailover.crm.errors import FAILED, RefusedError, UsageError
from hafailover.vagrant import host, state
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.drill import report, scenario, target
from hafailover.vagrant.drill.engine import Drill, Say
from hafailover.vagrant.drill.heartbeat import Heartbeat
from hafailover.vagrant.drill.null import Null
from hafailover.vagrant.drill.report import Run
from hafailover.vagrant.drill.scenario import Scenario
from hafailover.vagrant.drill.stacks import Hafailover, Stack
from hafailover.vagrant.lab import Lab

_STACKS: dict[str, Callable[[], Stack]] = {
    "hafailover": Hafailover,
    "heartbeat-mariadb": lambda: Heartbeat("mariadb"),
    "heartbeat-mysql": lambda: Heartbeat("mysql"),
    "null": Null,
}


@click.command(name="drill")
@click.argument("scenarios", nargs=-1, metavar="SCENARIO...")
@click.option("-n", "--runs", type=click.IntRange(1), default=1, show_default=True, help="Runs of each scenario.")
@click.option(
    "--agents",
    type=click.Choice(sorted(_STACKS)),
    default=Hafailover.name,
    show_default=True,
    help="What manages the database; null is Pacemaker alone, with agents that do nothing.",
)
@click.option(
    "--lab",
    "lab_name",
    metavar="NAME",
    envvar="HAFAILOVER_LAB",
    help="Which lab. One that does not run is made and removed afterwards. [env: HAFAILOVER_LAB]",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep every run's ledger (one line of JSON per write) in DIR; else only a failed drill's are kept.",
)
@click.option("--list", "list_", is_flag=True, help="List the scenarios and leave.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the answer."
)
def command(
    scenarios: Sequence[str],
    runs: int,
    agents: str,
    lab_name: str | None,
    keep: Path | None,
    list_: bool,
    output: str,
) -> None:
    """Break the lab on purpose and count what a client lost.

    A client outside the cluster writes through the virtual address every 10 ms and remembers what was acknowledged.
    Then the scenario strikes; afterwards every row is looked for on every server. A SCENARIO is a name (--list shows
    them) or a YAML file. A lab that runs is used and left running.

    Exit code 0: every run is ok; 1: some run is not; 2: wrong usage.

    \b
    Example:
      hafailover drill kill-primary switchover -n 5
      hafailover drill power-off-primary -o json
    """
    if list_:
        for name in scenario.known():
            click.echo(f"{name:20} {scenario.load(name).summary}")
        return
    if not scenarios:
        raise UsageError("say which scenario to run; 'hafailover drill --list' shows them.")
    chosen = [scenario.load(name) for name in scenarios]
    host.require()
    say = _Progress()
    with _interruptible(), _lab(lab_name, say) as lab:
        done = _drill(lab, _STACKS[agents](), [item for item in chosen for _ in range(runs)], keep, say)
    click.echo(report.as_json(done) if output == "json" else report.as_table(done))
    if not all(run.ok for run in done):
        sys.exit(FAILED)


class _Progress:
    """Tells each step on stderr with the seconds since the start and the run it belongs to."""

    def __init__(self) -> None:
        self.run = ""
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        click.echo(f"{time.monotonic() - self._began:6.1f} s  {self.run}{text}", err=True)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the drill as Ctrl-C does, so that it cleans up after itself."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold interruptions back while something is put in order: half of that would be worse than a moment's wait."""
    numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


@contextlib.contextmanager
def _lab(name: str | None, say: Say) -> Iterator[Lab]:
    """Yield the lab ``name``, or the only one that runs, or one made for this drill and removed afterwards."""
    known = state.names()
    running = [one for one in known if _runs(one)]
    if name is None and len(running) > 1:
        raise UsageError(f"there are several labs ({', '.join(running)}): say which with --lab NAME.")
    if name is None and running:
        name = running[0]
    if name is not None and name in running:
        say(f"lab {name} is used as it is")
        yield Lab.open(name)
        return
    if name is not None and name in known:
        raise RefusedError(f"lab {name} is not complete; 'hafailover lab down {name}' removes what there is of it.")
    own = host.check_name(name) if name else next(one for one in _own_names() if one not in known)
    try:
        yield Lab.up(own, topologies.load(DEFAULT_TOPOLOGY), None, say)
    finally:
        with _undisturbed():
            say(f"lab {own} is removed")
            Lab.down(own)


def _own_names() -> Iterator[str]:
    yield "drill"
    for number in itertools.count(2):
        yield f"drill-{number}"


def _runs(name: str) -> bool:
    found = state.read(name)
    return found is not None and found.phase == state.UP and Lab.open(name).provider.alive()


def _drill(lab: Lab, stack: Stack, scenarios: Sequence[Scenario], keep: Path | None, say: _Progress) -> list[Run]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    evidence = keep or Path(tempfile.mkdtemp(prefix="hafailover-drill-"))
    drill = Drill(lab, target.of_lab(lab.name), stack, evidence, say)
    done: list[Run] = []
    try:
        drill.begin()
        for number, item in enumerate(scenarios, 1):
            say.run = f"{number}/{len(scenarios)} {item.name}: "
            done.append(drill.run(item))
            say("ok" if done[-1].ok else "; ".join(done[-1].problems))
        return done
    finally:
        say.run = ""
        with _undisturbed():
            drill.end()
            if keep is None and len(done) == len(scenarios) and all(run.ok for run in done):
                shutil.rmtree(evidence)
            else:
                say(f"the ledgers are kept in {evidence}")
