"""``hafailover drill --restore``: take back what a drill has left that was killed here, or whose node has died."""

from __future__ import annotations

import sys
import time
from typing import Any

import click
from hafailover.crm.commands.json_answer import give, known
from hafailover.crm.drill import document, gameday, kept
from hafailover.crm.errors import DONE, REFUSED, IncompleteError
from hafailover.crm.progress import Progress


def restore(
    service: str | None,
    defaults_file: str | None,
    patience: float,
    yes: bool,
    dry_run: bool,
    output: str,
    say: Progress,
) -> None:
    """Find what is left, say what takes it back, ask, do it; IncompleteError when it did not all work."""

    def tell(text: str) -> None:
        click.echo(text, err=output == "json")

    left = kept.unfinished()
    mine = left is not None
    if left is None:
        with gameday.opened(service, defaults_file, patience) as day:
            left = day.noted()
    report: dict[str, Any] = {"schema": document.SCHEMA, "left": None, "done": False, "not_restored": []}
    if left is None:
        tell("No drill has left anything broken.")
        if output == "json":
            give(report)
        return
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(left["since"]))
    back = [(step.action, left["roles"].get(node := str(step.parameters["node"]), node)) for step in left["steps"]]
    report["left"] = {"scenario": left["scenario"], "node": left["node"], "since": left["since"], "steps": back}
    known(report)
    begun = f" that was begun on {left['node']}" if not mine else ""
    tell(f"The drill {left['scenario']} of {when}{begun} was not finished. What takes it back:")
    for action, node in back:
        tell(f"  {action} {node}")
    tell("  drop the schema and the accounts of the drill")
    if dry_run or not (yes or click.confirm("\nDo that now?", err=True)):
        tell("Nothing was done.")
        if output == "json":
            give({**report, "says": "nothing was done"})
        sys.exit(DONE if dry_run else REFUSED)
    gameday.revive(left["steps"], left["roles"], say)
    with gameday.opened(service or left["service"], defaults_file, patience) as day:
        report["not_restored"] = day.restore(left, say)
    if report["not_restored"]:
        raise IncompleteError(f"not restored: {'; '.join(report['not_restored'])}")
    report["done"] = True
    tell("All of it is taken back.")
    if not mine:
        tell(
            f"{left['node']} has a note of its own: hafailover drill --restore there, when it is back, ends that, too."
        )
    if output == "json":
        give(report)
