"""The explanation on a screen of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hafailover.crm.colour import Paint
from hafailover.crm.explain import MAY, PRIMARY, Case, Explanation
from hafailover.crm.explain_offline import Glimpse
from hafailover.crm.status_text import wrapped


def render(explanations: Sequence[Explanation], node: str | None, paint: Paint) -> Iterator[str]:
    """The lines; of ``node`` alone if one is given."""
    for number, explained in enumerate(explanations):
        if number:
            yield ""
        yield paint(f"Database {explained.service}", "bold")
        yield from wrapped(f"Journal: {explained.journal}.", "  ", "    ")
        for case in explained.cases:
            if node in (None, case.node):
                yield ""
                yield from _case(case, paint)
        if explained.outlook:
            yield ""
            yield from wrapped(explained.outlook, "", "")


def _case(case: Case, paint: Paint) -> Iterator[str]:
    lines = wrapped(case.sentence, "", "  ")
    yield paint(lines[0], "green" if case.verdict in (PRIMARY, MAY) else "red")
    yield from lines[1:]
    yield from wrapped(case.rule, "  rule   ", "         ")
    for number, fact in enumerate(case.facts):
        yield from wrapped(fact, "  facts  " if not number else "         ", "           ")
    if case.advice:
        yield from wrapped(case.advice, "  -> ", "     ")


def render_offline(found: Sequence[Glimpse], reason: str, paint: Paint) -> Iterator[str]:
    """The same where this node's cluster does not run."""
    yield from wrapped(f"{reason}, so only this can be said:", "", "  ")
    for glimpse in found:
        yield ""
        yield paint(f"Database {glimpse.service}", "bold")
        yield from wrapped(f"Journal, as this node last knew it: {glimpse.journal}.", "  ", "    ")
        for node, said in glimpse.servers:
            for number, line in enumerate(said):
                yield from wrapped(line, f"  {node if not number else ' ' * len(node)}  ", " " * (len(node) + 6))
        yield from wrapped(f"{glimpse.conclusion}.", "  ", "  ")
