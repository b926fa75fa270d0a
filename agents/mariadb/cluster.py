"""What the agent keeps in the cluster: the journal (permanent), and what dies with the node (scores, published positions).

Transient attributes are private (never in the CIB), because a change in the CIB aborts the transition that is under way; the promotion
score alone is not, it is Pacemaker's.
"""

from __future__ import annotations

import os
import time

from hafailover.agents import RUN_DIR, generation
from hafailover.agents.mariadb import decide, journal, told
from hafailover.agents.mariadb.journal import Journal
from hafailover.agents.mariadb.records import JOURNAL, Records
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Context, Result
from hafailover.crm.pacemaker import Pacemaker, PacemakerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hafailover.crm.corosync_quorum import Quorum
    from hafailover.crm.pacemaker import Membership

_SCORE_HOLDS = 1.0  # seconds for which the score that was read with the journal is taken for the one that is set
_HAND_OVER = 10.0  # seconds in which Pacemaker has surely begun to demote a primary that gave up its role


class Cluster:
    """The cluster as one database instance on one node sees it."""

    def __init__(self, ctx: Context) -> None:
        self.node = ctx.node
        self.resource = ctx.instance
        self.pacemaker = Pacemaker(self.run, members=self._members)
        self._ctx = ctx
        self._quorum: Quorum | None = None
        self._score: tuple[float, int | None] | None = None  # when it was read (monotonic), and this node's
        self.group = f"hafailover-{ctx.instance}"
        self.nodes = tuple(addresses(ctx.params["nodes"]))
        self.records = Records(self, ctx)

    def run(self, argv: Sequence[str], timeout: float | None = None, input: str | None = None) -> Result:
        """Run a program of Pacemaker's or Corosync's."""
        # With this variable in its environment attrd_updater --query --all answers for this node alone (2.1.5): a peer's
        # attributes look unpublished inside an agent, and only there.
        return self._ctx.run(argv, timeout=timeout, input=input, env={"OCF_RESKEY_CRM_meta_on_node": None})

    def _members(self) -> Membership | None:
        if self._quorum is None:
            from hafailover.crm.corosync_quorum import Quorum  # only who writes the journal asks

            self._quorum = Quorum()
        return self._quorum.ask()

    # -- the journal ---------------------------------------------------------------------------------------------

    def journal(self) -> Journal:
        """The promotion journal in this node's CIB; JournalError when it must not be trusted."""
        # Each monitor wants both, and each program that it starts costs it a third of what it does itself.
        text, score = self.pacemaker.property_and_score(self.group, JOURNAL, self.resource, self.node)
        self._score = (time.monotonic(), score)
        return journal.read(text)

    def tell_users(self, entry: Journal) -> None:
        """Tell the services of this node that use the database when its primary is another: their connections are worth nothing."""
        if entry.primary:
            try:
                generation.note(self.resource, f"{entry.epoch} {entry.primary}", f"the primary is {entry.primary} now")
            except OSError as error:
                raise PacemakerError(f"cannot tell who uses {self.resource}: {error}") from error

    def has_several_replicas(self) -> bool:
        """Whether one of several replicas can acknowledge a commit."""
        return len(self.nodes) > 2

    # -- what dies with the node -----------------------------------------------------------------------------------

    def publish(self, what: str, value: str) -> None:
        """Publish ``what`` of this node for the other nodes."""
        self.pacemaker.publish(f"{self.group}-{what}", value)

    def withdraw(self, what: str) -> None:
        """Take back ``what`` of this node, if anything was published."""
        self.pacemaker.withdraw(f"{self.group}-{what}")

    def published(self, what: str) -> dict[str, str]:
        """``what`` as each node has published it."""
        return dict(self.pacemaker.published(f"{self.group}-{what}"))

    def publish_for_epoch(self, what: str, epoch: int, position: str) -> None:
        """Publish a position that only counts within ``epoch``."""
        self.publish(what, f"{epoch}:{position}")

    def published_in_epoch(self, what: str, epoch: int) -> dict[str, str]:
        """The positions published within ``epoch``: node → position."""
        return in_epoch(self.published(what), epoch)

    def is_admitted(self, primary: str, life: str) -> bool:
        """Tell whether ``primary`` counts on acknowledgements of this ``life`` of a server (see ``regain``)."""
        return life in self.published("admitted").get(primary, "").split(",")

    def reigns(self) -> dict[str, int]:
        """The epoch whose primary each node became and since when it has not left the cluster."""
        return {name: int(value) for name, value in self.published("reign").items() if value.isdigit()}

    def set_score(self, score: int) -> bool:
        """Set this node's promotion score if it differs; True when it was changed.

        A score above the in-sync one on a node that may be promoted is a person's request for a switchover: it is left alone.
        What was read with the journal a moment ago counts: what somebody sets meanwhile is seen by the next monitor.
        """
        read, self._score = self._score, None
        if read is not None and time.monotonic() - read[0] < _SCORE_HOLDS:
            current = read[1]
        else:
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
        return able(self._scores())

    def _scores(self) -> Mapping[str, str]:
        return self.pacemaker.published(f"master-{self.resource}")

    def promotes(self) -> bool:
        """Tell whether Pacemaker is promoting an instance just now."""
        return self.pacemaker.being_promoted(self.resource)

    def hand_over(self, why: str) -> bool:
        """Give the primary's role to a replica that may have it; True when that is under way.

        With its score unchanged a failed server would be restarted and promoted in place, and the peer would wait for that.
        """
        if handing_over(self.resource):
            return True
        heir = give_up(self.pacemaker, self.resource, self.node, self._scores())
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

    def tell(self, parts: Mapping[str, str], daemon: str = "") -> bool:
        """Tell people ``parts`` (agents/mariadb/told.py); whether that is new."""
        return told.tell(self.resource, parts, lambda text: self.publish(told.ATTRIBUTE, text), daemon)

    def tell_again(self) -> None:
        """For Pacemaker's actions: tell everything once more if the attribute daemon is another one and has forgotten it."""
        self.tell({}, _attribute_daemon())

    def explain(self, reason: str | None) -> None:
        """Publish why this node cannot be promoted, and log it once, when it changes."""
        if self.tell({told.WHY: reason or "ok"}, _attribute_daemon()):
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


def in_epoch(published: Mapping[str, str], epoch: int) -> dict[str, str]:
    """The positions among ``published`` that count within ``epoch``: node → position."""
    found = {}
    for node, value in published.items():
        at, _, position = value.partition(":")
        if at == str(epoch):
            found[node] = position
    return found


def able(published: Mapping[str, str]) -> tuple[str, ...]:
    """The nodes that Pacemaker may promote, by their published scores, the best first."""
    scores = {name: int(score) for name, score in published.items() if score.lstrip("+").isdigit()}
    return tuple(sorted((name for name in scores if scores[name] > 0), key=lambda name: -scores[name]))


def give_up(pacemaker: Pacemaker, resource: str, node: str, published: Mapping[str, str]) -> str | None:
    """Lower a failed primary's score if a replica may take over, by the ``published`` scores, and return that heir."""
    heir = next((name for name in able(published) if name != node), None)
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
