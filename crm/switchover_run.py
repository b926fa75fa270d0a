"""Move the primary role, watch it move, and call it off when it does not: whatever happens, say where the role is now.

The role moves because the target's promotion score is raised; Pacemaker and the agents do the rest, and the target's agent lowers the
score again a few seconds after its promotion. Nothing permanent is written, so nothing can be forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hafailover.agents.mariadb import decide, told
from hafailover.crm.errors import DONE, FAILED, INCOMPLETE, HafailoverError
from hafailover.crm.local import signals_as_interrupt, without_interrupts
from hafailover.crm.pacemaker import Pacemaker, PacemakerError
from hafailover.crm.status import Service, Status
from hafailover.crm.status_database import IN_SYNC
from hafailover.crm.status_facts import GLANCE, gather
from hafailover.crm.status_read import read
from hafailover.crm.switchover_probes import Probes
from hafailover.crm.switchover_watch import Glance, glance

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run

GRACE = 30.0
"""Seconds after the deadline in which the outcome of calling it off is awaited."""

# Above a primary's own score, so that a promotion under way is not undone by the old primary's score, but not the score of a request,
# which the agent would respect: whether the promotion succeeds or fails, the agent's next monitor replaces this.
_SCORE_LET_GO = decide.SCORE_PRIMARY + 1

_STALE = 8.0  # seconds
_LOOK_EVERY = 0.4  # seconds between two looks at Pacemaker
# A look costs 50 ms of a processor, while all that moves the role and the address wants one: the probes see when it is worth it.
_LOOK_SELDOM = 1.5
_TICK = 0.05  # seconds between two looks at the probes
_SAY_EVERY = 5.0  # seconds after which a wait explains itself


@dataclass(frozen=True)
class Step:
    """Something that happened: a stable name, Unix time, seconds since the request, and a sentence."""

    name: str
    at: float
    after_s: float
    says: str


@dataclass(frozen=True)
class Outcome:
    """How it ended.

    result: ``done``, ``rolled back`` or ``incomplete``. primary: who is primary now, "" if nobody is or it is not known.
    """

    result: str
    primary: str
    says: str
    left_to_do: tuple[str, ...]
    steps: tuple[Step, ...]
    write_gap_s: float | None
    write_gap_note: str

    @property
    def exit_code(self) -> int:
        """The code of crm/errors.py."""
        return {"done": DONE, "incomplete": INCOMPLETE}.get(self.result, FAILED)


class _CalledOff(Exception):
    """The switchover will not come about; the message says why."""


class Switchover:
    """One switchover of ``service`` to ``node``. ``tell`` gets each step as it happens, ``wait`` a sentence during long waits."""

    def __init__(
        self,
        run: Run,
        status: Status,
        service: Service,
        node: str,
        probes: Probes,
        tell: Callable[[Step], None],
        wait: Callable[[str], None],
    ) -> None:
        self._run = run
        self._pacemaker = Pacemaker(run, timeout=10)
        self._status, self._service, self._node = status, service, node
        self._old = service.primary or ""
        self._probes, self._tell, self._wait = probes, tell, wait
        self._steps: dict[str, Step] = {}
        self._raised = False
        self._begin = 0.0
        self._begin_unix = 0.0
        self._known: frozenset[tuple[str, str, str, str, str]] = frozenset()
        self._last_said = 0.0

    def perform(self, timeout: float) -> Outcome:
        """Do it within ``timeout`` seconds (and GRACE more to see the end of a failure)."""
        with signals_as_interrupt():
            try:
                return self._perform(timeout)
            finally:
                self._probes.stop()

    def _perform(self, timeout: float) -> Outcome:
        first = glance(self._run, self._status, self._service)
        self._known = first.failures if first else frozenset()
        self._probes.start()
        deadline = time.monotonic() + timeout
        try:
            self._request()
            self._await_promotion(deadline)
        except _CalledOff as reason:
            return self._call_off(str(reason))
        except KeyboardInterrupt:
            return self._call_off("interrupted")
        except PacemakerError as error:
            return self._call_off(str(error))
        # The role has moved, and whoever interrupts has to be told so.
        try:
            self._note_killed()
            seen, complete = self._await_follower(deadline)
        except KeyboardInterrupt:
            with without_interrupts():
                seen, complete = self._status_now(), False
        with without_interrupts():
            return self._finish(seen, complete)

    # -- the steps ----------------------------------------------------------------------------------------------

    def _request(self) -> None:
        self._begin, self._begin_unix = time.monotonic(), time.time()
        self._raised = True
        self._pacemaker.set_score(self._service.name, self._node, decide.SCORE_REQUESTED)
        self._step(
            "requested", self._begin, f"asked Pacemaker to make {self._node} the primary of {self._service.name}"
        )

    def _await_promotion(self, deadline: float) -> None:
        """Return when the target serves; _CalledOff when it will not."""
        looked, every = time.monotonic(), _LOOK_SELDOM if self._probes.watch else _LOOK_EVERY
        while True:
            self._note_probes()
            if time.monotonic() - looked >= (_LOOK_EVERY if self._probes.served(self._begin) else every):
                looked = time.monotonic()
                seen = glance(self._run, self._status, self._service)
                if seen:
                    self._note_probes()  # first, for they know the times better
                    self._note(seen)
                    if seen.serves(self._node):
                        return
                    self._check_hope(seen)
                    self._explain_wait(seen)
                else:
                    self._say("waiting: this node's cluster does not answer")
            if time.monotonic() > deadline:
                raise _CalledOff("it took too long")
            time.sleep(_TICK)

    def _check_hope(self, seen: Glance) -> None:
        for resource, where, task, reason, _ in seen.failures - self._known:
            if where == self._node and resource == self._service.name and task in ("promote", "start"):
                raise _CalledOff(f"{task} failed on {where}: {reason}")
        score = seen.scores.get(self._node)
        if score is not None and score < 0 and self._node not in seen.promoted:
            raise _CalledOff(f"the agent on {self._node} refused: {self._why() or 'see hafailover status'}")
        if self._node in seen.lost:
            raise _CalledOff(f"{self._node} left the cluster")

    def _why(self) -> str:
        try:
            reason = told.published(self._pacemaker, self._service.name)[told.WHY].get(self._node, "")
        except PacemakerError:
            return ""
        return "" if reason == "ok" else reason

    def _await_follower(self, deadline: float) -> tuple[Status | None, bool]:
        """Wait until the old primary is in sync and the score is the agent's own again; the last look, and whether all was reached."""
        while True:
            seen = self._status_now()
            service = seen.service(self._service.name) if seen else None
            if seen and service:
                old, new = service.instance(self._old), service.instance(self._node)
                followed = old is not None and old.standing == IN_SYNC
                if followed:
                    self._step("in sync", time.monotonic(), f"{self._old} follows {self._node} and is in sync again")
                lowered = new is not None and new.score is not None and new.score <= decide.SCORE_PRIMARY
                if followed and lowered and seen.idle is not False:
                    return seen, True
                if old is not None and not followed:
                    self._say(f"waiting for {self._old} to follow: {old.reason or old.standing}")
            if time.monotonic() > deadline:
                return seen, False
            time.sleep(_LOOK_EVERY)

    # -- when it does not work ----------------------------------------------------------------------------------

    def _call_off(self, reason: str) -> Outcome:
        """Let go of the request, then wait for what the cluster makes of it."""
        with without_interrupts():
            left = self._let_go()
        self._step("called off", time.monotonic(), f"called off: {reason}")
        seen: Glance | None = None
        calm = 0  # looks in a row that showed the same end: the first may come before Pacemaker's next step
        heard = time.monotonic()
        end = heard + GRACE
        try:
            while time.monotonic() < end:
                now = glance(self._run, self._status, self._service)
                if now:
                    seen, heard = now, time.monotonic()
                if now and now.serves(self._node):
                    self._keep_promoted(now)
                ended = now and not now.pending and (now.serves(self._old) or now.serves(self._node))
                calm = calm + 1 if ended else 0
                if calm == 3:
                    break
                if now:
                    self._explain_wait(now)
                time.sleep(_LOOK_EVERY)
        except KeyboardInterrupt:
            self._step("interrupted", time.monotonic(), "not waiting for the outcome any longer")
        with without_interrupts():
            if time.monotonic() - heard > _STALE:
                seen = None  # this node may have been cut off, and what was so then says nothing
            self._note_killed()
            return self._concluded(reason, seen, left)

    def _let_go(self) -> list[str]:
        """Take the request back; what could not be done is returned as what is left to do."""
        if not self._raised:
            return []
        name, node = self._service.name, self._node
        by_hand = f"crm_attribute --promotion={name} -N {node} -l reboot -v {decide.SCORE_IN_SYNC}"
        try:
            if self._pacemaker.score(name, node) != decide.SCORE_REQUESTED:
                return []  # the agent has decided about it since
            seen = glance(self._run, self._status, self._service)
            before = self._service.instance(node)
            previous = before.score if before and before.score is not None else decide.SCORE_IN_SYNC
            untouched = seen is not None and self._old in seen.promoted
            # Once the old primary is closed, giving its score the upper hand would move the role back in the middle of a
            # promotion, to a server that by then may not be promoted.
            self._pacemaker.set_score(name, node, previous if untouched else _SCORE_LET_GO)
        except PacemakerError as error:
            return [f"the raised promotion score could not be taken back ({error}): {by_hand}"]
        return []

    def _keep_promoted(self, seen: Glance) -> None:
        """It was promoted after all, while the request was being taken back: its old score must not cost it the role again."""
        score = seen.scores.get(self._node)
        if score is not None and 0 < score < decide.SCORE_PRIMARY:
            try:
                self._pacemaker.set_score(self._service.name, self._node, _SCORE_LET_GO)
            except PacemakerError as error:
                self._wait(f"the promotion score of {self._node} could not be kept up: {error}")

    def _concluded(self, reason: str, seen: Glance | None, left: list[str]) -> Outcome:
        name, promoted = self._service.name, seen.promoted if seen else ()
        primary = promoted[0] if len(promoted) == 1 else ""
        for resource, where, task, said, _ in sorted((seen.failures if seen else frozenset()) - self._known):
            left.append(
                f"{task} of {resource} failed on {where} ({said}): mend it, then crm_resource --cleanup -r {resource} -N {where}"
            )
        if seen is None:
            says = (
                f"{reason}; this node's cluster does not answer any more, so who is primary now is not known from here"
            )
            left.append("hafailover status on another node")
            return self._outcome("incomplete", "", says, left)
        if primary == self._old and seen.serves(self._old):
            return self._outcome(
                "rolled back", primary, f"{reason}; {self._old} is the primary of {name} as before", left
            )
        if primary == self._node and seen.serves(self._node):
            left.append(f"see in hafailover status whether {self._old} follows")
            return self._outcome(
                "incomplete", primary, f"{reason}, but {self._node} is the primary of {name} now", left
            )
        if primary:
            off = [address for address, where in seen.addresses.items() if where != primary]
            left.append(f"the address {', '.join(off)} is not with the primary {primary}: hafailover status")
            return self._outcome("incomplete", primary, f"{reason}; {primary} is the primary of {name}", left)
        doing = ", ".join(f"{what} on {node}" for node, what in seen.pending.items())
        left.append(f"{name} has no primary{f' yet ({doing} is under way)' if doing else ''}: hafailover status")
        return self._outcome("incomplete", "", f"{reason}; nobody is the primary of {name}", left)

    # -- the end ------------------------------------------------------------------------------------------------

    def _finish(self, seen: Status | None, complete: bool) -> Outcome:
        name, left = self._service.name, []
        service = seen.service(name) if seen else None
        if seen is None or service is None:
            left.append("this node's cluster does not answer any more: hafailover status on another node")
            return self._outcome("incomplete", self._node, f"{self._node} became the primary of {name}", left)
        old, new = service.instance(self._old), service.instance(self._node)
        if service.primary != self._node:
            left.append(f"{self._node} was primary, and now {service.primary or 'nobody'} is: hafailover status")
        if not complete and (old is None or old.standing != IN_SYNC):
            why = (old.reason or old.standing) if old else "gone"
            left.append(f"{self._old} is not in sync yet ({why}): hafailover status shows when it is")
        if new is not None and service.primary == self._node and (new.score or 0) > decide.SCORE_PRIMARY:
            left += self._lower()
        left += [
            f"a constraint appeared meanwhile: {one}" for one in seen.constraints if one not in self._status.constraints
        ]
        if self._probes.two_writers(self._begin):
            left.insert(0, f"{self._old} still accepted writes when {self._node} already did: compare their data")
        return self._outcome(
            "incomplete" if left else "done", service.primary or "", f"{self._node} is the primary of {name}", left
        )

    def _lower(self) -> list[str]:
        """The agent has not lowered the score in time; the role is where it belongs, so lowering it moves nothing."""
        try:
            self._pacemaker.set_score(self._service.name, self._node, decide.SCORE_PRIMARY)
        except PacemakerError as error:
            return [f"the promotion score of {self._node} is still raised ({error})"]
        return []

    def _outcome(self, result: str, primary: str, says: str, left: Sequence[str]) -> Outcome:
        gap, note = self._probes.gap(self._begin)
        return Outcome(result, primary, says, tuple(left), tuple(self._steps.values()), gap, note)

    # -- looking and telling ------------------------------------------------------------------------------------

    def _status_now(self) -> Status | None:
        try:
            return read(gather(self._run, GLANCE))
        except HafailoverError:
            return None

    def _note(self, seen: Glance) -> None:
        """What Pacemaker shows; coarser in time than the probes, so only what they did not see first."""
        now = time.monotonic()
        if seen.roles and self._old not in seen.promoted and seen.pending.get(self._old) != "demoting":
            self._step("demoted", now, f"{self._old} is no longer primary")
        if self._old in seen.lost:
            self._step("lost", now, f"{self._old} has left the cluster or is being fenced")
        if seen.promoted == (self._node,):
            self._step("promoted", now, f"{self._node} is primary")
            if seen.addresses and all(where == self._node for where in seen.addresses.values()):
                self._step("address", now, f"{', '.join(seen.addresses)} is up on {self._node}")

    def _note_killed(self) -> None:
        """The old primary's agent publishes why it could not close its server and had to kill it."""
        try:
            said = self._pacemaker.published(f"hafailover-{self._service.name}-killed").get(self._old, "")
        except PacemakerError:
            return  # the outcome is what counts, and is found out elsewhere
        epoch, _, why = said.partition(":")
        if epoch == str(self._service.journal.epoch):
            self._step("killed", time.monotonic(), f"{self._old} was killed instead of closed: {why}")

    def _note_probes(self) -> None:
        for name, at, says in self._probes.events(self._begin, self._old, self._node):
            self._step(name, at, says)

    def _step(self, name: str, at: float, says: str) -> None:
        if name in self._steps:
            return
        after = at - self._begin
        step = self._steps[name] = Step(name, self._begin_unix + after, after, says)
        self._last_said = time.monotonic()
        self._tell(step)

    def _explain_wait(self, seen: Glance) -> None:
        doing = ", ".join(f"{what} on {node}" for node, what in seen.pending.items())
        self._say(f"waiting: {doing or 'Pacemaker has not begun yet'}")

    def _say(self, text: str) -> None:
        if time.monotonic() - self._last_said >= _SAY_EVERY:
            self._last_said = time.monotonic()
            self._wait(text)
