"""``hafailover lint``: what is dangerous in a topology, a CIB or the running cluster, and on a node that runs it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence

import click
from hafailover.crm import completion, lint
from hafailover.crm.commands.json_answer import JsonCommand, give_text
from hafailover.crm.errors import FAILED, USAGE, UsageError
from hafailover.crm.lint import ERROR, SEVERITIES, Rule, ignores, output, sources


@click.command(cls=JsonCommand)
@click.argument(
    "source",
    metavar="TOPOLOGY|CIB|-",
    type=click.Path(allow_dash=True),
    required=False,
    shell_complete=completion.topologies,
)
@click.option("--live", is_flag=True, help="Look at the running cluster, this node's corosync.conf, and this node.")
@click.option("--corosync", "conf", metavar="FILE", type=click.Path(), help="The corosync.conf that belongs to a CIB.")
@click.option(
    "--node",
    metavar="NAME",
    shell_complete=completion.nodes,
    help="The node that this machine is (default: the one of its name); needs root.",
)
@click.option(
    "--ignore",
    "ignored",
    metavar="RULE[@WHERE]=REASON",
    shell_complete=completion.rules,
    multiple=True,
    help="Leave a rule out, by code or name; may be repeated.",
)
@click.option("--ignore-file", metavar="FILE", type=click.Path(), help="A file of lines RULE: REASON to leave out.")
@click.option(
    "--fail-on",
    type=click.Choice(SEVERITIES),
    default=ERROR,
    show_default=True,
    help="The least severity that gives exit code 1.",
)
@click.option("--rules", "list_", is_flag=True, help="List the rules and leave.")
@click.option(
    "-o", "--output", "--format", "form", type=click.Choice(list(output.FORMATS)), default="text", show_default=True,
    help="Form of the answer.",
)  # fmt: skip
def command(
    source: str | None,
    live: bool,
    conf: str | None,
    node: str | None,
    ignored: Sequence[str],
    ignore_file: str | None,
    fail_on: str,
    list_: bool,
    form: str,
) -> None:
    """Find what is dangerous in a topology, in a CIB (XML, also packed by bzip2 as Pacemaker keeps it), or with --live in the cluster.

    A rule has a code, a name, a severity, a reason and a remedy; --rules lists them, docs/lint.md explains them. What a rule could not look
    at is said. As root on a node of the topology that machine is looked at as well. A topology that is wrong in itself is refused.

    Exit code: 0 nothing as bad as --fail-on was found (less may be); 1 something was; 2 wrong usage, or a file that cannot be read.

    \b
    Example:
      hafailover lint openstack-controllers.yml
      hafailover lint --live --fail-on warning
      cibadmin --query | hafailover lint - --corosync /etc/corosync/corosync.conf
      hafailover lint cluster.yml --format github --ignore L22='one switch'
    """
    rules = lint.known()
    if list_:
        if form not in ("text", "json"):
            raise UsageError("--rules prints text or json")
        click.echo(_list(rules, form))
        return
    if live and (source is not None or conf is not None):
        raise UsageError("--live looks at the running cluster; leave the file out, or leave --live out")
    if source is None and not live:
        raise UsageError("say what to look at: a topology, a CIB, - or --live; --rules lists the rules")
    looked_at = sources.live(node) if live else sources.read(str(source), node, conf)
    listed = ignores.collect(rules, ignored, ignore_file, looked_at.ignores, looked_at.name)
    report = lint.examine(looked_at.facts)
    left, suppressed = ignores.apply(listed, report.findings)
    not_looked = {name for rule, _ in report.not_looked for name in (rule.code, rule.id)}
    unused = [one for one in listed if not one.used and one.rule not in not_looked]
    answer = output.Answer(looked_at, report, left, suppressed, unused, rules)
    give_text(output.FORMATS[form](answer, min(shutil.get_terminal_size((100, 24)).columns, 120)))
    if report.broken:
        sys.exit(USAGE)
    bad = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
    if any(finding.severity in bad for finding in left):
        sys.exit(FAILED)


def _list(rules: Sequence[Rule], form: str) -> str:
    if form == "json":
        keys = ("code", "id", "severity", "summary", "why", "remedy", "needs", "on_node")
        return json.dumps([{key: getattr(one, key) for key in keys} for one in rules], indent=2)
    width = max(len(one.id) for one in rules)
    lines = (
        f"{one.code:4} {one.id:{width}}  {one.severity:8} {one.summary}{' (node)' if one.on_node else ''}"
        for one in rules
    )
    return "\n".join(lines)
