"""``hafailover init``: a topology to begin with."""

from __future__ import annotations

import click
from hafailover.crm import completion, examples
from hafailover.crm.errors import UsageError
from hafailover.crm.schema import unknown


@click.command()
@click.option(
    "--example",
    metavar="NAME",
    shell_complete=completion.examples,
    help="Print this one; without it the names are listed.",
)
def command(example: str | None) -> None:
    """Print a commented topology to begin with; what to change in it is marked.

    It goes to standard output, and no file is written. It can be loaded as it is: hafailover lint finds nothing in it.

    \b
    Example:
      hafailover init --example mariadb > topology.yml
      hafailover lint topology.yml
    """
    names = examples.names()
    if example is None:
        width = max(map(len, names))
        for name in names:
            click.echo(f"{name:{width}}  {examples.summary(name)}")
        click.echo("hafailover: note: print one with hafailover init --example NAME > topology.yml", err=True)
        return
    if example not in names:
        raise UsageError(unknown("example", example, names))
    click.echo(examples.topology(example), nl=False)
