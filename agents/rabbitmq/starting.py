"""What a start does: find out what is here and what the others have, ask ``decide`` for the course, follow it.

A start never waits for a node that Pacemaker has yet to start: Pacemaker computes nothing new while a start is under way, so that the
other node would never be started. It ends in success instead, with a broker that waits (or with none, on a node that holds nothing),
and the monitors say for whom.
"""

from __future__ import annotations

import time

from hafailover.agents.memo import Memo
from hafailover.agents.ocf import DEGRADED, ERR_GENERIC, ERR_INSTALLED, SUCCESS, Context, OcfError
from hafailover.agents.rabbitmq import control, credentials, decide, settings
from hafailover.agents.rabbitmq.arrival import arrive
from hafailover.agents.rabbitmq.broker import Broker
from hafailover.agents.rabbitmq.cluster import Cluster, Refused
from hafailover.agents.rabbitmq.decide import Course, Peer
from hafailover.agents.rabbitmq.disk import Disk
from hafailover.crm.pacemaker import PacemakerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Callable

_POLL = 1.0
_TO_SAY_SO = 10.0  # seconds before the end of a start in which it says that the broker still boots
_TO_CONNECT = 3.0
_ROUNDS = 20  # courses in one start that were taken and did not lead to its end


class Start:
    """One start of this node's broker."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._cluster, self._disk, self._broker, self._memo = Cluster(ctx), Disk(ctx), Broker(ctx), Memo(ctx.instance)
        self._me = ctx.node
        left = ctx.deadline.remaining()
        self._end = time.monotonic() + left - min(_TO_SAY_SO, left / 4)

    def run(self) -> int:
        """SUCCESS; OcfError."""
        try:
            return self._run()
        except (Refused, PacemakerError) as error:
            raise OcfError(ERR_GENERIC, f"{error}; it is tried again") from None
        except (OSError, UnicodeError) as error:
            raise OcfError(ERR_GENERIC, f"cannot be read or written, look at its disk: {error}") from None

    def _run(self) -> int:
        self._require()
        if not self._broker.state().dead:
            self._broker.keep()
            return self._see_it_boot(lambda: False)
        stranger = self._disk.user()
        if stranger is not None:
            # Nothing of it may be put aside or removed then, and Erlang's own complaint does not say whose port and name it lacks.
            raise OcfError(
                ERR_GENERIC,
                f"process {stranger} is a broker beside {self._broker.unit}, on the same data; end it: kill {stranger}",
            )
        since = time.monotonic()
        said, taken = None, 0
        while taken < _ROUNDS:
            plan = self.plan()
            if plan != said:
                self._ctx.log("info", f"{plan.what}: {plan.reason}")
                said = plan
            if plan.what == decide.WAIT:
                if self._wait(since):
                    continue
                return self._idle(plan)
            if plan.what == decide.REFUSE:
                self._ctx.event("rabbitmq.refused", f"it is not started: {plan.reason}", level="warning")
                raise OcfError(ERR_GENERIC, self._say(plan))
            if self._follow(plan, since):
                return SUCCESS
            taken += 1
        raise OcfError(ERR_GENERIC, "nothing came of any course that this start took; the journal has them")

    def plan(self) -> Course:
        """What may be done now. PacemakerError."""
        here = self._disk.holds(self._me)
        data = here.kind in (decide.KEPT, decide.ALONE)
        state = decide.STARTING if data and self._ctx.action == "start" else decide.STOPPED if data else decide.BLANK
        self._cluster.tell_change(Peer(state, here.kind, here.members, self._disk.view()))
        return decide.course(
            self._me, here, self._cluster.record(), self._cluster.peers(), self._cluster.allowed().strip()
        )

    def _require(self) -> None:
        self._broker.check_version()
        credentials.check_cookie(self._ctx)
        if self._broker.state().load != "loaded":
            raise OcfError(ERR_INSTALLED, f"there is no unit {self._broker.unit} on this node; install rabbitmq-server")
        from hafailover.agents.mariadb import mounts

        point = mounts.missing(self._disk.path)
        if point:
            raise OcfError(ERR_GENERIC, f"{point} is not mounted, where the broker's data are; mount it")

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _wait(self, since: float) -> bool:
        """Wait a moment; False when it is no use to wait longer within this start."""
        now = time.monotonic()
        coming = any(peer.state == decide.STARTING for peer in self._cluster.peers().values())
        if now > self._end or (now - since > self._ctx.params["wait"] and not coming):
            return False
        time.sleep(_POLL)
        return True

    def _idle(self, plan: Course) -> int:
        self._memo.write("idle", plan.reason)
        self._ctx.event("rabbitmq.waiting", f"no broker is started here yet: {plan.reason}. {self._say(plan)}")
        return SUCCESS

    def look_again(self) -> int:
        """For the monitor of an instance that was started without a broker; always OcfError."""
        plan = self.plan()
        if plan.what == decide.WAIT:
            raise OcfError(DEGRADED, self._say(plan))
        raise OcfError(ERR_GENERIC, f"it need not wait any more and is started again: {plan.reason}")

    def _say(self, plan: Course) -> str:
        """The reason for people, with the command that would help; Pacemaker keeps no more than 127 characters."""
        command = self._cluster.say(plan.way_out)
        if plan.way_out == decide.JOIN:
            return f"its data are its own; nothing is wiped. To put them aside and join: {command}"
        if plan.way_out == decide.FOUND and plan.what == decide.REFUSE:
            return f"the only data were here and are gone: disk not mounted? To begin anew: {command}"
        if plan.way_out == decide.FOUND:
            return f"holds nothing, waits for a member. If none returns, to begin anew: {command}"
        return plan.reason

    # -- acting ------------------------------------------------------------------------------------------------------

    def _follow(self, plan: Course, since: float) -> bool:
        """Do it; False when the course has to be asked for anew."""
        if plan.what == decide.LOOK:
            self._look()
            return False
        if plan.what == decide.FOUND:
            return self._found(plan, since)
        if plan.what == decide.JOIN:
            return self._join(plan)
        if not self._cluster.record().founder and not self._cluster.claim():
            return False
        forced = plan.what == decide.FORCE
        if forced:
            self._disk.force()
            # The monitor would otherwise take it for one that boots in the usual way, and start it again for the force, and again.
            self._memo.write("forced", plan.reason)
            self._ctx.event("rabbitmq.forced", f"{plan.reason}", level="warning")
        self._require_reach()
        self._broker.begin()
        begun = time.monotonic()
        patience = self._ctx.params["wait"]
        self._see_it_boot(lambda: not forced and time.monotonic() - begun > patience and self._waits_for() is not None)
        return True

    def _see_it_boot(self, enough: Callable[[], bool]) -> int:
        if self._broker.await_answer(lambda: time.monotonic() > self._end or enough()):
            arrive(self._ctx)
            return SUCCESS
        reason = boot_reason(self._ctx)
        self._memo.write("booting", reason)
        here = self._disk.holds(self._me)
        self._cluster.tell(Peer(decide.WAITING, here.kind, here.members, self._disk.view()))
        self._ctx.event("rabbitmq.waiting", reason)
        return SUCCESS

    def _waits_for(self) -> str | None:
        return decide.waiting_for(self._me, self._disk.members(), self._disk.view(), self._cluster.peers())

    def _found(self, plan: Course, since: float) -> bool:
        if self._cluster.unheard() and time.monotonic() - since < self._ctx.params["wait"]:
            time.sleep(_POLL)  # somebody is just joining, and may hold data
            return False
        if self._cluster.allowed() == decide.FOUND:
            self._cluster.begin_anew()
            self._cluster.done()
            return False
        if self._cluster.record().founder != self._me and not self._cluster.claim():
            return False
        self._clear(plan)
        self._disk.begin(decide.FOUND)
        self._cluster.tell(Peer(decide.STARTING, decide.HALF))
        self._broker.begin()
        self._see_it_boot(lambda: False)
        return True

    def _join(self, plan: Course) -> bool:
        self._require_reach()
        self._clear(plan)
        if self._is_remembered(plan.peer) and not self._forget(plan.peer):
            return False
        self._disk.begin(f"{decide.JOIN} {plan.peer}")
        self._broker.begin(plan.peer)
        self._see_it_boot(lambda: False)
        return True

    def _is_remembered(self, host: str) -> bool:
        """Whether the cluster may still know a former broker of this node."""
        peer = self._cluster.peers().get(host)
        known = self._me in self._cluster.record().members or (peer is not None and self._me in peer.members)
        return known or self._disk.begun() is not None

    def _forget(self, host: str) -> bool:
        """Have it forgotten; False to try again while there is time. OcfError."""
        try:
            if control.forget(self._ctx, host, self._me):
                self._ctx.event("rabbitmq.forgotten", f"{host} has forgotten the former broker of this node")
        except OcfError as error:
            if time.monotonic() > self._end:
                raise
            self._ctx.log("notice", error.reason)  # it may not have noticed yet that the former one has ended
            time.sleep(_POLL)
            return False
        return True

    def _clear(self, plan: Course) -> None:
        """Make this node blank: by putting away what counts, by removing what an interrupted beginning left."""
        if plan.aside:
            place = self._disk.set_aside()
            self._ctx.event(
                "rabbitmq.set-aside", f"{plan.reason}; the former data are in {place}", level="warning", place=place
            )
        elif not self._disk.is_blank():
            self._disk.remove_half()

    def _look(self) -> None:
        import json

        self._broker.begin()
        if not self._broker.await_answer(lambda: time.monotonic() > self._end):
            raise OcfError(ERR_GENERIC, "the broker still boots, and what it holds is not known; it is tried again")
        text = settings.exported(self._ctx)
        try:
            held = decide.holdings(json.loads(text))
        except ValueError:
            raise OcfError(
                ERR_GENERIC, f"rabbitmqctl export_definitions does not say what is here: {text[:80]}"
            ) from None
        self._broker.stop()
        self._disk.saw(decide.KEPT if held else decide.FRESH)
        self._ctx.event("rabbitmq.looked", f"the broker of its own holds {held or 'nothing'}")

    def _require_reach(self) -> None:
        """OcfError while a broker that runs cannot be reached: this one would go on by itself, beside it."""
        unreached = unreachable(self._cluster.addresses, self._cluster.peers(), self._ctx.params["dist_port"])
        if unreached:
            raise OcfError(
                ERR_GENERIC,
                f"the broker on {unreached} runs and its port {self._ctx.params['dist_port']} cannot be reached from here; not started, "
                "or it would go on beside it",
            )


def unreachable(addresses: Mapping[str, str], peers: Mapping[str, Peer], port: int) -> str | None:
    """The first node whose broker is said to run and does not take a connection from its peers, or None."""
    import _socket as socket

    for name, peer in peers.items():
        if peer.state != decide.RUNNING:
            continue
        family = socket.AF_INET6 if ":" in addresses[name] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(_TO_CONNECT)
        try:
            sock.connect((addresses[name], port))
        except OSError:
            return name
        finally:
            sock.close()
    return None


def boot_reason(ctx: Context) -> str:
    """Why a broker that was started does not answer yet. PacemakerError."""
    cluster, disk = Cluster(ctx), Disk(ctx)
    names = decide.waiting_for(ctx.node, disk.members(), disk.view(), cluster.peers())
    if names is None:
        return "the broker still boots"
    # Pacemaker keeps no more than 127 characters of it.
    return f"waits for {names}, which may have newer data; if it is lost: {cluster.say(decide.FORCE)}"
