"""``hafailover explain``."""

from __future__ import annotations

import difflib
import os
import sys
import time
from typing import NoReturn

import click
from hafailover.crm import completion, explain_text, local
from hafailover.crm.colour import paint
from hafailover.crm.commands.json_answer import JsonCommand, give, output
from hafailover.crm.errors import FAILED, UsageError
from hafailover.crm.explain import PUBLISHED, as_json, explain
from hafailover.crm.pacemaker import Pacemaker, PacemakerError
from hafailover.crm.status_facts import GLANCE, ClusterDown, gather
from hafailover.crm.status_read import read
from hafailover.crm.switchover_facts import ask_everybody

_EPILOG = """\b
Examples:
  hafailover explain
  hafailover explain db2
  hafailover explain -o json | jq '.services[].cases[] | {node, verdict}'

\b
Exit code: 0 it could be explained; 1 this node's cluster does not run, and
only what it last knew and what the servers say could be told.
"""


@click.command(cls=JsonCommand, epilog=_EPILOG)
@click.argument("node", required=False, shell_complete=completion.nodes)
@output
def command(node: str | None, output: str) -> None:
    """Say for each server of a database whether it may be promoted: the facts, the rule, and the verdict.

    The verdict is that of the rules by which the cluster itself promotes. Works on any node, also when its own cluster is down or the
    peer is dead; then it says what it can.
    """
    local.need_root("explain", "it reads the replication account to ask the servers")
    try:
        status = read(gather(local.run, GLANCE))
    except (ClusterDown, local.NotInstalled) as error:
        _offline(str(error), output)
    known = [one.node for service in status.services for one in service.instances]
    if node is not None and node not in known:
        near = difflib.get_close_matches(node, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known) or 'none'}"
        raise UsageError(f"{node} is not a data node of a database in this cluster; {hint}")
    found = [explain(status, one, ask_everybody(one), published(one.name)) for one in status.services]
    if node is not None:
        found = [one._replace(cases=tuple(case for case in one.cases if case.node == node)) for one in found]
    if output == "json":
        give(as_json(found, status.seen_by, status.at))
        return
    if not found:
        click.echo("This cluster has no database service (ocf:hafailover:mariadb).")
    for line in explain_text.render(found, node, paint()):
        click.echo(line)


def published(resource: str) -> dict[str, dict[str, str]]:
    """What the agent has published of ``resource`` that only the explanation reads: attribute → node → value."""
    pacemaker = Pacemaker(local.run, timeout=5)
    found = {}
    for what in PUBLISHED:
        try:
            found[what] = dict(pacemaker.published(f"hafailover-{resource}-{what}"))
        except PacemakerError:
            found[what] = {}  # the attribute daemon starts a moment later than the rest; the facts are fewer then
    return found


def _offline(reason: str, output: str) -> NoReturn:
    from hafailover.crm import explain_offline

    now, here = time.time(), os.uname().nodename
    found = explain_offline.look(now)
    if output == "json":
        give(explain_offline.as_json(found, reason, here, now))
    else:
        for line in explain_text.render_offline(found, reason, paint()):
            click.echo(line)
    sys.exit(FAILED)
