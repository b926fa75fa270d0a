"""In which role a server recovers, and whether it may yet: pure rules from facts to a choice with its reason.

Recovery decides what becomes of the transactions in the binary log that the engine has not committed. As a primary the server keeps them
all: among them may be the only copy of an acknowledged one. As a semi-sync replica it removes them: they were never acknowledged, or
another server has them. Neither can be done afterwards, so a server that does not know which it is does not recover yet.
"""

from __future__ import annotations

from hafailover.agents.mariadb.decide import dotted
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.mariadb.journal import Journal
    from hafailover.agents.mariadb.lineage import Lineage


class Facts(NamedTuple):
    """What is known before a start.

    node: this node. journal: as read from the CIB. promoted: the node that is promoted now, or "". version: of the server. closed: the
    server was shut down in order (its last binary log says so). lineage: whose history the data followed. reigning: this node
    became the primary of the journal's epoch and has not left the cluster since. absent: data nodes that may have been promoted without
    this node's knowledge. heirs: members recorded in sync that Pacemaker may promote, as long as it is worth waiting for that.
    """

    node: str
    journal: Journal
    promoted: str
    version: tuple[int, ...]
    closed: bool
    lineage: Lineage
    reigning: bool
    absent: tuple[str, ...]
    heirs: tuple[str, ...] = ()


class Recovery(NamedTuple):
    """How to start the server: options for mariadbd, whether they remove the unacknowledged tail, and why; or for whom to wait."""

    options: tuple[str, ...]
    truncates: bool
    reason: str
    wait_for: tuple[str, ...] = ()


def choose(facts: Facts) -> Recovery:
    """Choose how this server recovers, or for whom it waits before it does.

    Recovery as a semi-sync replica removes transactions that nobody acknowledged, and also some that were, which then must come
    back from the promoted node: without one they are lost, and a server so truncated that became primary in place would reuse
    their GTIDs. Hence only when another node is promoted *and* recorded as the primary. Source: MDEV-21117, MDEV-33465.
    """
    journal = facts.journal
    if not journal.epoch:
        return _keep_all(facts, "no primary was ever recorded")
    if journal.primary == facts.node:
        if facts.closed or not _truncates(facts.version):
            return _keep_all(facts, "may hold the only copy")
        if facts.heirs:
            # A node that was fenced can be back before its successor is promoted; what it committed now would make it DIVERGED.
            return Recovery(
                (),
                False,
                "in sync and about to be promoted; only then can this server remove what nobody acknowledged",
                facts.heirs,
            )
        # Its own copy of the CIB counts only if nobody can have been promoted since: else its tail may have to go.
        if facts.reigning or not facts.absent:
            return _keep_all(facts, "may hold the only copy")
        missing = ", ".join(facts.absent)
        return Recovery(
            (), False, f"{missing} may have been promoted since, which decides how this server recovers", facts.absent
        )
    if facts.lineage.epoch < journal.forced:
        # Its successor may lack acknowledged transactions that are only here.
        return _keep_all(facts, f"epoch {journal.forced} began by a person's decision to accept a loss")
    if facts.promoted == journal.primary:
        superseded = f"superseded by {journal.primary} (epoch {journal.epoch})"
        if _truncates(facts.version):
            return Recovery(_options(facts.version, True), True, f"{superseded}: remove what nobody acknowledged")
        return Recovery((), False, f"{superseded}, but MariaDB {dotted(facts.version)} cannot truncate its tail")
    if facts.closed:
        return _keep_all(facts, "it was shut down in order, so there is nothing to remove")
    if facts.lineage == (journal.epoch, journal.primary):
        return _keep_all(
            facts, f"it has only replicated since {journal.primary} became primary of epoch {journal.epoch}"
        )
    if not _truncates(facts.version):
        return _keep_all(facts, f"MariaDB {dotted(facts.version)} cannot truncate its tail")
    return Recovery(
        (),
        False,
        f"{journal.primary} was primary last and is not promoted yet: "
        "only then can this server remove what nobody acknowledged",
        (journal.primary,),
    )


def keeping_all(version: tuple[int, ...], reason: str) -> Recovery:
    """Start as a primary does: keep every transaction in the binary log."""
    return Recovery(_options(version, as_replica=False), False, f"{reason}: recover everything")


def _keep_all(facts: Facts, reason: str) -> Recovery:
    return keeping_all(facts.version, reason)


def _options(version: tuple[int, ...], as_replica: bool) -> tuple[str, ...]:
    if not _truncates(version):
        return ()
    if _has_init_rpl_role(version):
        return (f"--init-rpl-role={'SLAVE' if as_replica else 'MASTER'}",)
    # Before MDEV-33465 the presence of this setting alone decided whether recovery truncates.
    return (f"--rpl-semi-sync-slave-enabled={'ON' if as_replica else 'OFF'}",)


def _truncates(version: tuple[int, ...]) -> bool:
    """MDEV-21117 brought it with 10.6.2; until MDEV-28461 it also committed what the binary log does not have, and nobody would notice."""
    floors = {(10, 6): 8, (10, 7): 4, (10, 8): 3}
    series = version[:2]
    return version[2] >= floors[series] if series in floors else series > (10, 6)


def _has_init_rpl_role(version: tuple[int, ...]) -> bool:
    """MDEV-33465 moved the choice from rpl_semi_sync_slave_enabled to init_rpl_role, in each series from its own release on."""
    floors = {(10, 6): 19, (10, 11): 9, (11, 1): 6, (11, 2): 5, (11, 4): 3}
    series = version[:2]
    if series in floors:
        return version[2] >= floors[series]
    return series > (11, 4)
