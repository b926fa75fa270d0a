"""What the agent keeps in the cluster: the journal (permanent), and what dies with the node (scores, published positions).

Transient attributes are private (never in the CIB), because a change in the CIB aborts the transition that is under way; the promotion
score alone is not, it is Pacemaker's.
"""

from __future__ import annotations

import fcntl
import os
import time

from hafailover.agents import RUN_DIR, generation
from hafailover.agents.mariadb import decide, journal
from hafailover.agents.mariadb.journal import Journal, JournalError
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Context, Result
from hafailover.crm.pacemaker import Pacemaker, PacemakerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hafailover.crm.pacemaker import Membership, View

JOURNAL = "journal"
_PROMOTION_WEIGHT = 2
_HAND_OVER = 10.0  # seconds in which Pacemaker has surely begun to demote a primary that gave up its role
_PEER_COPY_TIMEOUT = (
    10.0  # seconds; a member that does not answer leaves the membership in less, and then does not matter
)
_PEER_COPY_TURN = 0.25


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


class Cluster:
    """The cluster as one database instance on one node sees it."""

    def __init__(self, ctx: Context) -> None:
        self.node = ctx.node
        self.resource = ctx.instance
        self.pacemaker = Pacemaker(self._run)
        self._ctx = ctx
        self._group = f"hafailover-{ctx.instance}"
        self._recorded = f"{RUN_DIR}/{ctx.instance}.journal"
        self._claimed = f"{RUN_DIR}/{ctx.instance}.claimed"
        self._nodes = tuple(addresses(ctx.params["nodes"]))
        self._fence_first = bool(ctx.params["fence_first"])
        self.writing = _Writing(f"{RUN_DIR}/{ctx.instance}.journal.lock")

    def _run(self, argv: Sequence[str], timeout: float | None = None, input: str | None = None) -> Result:
        # With this variable in its environment attrd_updater --query --all answers for this node alone (2.1.5): a peer's
        # attributes look unpublished inside an agent, and only there.
        return self._ctx.run(argv, timeout=timeout, input=input, env={"OCF_RESKEY_CRM_meta_on_node": None})

    # -- the journal ---------------------------------------------------------------------------------------------

    def journal(self) -> Journal:
        """The promotion journal in this node's CIB; JournalError when it must not be trusted."""
        return journal.read(self.pacemaker.property(self._group, JOURNAL))

    def tell_users(self, entry: Journal) -> None:
        """Tell the services of this node that use the database when its primary is another: their connections are worth nothing."""
        if entry.primary:
            try:
                generation.note(self.resource, f"{entry.epoch} {entry.primary}", f"the primary is {entry.primary} now")
            except OSError as error:
                raise PacemakerError(f"cannot tell who uses {self.resource}: {error}") from error

    def record(self, entry: Journal, base: Journal) -> None:
        """Replace the journal ``base``, on which the decision was made, by ``entry`` so that it cannot be lost, or raise Refused.

        First every member's copy must be ``base``: this write wins over all of them, and must not erase what a node that has just
        come back knows. Then write, and read back, also from the members: this node's copy is the first to have the write, and a
        peer that never received it could be promoted on the older text. Quorum is asked for last: asked before the copies are read, it
        could be lost meanwhile together with those who do not have the write. And no data node may be there unheard, one that a
        network heals to, say: it may be about to fence this node and to be promoted.
        A primary that is being cut off can get one such write into its own copy, too late to be seen by the others; a promotion
        weighs twice as much, so that this copy never wins over the successor's.
        """
        with self.writing as alone:
            if not alone:
                raise Refused("another process of this node is writing the journal")
            promotion = entry.by == "promote"
            view = self._view()
            copies = self._copies(view, self._readers(view, promotion))
            members = self.pacemaker.membership()
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
                self.publish("reign", str(entry.epoch))
            self.pacemaker.write_property(
                self._group, JOURNAL, journal.write(entry), _PROMOTION_WEIGHT if promotion else 1
            )
            view = self._view()
            copies = self._copies(view, self._readers(view, promotion))
            members = self.pacemaker.membership()
            refusal = self._unheard(members, view, copies) or self._still_up(view)
            refusal = decide.release_refusal(entry, self.node, before, members.quorate, copies) or refusal
            if refusal:
                if promotion and all(copy == base for copy in copies.values()):
                    self.publish("reign", str(base.epoch if base.primary == self.node else 0))
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
        if self.reigns().get(self.node) == claimed:
            before = seen.epoch if seen.primary == self.node and seen.epoch == claimed - 1 else 0
            self.publish("reign", str(before))
            self._ctx.event("reign.taken-back", f"the promotion that was to begin epoch {claimed} came to nothing")
        os.unlink(self._claimed)

    def _view(self) -> View:
        return self.pacemaker.view(self._group, JOURNAL)

    def _unheard(self, members: Membership, view: View, copies: Mapping[str, Journal]) -> str | None:
        """Say which data node is in Corosync's membership although its copy of the CIB has not been heard, or None."""
        there = {name for name, number in view.ids.items() if number in members.ids}
        unheard = there & frozenset(self._nodes) - copies.keys() - view.clean_down
        return f"{', '.join(sorted(unheard))} has not joined yet" if unheard else None

    def _still_up(self, view: View) -> str | None:
        """Say which lost node could yet be promoted on its own copy, or None.

        With ``two_node`` both halves of a split have quorum, and fencing alone decides which of them goes on. With a quorum device one
        has it; if that one dies before it has fenced the other, the device turns to the other (``minority``): who does not want to
        rely on that node's own view asks for ``fence_first``.
        """
        lost = frozenset(self._nodes) - view.joined - view.clean_down
        if lost and (self._fence_first or self.pacemaker.two_node()):
            return f"{', '.join(sorted(lost))} is lost and not yet fenced"
        return None

    def _readers(self, view: View, promotion: bool) -> list[str]:
        """Whose copies count: the data nodes'; for a promotion, of which every later member must know (``outage``), all members'."""
        return sorted(view.joined if promotion else view.joined & frozenset(self._nodes))

    def witnessed(self, joined: frozenset[str]) -> bool:
        """Tell whether nobody can have been promoted without a trace in the copies of the CIB of those who have ``joined``."""
        from hafailover.agents.mariadb import outage  # asked only after an outage

        answer = self._run(["corosync-cmapctl", "nodelist.", "quorum."], timeout=10)
        return answer.rc == 0 and outage.witnessed(outage.read(answer.out), len(joined))

    def _copies(self, view: View, readers: Sequence[str]) -> dict[str, Journal]:
        """The journal in the copy of the CIB of this node and of each of ``readers``; Refused when one of them cannot be read."""
        try:
            copies = {self.node: journal.read(view.value)}
            for name in readers:
                if name != self.node:
                    copy = self._copy_of(name, view)
                    if copy is not None:
                        copies[name] = copy
        except (JournalError, PacemakerError) as error:
            raise Refused(str(error)) from None
        return copies

    def _copy_of(self, name: str, view: View) -> Journal | None:
        """The journal in the copy of ``name``, or None as soon as it is no member any more.

        A node that has just died is a member for some seconds more, and commits may wait for this answer: so it is asked in short turns.
        Corosync knows first; the CIB says so only when somebody coordinates the cluster again.
        """
        end = time.monotonic() + _PEER_COPY_TIMEOUT
        while True:
            try:
                return journal.read(self.pacemaker.property_on(name, self._group, JOURNAL, _PEER_COPY_TURN))
            except PacemakerError:
                if time.monotonic() > end:
                    raise
            if view.ids.get(name) not in self.pacemaker.membership().ids or name not in self.pacemaker.joined():
                return None

    def recorded(self) -> Journal | None:
        """What this node itself last recorded since it booted, or None."""
        try:
            with open(self._recorded) as file:
                return journal.read(file.read())
        except (OSError, JournalError):
            return None

    def recorded_at(self) -> float:
        """When that was, as Unix time; 0 if never."""
        try:
            return os.stat(self._recorded).st_mtime
        except FileNotFoundError:
            return 0.0

    def has_several_replicas(self) -> bool:
        """Whether one of several replicas can acknowledge a commit."""
        return len(self._nodes) > 2

    # -- what dies with the node -----------------------------------------------------------------------------------

    def publish(self, what: str, value: str) -> None:
        """Publish ``what`` of this node for the other nodes."""
        self.pacemaker.publish(f"{self._group}-{what}", value)

    def published(self, what: str) -> dict[str, str]:
        """``what`` as each node has published it."""
        return dict(self.pacemaker.published(f"{self._group}-{what}"))

    def publish_for_epoch(self, what: str, epoch: int, position: str) -> None:
        """Publish a position that only counts within ``epoch``."""
        self.publish(what, f"{epoch}:{position}")

    def published_in_epoch(self, what: str, epoch: int) -> dict[str, str]:
        """The positions published within ``epoch``: node → position."""
        found = {}
        for node, value in self.published(what).items():
            at, _, position = value.partition(":")
            if at == str(epoch):
                found[node] = position
        return found

    def is_admitted(self, primary: str, life: str) -> bool:
        """Tell whether ``primary`` counts on acknowledgements of this ``life`` of a server (see ``regain``)."""
        return life in self.published("admitted").get(primary, "").split(",")

    def reigns(self) -> dict[str, int]:
        """The epoch whose primary each node became and since when it has not left the cluster."""
        return {name: int(value) for name, value in self.published("reign").items() if value.isdigit()}

    def set_score(self, score: int) -> bool:
        """Set this node's promotion score if it differs; True when it was changed.

        A score above the in-sync one on a node that may be promoted is a person's request for a switchover: it is left alone.
        """
        current = self.pacemaker.score(self.resource, self.node)
        if current == score:
            return False
        if score == decide.SCORE_IN_SYNC and current == decide.SCORE_REQUESTED:
            return False
        self.pacemaker.set_score(self.resource, self.node, score)
        if current is None:
            # After a controller's restart the CIB has lost the score while the attribute daemon still holds it, and writes no change.
            self.pacemaker.refresh_attributes()
        return True

    def able(self) -> tuple[str, ...]:
        """The nodes that Pacemaker may promote, by their published scores, the best first."""
        return able(self.pacemaker, self.resource)

    def promotes(self) -> bool:
        """Tell whether Pacemaker is promoting an instance just now."""
        return self.pacemaker.being_promoted(self.resource)

    def hand_over(self, why: str) -> bool:
        """Give the primary's role to a replica that may have it; True when that is under way.

        With its score unchanged a failed server would be restarted and promoted in place, and the peer would wait for that.
        """
        if handing_over(self.resource):
            return True
        heir = give_up(self.pacemaker, self.resource, self.node)
        if heir:
            self._ctx.event("hand-over", f"{heir} may take over: {why}", heir=heir)
        return heir is not None

    def keep_published(self, what: str, value: str) -> bool:
        """Publish ``what`` unless this very attribute daemon has it already; True when it was published now. For Pacemaker's actions."""
        said = f"{RUN_DIR}/{self.resource}.{what}"
        text = f"{_attribute_daemon()} {value}"
        try:
            with open(said) as file:
                if file.read() == text:
                    return False
        except OSError:
            pass  # nothing was published since the node booted
        self.publish(what, value)
        os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
        with open(said, "w") as file:
            file.write(text)
        return True

    def explain(self, reason: str | None) -> None:
        """Publish why this node cannot be promoted, and log it once, when it changes."""
        if self.keep_published("why", reason or "ok"):
            self._ctx.event("standing", "can be promoted" if reason is None else f"cannot be promoted: {reason}")


def _attribute_daemon() -> str:
    """A name for the running pacemaker-attrd: another one has forgotten what it was told. An action's grandparent is its parent."""
    try:
        with open(f"/proc/{os.getppid()}/stat") as file:
            pacemakerd = file.read().rpartition(")")[2].split()[1]
        with open(f"/proc/{pacemakerd}/task/{pacemakerd}/children") as file:
            children = file.read().split()
        for pid in children:
            with open(f"/proc/{pid}/stat") as file:
                name, _, fields = file.read().rpartition(")")
            if name.endswith("(pacemaker-attrd"):
                return f"{pid}.{fields.split()[19]}"
    except OSError:
        pass  # a daemon that is just being replaced; the next action finds the new one
    return f"{os.getppid()}"


def able(pacemaker: Pacemaker, resource: str) -> tuple[str, ...]:
    """The nodes that Pacemaker may promote, by their published scores, the best first."""
    published = pacemaker.published(f"master-{resource}")
    scores = {name: int(score) for name, score in published.items() if score.lstrip("+").isdigit()}
    return tuple(sorted((name for name in scores if scores[name] > 0), key=lambda name: -scores[name]))


def successor(pacemaker: Pacemaker, resource: str, node: str) -> str | None:
    """The node that Pacemaker may promote instead of ``node``, or None."""
    return next((name for name in able(pacemaker, resource) if name != node), None)


def give_up(pacemaker: Pacemaker, resource: str, node: str) -> str | None:
    """Lower a failed primary's score if a replica may take over, and return that heir."""
    heir = successor(pacemaker, resource, node)
    if heir is not None:
        os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
        with open(f"{RUN_DIR}/{resource}.handed-over", "w"):
            pass
        pacemaker.set_score(resource, node, decide.SCORE_NEVER)
    return heir


def handing_over(resource: str) -> bool:
    """Whether this node's primary gave up its role a moment ago, and Pacemaker is about to demote it.

    The unit's death hook and a monitor that was under way both find the server dead. The second to come must not report a failure:
    that would abort the transition which the first has begun, and have the server restarted before the peer is promoted.
    """
    try:
        return time.time() - os.stat(f"{RUN_DIR}/{resource}.handed-over").st_mtime < _HAND_OVER
    except OSError:
        return False


def now() -> float:
    """Unix time in seconds, for the journal; nothing is decided by it."""
    return time.time()
