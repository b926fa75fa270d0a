"""Options that the drill commands have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, TypeVar

import click
from hafailover.crm import completion, schema
from hafailover.crm.errors import UsageError

_INTERVALS = (0.001, 0.5)  # seconds; with longer ones a fault would strike before the first writes
_Command = TypeVar("_Command", bound="Callable[..., Any]")


def duration(context: click.Context, parameter: click.Parameter, value: str) -> float:
    """A click callback: ``"10ms"`` in seconds; BadParameter if it is no time."""
    try:
        return schema.milliseconds(value) / 1000
    except ValueError as error:
        raise click.BadParameter(f"{error}; write it with its unit, such as 10m or 1h") from None


def _between(context: click.Context, parameter: click.Parameter, value: str) -> float:
    found = duration(context, parameter, value)
    if not _INTERVALS[0] <= found <= _INTERVALS[1]:
        raise UsageError("--interval: must be between 1ms and 500ms.")
    return found


interval = click.option(
    "--interval",
    default="10ms",
    show_default=True,
    metavar="T",
    callback=_between,
    help="Time between two writes of the client; a slow machine's replicas may not keep up with the default.",
)


def keep(help: str) -> Callable[[_Command], _Command]:
    """``--keep DIR``: where the ledgers go."""
    return click.option("--keep", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help=help)


def lab(default: str = "") -> Callable[[_Command], _Command]:
    """``--lab`` and ``--topology``, parameters ``lab_name`` and ``file``; ``default`` names the topology where it is not the lab's own."""
    named = f" (default: {default})" if default else ""
    name_option = click.option(
        "--lab",
        "lab_name",
        metavar="NAME",
        envvar="HAFAILOVER_LAB",
        shell_complete=completion.labs,
        help="Which lab. One that does not run is made and removed afterwards. [env: HAFAILOVER_LAB]",
    )
    file_option = click.option(
        "-t",
        "--topology",
        "file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        shell_complete=completion.topologies,
        help=f"Topology of the lab that is made{named}; one that runs must run this one.",
    )
    return lambda command: name_option(file_option(command))
