"""hafailover install: put the resource agents where Pacemaker looks for them."""

from __future__ import annotations

from pathlib import Path

import click
from hafailover.crm import install as installer
from hafailover.crm import install_units
from hafailover.crm.errors import UsageError


def _named(_context: click.Context, _parameter: click.Parameter, value: str) -> Path:
    if not value:  # a variable without a value, in a package's script: it would be whatever directory that runs in
        raise UsageError("--root names no directory; leave it out to write below /")
    return Path(value)


@click.command(name="install", short_help="Put the resource agents where Pacemaker looks for them.")
@click.option("--root", type=click.Path(), default="/", callback=_named, metavar="DIR", help="Write below DIR, not /.")
@click.option("--uninstall", is_flag=True, help="Remove what install wrote, and nothing else.")
def command(root: Path, uninstall: bool) -> None:
    """Put the resource agents where Pacemaker looks for them.

    Writes launchers for ocf:hafailover:* into /usr/lib/ocf/resource.d/hafailover and for the hooks that the agents use
    into /usr/lib/hafailover, and the units that deliver alerts, write the history down and have the node look at itself
    for doctor. Launchers run the code from where it is now, so that an upgrade needs no second install. Run it again at
    any time: it changes only what differs.

    \b
    Example:
      hafailover install && crm ra list ocf hafailover
    """
    if not root.is_dir():
        raise UsageError(f"--root {root}: no such directory")
    here = root.resolve() == Path("/")
    if uninstall and here:
        install_units.end()
    lines = installer.uninstall(root) if uninstall else installer.install(root)
    if here and not uninstall:
        lines += install_units.begin()
    click.echo("\n".join(lines) if lines else f"nothing of hafailover was installed below {root}")
