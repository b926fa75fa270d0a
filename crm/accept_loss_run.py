"""Write a person's decision into the promotion journal, and wait for the promotion that follows from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hafailover.agents.mariadb import decide, journal
from hafailover.agents.mariadb.journal import Journal, JournalError
from hafailover.crm.errors import IncompleteError, RefusedError
from hafailover.crm.pacemaker import Pacemaker, PacemakerError
from hafailover.crm.status import Service
from hafailover.crm.status_facts import GLANCE, ClusterDown, gather
from hafailover.crm.status_read import read

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run

# The nodes that are absent may have raised admin_epoch many times since this copy was written, with every mark and promotion of theirs.
# Their copy must not win when they return: it would take the role from the node that a person has chosen, and the writes since.
_WEIGHT = 1000000
_COPY_TIMEOUT = 10.0  # seconds
_LOOK = 1.0  # seconds


def record(run: Run, service: Service, node: str, position: str) -> Journal:
    """Record ``node``, whose server stands at ``position``, as the last primary; return the record.

    The rules are those of every write of the journal: quorum before, all members' copies as they were when the decision was made,
    quorum after, read back from all members. RefusedError when nothing was written, IncompleteError when it may have been.

    That ``node`` may be promoted although others are missing is published like a reign that began now: it ends when the node leaves
    the cluster, so that a decision that came to nothing is never found again in an old copy of the CIB.
    """
    pacemaker = Pacemaker(run, timeout=15)
    group = f"hafailover-{service.name}"
    base = service.journal
    entry = base.accepted(node, position, time.time())
    try:
        if not pacemaker.quorate():
            raise RefusedError("this partition has no quorum; nothing was changed")
        conflict = decide.record_conflict(base, _copies(pacemaker, group))
    except (PacemakerError, JournalError) as error:
        raise RefusedError(f"nothing was changed: {error}") from None
    if conflict:
        raise RefusedError(f"things have changed since they were shown, nothing was done: {conflict}")
    try:
        pacemaker.write_property(group, "journal", journal.write(entry), _WEIGHT)
        # After the write: a reign without a record would bar everybody, also the last primary when it returns.
        pacemaker.publish_for(node, f"{group}-reign", str(entry.epoch))
        refusal = decide.release_refusal(entry, node, True, pacemaker.quorate(), _copies(pacemaker, group))
    except (PacemakerError, JournalError) as error:
        refusal = str(error)
    if refusal:
        raise IncompleteError(
            f"the decision was written but not confirmed ({refusal}): look with hafailover explain, then run it again"
        )
    return entry


def _copies(pacemaker: Pacemaker, group: str) -> dict[str, Journal]:
    """The journal in the copy of the CIB of every member, data node or not."""
    members = pacemaker.joined()
    return {
        name: journal.read(pacemaker.property_on(name, group, "journal", _COPY_TIMEOUT)) for name in sorted(members)
    }


def await_promotion(run: Run, service: Service, node: str, timeout: float, say: Callable[[str], None]) -> bool:
    """Wait for at most ``timeout`` seconds until ``node`` is the primary; tells what it waits for when that changes."""
    end = time.monotonic() + timeout
    said = ""
    while True:
        try:
            now = read(gather(run, GLANCE)).service(service.name)
        except ClusterDown as error:
            now, reason = None, str(error)
        if now is not None:
            one = now.instance(node)
            opened = now.primary == node and now.journal.primary == node and now.journal.by != journal.ACCEPTED
            if opened and one and not one.pending:
                return True
            reason = (one.pending or one.reason or one.standing) if one else "it is gone"
        if reason != said:
            said = reason
            say(f"{node}: {reason}")
        if time.monotonic() > end:
            return False
        time.sleep(_LOOK)
