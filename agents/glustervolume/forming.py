"""What a start does, and a monitor until the volume serves: see what is there, ask ``decide`` for the course, follow it.

A start never waits for a node that Pacemaker has yet to start: Pacemaker computes nothing new while a start is under way. It ends in
success instead, and the monitors go on, and say what they wait for. What mounts the volume waits for an attribute of the node.
"""

from __future__ import annotations

import time

from hafailover.agents.gluster import command, layout, logs, store
from hafailover.agents.gluster.pool import Refused
from hafailover.agents.glustervolume import bricks, decide, disk, place
from hafailover.agents.glustervolume.decide import Course, Facts, Told, Volume
from hafailover.agents.glustervolume.sight import Sight
from hafailover.agents.memo import Memo
from hafailover.agents.ocf import DEGRADED, ERR_GENERIC, SUCCESS, Context, OcfError
from hafailover.crm.pacemaker import Pacemaker, PacemakerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

_POLL = 1.0
_TO_SAY_SO = 8.0
_AGAIN = 2  # further attempts in one start: other nodes come and go
_SHORT = 30.0
_LONG = 90.0
_CONNECTED = 60.0
_ENDED = 20.0
_SERVING = 20.0  # seconds in which a brick process that was started lives and has a brick
_NEW = "destination brick is new"


class Forming:
    """One start, or one monitor, of an instance of a volume."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._sight = Sight(ctx)
        self._pool = self._sight.pool
        self._memo = Memo(ctx.instance)
        self._me, self._name, self._root = self._sight.me, self._sight.name, self._sight.root
        self._followers: dict[str, Callable[[Course, Facts], None]] = {
            decide.CLAIM: self._claim,
            decide.PROBE: self._probe,
            decide.CREATE: self._create,
            decide.START: self._start,
            decide.RECORD: self._record,
            decide.RESET: self._reset,
            decide.REVIVE: self._revive,
            decide.GROW: self._add,
            decide.WIDEN: self._add,
        }

    # -- the way -------------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """SUCCESS: the volume serves here, or this instance waits for others. OcfError."""
        try:
            self._place()
            return self._go(self._ctx.params["wait"])
        except (Refused, PacemakerError) as error:
            raise OcfError(ERR_GENERIC, f"{error}; it is tried again") from None

    def go_on(self) -> int:
        """For a monitor: SUCCESS when the volume serves, OcfError with DEGRADED while it waits or something cannot be done now.

        It fails only when it had served, and no brick of this node is left that a restart of the instance would take away.
        """
        try:
            if self._go(0.0) == SUCCESS and self._memo.read("waits") is None:
                return SUCCESS
        except (Refused, PacemakerError) as error:
            raise OcfError(DEGRADED, f"{error}; it is tried again") from None
        except OcfError as error:
            serves = any(map(self._sight.pid, self._sight.mine(self._sight.volume())))
            if error.rc != ERR_GENERIC or (self._memo.read("serves") is not None and not serves):
                raise
            raise OcfError(DEGRADED, error.reason) from None
        raise OcfError(DEGRADED, self._memo.read("waits") or "the volume is being formed")

    def _go(self, patience: float) -> int:
        since, said, failed = time.monotonic(), "", 0
        while True:
            facts = self._sight.facts()
            plan = decide.course(self._me, facts)
            if plan.reason and plan.reason != said:
                self._ctx.log("warning" if plan.what == decide.RUN else "info", f"{plan.what}: {plan.reason}")
                said = plan.reason
            if plan.what == decide.RUN:
                self._arrive(facts)
                return SUCCESS
            if plan.what == decide.REFUSE:
                self._block(plan.reason)
            if plan.what == decide.WAIT:
                self._sight.tell(Told(decide.READY, self._sight.uuid(), why=plan.told))
                if plan.told in (decide.BEHIND, decide.UNSURE):
                    self._hold_back(plan)
                if time.monotonic() - since < patience and self._left() > 0:
                    time.sleep(_POLL)
                    continue
                if self._ctx.action == "start" and plan.told in (decide.BEHIND, decide.UNSURE):
                    # No copy serves: a mount that was begun on the word of the life before would try in vain until its time is up, and
                    # Pacemaker would do nothing else meanwhile.
                    self._take_back(f"{self._ctx.instance}-ready")
                if self._memo.read("waits") != plan.reason:
                    self._memo.write("waits", plan.reason)
                    self._ctx.event("glustervolume.waiting", plan.reason)
                return SUCCESS
            if self._left() <= 0:
                raise OcfError(ERR_GENERIC, f"not done at the end of its time: {plan.reason}")
            try:
                self._followers[plan.what](plan, facts)
            except OcfError as error:
                failed += 1
                if failed > _AGAIN or self._left() <= _LONG:
                    raise
                self._ctx.log("warning", f"{error.reason}; trying again")
                time.sleep(_POLL)
            since = time.monotonic()

    def _left(self) -> float:
        return self._ctx.deadline.bound(float("inf")) - _TO_SAY_SO

    def _block(self, reason: str) -> None:
        """Tell everybody why this node has no brick, and fail."""
        self._sight.tell(Told(decide.BLOCKED, self._sight.uuid(), why=f"cannot: {reason}"))
        self._ctx.event("glustervolume.refused", reason, level="warning")
        raise OcfError(ERR_GENERIC, reason)

    def _place(self) -> None:
        want = place.Wanted(self._root, self._ctx.params["device"] or "", self._sight.mark, self._sight.known()[0])
        try:
            disk.prepare(self._ctx, want)
        except OcfError as error:
            self._block(error.reason)
        if not want.device and self._memo.read("shares-root") is None and disk.shares_root(self._root):
            self._memo.write("shares-root", "yes")
            self._ctx.log(
                "warning",
                f"{self._root} is on the root file system, which a full volume would fill; give device, or mount one there",
            )

    def _hold_back(self, plan: Course) -> None:
        """End bricks that must not serve alone: glusterd starts all that it has."""
        pids = [bricks.pid(self._name, self._sight.address, path) for path in plan.items]
        running = [number for number in pids if number]
        if running:
            bricks.end(running, _ENDED)
            self._ctx.event("glustervolume.behind", plan.reason, level="warning")
        self._memo.clear("serves")

    # -- acting --------------------------------------------------------------------------------------------------------------

    def _claim(self, plan: Course, facts: Facts) -> None:
        if self._pool.claim(facts.maker):
            self._ctx.event("glustervolume.claim", f"this node forms pool and volumes: {plan.reason}")
        else:
            time.sleep(_POLL)

    def _probe(self, plan: Course, facts: Facts) -> None:
        for name in plan.items:
            address = self._pool.addresses[name]
            command.ask(self._ctx, ["peer", "probe", address], _SHORT, "already in peer list")
        end = time.monotonic() + min(_CONNECTED, max(_POLL, self._left()))
        while True:
            missing = [name for name in plan.items if name not in self._sight.connected(facts.told)]
            if not missing:
                self._ctx.event("glustervolume.pool", f"{', '.join(plan.items)} came into the pool")
                return
            if time.monotonic() > end:
                raise OcfError(ERR_GENERIC, self._unconnected(missing))
            time.sleep(_POLL)

    def _unconnected(self, missing: list[str]) -> str:
        refused = [name for name in missing if name in self._sight.rejected()]
        if refused:
            return (
                f"the pool rejects {', '.join(refused)}, whose glusterd has volumes of its own; if they are not needed, stop it there "
                "and empty /var/lib/glusterd"
            )
        return f"{', '.join(missing)} was probed and is not yet a connected peer in the cluster"

    def _create(self, plan: Course, facts: Facts) -> None:
        replica = facts.replica
        counted = ["replica", str(layout.copies(replica)), *(["arbiter", "1"] if replica == layout.ARBITER else [])]
        words = layout.words(layout.sets(facts.nodes, replica), self._pool.addresses, self._root)
        # force: without it GlusterFS refuses a directory on the root file system, which the place's mark is for, and two bricks of
        # a set on one node, which the layout never has.
        self._pool.write(self._sight.making, "yes")
        command.ask(self._ctx, ["volume", "create", self._name, *counted, *words, "force"], _LONG)
        self._ctx.event(
            "glustervolume.created", f"volume {self._name} is made of {' '.join(words)}", bricks=" ".join(words)
        )

    def _start(self, plan: Course, facts: Facts) -> None:
        self.set_options()
        try:
            command.ask(self._ctx, ["volume", "start", self._name], _LONG, "already started")
        except OcfError as error:
            if facts.record or not self._pool.record(self._sight.making) or self._sight.has_files():
                raise
            # A creation that was interrupted may lack the mark of a brick. It was made here, and never started and never remembered:
            # nobody has used it.
            self._ctx.log("warning", f"{error.reason}; what was half made is deleted, and made anew")
            command.ask(self._ctx, ["volume", "delete", self._name], _LONG)
            return
        self._ctx.event("glustervolume.started", f"volume {self._name} is started")

    def set_options(self) -> None:
        """Bring the parameter ``options`` into the volume."""
        now = store.options(self._name)
        wanted = dict(word.partition("=")[::2] for word in (self._ctx.params["options"] or "").split())
        for name, value in wanted.items():
            if now.get(name) != value:
                command.ask(self._ctx, ["volume", "set", self._name, name, value], _LONG)
                self._ctx.event("glustervolume.option", f"{name} of {self._name} is {value}", option=name, value=value)

    def _record(self, plan: Course, facts: Facts) -> None:
        if facts.volume is not None:
            self._pool.write(f"volume-{self._name}", facts.volume.id)

    def _revive(self, plan: Course, facts: Facts) -> None:
        command.ask(self._ctx, ["volume", "start", self._name, "force"], _LONG)
        end = time.monotonic() + _SERVING
        while True:
            dead = [path for path in plan.items if not bricks.pid(self._name, self._sight.address, path)]
            if not dead:
                break
            if time.monotonic() > end or self._left() <= 0:
                raise OcfError(ERR_GENERIC, f"no process serves {dead[0]}: {logs.of_brick(dead[0])}")
            time.sleep(_POLL)
        self._ctx.event(
            "glustervolume.revived", f"{', '.join(plan.items)} is served again", bricks=",".join(plan.items)
        )

    def _reset(self, plan: Course, facts: Facts) -> None:
        # A reset that fails on another node has marked the brick as the volume's already: it would serve as a copy, and hold nothing.
        disk.mark_refilling(self._root, True)
        for path in plan.items:
            brick = f"{self._sight.address}:{path}"
            disk.make_directory(path)
            command.ask(self._ctx, ["volume", "reset-brick", self._name, brick, "start"], _LONG, "already")
            words = ["volume", "reset-brick", self._name, brick, brick, "commit", "force"]
            try:
                command.ask(self._ctx, words, _LONG)
            except OcfError as error:
                if _NEW not in error.reason:
                    raise
                # glusterd looks for the directory of a brick when it reads the volume, and not again.
                self._restart_daemon()
                command.ask(self._ctx, words, _LONG)
            self._ctx.event(
                "glustervolume.reset",
                f"{path} is begun anew and filled from the other copies",
                level="warning",
                path=path,
            )
        disk.mark_refilling(self._root, False)
        self._take_back(self._sight.allow)

    def _restart_daemon(self) -> None:
        from hafailover.agents.gluster import rpc

        self._ctx.run(["systemctl", "restart", "--", self._ctx.params["unit"]], timeout=_LONG)
        while rpc.silence(5.0) is not None and self._left() > 0:
            time.sleep(_POLL)
        others = len(self._pool.addresses) - 1
        end = time.monotonic() + _SHORT
        while command.ask(self._ctx, ["pool", "list"], _SHORT).count("Connected") <= others and time.monotonic() < end:
            time.sleep(_POLL)

    def _add(self, plan: Course, facts: Facts) -> None:
        if facts.volume is None:
            return
        what, added, _ = decide.addition(facts.nodes, facts.replica, facts.volume)
        counted = []
        if what == decide.WIDEN:
            counted = ["replica", "3", *(["arbiter", "1"] if facts.replica == layout.ARBITER else [])]
        words = layout.words(added, self._pool.addresses, self._root)
        command.ask(self._ctx, ["volume", "add-brick", self._name, *counted, *words, "force"], _LONG)
        if what == decide.GROW:
            # Existing directories get a share on the new bricks; files stay where they are until a person has them moved.
            command.ask(self._ctx, ["volume", "rebalance", self._name, "fix-layout", "start"], _LONG, "already")
        else:
            # The heal daemons would look at what the new bricks lack within heal-timeout.
            answer = self._ctx.run(["gluster", "--mode=script", "volume", "heal", self._name], timeout=_SHORT)
            if answer.rc != 0:
                self._ctx.log("info", f"healing begins a little later: {command.said(answer.out, answer.err)}")
        self._ctx.event(
            "glustervolume.grown", f"{', '.join(plan.items)} has bricks of {self._name} now", bricks=" ".join(words)
        )

    # -- it serves -----------------------------------------------------------------------------------------------------------

    def _arrive(self, facts: Facts) -> None:
        """The volume serves here: remember what must survive, tell the others, and let what mounts it begin."""
        if facts.volume is None:
            return
        self._sight.remember()
        disk.settle(self._root)
        if facts.maker == self._me:
            self.set_options()
        self._go_on_alone(facts, facts.volume)
        if self._memo.read("serves") is None and facts.volume.width == 2:
            turn = self._sight.begin_turn()
            if facts.ahead:
                disk.mark_ahead(self._root, turn)
        self._memo.write("options", self._ctx.params["options"] or "")
        self._memo.clear("waits")
        try:
            self._sight.tell_serving(self._sight.states(facts.volume))
        except OSError as error:
            raise OcfError(ERR_GENERIC, f"the brick {error.filename} cannot be read: {error.strerror}") from None
        self.ready()
        if self._memo.read("serves") is None:
            self._memo.write("serves", "yes")
            self._ctx.event("glustervolume.up", f"volume {self._name} serves here", volume=self._name)

    def _go_on_alone(self, facts: Facts, volume: Volume) -> None:
        """What a person has allowed is done, and holds once; what is remembered of bricks that are behind is known here."""
        if facts.allowed == decide.ALONE:
            self._ctx.event("glustervolume.alone", "a person has said that this copy goes on alone", level="warning")
            self._take_back(self._sight.allow)
        if not facts.behind:
            self._memo.clear("behind")
            return
        mine = frozenset(brick.id for brick in volume.bricks if brick.node == self._me)
        done = mine & facts.behind if facts.allowed == decide.ALONE else frozenset[str]()
        self._sight.note_behind(fewer=done)

    def _take_back(self, attribute: str) -> None:
        try:
            Pacemaker(self._ctx.run).unmark(attribute)
        except PacemakerError as error:
            self._ctx.log("warning", f"the attribute {attribute} cannot be taken back: {error}")

    def ready(self) -> None:
        """Give this node the attribute by which the mount may run. It ends with the node, and not with a restart of its bricks."""
        Pacemaker(self._ctx.run).mark(f"{self._ctx.instance}-ready", "1")
