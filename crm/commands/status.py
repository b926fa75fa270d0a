"""``hafailover status``."""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple

import click
from hafailover.crm import colour, local, status_look
from hafailover.crm.commands.json_answer import JsonCommand, give, output
from hafailover.crm.errors import FAILED, UsageError
from hafailover.crm.status_facts import ClusterDown

_EPILOG = """\b
Examples:
  hafailover status
  hafailover status --watch
  hafailover status --watch 5 >> /var/log/cluster-status.log
  hafailover status -o json | jq .healthy
  hafailover status --check || echo "look at the cluster"

\b
Exit code: 0 the state could be shown (with --check: and it is healthy);
1 it could not, or with --check it is not healthy.
"""
_EVERY = 2.0  # seconds between two looks


class Shown(NamedTuple):
    """One look in words: as ``text``, as ``data`` for JSON, and whether the cluster could be asked, and is healthy."""

    text: str
    data: dict[str, Any]
    available: bool
    healthy: bool


class _Seconds(click.ParamType):
    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = 0.0
        if not 0.5 <= seconds <= 3600:
            self.fail(f"{value!r} is not a number of seconds from 0.5 to 3600", param, ctx)
        return seconds


@click.command(cls=JsonCommand, epilog=_EPILOG)
@output
@click.option("--check", is_flag=True, help="Exit with 1 when the cluster is not healthy.")
@click.option(
    "--watch", "-w", "every", type=_Seconds(), is_flag=False, flag_value=str(_EVERY), metavar="[SECONDS]",
    help=f"Look again every so many seconds (default: {_EVERY:g}) until Ctrl-C.",
)  # fmt: skip
def command(output: str, check: bool, every: float | None) -> None:
    """Show who is primary, who is in sync, and what is wrong.

    Works on any node of the cluster, also when its own Pacemaker is down; then it shows what it can and exits with 1. Root sees
    everything; members of the group haclient are told what they do not see.

    With --watch a terminal shows it live; in a file or a pipe a block is added, with the time, when something has changed
    (with -o json: an object on one line).
    """
    if every is not None:
        if check:
            raise UsageError("--check looks once; leave --watch out")
        _watch(output, every)
        return
    shown = _look()
    if output == "json":
        give(shown.data)
    else:
        click.echo(shown.text, nl=False)
    if not shown.available or (check and not shown.healthy):
        sys.exit(FAILED)


def _look() -> Shown:
    if not local.may_ask_cluster():
        return _offline("this user may not ask the cluster", denied=True)
    if not local.installed("crm_mon"):
        return _offline("Pacemaker is not installed on this node", installed=False)
    try:
        status, verdict = status_look.look(local.run, os.geteuid() == 0)
    except ClusterDown as error:
        return _offline(str(error))
    from hafailover.crm.status import as_json
    from hafailover.crm.status_text import render

    return Shown(render(status, verdict, colour.paint()), as_json(status, verdict), True, verdict.healthy)


def _offline(reason: str, denied: bool = False, installed: bool = True) -> Shown:
    from hafailover.crm import status_offline

    found = status_offline.look(local.run, reason, denied=denied, installed=installed)
    return Shown(status_offline.render(found, colour.paint()), status_offline.as_json(found), False, False)


def _watch(output: str, every: float) -> None:
    import json

    from hafailover.crm import status_live
    from hafailover.crm.errors import HafailoverError
    from hafailover.crm.status_text import wrapped

    def picture() -> status_live.Picture:
        try:
            shown = _look()
        except Exception as error:  # whatever goes wrong in one look, the next one may go well
            known = isinstance(error, (HafailoverError, OSError))
            why = str(error) if known else f"of a mistake in hafailover itself ({type(error).__name__}: {error})"
            said = {"available": False, "healthy": False, "verdict": "UNKNOWN", "reason": why}
            shown = Shown("\n".join(wrapped(why, "UNKNOWN  ", " " * 9)) + "\n", said, False, False)
        text = json.dumps(shown.data) if output == "json" else shown.text
        return status_live.Picture(text, status_live.essence(shown.text))

    screen = output == "text" and colour.moves(sys.stdout)
    with local.signals_as_interrupt():
        status_live.watch(picture, every, sys.stdout, screen, stamped=output == "text")
