"""Run by Pacemaker, as the user hacluster, for everything that happens: it is handed in for the history.

Many run at once, and the cluster waits for none of them. What the variables say is data: it is passed on as it is, and cleaned where it is
stored.
"""

from __future__ import annotations

import os

from hafailover.agents import inbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "CRM_alert_"
_KINDS = ("node", "fencing", "resource")
_FACTS = {
    "node": ("node", "nodeid", "desc"),
    "fencing": ("node", "task", "rc", "desc"),
    "resource": ("node", "rsc", "task", "interval", "rc", "target_rc", "status", "desc", "exec_time"),
}
_QUIET = ("notify", "meta-data")
_CANCELLED = "1"  # a recurring look that ends repeats what it said last, also where that was a failure


def fields(environ: Mapping[str, str]) -> dict[str, str] | None:
    """What an alert's environment tells; None when it is nothing for the history."""
    kind = environ.get(_PREFIX + "kind", "")
    if kind not in _KINDS:
        return None
    found = {name: environ.get(_PREFIX + name, "") for name in _FACTS[kind]}
    if kind == "resource":
        as_expected = found["rc"] == found["target_rc"]
        if found["task"] in _QUIET or found["status"] == _CANCELLED or (found["task"] == "monitor" and as_expected):
            return None
    return {"kind": kind, **found, "happened": _happened(environ)}


def _happened(environ: Mapping[str, str]) -> str:
    """When Pacemaker saw it, in microseconds of Unix time; "" when it does not say."""
    seconds, micro = environ.get(_PREFIX + "timestamp_epoch", ""), environ.get(_PREFIX + "timestamp_usec", "")
    if not (seconds.isdecimal() and len(seconds) <= 12):
        return ""
    return seconds + (micro.zfill(6) if micro.isdecimal() and len(micro) <= 6 else "000000")


def main() -> None:
    """Entry point: everything comes in the environment."""
    told = fields(os.environ)
    if told and not inbox.put(told):
        from hafailover.agents import journal

        what = f"{told['kind']} {told.get('rsc', '')} {told.get('task', '')} on {told['node']}"
        journal.send(
            "warning",
            "hafailover-history",
            f"not recorded, the inbox is missing, full, or closed to hacluster: {what!r}",
        )
