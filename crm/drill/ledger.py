"""The account of every write that was tried, kept outside the cluster, and what it says about time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from typing import IO, NamedTuple

ACKNOWLEDGED, REFUSED, UNKNOWN = "acknowledged", "refused", "unknown"
CLIENT = "client"
"""The name of the writer outside the cluster; the probes inside it are named by their nodes."""


class Attempt(NamedTuple):
    """One statement of one writer. Times are Unix seconds; ``server`` is the server_id that was asked, if it is
    known; ``code`` and ``error`` are the server's or the client library's."""

    writer: str
    seq: int
    start: float
    end: float
    outcome: str
    server: int | None
    code: int | None
    error: str | None


class Ledger:
    """Takes the writers' lines as they come and knows at any moment what was tried and what was acknowledged.

    Safe to use from several threads. ``copy``, if given, receives every line with its writer's name, so that the
    evidence survives the drill.
    """

    def __init__(self, copy: IO[str] | None = None) -> None:
        self._lock = threading.Lock()
        self._copy = copy
        self._incomplete = ""
        self._begun: dict[tuple[str, int], float] = {}
        self._ended: list[Attempt] = []
        self._last: dict[str, Attempt] = {}

    def record(self, writer: str, line: str) -> Attempt | None:
        """Enter one line of a writer; returns the attempt if the line ended one.

        Raises ValueError for a line that is not a writer's (the writer is broken, and so is the drill).
        """
        data = json.loads(line)
        with self._lock:
            self._write(json.dumps({"writer": writer, **data}) + "\n")
            if "begin" in data:
                self._begun[(writer, int(data["seq"]))] = float(data["begin"])
                return None
            attempt = Attempt(
                writer,
                int(data["seq"]),
                self._begun.pop((writer, int(data["seq"])), float(data["end"])),
                float(data["end"]),
                data["outcome"],
                data["server"],
                data["code"],
                data["error"],
            )
            self._ended.append(attempt)
            last = self._last.get(writer)
            if attempt.outcome == ACKNOWLEDGED and (last is None or attempt.end > last.end):
                self._last[writer] = attempt
            return attempt

    def close(self) -> str:
        """Nothing is entered any more; why the copy is not complete, or ""."""
        with self._lock:
            if self._copy is not None:
                try:
                    self._copy.close()
                except OSError as error:
                    self._incomplete = self._incomplete or str(error.strerror)
                self._copy = None
            return self._incomplete

    def _write(self, line: str) -> None:
        if self._copy is not None and not self._incomplete:
            try:
                self._copy.write(line)
            except OSError as error:  # the account goes on without it
                self._incomplete = str(error.strerror)

    def attempts(self) -> list[Attempt]:
        """Every attempt so far. One whose writer never told its end is UNKNOWN, and ends at infinity."""
        with self._lock:
            lost_sight_of = [
                Attempt(writer, seq, begin, float("inf"), UNKNOWN, None, None, "the writer was killed")
                for (writer, seq), begin in self._begun.items()
            ]
            return self._ended + lost_sight_of

    def last_acknowledged(self, writer: str) -> Attempt | None:
        """Return the latest attempt that was acknowledged to ``writer``."""
        with self._lock:
            return self._last.get(writer)

    def next_seq(self, writer: str) -> int:
        """Return the first sequence number that ``writer`` has not used yet."""
        with self._lock:
            used = [seq for name, seq in self._begun if name == writer]
            used += [attempt.seq for attempt in self._ended if attempt.writer == writer]
            return max(used, default=0) + 1


def acknowledgements(attempts: Iterable[Attempt], writer: str = CLIENT) -> list[Attempt]:
    """Return what was acknowledged to ``writer``, in the order of the acknowledgements."""
    mine = (attempt for attempt in attempts if attempt.writer == writer and attempt.outcome == ACKNOWLEDGED)
    return sorted(mine, key=lambda attempt: attempt.end)


class Gaps(NamedTuple):
    """Silences between consecutive acknowledgements, in seconds; None where nothing was acknowledged.

    ``baseline``: the longest before the fault (the machine's own jitter). ``fault``: the longest that ends after
    the fault and not later than ``SETTLE`` seconds after service returned. ``later``: the longest after that
    (a returning replica may stall its primary). ``first_write``: from the fault to the first acknowledgement by
    the server that is primary afterwards. ``begun``: when the silence called ``fault`` began, in seconds from the fault.
    """

    baseline: float | None
    fault: float | None
    later: float | None
    first_write: float | None
    begun: float | None = None


SETTLE = 2.0


def gaps(acknowledged: Sequence[Attempt], fault: float, new_server: int | None, until: float | None = None) -> Gaps:
    """Measure the client's silences around ``fault`` (Unix seconds).

    ``acknowledged`` comes from :func:`acknowledgements`; ``new_server`` is the server_id of the primary after the
    fault. If that is the server that was primary before it, the first write is the one that ends the longest gap. ``until``: when the
    client last tried (:func:`last_try`): that it was silent from its last acknowledgement on is a silence as well.
    """
    times = [attempt.end for attempt in acknowledged]
    if not times or times[0] > fault:
        times.insert(0, fault)  # nothing was acknowledged before it, so the silence begins here
    if until is not None and until > times[-1]:
        times.append(until)
    steps = list(zip(times, times[1:]))
    baseline = max((after - before for before, after in steps if after <= fault), default=None)
    returned = _service_returned(acknowledged, fault, new_server)
    if returned is None:
        return Gaps(baseline, None, None, None)
    around = [(after - before, before - fault) for before, after in steps if fault < after <= returned + SETTLE]
    later = max((after - before for before, after in steps if after > returned + SETTLE), default=None)
    longest, begun = max(around)
    return Gaps(baseline, longest, later, returned - fault, begun)


def last_try(attempts: Iterable[Attempt], writer: str = CLIENT) -> float | None:
    """When ``writer`` last began an attempt, whatever became of it."""
    return max((attempt.start for attempt in attempts if attempt.writer == writer), default=None)


def _service_returned(acknowledged: Sequence[Attempt], fault: float, new_server: int | None) -> float | None:
    before = [attempt.server for attempt in acknowledged if attempt.end <= fault]
    after = [attempt for attempt in acknowledged if attempt.end > fault and attempt.server == new_server]
    if not after:
        return None
    if not before or before[-1] != new_server:
        return after[0].end
    previous = [fault] + [attempt.end for attempt in after]
    return max(zip(previous[1:], previous), key=lambda step: step[0] - step[1])[0]
