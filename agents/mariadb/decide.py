"""Every decision that can lose data: pure functions from facts to a verdict with its reason.

A check returns the reason why *not* (or None), so that the log, ``status``, ``promote --dry-run`` and the agent say the
same sentence. Nothing here reads a clock, a file or a server.
"""

from __future__ import annotations

from hafailover.agents.mariadb import first, gtid
from hafailover.agents.mariadb.journal import Journal
from hafailover.agents.mariadb.life import may_acknowledge
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SCORE_PRIMARY = 100  # far below INFINITY: scores that tie at INFINITY made Percona's PRM promote by node name
SCORE_IN_SYNC = 50
SCORE_LAST_PRIMARY = 40  # one that has failed and returned: a replica in sync, which did not fail, goes first
SCORE_REQUESTED = 1000  # a person asked for this node; Pacemaker moves the role to it
SCORE_NEVER = -1000000

OLDEST_SUPPORTED = (10, 5)
OLD_DATA = "its data directory holds an older state"


class Replica(NamedTuple):
    """What SHOW SLAVE STATUS said. Positions are GTID positions; error is empty when all is well.

    received: everything in the relay log. applied: everything executed. source: the primary's address. io: Slave_IO_Running
    ("Yes", "Connecting", "No", "Preparing"). gtid: whether it replicates by GTID, not by file and position. filters: what is left out on
    purpose ("Replicate_Do_DB=shop"), empty when nothing is.
    """

    source: str
    io: str
    sql: bool
    received: str
    applied: str
    io_errno: int
    sql_errno: int
    error: str
    gtid: bool = True
    filters: str = ""


# A replica whose primary died keeps trying to connect: these are the network's errors, not the replica's.
_CONNECTION_ERRORS = frozenset({0, 2002, 2003, 2005, 2006, 2012, 2013, 2026, 1158, 1159, 1160, 1161, 1040, 1053, 1927})
# The replica asks for a position that the primary does not have, or collides with its own rows: the data differ.
DIVERGENCE_ERRORS = frozenset({1236, 1950, 1062, 1032})


def broken_replication(replica: Replica) -> str | None:
    """Say why this replica's threads do not work, or None. A connection that is being retried is no fault of the replica."""
    if replica.filters:
        return f"a replication filter leaves rows out: {replica.filters}"
    if replica.sql_errno or not replica.sql:
        return f"the SQL thread stopped: {replica.error or 'somebody stopped it'} (error {replica.sql_errno})"
    if replica.io_errno not in _CONNECTION_ERRORS:
        return f"the IO thread cannot replicate from {replica.source}: {replica.error} (error {replica.io_errno})"
    if replica.io == "No":
        return f"the IO thread is stopped: {replica.error or 'somebody stopped it'}"
    return None


def stopped_receiving(replica: Replica) -> bool:
    """Tell whether the IO thread does not run and nothing speaks against starting it; stopped, it keeps its last connection's error."""
    return replica.io == "No" and replica.io_errno in _CONNECTION_ERRORS and not replica.sql_errno


class Standing(NamedTuple):
    """What a node knows when the question is whether it may be promoted.

    node: this node. nodes: all data nodes in the topology's order. online: those of them that are members now.
    quorate: whether this partition has quorum. journal: as read from the CIB. incarnation: of this node's server.
    reigns: node → the epoch whose primary it became, gone when it leaves the cluster. lives: node → life, as published. replica: None when
    replication is not configured. state: own ``@@gtid_binlog_state`` joined with ``@@gtid_slave_pos``. positions: what each data node has
    published for an election (received position; on a first start its whole state). virgin: on a first start, the nodes whose servers
    hold no tables of anybody. witnessed: whoever was promoted while this node was away had a partition of which a member is here
    now (``outage``). doubt: what has happened since the proof that makes it worthless, or "" (``minority``).
    """

    node: str
    nodes: tuple[str, ...]
    online: frozenset[str]
    quorate: bool
    journal: Journal
    incarnation: str
    reigns: Mapping[str, int]
    lives: Mapping[str, str]
    replica: Replica | None
    state: str
    positions: Mapping[str, str]
    virgin: frozenset[str] = frozenset()
    witnessed: bool = False
    doubt: str = ""


def standing_refusal(facts: Standing) -> str | None:
    """Say why this node is no candidate for promotion, or None. Sources: resource-agents #1457, #1377; PAF #139."""
    journal = facts.journal
    if not facts.quorate:
        return "this partition has no quorum"
    for name, epoch in facts.reigns.items():
        # This node's own may be of a promotion that was refused; what it wrote since is here in any case.
        if epoch > journal.epoch and name != facts.node:
            return (
                f"{name} was promoted in epoch {epoch}, but the journal is of epoch {journal.epoch}: an older copy won"
            )
    if not journal.epoch:
        return first.primary_refusal(facts)
    if journal.primary == facts.node:
        return _last_primary_refusal(facts)
    replica = facts.replica
    if replica is not None and (replica.sql_errno or replica.filters or not (replica.sql or not_begun(replica))):
        return broken_replication(replica)
    if not journal.in_sync(facts.node, facts.incarnation):
        return stale(journal)
    if facts.doubt:
        return f"STALE: {facts.doubt}"
    if facts.replica is None:
        return "replication is not configured, so what was received cannot be proved"
    if not facts.replica.sql:
        return broken_replication(facts.replica)
    return errant(facts.state, facts.replica.applied)


def stale(journal: Journal) -> str:
    """Say why a replica that the journal does not call in sync may not be promoted."""
    return (
        f"STALE: {journal.primary} was primary last and has not confirmed that this server holds "
        "every acknowledged write since it started"
    )


def not_begun(replica: Replica) -> bool:
    """Tell whether replication has not been started since the server was: nobody stopped it, and nothing is wrong with it."""
    return not (replica.sql or replica.received or replica.sql_errno or replica.io_errno) and replica.io == "No"


def promotion_refusal(facts: Standing) -> str | None:
    """Say why this node must not be opened for writing now, or None: its standing, and with several replicas the election."""
    refusal = standing_refusal(facts)
    if refusal or facts.replica is None or facts.journal.primary in ("", facts.node):
        return refusal
    return _election_refusal(facts, facts.replica)


def errant(state: str, applied: str) -> str | None:
    """Say which transactions of a replica's binary log did not come from its primary, or None.

    The server writes its binary log before it moves ``gtid_slave_pos``: read ``state`` first, then ``applied``.
    """
    own = errant_gtids(state, applied)
    return f"holds {gtid.text(own)}, which did not come from the primary" if own else None


def errant_gtids(state: str, applied: str) -> tuple[gtid.Gtid, ...]:
    """The GTIDs in ``state`` beyond what was ``applied``: in their domain nothing so new has come from the primary."""
    position = {gtid_.domain: gtid_.sequence for gtid_ in gtid.parse(applied)}
    return tuple(gtid_ for gtid_ in gtid.parse(state) if gtid_.sequence > position.get(gtid_.domain, 0))


def _last_primary_refusal(facts: Standing) -> str | None:
    """The last primary returns: with the data it had, and its own CIB copy counts only if nobody can have been promoted since."""
    lacks = gtid.missing(facts.journal.gtid, facts.state)
    if lacks:
        # An old copy lay under a mount point whose file system was not mounted after a reboot; so does a restored snapshot look.
        return (
            f"{OLD_DATA}: it lacks {gtid.text(lacks)}, with which it became primary of epoch {facts.journal.epoch}; "
            "is the right file system mounted there?"
        )
    if facts.reigns.get(facts.node) == facts.journal.epoch or facts.witnessed:
        return None
    absent = [name for name in facts.nodes if name not in facts.online]
    if absent:
        return (
            f"primary of epoch {facts.journal.epoch}, but {', '.join(absent)} may have been promoted since "
            "this node left the cluster: waiting for it"
        )
    return None


def _election_refusal(facts: Standing, replica: Replica) -> str | None:
    """With several replicas one acknowledgement releases a commit: every one in sync must be heard and none may hold more."""
    for peer, life in facts.journal.sync.items():
        if peer in (facts.node, facts.journal.primary):
            continue
        theirs = facts.positions.get(peer)
        if theirs is not None and facts.lives.get(peer) != life:
            return f"{peer} has restarted since it was recorded in sync, and may have lost an acknowledged write that it alone had"
        if peer not in facts.online or theirs is None:
            return f"{peer} may hold an acknowledged write that this server does not and has not published its position"
        if not gtid.reached(gtid.latest(replica.received, replica.applied), theirs):
            return f"{peer} has received more ({theirs} against {replica.received})"
    return None


def promotion_score(facts: Standing) -> tuple[int, str | None]:
    """Return the promotion score of a server that is not promoted, and the reason when it must never be.

    The election is left to ``promote``: positions are published when Pacemaker has begun to promote somebody.
    """
    refusal = standing_refusal(facts)
    if refusal:
        return SCORE_NEVER, refusal
    return (SCORE_LAST_PRIMARY if facts.journal.primary in ("", facts.node) else SCORE_IN_SYNC), None


def dotted(version: tuple[int, ...]) -> str:
    """A version as people write it: 10.11.19."""
    return ".".join(map(str, version))


def parse_version(text: str) -> tuple[int, ...]:
    """Read ``10.11.19`` from what ``SELECT VERSION()`` or ``mariadbd --version`` printed; ValueError if there is none."""
    for word in text.replace("-", " ").split():
        pieces = word.split(".")
        if len(pieces) == 3 and all(piece.isdigit() for piece in pieces):
            return tuple(int(piece) for piece in pieces)
    raise ValueError(f"no MariaDB version in {text!r}")


def unsupported_version(version: tuple[int, ...]) -> str | None:
    """Say why this MariaDB cannot be used, or None."""
    if version[:2] >= OLDEST_SUPPORTED:
        return None
    return (
        f"MariaDB {dotted(version)} is too old: 10.5 or newer is needed. Upgrade one series at a time "
        "(10.3 → 10.4 → 10.5 …) with mariadb-upgrade after each step"
    )


def divergence(own_state: str, primary_state: str, primary: str) -> str | None:
    """Say what this server holds that the primary does not, or None. To be asked before replication starts.

    Replicating into an errant transaction hides the loss (replication-manager #375, #376, #597).
    """
    extra = gtid.missing(own_state, primary_state)
    if not extra:
        return None
    return f"DIVERGED: holds {gtid.text(extra)}, which {primary} does not; the data is kept and must be looked at"


RECONNECT = 0.3  # seconds: a replica that reconnects within this is not called lost


class SemiSync(NamedTuple):
    """The primary's semi-sync state, times in seconds.

    enforcing: commits wait for acknowledgements. clients: connected semi-sync replicas. waiting: whether a commit waits (servers count
    one for many). alone: how long no replica has been connected. stalled: age of the oldest commit that waits.
    """

    enforcing: bool
    clients: int
    waiting: int
    alone: float
    stalled: float


def degrade_reason(semi: SemiSync, patience: float) -> str | None:
    """Say why the primary should stop waiting for its replicas, or None. ``patience``: longest bearable stall in seconds.

    A replica that is stopped or unreachable keeps its connection for half a minute, so the wait's age counts too.
    """
    if not semi.enforcing:
        return None
    if semi.clients == 0 and semi.alone >= min(RECONNECT, patience):
        return "no replica is connected"
    if semi.stalled > patience:
        return f"a commit has waited {semi.stalled:.1f} s for a replica (limit {patience:g} s)"
    return None


def release_refusal(
    written: Journal, node: str, quorate_before: bool, quorate_after: bool, copies: Mapping[str, Journal]
) -> str | None:
    """Say why what relies on ``written`` (releasing waiting commits, opening for writes) must not be done, or None.

    A node without quorum accepts a CIB write and returns success, applied to its own copy alone: so quorum before, quorum after,
    and the text read back from each member's copy (node → journal).
    """
    if not (quorate_before and quorate_after):
        return "no quorum: the mark may be in this node's copy alone"
    for name, copy in copies.items():
        if copy != written:
            return f"{name} does not have the mark yet, its journal is of epoch {copy.epoch} ({copy.by})"
    if written.primary != node:
        return f"{written.primary} is the recorded primary, not {node}"
    return None


def record_conflict(base: Journal, copies: Mapping[str, Journal]) -> str | None:
    """Say why the journal must not be replaced, decided upon when it was ``base``, or None. ``copies``: node → journal."""
    for name, copy in copies.items():
        if copy != base:
            return f"{name} knows of epoch {copy.epoch} of {copy.primary or 'nobody'} ({copy.by}), this was decided on {base.epoch}"
    return None


def setback(seen: Journal, recorded: Journal | None, node: str) -> str | None:
    """Say how the journal that a primary sees is older than the one it recorded itself, or None.

    Only the primary (``node``) writes during its reign, so any other text of its epoch or an earlier one is an old copy of the CIB that
    has won after a partition; one of its own that it never saw confirmed must be written again, too. A later epoch of another node is
    a successor's, and no setback.
    """
    if recorded is None or seen == recorded or (seen.epoch > recorded.epoch and seen.primary != node):
        return None
    if seen.primary == node and seen.epoch >= recorded.epoch:
        return f"the journal of epoch {seen.epoch} ({seen.by}) was written but never confirmed"
    return (
        f"the journal has gone back to epoch {seen.epoch} of {seen.primary or 'nobody'} ({seen.by or 'never written'})"
    )


class Peer(NamedTuple):
    """What the primary sees of a replica. state fields are the replica's own answers; incarnation is the one it published."""

    name: str
    incarnation: str
    replica: Replica | None
    read_only: bool
    semi_sync: bool
    state: str = ""


def regain_refusal(peer: Peer, primary_position: str) -> str | None:
    """Say why ``peer`` cannot be called in sync, or None.

    ``primary_position`` must have been sampled *after* the primary began to wait for acknowledgements: every write acknowledged before
    is in it, every later one waits for the replica.
    """
    if not peer.incarnation:
        return "has not published its incarnation"
    if peer.replica is None:
        return "does not replicate"
    broken = broken_replication(peer.replica)
    if broken:
        return broken
    if peer.replica.io != "Yes":
        return f"is not connected ({peer.replica.io})"
    if not peer.read_only:
        return "is writable"
    if not peer.semi_sync:
        return "does not acknowledge (rpl_semi_sync_slave_enabled is OFF)"
    if not gtid.reached(gtid.latest(peer.replica.received, peer.replica.applied), primary_position):
        return f"is {gtid.behind(peer.replica.applied, primary_position)} transactions behind"
    return None


def acknowledging(lives: Mapping[str, str], peers: frozenset[str]) -> dict[str, str]:
    """The peers that may acknowledge commits, of those that have published their lives: node → life."""
    return {name: life for name, life in lives.items() if name in peers and may_acknowledge(life)}


def left_running(last_actions: Mapping[str, tuple[str, str]], joined: frozenset[str]) -> frozenset[str]:
    """The nodes on which a server may run although its agent says nothing of it. ``last_actions``: node → action and exit code.

    A Pacemaker that is shut down in order while its node is in maintenance leaves the server running, connected and acknowledging. When
    it is back, still in maintenance, its probe finds the server, and no monitor speaks for it.
    """
    ended = (("stop", "0"), ("monitor", "7"))
    return frozenset(
        node
        for node, (action, code) in last_actions.items()
        if (action, code) not in ended and (action == "monitor" or node not in joined)
    )


def still_counted(
    sync: Mapping[str, str], published: Mapping[str, str], current: Mapping[str, str], clean_down: frozenset[str]
) -> dict[str, str]:
    """Which lives ``sync`` must name: the ``current`` ones, and those that have left the cluster without being known to be over.

    A node that lost its membership can go on receiving and acknowledging until it is fenced, so only a node that is ``clean_down``, and
    whose server was stopped, is out.
    """
    lost = {name: life for name, life in sync.items() if name not in published and name not in clean_down}
    return {**lost, **current}
