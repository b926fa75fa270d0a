"""``hafailover generate``: the cluster configuration of a topology."""

from __future__ import annotations

import sys

import click
from hafailover.crm import completion, fence_check, generate, render, topology
from hafailover.crm.commands.json_answer import JsonCommand, give, output
from hafailover.crm.errors import INCOMPLETE, UsageError
from hafailover.crm.formats import cib, crmsh, pcs
from hafailover.crm.formats.written import Written
from hafailover.crm.validate import validate

FORMATS = {"cib": lambda configuration: Written(cib.text(configuration)), "crmsh": crmsh.write, "pcs": pcs.write}


@click.command(cls=JsonCommand)
@click.argument("topology_file", metavar="TOPOLOGY", type=click.Path(), shell_complete=completion.topologies)
@click.option(
    "--format",
    "form",
    type=click.Choice(sorted(FORMATS)),
    default="crmsh",
    show_default=True,
    help="For which program.",
)
@click.option(
    "--partial",
    is_flag=True,
    help="Exit with 0 also when the format has no words for something that is no fence device.",
)
@output
def command(topology_file: str, form: str, partial: bool, output: str) -> None:
    """Print the cluster configuration of TOPOLOGY.

    The text goes to standard output; what could not be checked, what the format has no words for, and how to load it, to standard
    error. The exit code is 4 when the text is not the whole configuration (--partial: 0,
    but 2 and no text when a fence device is missing).

    \b
    Examples:
      hafailover generate mariadb-pair.yml --format crmsh > cluster.crm
      crm configure load update cluster.crm
      hafailover generate mariadb-pair.yml --format pcs > cluster.sh
      pcs cluster cib cluster.xml; cp cluster.xml before.xml
      sh cluster.sh cluster.xml &&
        pcs cluster cib-push cluster.xml diff-against=before.xml
    """
    wanted = topology.load(topology_file)
    fence_check.check(wanted)
    configuration = generate.configuration(wanted)
    unchecked = validate(cib.tree(configuration), topology_file)
    written = FORMATS[form](configuration)
    if partial and written.unfenced:
        missing = "; ".join(one for one in written.unsaid)
        raise UsageError(
            f"{form} cannot be told what fences nodes ({', '.join(written.unfenced)}), without which a split would write on both sides, so "
            f"--partial does not leave it out: {missing}"
        )
    notes = [*render.service_notes(wanted), *fence_check.notes(wanted), *([unchecked] if unchecked else [])]
    code = INCOMPLETE if written.unsaid and not partial else 0
    if output == "json":
        give(
            {
                "schema": 1,
                "topology": topology_file,
                "cluster": wanted.name,
                "format": form,
                "text": written.text,
                "unsaid": list(written.unsaid),
                "notes": notes,
                "exit_code": code,
            }
        )
    else:
        click.echo(written.text, nl=False)
        for lacking in written.unsaid:
            click.echo(f"hafailover: {form} has no words for {lacking}", err=True)
        for note in notes:
            click.echo(f"hafailover: note: {note}", err=True)
    if code:
        sys.exit(code)
