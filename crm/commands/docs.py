"""hafailover docs: the reference pages of the agents, and of the rules of lint, and the manual pages of the commands."""

from __future__ import annotations

from pathlib import Path

import click
from hafailover.agents import ocf_docs
from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.crm.install import agents
from hafailover.crm.lint import page as lint_page


@click.command(name="docs", short_help="Write the reference pages of agents, rules and commands.")
@click.option("--check", is_flag=True, help="Write nothing; fail if a page is not what it would be.")
@click.option(
    "--rules", metavar="FILE", type=click.Path(path_type=Path), help="Write the rules of lint into this page as well."
)
@click.option(
    "--man",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write the manual pages of the commands into DIR as well.",
)
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
def command(directory: Path, check: bool, rules: Path | None, man: Path | None) -> None:
    """Write the reference page of each agent into DIR, from the declaration that its meta-data also comes from.

    \b
    Example:
      hafailover docs docs/agents --rules docs/lint.md --man man
    """
    for one in (directory, *([man] if man else [])):
        if not one.is_dir():
            raise UsageError(f"{one}: no such directory")
    pages = {directory / f"{name}.md": ocf_docs.page(agent) for name, agent in agents().items()}
    if rules is not None:
        try:
            pages[rules] = lint_page.page(rules.read_text())
        except OSError as error:
            raise UsageError(f"{rules}: cannot be read: {error.strerror}") from error
    if man is not None:
        from hafailover.crm import manual

        pages.update({man / name: text for name, text in manual.pages().items()})
    stale = [path for path, text in pages.items() if not path.is_file() or path.read_text() != text]
    if check and stale:
        names = ", ".join(map(str, stale))
        raise HafailoverError(
            f"not current: {names}; run: hafailover docs {directory}{f' --rules {rules}' if rules else ''}{f' --man {man}' if man else ''}"
        )
    try:
        for path in stale:
            path.write_text(pages[path])
    except OSError as error:
        raise HafailoverError(f"cannot write {error.filename}: {error.strerror}") from error
    for path in sorted(pages):
        click.echo(f"{'wrote' if path in stale else 'current'} {path}")
