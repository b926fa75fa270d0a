"""Bring a whole stack to a node, and back again when any part of it does not get there: one outcome for all of it.

What can be moved without a write gap goes first, the databases last. A start that fails, a package that is missing, a disk that is not
there: no check sees these before they are tried, so they are tried while the database still serves where it was, and going back costs
no writer anything. The database's own switchover is the one step whose checks know nearly everything beforehand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hafailover.crm import corosync_conf, stack_addresses, switchover_case, switchover_facts
from hafailover.crm.errors import HafailoverError
from hafailover.crm.local import Interrupts
from hafailover.crm.pacemaker import Pacemaker, PacemakerError
from hafailover.crm.promotion_run import PlannedHooks
from hafailover.crm.stack import Mover
from hafailover.crm.stack_checks import Plan
from hafailover.crm.stack_move import SILENT, CalledOff, Moving, remove
from hafailover.crm.stack_outcome import StackOutcome, Switched
from hafailover.crm.stack_preferences import Preferences
from hafailover.crm.stack_watch import Seen, look
from hafailover.crm.status import Service, Status
from hafailover.crm.status_facts import GLANCE, gather, gather_idle
from hafailover.crm.status_read import read
from hafailover.crm.switchover import refused
from hafailover.crm.switchover_run import Outcome, Step, Switchover

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run

GRACE = 60.0
"""Seconds, at least, in which what has moved may go back."""
_FOLLOWS = 30.0  # seconds for what goes with a database's primary, beside its address
_HOPELESS = 15.0  # seconds for what goes back although nobody could ask for it
_ANSWERS = 10.0  # seconds for a cluster that is silent for a moment
_LOOK_EVERY = 0.5


class _Halted(Exception):
    """A part is neither here nor there: nothing more is moved, in any direction, before somebody has looked."""


class StackRun:
    """One move of what is planned. ``tell`` gets each step as it happens, ``wait`` a sentence during long waits, ``say`` any other one."""

    def __init__(
        self,
        run: Run,
        status: Status,
        plan: Plan,
        accept: frozenset[str],
        old_words: bool,
        old: Sequence[str],
        tell: Callable[[Step], None],
        wait: Callable[[str], None],
        say: Callable[[str], None],
    ) -> None:
        self._run, self._status, self._plan, self._accept = run, status, plan, accept
        self._old_words, self._old = old_words, tuple(old)
        self._tell, self._wait, self._say = tell, wait, say
        self._node = plan.node
        self._steps: list[Step] = []
        self._databases: list[Switched] = []
        self._begun: dict[str, str] = {}  # database → its primary before, from the moment at which its role may move
        self._primaries: dict[str, str] = {}
        self._arrived = False
        self._left: list[str] = []
        self._interrupts = Interrupts()
        self._preferences: Preferences | None = None
        self._moving: Moving | None = None
        self._begin = time.monotonic()
        self._began = time.time()
        self._patience = GRACE

    def perform(self, timeout: float, database_timeout: float) -> StackOutcome:
        """Do it: ``timeout`` seconds for what is moved by preferences, ``database_timeout`` for each database."""
        self._begin, self._began = time.monotonic(), time.time()
        self._patience = max(GRACE, timeout)
        with self._interrupts:
            try:
                return self._there_and_back(timeout, database_timeout)
            except BaseException:
                self._interrupts.hold()
                self._tidy()
                raise

    def _there_and_back(self, timeout: float, database_timeout: float) -> StackOutcome:
        try:
            self._move(timeout)
            services = list(self._plan.services)
            for clone in services:
                self._switch(clone, database_timeout, last=clone == services[-1])
            return self._finish()
        except _Halted as halted:
            self._interrupts.hold()
            return self._halted(str(halted))
        except KeyboardInterrupt:
            reason = "interrupted"
        except (CalledOff, HafailoverError, PacemakerError, OSError) as error:
            reason = str(error)
        self._interrupts.hold()
        if self._arrived:
            # Going back now would close the database a second time, for nothing.
            self._left.append(f"{reason} when all of it had arrived, so nothing was taken back: hafailover status")
            return self._finish()
        return self._call_off(reason, database_timeout)

    # -- what is not a database ---------------------------------------------------------------------------------

    def _move(self, timeout: float) -> None:
        if not self._plan.moves:
            return
        if not Pacemaker(self._run, timeout=10).quorate():
            raise CalledOff("this partition has no quorum any more")
        self._moving = Moving(self._run, self._plan.moving, self._step, self._wait)
        self._preferences = Preferences(self._run, timeout + GRACE, self._old_words)
        names = ", ".join(mover.words for mover in self._plan.moving)
        self._step("requested", f"asked Pacemaker to bring {names} to {self._node}")
        self._preferences.make(dict.fromkeys(self._plan.moves, self._node), self._old)
        self._moving.arrive(self._node, time.monotonic() + timeout)
        remove(self._preferences)  # what could not be removed is tried again, and told, at the end
        self._moving.stay(self._node)
        self._arrived = not self._plan.services
        self._look_at_addresses([mover.id for mover in self._plan.moving])

    def _look_at_addresses(self, names: Sequence[str]) -> None:
        try:
            links = {one.name: tuple(one.links.values()) for one in corosync_conf.read().nodes}
        except HafailoverError:
            links = {}  # then only this node's own interfaces are looked at
        for address in self._status.addresses:
            if address.id not in names or not address.ip:
                continue
            try:
                why = stack_addresses.misplaced(self._run, address.ip, self._node, self._status.seen_by, links)
            except (HafailoverError, OSError, ValueError) as error:
                # Pacemaker has it there; that nobody could look is no reason to move it all back.
                why = f"whether {address.ip} is on {self._node} could not be seen ({error})"
            if why:
                self._left.append(f"{why}: see on both nodes who has it (ip address)")
            else:
                self._step(f"seen {address.id}", f"{address.ip} ({address.id}) is nowhere but on {self._node}")

    # -- databases ----------------------------------------------------------------------------------------------

    def _switch(self, clone: str, timeout: float, last: bool) -> None:
        name = self._plan.services[clone].name
        case = switchover_case.when_ready(
            lambda: self._case(name, self._node), self._wait, lambda: bool(self._interrupts.came), self._patience
        )
        if case.done:
            self._arrived = last
            return
        against = refused(case.checks)
        if against:
            raise CalledOff(f"{name} cannot be switched over any more: {'; '.join(check.says for check in against)}")
        hooks = self._hooks(case, self._node)
        failed = hooks.before()
        if failed:
            raise CalledOff(f"{name} is not switched over: {'; '.join(failed)}")
        self._begun[name] = case.service.primary or ""
        outcome = self._perform(case, self._node, timeout)
        self._databases.append(Switched(name, self._begun[name], outcome))
        self._arrived = last and outcome.primary == self._node
        outcome = hooks.after(outcome)
        self._databases[-1] = self._databases[-1]._replace(outcome=outcome)
        if outcome.result == "rolled back":
            raise CalledOff(outcome.says)
        self._left += outcome.left_to_do
        if outcome.primary != self._node:
            raise _Halted(outcome.says)
        led = self._plan.stack.with_root(clone)
        if led:
            self._await_led(name, led)
        if outcome.result != "done":
            raise _Halted(outcome.says)
        if self._interrupts.came and not last:
            raise CalledOff("interrupted")  # while the hooks were waited for

    def _hooks(self, case: switchover_case.Case, node: str) -> PlannedHooks:
        login, _ = switchover_facts.credentials(case.service)
        return PlannedHooks(self._run, case.status, case.service, node, login, self._say)

    def _case(self, name: str, node: str) -> switchover_case.Case:
        def choose(status: Status) -> Service:
            found = status.service(name)
            if found is None:
                raise CalledOff(f"there is no database {name} any more")
            return found

        # What else has moved with it (--accept elsewhere) may take its time, and costs nobody anything meanwhile.
        facts = gather_idle(self._run, self._wait, self._patience)
        return switchover_case.examine(self._run, facts, node, choose, self._accept)

    def _perform(self, case: switchover_case.Case, node: str, timeout: float) -> Outcome:
        name = case.service.name

        def tell(step: Step) -> None:
            self._add(Step(f"{name} {step.name}", step.at, step.at - self._began, step.says))

        probes = switchover_case.probes(case.status, case.service, node)
        return Switchover(self._run, case.status, case.service, node, probes, tell, self._wait).perform(timeout)

    def _await_led(self, name: str, led: Sequence[Mover]) -> None:
        """What goes with the primary is on its way; most of it are addresses, which are there already."""
        end = time.monotonic() + _FOLLOWS
        while True:
            seen = look(self._run)
            away = [mover.words for mover in led if seen is None or seen.place(mover) != self._node]
            if not away:
                break
            if time.monotonic() > end:
                self._left.append(
                    f"{', '.join(away)} is not with the primary of {name} on {self._node} yet: hafailover status"
                )
                return
            time.sleep(_LOOK_EVERY)
        self._look_at_addresses([mover.id for mover in led])

    # -- when it does not work ----------------------------------------------------------------------------------

    def _call_off(self, reason: str, database_timeout: float) -> StackOutcome:
        """Bring everything back; a further interrupt only ends the waiting for it."""
        self._step("called off", f"called off: {reason}")
        back = {one.name for one in self._databases if one.outcome.primary == one.old}
        for name, old in reversed(self._begun.items()):
            if name not in back:
                self._switch_back(name, old, database_timeout)
        hurried = False
        if self._moving is not None and self._preferences is not None:
            patience = self._patience if self._ask_back(self._preferences) else _HOPELESS
            end, interrupted = time.monotonic() + patience, self._interrupts.came
            self._moving.back(self._plan.places, end, lambda: self._interrupts.came > interrupted)
            hurried = self._interrupts.came > interrupted
        if hurried:
            self._step("interrupted", "not waiting for the outcome any longer")
            seen = self._last_look()
            if self._moving is not None and (seen is None or self._moving.away(seen, self._plan.places)):
                # Half of it here and half of it there is what nobody wants.
                self._left.append(
                    "what is on its way back is brought there by preferences that end, and are removed, by themselves"
                )
                return self._went_back(reason, seen)
        self._tidy()
        return self._went_back(reason, self._last_look())

    def _last_look(self) -> Seen | None:
        """What is so now; an older look says nothing once this node may have been cut off."""
        end = time.monotonic() + _ANSWERS
        while (seen := look(self._run)) is None and time.monotonic() < end:
            time.sleep(_LOOK_EVERY)
        return seen

    def _ask_back(self, preferences: Preferences) -> bool:
        """Prefer for each root the node where it was, in one change; the target's preference goes with it. Whether that was taken."""
        seen = look(self._run)
        origins = {
            mover: origin
            for mover in self._plan.moves
            if (origin := self._plan.places.get(mover.id, "")) and (seen is None or origin not in seen.lost)
        }
        try:
            if origins:
                preferences.make(origins)
                self._step("asked back", "asked Pacemaker to bring everything back to where it was")
        except (HafailoverError, OSError) as error:
            self._left.append(f"going back could not be asked for ({error})")
            return False
        return bool(origins)

    def _switch_back(self, name: str, old: str, timeout: float) -> None:
        stays = f"{name} stays on {self._node}"
        try:
            case = self._case(name, old)
            against = [check.says for check in refused(case.checks)]
            if case.done:
                return
            if against:
                self._left.append(f"{stays}, {old} may not take it back: {'; '.join(against)}")
                return
            hooks = self._hooks(case, old)
            against = hooks.before()
            if against:
                self._left.append(f"{stays}: {'; '.join(against)}")
                return
            self._left += hooks.after(self._perform(case, old, timeout)).left_to_do
        except (CalledOff, HafailoverError, PacemakerError, OSError) as error:
            self._left.append(f"{name} could not be switched back to {old}: {error}")
        except KeyboardInterrupt:
            self._left.append(f"{name} was being switched back to {old} when that was interrupted: hafailover status")

    def _went_back(self, reason: str, seen: Seen | None) -> StackOutcome:
        if self._moving is not None:
            for failed in self._moving.failures(seen):
                self._left.append(
                    f"{failed.words}: mend it, then crm_resource --cleanup -r {failed.resource} -N {failed.node}"
                )
        if seen is None:
            self._left.append("hafailover status on another node")
            says = reason if SILENT in reason else f"{reason}; {SILENT} any more"
            return self._outcome("incomplete", says, {})
        away = self._moving.away(seen, self._plan.places) if self._moving is not None else []
        for mover in away:
            where = seen.place(mover)
            self._left.append(
                f"{mover.words} is {f'on {where}' if where else 'not settled'}, it was on {self._plan.places[mover.id]}: hafailover status"
            )
        roles = self._roles_away()
        self._left += roles
        places = {mover.id: seen.place(mover) for mover in self._plan.stack.movers}
        if away or roles:
            return self._outcome("incomplete", f"not everything is back where it was: {reason}", places)
        begun = self._preferences is not None or self._begun
        says = "everything is back where it was" if begun else "nothing was moved"
        return self._outcome("rolled back", f"{says}: {reason}", places)

    def _roles_away(self) -> list[str]:
        """The databases whose primary is not who it was, whether it was this command that moved the role or not."""
        if not self._plan.services:
            return []
        status = self._status_now()
        if status is None:
            return ["hafailover status: who is primary could not be seen"]
        found = []
        for before in self._plan.services.values():
            service = status.service(before.name)
            if service is None or service.primary != before.primary:
                now = (service.primary if service else "") or "nobody"
                found.append(f"{now} is the primary of {before.name}, it was {before.primary}: hafailover status")
        return found

    def _halted(self, reason: str) -> StackOutcome:
        done = {one.name for one in self._databases}
        self._left += [
            f"{service.name} was not touched: hafailover promote {self._node} --service {service.name}"
            for service in self._plan.services.values()
            if service.name not in done
        ]
        self._tidy()
        return self._outcome("incomplete", reason, self._places(look(self._run)))

    # -- the end ------------------------------------------------------------------------------------------------

    def _finish(self) -> StackOutcome:
        self._tidy()
        seen, status = self._last_look(), self._status_now()
        if seen is None or status is None:
            self._left.append("hafailover status on another node")
            return self._outcome("incomplete", f"{SILENT} any more", {})
        away = []
        for mover in self._plan.stack.movers:
            if (where := seen.place(mover)) != self._node:
                away.append(f"{mover.words} is {f'on {where}' if where else 'not settled'}: hafailover status")
        for clone in self._plan.stack.databases:
            service = status.service(clone)
            if service is not None and service.primary != self._node:
                away.append(f"{service.primary or 'nobody'} is the primary of {service.name}: hafailover status")
        self._left += away
        self._left += [
            f"a constraint appeared meanwhile: {one}"
            for one in status.constraints
            if one not in self._status.constraints
        ]
        if away:
            return self._outcome("incomplete", f"not all of the stack is on {self._node}", self._places(seen))
        self._step("done", f"the whole stack is on {self._node}")
        says = f"the stack is on {self._node}"
        return self._outcome("incomplete" if self._left else "done", says, self._places(seen))

    def _tidy(self) -> None:
        if self._preferences is not None and self._preferences.made:
            self._left += remove(self._preferences)

    def _places(self, seen: Seen | None) -> dict[str, str]:
        return {mover.id: seen.place(mover) for mover in self._plan.stack.movers} if seen else {}

    def _status_now(self) -> Status | None:
        try:
            status = read(gather(self._run, GLANCE))
        except HafailoverError:
            return None
        self._primaries = {one.name: one.primary or "" for one in status.services}
        return status

    def _outcome(self, result: str, says: str, places: Mapping[str, str]) -> StackOutcome:
        left = tuple(dict.fromkeys(self._left))
        return StackOutcome(result, says, left, tuple(self._steps), places, tuple(self._databases), self._primaries)

    # -- telling ------------------------------------------------------------------------------------------------

    def _step(self, name: str, says: str) -> None:
        after = time.monotonic() - self._begin
        self._add(Step(name, self._began + after, after, says))

    def _add(self, step: Step) -> None:
        self._steps.append(step)
        self._tell(step)
