"""The delivery to one recipient: its queue in order, one event at a time, each until it is delivered or given up."""

from __future__ import annotations

import bisect
import os
import random
import threading
import time
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING, Callable

from hafailover.hooks.alerts import peers, sending
from hafailover.hooks.alerts.event import Event, order
from hafailover.hooks.alerts.sending import Failed, Refused, Sender

if TYPE_CHECKING:
    from hafailover.hooks.alerts.config import Config, Recipient
    from hafailover.hooks.alerts.peers import Peers
    from hafailover.hooks.alerts.spool import Spool

_SLOWEST = 60.0  # seconds between two attempts, at most
_REFUSALS = 3  # attempts after which an event that nobody will ever take is given up
_DOUBLED = 5  # times that this number doubles while one event after the other is refused: then it is hardly the events
_TICK = 1.0
_KEEP_EVERY = 1.0  # seconds between two writings of how it stands
_LOOK_AT_HELD = 2.0
_STEP = 60.0  # seconds by which a clock that was wrong is set at once

Log = Callable[[str, str], None]
"""Level and sentence."""


class Worker:
    """Delivers to ``recipient`` in a thread of its own, until ``stop``."""

    def __init__(self, spool: Spool, config: Config, recipient: Recipient, others: Peers, log: Log) -> None:
        self.recipient = recipient
        self._spool, self._config, self._peers, self._log = spool, config, others, log
        self._sender: Sender | None = None
        self._name = recipient.name
        self._pending = spool.queued(self._name)
        self._held: dict[str, Event] = {}  # other nodes deliver these, as far as is known
        self._state = spool.state(self._name)
        self._kept = 0.0
        self._unkept = ""
        self._clock = time.time() - time.monotonic()
        self._steps: list[tuple[float, float]] = []  # the clock was set on at this time, by so many seconds
        self._looked = 0.0
        self._again = 0.0  # monotonic
        self._refusals = ("", 0)  # how often the event of this name was refused
        self._given_up = 0  # events since the last delivery
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Let the attempt that is under way come to its end, for at most ``seconds``."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(seconds)

    def add(self, names: Iterable[str]) -> None:
        """Events that were hung into the queue; the oldest go when there are too many."""
        with self._changed:
            for name in names:
                if not self._pending or order(name) >= order(self._pending[-1]):
                    self._pending.append(name)
                else:
                    _insert(self._pending, name)
            self._changed.notify()
        self._make_room()

    def dropped(self, number: int) -> None:
        """Events that were dropped before they came here."""
        with self._changed:
            self._state.dropped += number
            self._state.untold += number

    def retry(self) -> None:
        """Try now."""
        with self._changed:
            self._again = 0.0
            self._changed.notify()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to deliver and nothing to wait for."""
        with self._changed:
            return not self._pending and not self._held

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    break
                wait = max(0.0, self._again - time.monotonic()) if self._pending else _TICK
                if wait > 0:
                    self._changed.wait(min(wait, _TICK))
                if self._stopping:
                    break
            try:
                self._turn()
            except Exception as error:  # whatever nobody thought of must end neither this delivery nor the others
                self._trouble(error)
        self._peers.publish(self._holding(), now=True)
        self._save(now=True)
        if self._sender is not None:
            self._sender.close()

    def _trouble(self, error: Exception) -> None:
        self._again = time.monotonic() + _TICK
        what = _fault(error)
        self._log("error", f"{self._name}: {what}")
        self._fail(what, 0.0)

    def _turn(self) -> None:
        self._look_at_held()
        name = self._head()
        self._peers.publish(self._holding(), now=name is None)
        if name is None or time.monotonic() < self._again:
            self._save(now=name is None)
            return
        if self._spool.in_inbox(name):
            time.sleep(0.05)  # it is just being hung into the queues
            return
        event = self._spool.read(self._name, name)
        if event is None:
            self._remove(name)
            return
        if self._age(event) > self.recipient.keep_for:
            self._drop(name, event, "it is too old")
            return
        if event.shared:
            found = self._peers.verdict(event)
            if found == peers.SETTLED:
                self._remove(name)
                return
            if found == peers.WAIT:
                with self._changed:
                    self._held[name] = event
                    self._pending.remove(name)
                return
        self._deliver(name, event)

    def _age(self, event: Event) -> float:
        """For how many seconds ``event`` has been there, also where the clock was wrong when it came, and was set since."""
        now, clock = time.time(), time.time() - time.monotonic()
        if clock - self._clock > _STEP:
            self._steps = [*self._steps[-9:], (self._clock + time.monotonic(), clock - self._clock)]
        self._clock = clock
        return now - event.at - sum(by for when, by in self._steps if event.at <= when)

    def _deliver(self, name: str, event: Event) -> None:
        told = event.told(self._config.cluster, self._config.node, self._state.untold)
        if self._sender is None:
            self._sender = sending.sender(self.recipient)  # what is wrong with that is no event's fault
        try:
            self._sender.send(told)
        except Failed as error:
            self._fail(str(error), error.pause)
            return
        except Refused as error:
            self._refused(name, event, f"it is refused: {error}")
            return
        except Exception as error:  # one event that nobody thought of must not hold up all others
            self._refused(name, event, _fault(error))
            return
        self._remove(name)
        state = self._state
        if state.failing_since:
            self._log("notice", f"{self._name}: delivers again after {state.attempts} attempts")
        state.delivered += 1
        with self._changed:
            state.untold -= told["dropped"]
        state.failing_since, state.attempts, state.error, state.next_try = 0.0, 0, "", 0.0
        state.last_delivery, state.last_id = time.time(), told["id"]
        self._again, self._refusals, self._given_up = 0.0, ("", 0), 0
        if event.shared:
            self._peers.settled(event)
        self._save()

    def _refused(self, name: str, event: Event, why: str) -> None:
        number = self._refusals[1] + 1 if self._refusals[0] == name else 1
        self._refusals = (name, number)
        if number < _REFUSALS << min(self._given_up, _DOUBLED):
            self._fail(why, 0.0)
            return
        self._state.refused += 1
        self._given_up += 1
        self._drop(name, event, why)

    def _fail(self, why: str, pause: float) -> None:
        state = self._state
        if not state.failing_since:
            state.failing_since = time.time()
        if why != state.error:
            self._log("warning", f"{self._name}: {why}")
        state.attempts += 1
        state.error = why
        # Not all nodes at the same moment.
        delay = pause or min(_SLOWEST, 2.0 ** min(state.attempts - 1, 10)) * random.uniform(0.5, 1.0)  # noqa: S311
        state.next_try = time.time() + delay
        with self._changed:
            self._again = time.monotonic() + delay
        self._save(now=True)

    def _drop(self, name: str, event: Event, why: str) -> None:
        self._log("warning", f"{self._name}: dropped, because {why}: {event.summary()}")
        with self._changed:
            self._state.dropped += 1
            self._state.untold += 1
        self._again = 0.0
        self._remove(name)
        if event.shared:
            self._peers.settled(event)
        self._save(now=True)

    def _make_room(self) -> None:
        with self._changed:
            surplus = max(0, len(self._pending) + len(self._held) - self.recipient.keep)
            # The first may be on its way just now. Those that wait for another node make room like the others: it has them too.
            held = self._held if surplus else {}
            gone = sorted([*held, *self._pending[1 : surplus + 1]], key=order)[:surplus]
            of_others = [name for name in gone if name in held]
            for name in of_others:
                del self._held[name]
            del self._pending[1 : 1 + len(gone) - len(of_others)]
            self._state.dropped += len(gone)
            self._state.untold += len(gone)
        for name in gone:
            self._spool.done(self._name, name)

    def _look_at_held(self) -> None:
        """What other nodes were to deliver: settled by now, or is it our turn?"""
        if not self._held or time.monotonic() - self._looked < _LOOK_AT_HELD:
            return
        self._looked = time.monotonic()
        with self._changed:
            held = list(self._held.items())
        for name, event in sorted(held, key=lambda item: order(item[0])):
            found = self._peers.verdict(event)
            if found == peers.WAIT:
                continue
            with self._changed:
                if self._held.pop(name, None) is None:
                    continue  # it had to make room
            if found == peers.SETTLED:
                self._spool.done(self._name, name)
            else:
                self.add([name])

    def _head(self) -> str | None:
        with self._changed:
            return self._pending[0] if self._pending else None

    def _holding(self) -> float:
        """When the oldest event was that this node has to deliver, as others are to know it; 0 for none."""
        name = self._head()
        seconds = order(name)[0] if name else 0
        return float(seconds)

    def _remove(self, name: str) -> None:
        self._spool.done(self._name, name)
        with self._changed:
            if self._pending[:1] == [name]:
                del self._pending[0]
            elif name in self._pending:
                self._pending.remove(name)

    def _save(self, now: bool = False) -> None:
        if now or time.monotonic() - self._kept > _KEEP_EVERY:
            self._kept = time.monotonic()
            try:
                self._spool.keep(self._name, self._state)
            except OSError as error:
                # A full disk: status tells what was, and the delivery goes on.
                if self._unkept != error.strerror:
                    self._log(
                        "warning", f"{self._name}: how the delivery stands cannot be written down: {error.strerror}"
                    )
                self._unkept = error.strerror or ""
            else:
                self._unkept = ""


def _fault(error: Exception) -> str:
    """An error that nobody thought of, and where it was raised. Its words may hold what was sent, a token too."""
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error.strerror or 'no reason is known'}"
    where = traceback.extract_tb(error.__traceback__)[-1:]
    return type(error).__name__ + "".join(f" in {os.path.basename(one.filename)}, line {one.lineno}" for one in where)


def _insert(names: list[str], name: str) -> None:
    names.insert(bisect.bisect([order(one) for one in names], order(name)), name)
