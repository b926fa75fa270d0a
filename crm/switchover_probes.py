"""The probes of one switchover, and what they saw: exact times of its steps, and for how long writers were shut out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from hafailover.crm.probe import Probe, both_writable, longest_gap


class Probes:
    """The probes of one switchover: the old and the new server directly, and the addresses that move. None of them when ``unasked``."""

    def __init__(self, old: Probe | None, new: Probe | None, addresses: Sequence[Probe], unasked: str = "") -> None:
        self._old, self._new, self._addresses = old, new, tuple(addresses)
        self._unasked = unasked

    def _all(self) -> list[Probe]:
        return [probe for probe in (self._old, self._new, *self._addresses) if probe]

    def start(self) -> None:
        """Start them all; returns when each has answered once, or after two seconds."""
        for probe in self._all():
            probe.start()
        end = time.monotonic() + 2.0
        for probe in self._all():
            probe.wait_ready(max(0.0, end - time.monotonic()))

    def stop(self) -> None:
        """Stop them all."""
        for probe in self._all():
            probe.stop()

    @property
    def watch(self) -> bool:
        """Whether any of them can see how the switchover ends."""
        return bool(self._new or self._addresses)

    def served(self, begin: float) -> bool:
        """Whether what clients use has come back on the new server since ``begin``."""
        opened = self._new.writable_after(begin) if self._new else None
        if opened is None:
            return False
        return all(probe.writable_after(opened) is not None for probe in self._addresses)

    def events(self, begin: float, old: str, new: str) -> Iterator[tuple[str, float, str]]:
        """(name, time, sentence) of what the probes saw since ``begin``, in order."""
        if self._old and (closed := self._old.closed_after(begin)) is not None:
            yield "demoted", closed, f"{old} accepts no more writes"
        if self._new and (opened := self._new.writable_after(begin)) is not None:
            yield "promoted", opened, f"{new} accepts writes"
            back = [probe.writable_after(opened) for probe in self._addresses]
            if back and all(at is not None for at in back):
                hosts = ", ".join(probe.host for probe in self._addresses)
                yield "address", max(at for at in back if at is not None), f"{hosts} answers and accepts writes"

    def gap(self, begin: float) -> tuple[float | None, str]:
        """The measured write gap in seconds, or None and why there is none."""
        if self._unasked:
            return None, f"not measured: {self._unasked}"
        watched = [[probe] for probe in self._addresses] or [[probe for probe in (self._old, self._new) if probe]]
        found = [longest_gap(probes, begin, time.monotonic()) for probes in watched]
        bad = next((note for gap, note in found if gap is None), "")
        if bad or not begin:
            return None, f"not measured: {bad or 'nothing was asked for'}"
        return max(gap for gap, _ in found if gap is not None), ""

    def two_writers(self, begin: float) -> bool:
        """Whether both servers accepted writes at the same time."""
        return bool(self._old and self._new and both_writable(self._old, self._new, begin))
