"""Bring resources to a node by preferences that expire, watch them go, and bring them back when they do not get there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hafailover.crm.errors import HafailoverError
from hafailover.crm.stack import Mover
from hafailover.crm.stack_preferences import Preferences
from hafailover.crm.stack_watch import Failed, Seen, look

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run

_LOOK_EVERY = 0.5  # seconds
_SAY_EVERY = 5.0
_CALM = 3  # looks in a row that show the same end: the first may come before Pacemaker's next step
_SETTLES = 15.0  # seconds for what moves back by itself once nothing holds it
_SILENCE = 30.0  # seconds without an answer after which nothing more is to be seen from this node
SILENT = "this node's cluster does not answer"


class CalledOff(Exception):
    """It will not come about; the message says why."""


class Moving:
    """Movers on their way. ``tell`` gets what happened (name, sentence), ``wait`` a sentence during long waits."""

    def __init__(
        self, run: Run, movers: Sequence[Mover], tell: Callable[[str, str], None], wait: Callable[[str], None]
    ) -> None:
        self._run, self._movers, self._tell, self._wait = run, tuple(movers), tell, wait
        self._names = frozenset(name for mover in movers for name in mover.primitives)
        first = look(run)
        if first is None:
            # What has failed before would be taken for what fails on the way.
            raise CalledOff(SILENT)
        self._known: frozenset[Failed] = first.failures
        self._last_said = time.monotonic()

    def failures(self, seen: Seen | None) -> list[Failed]:
        """What of them has failed since the beginning."""
        return sorted(
            one for one in (seen.failures if seen else ()) if one not in self._known and one.resource in self._names
        )

    def arrive(self, node: str, deadline: float) -> Seen:
        """Wait until all are on ``node``; CalledOff when that will not be."""
        arrived: set[str] = set()
        calm, heard = 0, time.monotonic()
        while True:
            seen = look(self._run)
            if seen:
                heard = time.monotonic()
                for mover in self._movers:
                    if mover.id not in arrived and seen.place(mover) == node:
                        arrived.add(mover.id)
                        self._say_step(f"moved {mover.id}", f"{mover.words} is on {node}")
                there = all(seen.place(mover) == node for mover in self._movers)
                calm = calm + 1 if there else 0
                if calm == _CALM:
                    return seen
                self._check_hope(seen, node)
            self._explain(seen, node)
            if time.monotonic() - heard > _SILENCE:
                raise CalledOff(f"{SILENT} any more")
            if time.monotonic() > deadline:
                raise CalledOff(f"it took too long{self._what_is_left(seen, node)}")
            time.sleep(_LOOK_EVERY)

    def stay(self, node: str) -> None:
        """Watch for a moment whether they stay on ``node`` now that no preference is left; CalledOff when not."""
        end = time.monotonic() + _SETTLES
        calm = 0
        while calm < _CALM:
            seen = look(self._run)
            calm = calm + 1 if seen and all(seen.place(mover) == node for mover in self._movers) else 0
            if seen:
                self._check_hope(seen, node)
            if time.monotonic() > end:
                raise CalledOff(f"it did not stay there without a preference{self._what_is_left(seen, node)}")
            time.sleep(_LOOK_EVERY)

    def back(self, origins: Mapping[str, str], deadline: float, hurry: Callable[[], bool]) -> None:
        """Wait until each is where it was (mover → node) and stays. Nobody waits for a node that is lost, for a cluster
        that is silent, or when ``hurry`` says so."""
        calm, heard = 0, time.monotonic()
        while calm < _CALM and time.monotonic() < deadline and not hurry():
            now = look(self._run)
            if now:
                heard = time.monotonic()
            elif time.monotonic() - heard > _SILENCE:
                break
            away = self.away(now, origins) if now else []
            calm = calm + 1 if now and all(origins.get(mover.id) in now.lost for mover in away) else 0
            self._explain(now, "")
            time.sleep(_LOOK_EVERY)

    def away(self, seen: Seen, origins: Mapping[str, str]) -> list[Mover]:
        """Those that are not where they were."""
        return [mover for mover in self._movers if seen.place(mover) != origins.get(mover.id)]

    def _check_hope(self, seen: Seen, node: str) -> None:
        if node in seen.lost:
            raise CalledOff(f"{node} left the cluster")
        if node in seen.barred:
            raise CalledOff(f"{node} {seen.barred[node]} now")
        failed = self.failures(seen)
        if failed:
            raise CalledOff(failed[0].words)

    def _what_is_left(self, seen: Seen | None, node: str) -> str:
        if seen is None:
            return f", and {SILENT} right now"
        left = [mover.words for mover in self._movers if seen.place(mover) != node]
        doing = seen.doing(self._movers)
        if not doing and len(left) == len(self._movers):
            # The coordinator's clock decides when a preference ends.
            doing = "none of it was begun: a clock that is wrong on a node can be the reason, hafailover doctor compares them"
        return (
            f": {', '.join(left)} {'is' if len(left) == 1 else 'are'} not on {node}{f' ({doing})' if doing else ''}"
            if left
            else ""
        )

    def _explain(self, seen: Seen | None, node: str) -> None:
        if time.monotonic() - self._last_said < _SAY_EVERY:
            return
        self._last_said = time.monotonic()
        if seen is None:
            self._wait(f"waiting: {SILENT}")
            return
        left = [mover.id for mover in self._movers if node and seen.place(mover) != node]
        self._wait(
            f"waiting: {seen.doing(self._movers) or (', '.join(left) + ' left' if left else 'the cluster settles')}"
        )

    def _say_step(self, name: str, says: str) -> None:
        self._last_said = time.monotonic()
        self._tell(name, says)


def remove(preferences: Preferences, tries: int = 3) -> list[str]:
    """Take the preferences back; what could not be done, in sentences."""
    for attempt in range(tries):
        try:
            preferences.remove()
        except HafailoverError as error:
            left = [
                f"the preferences could not be removed ({error}); they end by themselves: crm_resource --clear --expired"
            ]
            if attempt < tries - 1:
                time.sleep(1.0)
        else:
            return []
    return left
