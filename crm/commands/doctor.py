"""``hafailover doctor``."""

from __future__ import annotations

import sys

import click
from hafailover.crm import local
from hafailover.crm.colour import paint
from hafailover.crm.commands.json_answer import JsonCommand, give, output
from hafailover.crm.errors import FAILED, INCOMPLETE
from hafailover.crm.progress import Progress

_EPILOG = """\b
Examples:
  hafailover doctor
  hafailover doctor --quiet
  hafailover doctor -o json |
    jq -r '.checks[] | select(.result=="failed") | .what'
  hafailover doctor --fail-on warning >/dev/null || echo "look at the cluster"

\b
Exit code: 0 nothing as bad as --fail-on was found, and all was looked at;
1 something was; 4 nothing was, but not everything could be looked at.
"""


@click.command(cls=JsonCommand, epilog=_EPILOG)
@output
@click.option("--quiet", "-q", is_flag=True, help="Leave out what is well.")
@click.option(
    "--fail-on", type=click.Choice(["failed", "warning"]), default="failed", show_default=True,
    help="The least result that gives exit code 1.",
)  # fmt: skip
def command(output: str, quiet: bool, fail_on: str) -> None:
    """Look on all nodes for what will go wrong one day: clocks, names, packet sizes, links, votes, fencing, versions, files, databases,
    disks, secrets, and what starts at boot. Each result comes with its reason, and with what to paste.

    Nothing is changed, and no node is ever switched off: fencing devices are asked for their status. It takes at most half a minute,
    also with a dead node; what could not be looked at is told, and is never well.
    """
    local.need_root("doctor", "it looks at secrets, devices and disks")
    from hafailover.crm.doctor import FAIL, UNKNOWN, WARN, report
    from hafailover.crm.doctor.visit import Visit

    with Progress().until_end() as progress:
        progress.now("looking at all nodes", log=False)
        found = report.judge(Visit().seen())
    if output == "json":
        give(report.as_json(found))
    else:
        for line in report.lines(found, paint(), quiet):
            click.echo(line)
    bad = (FAIL,) if fail_on == "failed" else (FAIL, WARN)
    if any(found.count(verdict) for verdict in bad):
        sys.exit(FAILED)
    if found.count(UNKNOWN):
        sys.exit(INCOMPLETE)
