"""Whether a node's glusterd may be given back the identity that its pool knows it by. Pure."""

from __future__ import annotations

from hafailover.agents.gluster.store import Identity
from hafailover.agents.record import NamedTuple

KEEP = "keep"
ADOPT = "adopt"
REFUSE = "refuse"


class Course(NamedTuple):
    """What to do with the identity of this node's glusterd, and why."""

    what: str
    reason: str = ""


def course(node: str, known: Identity, here: Identity, holds: str) -> Course:
    """``known`` is who the pool takes the node for, ``here`` who its glusterd says it is, ``holds`` what that has ("" for nothing)."""
    if not known.uuid or known.uuid == here.uuid:
        return Course(KEEP)
    if holds:
        return Course(
            REFUSE,
            f"glusterd of {node} is {here.uuid or 'nobody'} and has {holds}, while the pool knows the node as {known.uuid}; "
            "nothing is changed: is this the right machine? If what it has is not needed, empty /var/lib/glusterd",
        )
    return Course(ADOPT, f"{node} was installed anew; its glusterd is {known.uuid} again")
