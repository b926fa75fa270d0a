"""hafailover drill work: break a StackStorm lab while work is submitted, and account for every item and tick."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from hafailover.crm import schema
from hafailover.crm.errors import FAILED, UsageError
from hafailover.vagrant import host
from hafailover.vagrant.drill import columns, options, session, target, work_run
from hafailover.vagrant.drill.work_faults import FAULTS
from hafailover.vagrant.drill.work_run import WorkRun
from hafailover.vagrant.lab import Lab

DEFAULT = ("power-off",)
TOPOLOGY = Path(__file__).resolve().parents[1] / "topologies" / "stackstorm-pair.yml"


@click.command(name="work")
@click.argument("faults", nargs=-1, metavar="[FAULT]...")
@click.option("-n", "--runs", type=click.IntRange(1), default=1, show_default=True, help="Rounds of all faults.")
@click.option("--node", metavar="NAME", help="Only this node, instead of each in turn.")
@options.lab(default="stackstorm-pair.yml")
@click.option("--list", "list_", is_flag=True, help="List the faults and leave.")
@options.output
def command(
    faults: Sequence[str],
    runs: int,
    node: str | None,
    lab_name: str | None,
    file: Path | None,
    list_: bool,
    output: str,
) -> None:
    """Break a StackStorm pair on purpose while numbered work is submitted, and count what became of it.

    A client outside the cluster submits an item five times a second to whichever st2api answers, and remembers what was
    acknowledged. Each FAULT strikes each node in turn (without one: power-off). Afterwards every acknowledged item must be done,
    and timers and sensors must have fired once per tick, on one node at a time.

    The lab's StackStorm services are stand-ins: small programs with the same unit names that work on the lab's real broker,
    database and content.

    Exit code 0: nothing was lost and all came back; 1: something is not as it must be; 2: wrong usage.

    \b
    Example:
      hafailover drill work
      hafailover drill work kill-broker hang-content --node st2-node -o json
    """
    if list_:
        width = max(map(len, FAULTS))
        for name, fault in FAULTS.items():
            click.echo(f"{name:{width}}  {fault.summary}")
        return
    for name in faults:
        if name not in FAULTS:
            raise UsageError(schema.unknown("fault", name, FAULTS))
    host.require()
    say = session.Progress()
    with session.interruptible(), session.lab(lab_name, say, file or (None if lab_name else TOPOLOGY)) as lab:
        if node is not None and node not in lab.data_nodes:
            raise UsageError(schema.unknown("node", node, lab.data_nodes))
        target.of_lab(lab.name)  # UsageError when there is no database to account with
        done = _drill(lab, list(faults or DEFAULT) * runs, node, say)
    click.echo(json.dumps({"runs": [run.as_json() for run in done]}, indent=2) if output == "json" else table(done))
    if not all(run.ok for run in done):
        sys.exit(FAILED)


def _drill(lab: Lab, names: Sequence[str], node: str | None, say: session.Progress) -> list[WorkRun]:
    chosen = [
        (name, one)
        for name in names
        for one in ([node] if node else lab.data_nodes if FAULTS[name].each_node else lab.data_nodes[:1])
    ]
    done: list[WorkRun] = []
    for number, (name, one) in enumerate(chosen, 1):
        say.run = f"{number}/{len(chosen)} {name} {one}: "
        done.append(work_run.run(lab, name, FAULTS[name], one, say))
        say("ok" if done[-1].ok else "; ".join(done[-1].problems))
    say.run = ""
    return done


_HEADINGS = ("fault", "node", "acked", "lost", "again", "publish s", "consume s", "no tick s", "back s", "")
_LEFT = (0, 1, 9)


def table(runs: Sequence[WorkRun]) -> str:
    """A table for people, then what went wrong in each failed run."""
    lines = list(columns.lines([_HEADINGS, *map(_cells, runs)], _LEFT))
    for run in runs:
        lines += [f"{run.fault} {run.node}: {problem}" for problem in run.problems]
    failed = sum(not run.ok for run in runs)
    return "\n".join([*lines, f"{len(runs)} runs, {f'{failed} failed' if failed else 'all ok'}"])


def _cells(run: WorkRun) -> tuple[str, ...]:
    return (
        run.fault,
        run.node,
        str(run.acknowledged),
        _text(run.lost),
        _text(run.repeated),
        _text(run.publish_gap),
        _text(run.consume_gap),
        _text(max(run.missed.values()) if run.missed else None),
        _text(run.back),
        "ok" if run.ok else "FAILED",
    )


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
