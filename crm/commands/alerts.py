"""``hafailover alerts``."""

from __future__ import annotations

import time
from typing import Any

import click
from hafailover.crm import alerts_run, completion, consent
from hafailover.crm.command_group import Group
from hafailover.crm.commands.json_answer import JsonCommand, give, output
from hafailover.crm.errors import FAILED
from hafailover.crm.history.audited import audited


@click.group(cls=Group, name="alerts", short_help="Show, test and hasten the delivery of alerts.")
def command() -> None:
    """Show, test and hasten the delivery of this node's alerts.

    \b
    Examples:
      hafailover alerts status
      hafailover alerts test chat
      hafailover alerts retry
    """


@command.command(cls=JsonCommand)
@output
def status(output: str) -> None:
    """Show what waits for each recipient on this node, and why it was not delivered.

    Exit code: 0 all is delivered or on its way; 1 somebody cannot be told, or nobody delivers.

    \b
    Example:
      hafailover alerts status
      hafailover alerts status -o json | jq .well
    """
    seen = alerts_run.look()
    if output == "json":
        give(seen.as_dict())
    else:
        for line in alerts_run.lines(seen, time.time()):
            click.echo(line)
    if not seen.well:
        raise SystemExit(FAILED)


@command.command(cls=JsonCommand)
@click.argument("name", shell_complete=completion.recipients)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1.0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait.",
)
@consent.options()
@output
def test(name: str, timeout: float, dry_run: bool, yes: bool, output: str) -> None:
    """Send a test event from this node to the recipient NAME, after what waits for it already, and say whether it arrived.

    Nobody is asked: it interrupts nothing.

    Exit code: 0 it was delivered; 1 it was not (it stays in the queue).

    \b
    Example:
      hafailover alerts test chat --dry-run
      hafailover alerts test chat --timeout 60
    """
    told = alerts_run.would_test(name) if dry_run else alerts_run.test(name, timeout)
    _tell({"schema": alerts_run.SCHEMA, "recipient": name, "delivered": not dry_run, "says": told}, output)


@command.command(cls=JsonCommand)
@consent.options()
@output
def retry(dry_run: bool, yes: bool, output: str) -> None:
    """Try now what waits for its next attempt, to every recipient.

    Nobody is asked: it interrupts nothing.

    \b
    Example:
      hafailover alerts retry
    """
    waiting = alerts_run.waiting() if dry_run else alerts_run.retry()
    doing = "nothing was tried (--dry-run)" if dry_run else "trying now"
    says = f"{waiting} event{'s' * (waiting != 1)} waiting; {doing}. See: hafailover alerts status"
    _tell({"schema": alerts_run.SCHEMA, "waiting": waiting, "tried": not dry_run, "says": says}, output)


def _tell(report: dict[str, Any], output: str) -> None:
    if output == "json":
        give(report)
    else:
        click.echo(report["says"])


for _changes in (test, retry):
    audited("alerts", _changes)
