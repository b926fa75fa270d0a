"""hafailover docs: the reference pages of the agents."""

from __future__ import annotations

from pathlib import Path

import click
from hafailover.agents import ocf_docs
from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.crm.install import agents


@click.command(name="docs", short_help="Write the reference pages of the agents.")
@click.option("--check", is_flag=True, help="Write nothing; fail if a page is not what it would be.")
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
def command(directory: Path, check: bool) -> None:
    """Write the reference page of each agent into DIR, from the declaration that its meta-data also comes from.

    \b
    Example:
      hafailover docs docs/agents
    """
    if not directory.is_dir():
        raise UsageError(f"{directory}: no such directory")
    pages = {directory / f"{name}.md": ocf_docs.page(agent) for name, agent in agents().items()}
    stale = [path for path, text in pages.items() if not path.is_file() or path.read_text() != text]
    if check and stale:
        names = ", ".join(map(str, stale))
        raise HafailoverError(f"not current: {names}; run: hafailover docs {directory}")
    try:
        for path in stale:
            path.write_text(pages[path])
    except OSError as error:
        raise HafailoverError(f"cannot write {error.filename}: {error.strerror}") from error
    for path in sorted(pages):
        click.echo(f"{'wrote' if path in stale else 'current'} {path}")
