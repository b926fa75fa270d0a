"""``hafailover history``."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from hafailover.agents import inbox
from hafailover.crm import completion, local
from hafailover.crm.colour import paint
from hafailover.crm.commands.json_answer import JsonCommand, JsonGroup, give, output
from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.crm.history import DIRECTORY, drain, handed_in, records, report
from hafailover.crm.history.entries import entries
from hafailover.crm.history.entry import KINDS, Entry
from hafailover.crm.history.report import Names
from hafailover.crm.history.store import Busy, Store
from hafailover.crm.pacemaker import PacemakerError

_PATIENCE = 3.0  # seconds for what other nodes are known to have

_EPILOG = """\b
Examples:
  hafailover history
  hafailover history --since 2h --node db2
  hafailover history --kind failover --kind fencing -o json
  hafailover history show db2-57
"""


@click.group(cls=JsonGroup, invoke_without_command=True, epilog=_EPILOG)
@click.option("--since", metavar="WHEN", help="Only what was not over by then: 2h, 3d, today, '2026-01-31 04:00'.")
@click.option("--node", metavar="NODE", help="Only what is about NODE.", shell_complete=completion.nodes)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="KIND",
    help="Only this kind, such as failover (repeatable).",
    shell_complete=completion.kinds,
)
@click.option("--all", "everything", is_flag=True, help="Also plain starts and stops, and what agents tell.")
@output
@click.pass_context
def command(
    context: click.Context, since: str | None, node: str | None, kinds: tuple[str, ...], everything: bool, output: str
) -> None:
    """Show what happened: failovers, switchovers, fencing, degradation, returns, and the commands that people gave.

    The cluster writes it down itself, and every node has all of it, also what happened while it was away.
    """
    if context.invoked_subcommand is not None:
        if since is not None or node is not None or kinds or everything:
            raise UsageError("show takes an ID alone: --since, --node, --kind and --all choose what is listed")
        return
    after = None if since is None else report.moment(since, time.time())
    found, notes = _read()
    _refuse_unknown("kind", kinds, {entry.kind for entry in found}, KINDS)
    known = {name for entry in found for name in entry.nodes}
    _refuse_unknown("node", () if node is None else (node,), known)
    names = Names(found)
    some = report.chosen(found, after, node, kinds, everything)
    if output == "json":
        _json(some, names, notes)
        return
    for line in report.listed(some, names, paint(), _width()):
        click.echo(line)
    _tell(notes)


@command.command("show", cls=JsonCommand)
@click.argument("name", metavar="ID", shell_complete=completion.entries)
@output
@click.pass_context
def show(context: click.Context, name: str, output: str) -> None:
    """Show one entry with its timeline: each step, with the seconds from the beginning.

    \b
    Example:
      hafailover history show db2-57
    """
    found, notes = _read()
    names = Names(found)
    meant = names.find(name)
    if not meant:
        raise UsageError(f"there is no entry {records.clean(name, 80)}; hafailover history --all lists them")
    if len(meant) > 1:
        several = ", ".join(entry.id for entry in meant)
        raise UsageError(f"{records.clean(name, 80)} may be each of {several}: say which")
    if "json" in (output, context.parent.params.get("output") if context.parent else ""):
        _json(meant, names, notes)
        return
    for line in report.shown(meant[0], names, paint(), _width()):
        click.echo(line)
    _tell(notes)


def _read() -> tuple[list[Entry], dict[str, Any]]:
    """All entries, after what is in the inbox and with the other nodes was fetched; and what is known to be missing."""
    local.need_root("history", "what happened is nobody else's business")
    notes: dict[str, Any] = {"members": [], "missing": {}, "note": ""}
    if Path(inbox.DIRECTORY).is_dir():
        with contextlib.suppress(OSError):
            handed_in.prepare()  # somebody may have changed its rights, and then alerts get nothing in
    try:
        here = drain.here(DIRECTORY)
        state = here.until_settled(_PATIENCE)
        notes.update(members=list(state.members), missing=dict(state.missing))
        if not here.connected:
            notes["note"] = "the cluster does not run on this node: this is what it knew last"
    except Busy:
        notes["note"] = "another process is writing the history down right now: what is newest may be missing"
    except PacemakerError as error:
        notes["note"] = f"the other nodes could not be asked: {error}"
    except OSError as error:
        notes["note"] = f"what is newest could not be written down: {error}"
    try:
        return entries(Store(DIRECTORY).everything(drain.limit(DIRECTORY, None))), notes
    except OSError as error:
        raise HafailoverError(f"the history cannot be read: {error}") from None


def _refuse_unknown(what: str, given: Sequence[str], found: set[str], possible: Sequence[str] = ()) -> None:
    for word in given:
        # Of what is possible nothing may have happened yet: that is an empty list, and no mistake.
        if word not in found and word not in possible and (found or possible):
            there = sorted(found or possible)
            raise UsageError(
                f"nothing is recorded of the {what} {records.clean(word, 80)}; there is: {', '.join(there)}"
            )


def _json(found: Sequence[Entry], names: Names, notes: Mapping[str, Any]) -> None:
    give(report.as_json(found, names, os.uname().nodename, time.time(), notes))


def _tell(notes: Mapping[str, Any]) -> None:
    if notes["note"]:
        click.echo(f"hafailover: {notes['note']}", err=True)
    for node, count in notes["missing"].items():
        click.echo(f"hafailover: {node} has {count} records more, and hands them over within some minutes", err=True)


def _width() -> int:
    return max(60, min(140, shutil.get_terminal_size((100, 24)).columns)) if sys.stdout.isatty() else 120
