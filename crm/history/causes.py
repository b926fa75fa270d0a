"""Why something happened, as far as the steps around it say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hafailover.crm.history.words import Step

_WEIGHTS = ("died", "monitor", "fencing", "lost")
_GONE = ("lost", "fence")


def why(steps: Iterable[Step]) -> str:
    """The sentence that says most about the cause: of the first death, else failed look, else fencing, else lost node."""
    found: dict[str, str] = {}
    for step in steps:
        if step.name == "detect" or step.name in _GONE:
            facts = step.record.facts
            mark = facts.get("event", "") or ("monitor" if step.record.kind == "resource" else step.record.kind)
            found.setdefault("lost" if step.name == "lost" else mark, step.says)
    return next((found[mark] for mark in (*_WEIGHTS, *found) if mark in found), "")


def begun(steps: Sequence[Step], resource: str, node: str) -> int:
    """At which of ``steps`` the trouble of ``resource`` on ``node`` begins, which were before its promotion elsewhere.

    What befell something else there is its beginning only where nothing befell the resource itself: a broker that died half a minute
    earlier, and was started again, has neither caused the failover nor been part of it.
    """
    there = [at for at, step in enumerate(steps) if step.node == node]
    if any(_detects(steps[at], resource) for at in there):
        there = [at for at in there if steps[at].name in _GONE or _detects(steps[at], resource)]
    return there[0] if there else len(steps)


def of_promotion(before: Sequence[Step], after: Sequence[Step], resource: str, node: str) -> str:
    """Why ``resource``, which was primary on ``node``, was promoted: by the steps ``before``, and what is told late of that node."""
    around = [*before, *after]
    own = why(step for step in around if step.node == node and _detects(step, resource))
    if own:
        return own
    return why(step for step in before if step.node == node) or why(
        step for step in after if step.node == node and step.name in _GONE
    )


def accident(step: Step) -> bool:
    """Whether no command has brought it about: a node is lost or fenced, a server dies or fails a look that was due."""
    if step.name in _GONE:
        return True
    looked = step.record.kind == "resource" and step.record.facts.get("interval", "0") not in ("", "0")
    return step.name == "detect" and (step.record.event == "died" or looked)


def _detects(step: Step, resource: str) -> bool:
    return step.name == "detect" and step.resource == resource
