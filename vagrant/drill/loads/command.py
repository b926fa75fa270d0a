"""The command of a drill under load: choose faults and nodes, run each, tell what came of it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, TypeVar

import click
from hafailover.crm import completion, schema
from hafailover.crm.commands.json_answer import JsonCommand, give, give_text, output
from hafailover.crm.errors import FAILED, UsageError
from hafailover.crm.progress import under_way
from hafailover.vagrant import host
from hafailover.vagrant.drill import options, session
from hafailover.vagrant.drill.loads import result
from hafailover.vagrant.drill.loads.frame import LoadDrill
from hafailover.vagrant.drill.loads.result import Run

R = TypeVar("R", bound=Run)
_Command = TypeVar("_Command", bound="Callable[..., Any]")


def command(kind: type[LoadDrill[Any, R]]) -> click.Command:
    """The command of ``kind``."""

    @click.command(name=kind.name, cls=JsonCommand, help=inspect.getdoc(kind))
    @click.argument(
        "faults",
        nargs=-1,
        metavar="[FAULT]...",
        shell_complete=completion.offered(lambda _: ((name, one.summary) for name, one in kind.faults.items())),
    )
    @click.option("-n", "--runs", type=click.IntRange(1), default=1, show_default=True, help="Rounds of all faults.")
    @_node(kind)
    @options.lab(default=kind.topology.name)
    @click.option("--list", "list_", is_flag=True, help="List the faults and leave.")
    @output
    def run(
        faults: Sequence[str],
        runs: int,
        lab_name: str | None,
        file: Path | None,
        list_: bool,
        output: str,
        node: str | None = None,
    ) -> None:
        if list_ and output == "json":
            give([{"fault": name, "summary": fault.summary} for name, fault in kind.faults.items()])
            return
        if list_:
            width = max(map(len, kind.faults))
            for name, fault in kind.faults.items():
                click.echo(f"{name:{width}}  {fault.summary}")
            return
        for name in faults:
            if name not in kind.faults:
                raise UsageError(schema.unknown("fault", name, kind.faults))
        host.require()
        kind.require()
        say = session.Progress()
        with say.until_end(), session.interruptible(), session.lab(lab_name, say, file, default=kind.topology) as lab:
            drill = kind(lab)
            if node is not None and node not in drill.nodes:
                raise UsageError(schema.unknown("node", node, drill.nodes))
            done = _rounds(drill, chosen(drill, list(faults or kind.default) * runs, node), say)
        if output == "json":
            give_text(result.as_json(done))
        else:
            click.echo(result.as_table(done, kind.columns))
        if not all(one.ok for one in done):
            sys.exit(FAILED)

    return run


def _node(kind: type[LoadDrill[Any, Any]]) -> Callable[[_Command], _Command]:
    if not kind.in_turn:
        return lambda command: command
    return click.option("--node", metavar="NAME", help="Only this node, instead of each in turn.")


def chosen(drill: LoadDrill[Any, Any], names: Sequence[str], node: str | None) -> list[tuple[str, str | None]]:
    """Which fault strikes which node, in this order; None where the drill finds it itself."""
    if not drill.in_turn:
        return [(name, None) for name in names]
    return [
        (name, one)
        for name in names
        for one in ([node] if node else drill.nodes if drill.faults[name].each_node else drill.nodes[:1])
    ]


def _rounds(drill: LoadDrill[Any, R], wanted: Sequence[tuple[str, str | None]], say: session.Progress) -> list[R]:
    done: list[R] = []
    for number, (name, node) in enumerate(wanted, 1):
        say.run = f"{number}/{len(wanted)} {' '.join(filter(None, (name, node)))}: "
        under_way(say, "under way", number - 1, len(wanted))
        done.append(drill.run(name, node, say))
        say("ok" if done[-1].ok else "; ".join(done[-1].problems))
    say.run = ""
    return done
