"""The state of fencing, as part of the status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hafailover.crm.status_xml import TRUE


class FenceDevice(NamedTuple):
    """A fencing device; ``targets`` is empty when it may fence every node.

    checked: how its last check ended ("" when none is known): ``ok``, or why it failed. since: Unix time since when its checks end so.
    wanted: False when somebody switched it off (target-role): then Pacemaker does not use it at all. blocked: Pacemaker has given up on it.
    """

    id: str
    agent: str
    node: str
    running: bool
    failed: bool
    targets: tuple[str, ...]
    checked: str = ""
    since: float | None = None
    wanted: bool = True
    blocked: bool = False


class FenceEvent(NamedTuple):
    """One entry of the fencing history. ``status`` is success, failed or pending; ``at`` is Unix time in seconds, if known."""

    target: str
    action: str
    status: str
    at: float | None
    by: str
    reason: str


class Fencing(NamedTuple):
    """Whether fencing is enabled, with what, and what was fenced, newest first.

    watchdog: a lost node is known to reset itself (SBD), so no device need cover it.
    """

    enabled: bool
    devices: tuple[FenceDevice, ...]
    events: tuple[FenceEvent, ...]
    watchdog: bool = False

    def covering(self, node: str) -> tuple[FenceDevice, ...]:
        """The devices that may be used to fence ``node``."""
        named = node.lower()  # Pacemaker's fencer makes no difference of case
        return tuple(
            one for one in self.devices if one.wanted and (not one.targets or named in map(str.lower, one.targets))
        )


def watchdog(properties: Mapping[str, str]) -> bool:
    """Whether Pacemaker counts on SBD's watchdog by the cluster's properties: -1 is twice the watchdog's own timeout, and 0 is never."""
    timeout = properties.get("stonith-watchdog-timeout", "0").strip()
    return properties.get("have-watchdog", "").lower() in TRUE and bool(timeout.strip("0smin "))
