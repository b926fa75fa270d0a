"""``hafailover status``."""

from __future__ import annotations

import json
import os
import sys
from typing import NoReturn

import click
from hafailover.crm import local, privileged, status_external
from hafailover.crm.errors import FAILED, HafailoverError
from hafailover.crm.status import as_json
from hafailover.crm.status_facts import ClusterDown, gather
from hafailover.crm.status_judge import judge
from hafailover.crm.status_read import read
from hafailover.crm.status_text import Paint, coloured, plain, render

_EPILOG = """\b
Examples:
  hafailover status
  hafailover status -o json | jq .healthy
  hafailover status --check || echo "look at the cluster"
\b
Exit code: 0 the state could be shown (with --check: and it is healthy);
1 it could not, or with --check it is not healthy.
"""


def paint() -> Paint:
    """Colour on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return coloured if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else plain


@click.command(epilog=_EPILOG)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
@click.option("--check", is_flag=True, help="Exit with 1 when the cluster is not healthy.")
def command(output: str, check: bool) -> None:
    """Show who is primary, who is in sync, and what is wrong.

    Works on any node of the cluster, also when its own Pacemaker is down; then it shows what it can and exits with 1.
    """
    if not local.may_ask_cluster():
        raise HafailoverError(local.NOT_ROOT)
    if not local.installed("crm_mon"):
        _offline("Pacemaker is not installed on this node", output)
    outside = status_external.begin()
    try:
        status = read(gather(local.run))
    except ClusterDown as error:
        _offline(str(error), output)
    status = status._replace(external=status_external.end(outside))
    verdict = judge(status)
    verdict = verdict._replace(problems=(*verdict.problems, *privileged.hints(status)))
    if output == "json":
        click.echo(json.dumps(as_json(status, verdict), indent=2))
    else:
        click.echo(render(status, verdict, paint()), nl=False)
    if check and not verdict.healthy:
        sys.exit(FAILED)


def _offline(reason: str, output: str) -> NoReturn:
    from hafailover.crm import status_offline

    found = status_offline.look(local.run, reason)
    if output == "json":
        click.echo(json.dumps(status_offline.as_json(found), indent=2))
    else:
        click.echo(status_offline.render(found, paint()), nl=False)
    sys.exit(FAILED)
