"""How the journal is written so that it cannot be lost, and what of it this node itself has written.

Every member has a copy of the CIB, and after a split or an outage Pacemaker takes the one with the highest version for all: what is decided
here is when a write may be made, and when it may be relied upon.
"""

from __future__ import annotations

import fcntl
import os
import time

from hafailover.agents import RUN_DIR
from hafailover.agents.asking import together
from hafailover.agents.mariadb import decide, journal
from hafailover.agents.mariadb.journal import Journal, JournalError
from hafailover.agents.record import NamedTuple
from hafailover.crm.pacemaker import PacemakerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hafailover.agents.mariadb.cluster import Cluster
    from hafailover.agents.ocf import Context
    from hafailover.crm.pacemaker import Membership, View


JOURNAL = "journal"
_PROMOTION_WEIGHT = 2
_PEER_COPY_TIMEOUT = (
    10.0  # seconds; a member that does not answer leaves the membership in less, and then does not matter
)
_PEER_COPY_TURN = 0.25
_AT_ONCE = 0.05  # seconds in which a member answers that has nothing else to do
_FRESH = 1.0  # seconds for which a look at the cluster serves as the one before a write


class Glance(NamedTuple):
    """What this node alone could say of the cluster at ``at`` (monotonic)."""

    at: float
    view: View
    members: Membership

    @property
    def journal(self) -> Journal:
        """The journal in this node's CIB; JournalError when it must not be trusted."""
        return journal.read(self.view.value)


class Before(NamedTuple):
    """What the cluster looked like before a write: at a glance, whose copies count, and what these copies say."""

    glance: Glance
    readers: Sequence[str]
    copies: Mapping[str, Journal]


class Refused(Exception):
    """The cluster does not let this be recorded; the message is the reason. Nothing may be done that relied on it."""


class _Writing:
    """``with`` it, be the only process of this node that writes the journal; its value is False when another one is. May be nested."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = -1
        self._depth = 0
        self._alone = False

    def __enter__(self) -> bool:
        self._depth += 1
        if self._depth == 1:
            os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._alone = True
            except BlockingIOError:
                self._alone = False
        return self._alone

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            os.close(self._file)


class Records:
    """The journal's copies, and who may write them, as one database instance on one node sees them."""

    def __init__(self, cluster: Cluster, ctx: Context) -> None:
        self._cluster = cluster
        self._ctx = ctx
        self._node = cluster.node
        self._pacemaker = cluster.pacemaker
        self._group = cluster.group
        self._nodes = frozenset(cluster.nodes)
        self._fence_first = bool(ctx.params["fence_first"])
        self._recorded = f"{RUN_DIR}/{ctx.instance}.journal"
        self._claimed = f"{RUN_DIR}/{ctx.instance}.claimed"
        self.writing = _Writing(f"{RUN_DIR}/{ctx.instance}.journal.lock")

    def glance(self) -> Glance:
        """The members and the journal as they are known here. PacemakerError."""
        return Glance(time.monotonic(), *together(self._view, self._pacemaker.membership))

    def heard_at_once(self) -> dict[str, Journal]:
        """The journal in the copies of the other data nodes that answer at once, asked before it is known who is there."""
        names = sorted(self._nodes - {self._node})
        told = together(*(lambda name=name: self._answered_at_once(name) for name in names))
        return {name: copy for name, copy in zip(names, told) if copy is not None}

    def _answered_at_once(self, name: str) -> Journal | None:
        try:
            return journal.read(self._pacemaker.property_on(name, self._group, JOURNAL, _AT_ONCE))
        except (PacemakerError, JournalError):
            return None  # asked again if it counts

    def look(self, promotion: bool, glance: Glance | None = None, heard: Mapping[str, Journal] = {}) -> Before:
        """What :meth:`write` has to know before it writes; :attr:`writing` must be held from here until then. PacemakerError; Refused.

        ``glance``, ``heard``: what was seen and what :meth:`heard_at_once` has heard just now, under :attr:`writing`, too.
        """
        glance = glance or self.glance()
        readers = self._readers(glance.view, promotion)
        return Before(glance, readers, self._copies(glance.view, readers, heard))

    def write(self, entry: Journal, base: Journal, seen: Before | None = None) -> None:
        """Replace the journal ``base``, on which the decision was made, by ``entry`` so that it cannot be lost, or raise Refused.

        First every member's copy must be ``base``: this write wins over all of them, and must not erase what a node that has just
        come back knows. Then write, and read back, also from the members: this node's copy is the first to have the write, and a
        peer that never received it could be promoted on the older text. Quorum is asked for last: asked before the copies are read, it
        could be lost meanwhile together with those who do not have the write. And no data node may be there unheard, one that a
        network heals to, say: it may be about to fence this node and to be promoted.
        A primary that is being cut off can get one such write into its own copy, too late to be seen by the others; a promotion
        weighs twice as much, so that this copy never wins over the successor's.

        ``seen``: what :meth:`look` has seen, which is taken if it is fresh.
        """
        with self.writing as alone:
            if not alone:
                raise Refused("another process of this node is writing the journal")
            promotion = entry.by == "promote"
            if seen is None or time.monotonic() - seen.glance.at > _FRESH:
                seen = self.look(promotion)
            (_, view, members), readers, copies = seen
            before = members.quorate
            if not before:
                raise Refused("this partition has no quorum")
            conflict = decide.record_conflict(base, copies) or self._unheard(members, view, copies)
            # Asked before as well as after: each write that is refused only afterwards raises the version of this copy, and if this
            # node is the one that is fenced, such a copy wins over its successor's when it returns.
            conflict = conflict or self._still_up(view)
            if conflict:
                raise Refused(conflict)
            if promotion:
                # Before the write: one that lands unseen must not be undone by an old copy of the CIB that nobody recognizes as such.
                with open(self._claimed, "w") as file:
                    file.write(str(entry.epoch))
                self._cluster.publish("reign", str(entry.epoch))
            self._pacemaker.write_property(
                self._group, JOURNAL, journal.write(entry), _PROMOTION_WEIGHT if promotion else 1
            )
            view, copies = self._read_back(view, readers, promotion)
            members = self._pacemaker.membership()
            refusal = self._unheard(members, view, copies) or self._still_up(view)
            refusal = decide.release_refusal(entry, self._node, before, members.quorate, copies) or refusal
            if refusal:
                if promotion and all(copy == base for copy in copies.values()):
                    self._cluster.publish("reign", str(base.epoch if base.primary == self._node else 0))
                raise Refused(refusal)
            with open(self._recorded + ".new", "w") as file:
                file.write(journal.write(entry))
            os.rename(self._recorded + ".new", self._recorded)
            if promotion:
                os.unlink(self._claimed)

    def take_back_reign(self, seen: Journal) -> None:
        """For an instance that is not being promoted: a reign that was announced, but never recorded nor confirmed, bars everybody else.

        Whoever was to record it was ended, or could not. It never opened its server, so nothing is lost if it is forgotten.
        """
        try:
            with open(self._claimed) as file:
                claimed = int(file.read())
        except (FileNotFoundError, ValueError):
            return
        if seen.epoch >= claimed:
            return  # it was recorded all the same
        if self._cluster.reigns().get(self._node) == claimed:
            before = seen.epoch if seen.primary == self._node and seen.epoch == claimed - 1 else 0
            self._cluster.publish("reign", str(before))
            self._ctx.event("reign.taken-back", f"the promotion that was to begin epoch {claimed} came to nothing")
        os.unlink(self._claimed)

    def _view(self) -> View:
        return self._pacemaker.view(self._group, JOURNAL)

    def _unheard(self, members: Membership, view: View, copies: Mapping[str, Journal]) -> str | None:
        """Say which data node is in Corosync's membership although its copy of the CIB has not been heard, or None."""
        there = {name for name, number in view.ids.items() if number in members.ids}
        unheard = there & self._nodes - copies.keys() - view.clean_down
        return f"{', '.join(sorted(unheard))} has not joined yet" if unheard else None

    def _still_up(self, view: View) -> str | None:
        """Say which lost node could yet be promoted on its own copy, or None.

        With ``two_node`` both halves of a split have quorum, and fencing alone decides which of them goes on. With a quorum device one
        has it; if that one dies before it has fenced the other, the device turns to the other (``minority``): who does not want to
        rely on that node's own view asks for ``fence_first``.
        """
        lost = self._nodes - view.joined - view.clean_down
        if lost and (self._fence_first or self._pacemaker.two_node()):
            return f"{', '.join(sorted(lost))} is lost and not yet fenced"
        return None

    def _readers(self, view: View, promotion: bool) -> list[str]:
        """Whose copies count: the data nodes'; for a promotion, of which every later member must know (``outage``), all members'."""
        return sorted(view.joined if promotion else view.joined & self._nodes)

    def witnessed(self, joined: frozenset[str]) -> bool:
        """Tell whether nobody can have been promoted without a trace in the copies of the CIB of those who have ``joined``."""
        from hafailover.agents.mariadb import outage  # asked only after an outage

        answer = self._cluster.run(["corosync-cmapctl", "nodelist.", "quorum."], timeout=10)
        return answer.rc == 0 and outage.witnessed(outage.read(answer.out), len(joined))

    def _copies(self, view: View, readers: Sequence[str], heard: Mapping[str, Journal] = {}) -> dict[str, Journal]:
        """The journal in the copy of the CIB of this node and of each of ``readers``; Refused when one of them cannot be read."""
        try:
            known = {name: copy for name, copy in heard.items() if name in readers}
            asked = self._heard(view, [name for name in readers if name not in known])
            return {self._node: journal.read(view.value), **known, **asked}
        except (JournalError, PacemakerError) as error:
            raise Refused(str(error)) from None

    def _read_back(self, before: View, readers: Sequence[str], promotion: bool) -> tuple[View, dict[str, Journal]]:
        """The members now and their copies; those that were asked ``before`` are asked again in the same moment. Refused."""
        try:
            view, heard = together(self._view, lambda: self._heard(before, readers))
        except (JournalError, PacemakerError) as error:
            raise Refused(str(error)) from None
        wanted = self._readers(view, promotion)
        known = {name: copy for name, copy in heard.items() if name in wanted}
        return view, {**known, **self._copies(view, [name for name in wanted if name not in readers])}

    def _heard(self, view: View, readers: Sequence[str]) -> dict[str, Journal]:
        """The journal in the copies of ``readers`` but this node, of those that have not left; JournalError, PacemakerError."""
        names = [name for name in readers if name != self._node]
        told = together(*(lambda name=name: self._copy_of(name, view) for name in names))
        return {name: copy for name, copy in zip(names, told) if copy is not None}

    def _copy_of(self, name: str, view: View) -> Journal | None:
        """The journal in the copy of ``name``, or None as soon as it is no member any more.

        A node that has just died is a member for some seconds more, and commits may wait for this answer: so it is asked in short turns.
        Corosync knows first; the CIB says so only when somebody coordinates the cluster again.
        """
        end = time.monotonic() + _PEER_COPY_TIMEOUT
        while True:
            try:
                return journal.read(self._pacemaker.property_on(name, self._group, JOURNAL, _PEER_COPY_TURN))
            except PacemakerError:
                if time.monotonic() > end:
                    raise
            if view.ids.get(name) not in self._pacemaker.membership().ids or name not in self._pacemaker.joined():
                return None

    def last(self) -> Journal | None:
        """What this node itself last recorded since it booted, or None."""
        try:
            with open(self._recorded) as file:
                return journal.read(file.read())
        except (OSError, JournalError):
            return None

    def last_at(self) -> float:
        """When that was, as Unix time; 0 if never."""
        try:
            return os.stat(self._recorded).st_mtime
        except FileNotFoundError:
            return 0.0
