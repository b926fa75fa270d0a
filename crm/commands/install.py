"""hafailover install: put the resource agents where Pacemaker looks for them."""

from __future__ import annotations

from pathlib import Path

import click
from hafailover.crm import install as installer
from hafailover.crm.errors import UsageError


@click.command(name="install", short_help="Put the resource agents where Pacemaker looks for them.")
@click.option(
    "--root", type=click.Path(path_type=Path), default=Path("/"), metavar="DIR", help="Write below DIR, not /."
)
@click.option("--uninstall", is_flag=True, help="Remove what install wrote, and nothing else.")
def command(root: Path, uninstall: bool) -> None:
    """Put the resource agents where Pacemaker looks for them.

    Writes launchers for ocf:hafailover:* into /usr/lib/ocf/resource.d/hafailover and for the hooks that the agents use
    into /usr/lib/hafailover. They run the code from where it is now, so that an upgrade needs no second install. Run
    it again at any time: it changes only what differs.

    \b
    Example:
      hafailover install && crm ra list ocf hafailover
    """
    if not root.is_dir():
        raise UsageError(f"--root {root}: no such directory")
    lines = installer.uninstall(root) if uninstall else installer.install(root)
    click.echo("\n".join(lines) if lines else f"nothing of hafailover was installed below {root}")
