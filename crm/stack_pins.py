"""What keeps a part of a stack where it is, so that no preference moves it: said to the person who would move it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping

from hafailover.crm import values
from hafailover.crm.resolved import INFINITY, Resolved
from hafailover.crm.stack import Mover

_STICKINESS = "resource-stickiness"


def pins(resolved: Resolved, movers: Iterable[Mover], node: str) -> Mapping[str, str]:
    """Mover → why it does not go to ``node`` for any preference, with what to do; only those where that is known."""
    found = {}
    for mover in movers:
        says = next(_pins(resolved, mover, node), "")
        if says:
            found[mover.id] = says
    return found


def _pins(resolved: Resolved, mover: Mover, node: str) -> Iterator[str]:
    names = (mover.id, *mover.primitives)
    for name in names:
        if values.score(resolved.resources[name].meta.get(_STICKINESS)) >= INFINITY:
            yield (
                f"the {_STICKINESS} of {name} is INFINITY, which keeps it wherever it is: until it has moved, "
                f"crm_resource -r {shlex.quote(name)} --meta -p {_STICKINESS} -v 100"
            )
    for one in resolved.locations:
        if one.rsc in names and one.node not in (None, node) and one.score >= INFINITY and not one.conditional:
            yield f"constraint {one.id} wants {one.rsc} on {one.node} at any price (INFINITY)"
