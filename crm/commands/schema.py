"""``hafailover schema``: the topology's JSON Schema, for editors, and that of the status, for scripts."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("what", type=click.Choice(["topology", "status"]), default="topology")
def command(what: str) -> None:
    """Print the JSON Schema (draft 7) of topology files, with which an editor completes, explains and checks them.

    An editor with yaml-language-server, such as VS Code, Neovim or Emacs, uses it for a file that begins with the line

    \b
      # yaml-language-server: $schema=hafailover.schema.json

    where the path is relative to the file. What only a whole topology tells, such as a reference that leads nowhere, is found by
    hafailover lint.

    With status it is the schema of what hafailover status -o json prints.

    \b
    Example:
      hafailover schema > hafailover.schema.json
      hafailover schema status > status.schema.json
    """
    if what == "status":
        from hafailover.crm import status_schema

        click.echo(json.dumps(status_schema.schema(), indent=2))
        return
    from hafailover.crm import json_schema

    click.echo(json_schema.text(), nl=False)
