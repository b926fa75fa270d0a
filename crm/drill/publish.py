"""Where the results of a drill go: standard output, the reports that were asked for, the directory where drills are kept."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from hafailover.crm.commands.json_answer import give_text
from hafailover.crm.drill import document, kept, markdown, page, report
from hafailover.crm.drill.document import Scene
from hafailover.crm.drill.report import Run
from hafailover.crm.errors import HafailoverError, UsageError

_Command = TypeVar("_Command", bound="Callable[..., Any]")
_FORMS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    ".html": page.render,
    ".htm": page.render,
    ".md": markdown.render,
    ".json": document.as_text,
}


def _checked(_context: click.Context, _parameter: click.Parameter, files: Sequence[Path]) -> Sequence[Path]:
    for file in files:
        if file.suffix.lower() not in _FORMS:
            raise UsageError(f"--report {file}: the name says the form: it must end in .html, .md or .json")
        if not file.absolute().parent.is_dir():
            raise UsageError(f"--report {file}: there is no directory {file.parent}")
        _try(f"--report {file}", file.absolute())
    return files


def keepable(_context: click.Context, _parameter: click.Parameter, directory: Path | None) -> Path | None:
    """The directory of ``--keep``, in which, or where it will be made, a file can be; UsageError if not."""
    if directory is not None:
        there = next(one for one in (directory.absolute(), *directory.absolute().parents) if one.exists())
        if not there.is_dir():
            raise UsageError(f"--keep {directory}: {there} is no directory")
        _try(f"--keep {directory}", there)
    return directory


def _try(option: str, path: Path) -> None:
    """UsageError if ``path``, or a file in that directory, cannot be written: when all is over it would be too late to hear of it."""
    try:
        if path.exists() and not path.is_dir():
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC))
        else:
            tempfile.TemporaryFile(dir=path if path.is_dir() else path.parent).close()
    except OSError as error:
        raise UsageError(f"{option}: cannot be written: {error.strerror}") from None


def _read(_context: click.Context, _parameter: click.Parameter, files: Sequence[Path]) -> list[dict[str, Any]]:
    return kept.named(files)


def options(command: _Command) -> _Command:
    """``--report`` and ``--compare``: parameters ``reports`` (paths) and ``compare`` (documents)."""
    reports = click.option(
        "--report",
        "reports",
        multiple=True,
        callback=_checked,
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write a report: FILE.html for people and paper, FILE.md for a ticket, FILE.json (repeatable).",
    )
    compare = click.option(
        "--compare",
        multiple=True,
        callback=_read,
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Compare with an earlier drill's JSON, besides those that are kept here (repeatable).",
    )
    return reports(compare(command))


def publish(
    runs: Sequence[Run], scene: Scene, reports: Sequence[Path], compare: Sequence[Mapping[str, Any]], form: str
) -> None:
    """Keep the drill, write the reports, print the result. What cannot be written is said, and takes nothing else away: HafailoverError
    at the end."""
    made = document.make(runs, scene, [*kept.earlier(document.place(scene)), *compare])
    failed = []
    try:
        kept.keep(made)
    except HafailoverError as error:
        click.echo(f"hafailover: this drill is not kept for comparison: {error}", err=True)
    for file in reports:
        try:
            file.write_text(_FORMS[file.suffix.lower()](made), encoding="utf-8")
            click.echo(f"{file} is written", err=True)
        except OSError as error:
            failed.append(f"{file}: {error.strerror}")
    if form == "json":
        give_text(document.as_text(made))
    else:
        click.echo(report.as_table(runs))
    if failed:
        raise HafailoverError(f"not written: {'; '.join(failed)}")
