"""``hafailover generate``: the cluster configuration of a topology."""

from __future__ import annotations

import click
from hafailover.crm import generate, render, topology
from hafailover.crm.formats import cib, crmsh
from hafailover.crm.validate import validate

FORMATS = {"cib": cib.text, "crmsh": crmsh.text}


@click.command()
@click.argument("topology_file", metavar="TOPOLOGY", type=click.Path())
@click.option("--format", "form", type=click.Choice(sorted(FORMATS)), default="crmsh", show_default=True)
def command(topology_file: str, form: str) -> None:
    """Print the cluster configuration of TOPOLOGY.

    The text goes to standard output; what could not be checked, and how to load it, to standard error.

    \b
    Example:
      hafailover generate mariadb-pair.yml --format crmsh > cluster.crm
      crm configure load update cluster.crm
    """
    wanted = topology.load(topology_file)
    configuration = generate.configuration(wanted)
    unchecked = validate(cib.tree(configuration), topology_file)
    click.echo(FORMATS[form](configuration), nl=False)
    for note in render.service_notes(wanted):
        click.echo(f"hafailover: note: {note}", err=True)
    if unchecked:
        click.echo(f"hafailover: note: {unchecked}", err=True)
