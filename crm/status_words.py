"""Failed actions and failed fencing in plain words, each with what to do about it."""

from __future__ import annotations

import time

from hafailover.agents.mariadb import rejoin_record
from hafailover.crm.status import Failure

_NOT_RUNNING, _FAILED_PROMOTED, _DEGRADED, _DEGRADED_PROMOTED = 7, 9, 190, 191

_BY_CODE = {
    1: "failed",
    2: "was refused by its agent: a parameter is wrong",
    3: "is not something its agent can do",
    4: "failed: its agent may not do that (permissions)",
    5: "failed: something it needs is not installed on this node",
    6: "was refused by its agent: the configuration is wrong",
    _NOT_RUNNING: "failed: it was not running",
    8: "found it promoted when it should not be",
    _FAILED_PROMOTED: "failed while it was promoted",
    _DEGRADED: "works, but degraded",
    _DEGRADED_PROMOTED: "works as primary, but degraded",
}
RUNGS = {
    rejoin_record.GTID: "GTID",
    rejoin_record.TRUNCATED: "GTID, after its unacknowledged tail was removed",
    rejoin_record.CLONE: "a clone",
    rejoin_record.QUARANTINE: "quarantine: its data is kept, and it does not replicate",
}
"""How a server came back, in words."""
_TASKS = {
    "monitor": "the check",
    "start": "starting it",
    "stop": "stopping it",
    "promote": "promoting it",
    "demote": "demoting it",
    "migrate_to": "moving it away",
    "migrate_from": "moving it here",
}


def clock(at: float | None, now: float) -> str:
    """A Unix time as people read it: the time of day if it was within the last 20 hours, else with its date."""
    if at is None or at <= 0:
        return "at an unknown time"
    pattern = "%H:%M:%S" if 0 <= now - at < 72000 else "%Y-%m-%d %H:%M:%S"
    return time.strftime(pattern, time.localtime(at))


def describe(failure: Failure) -> str:
    """What failed, where and how, in one sentence without the agent's own reason."""
    return f"{failure.resource} on {failure.node}: {_what(failure)}"


def _what(failure: Failure) -> str:
    task = _TASKS.get(failure.task, f"{failure.task} of it")
    if failure.status.lower() in ("timed out", "timeout"):
        return f"{task} did not end within its timeout"
    if failure.status.lower() == "not installed":
        return f"{task} failed: its agent is not installed on this node"
    if failure.task == "monitor" and failure.rc == _NOT_RUNNING:
        return "it was found dead"
    if failure.task == "monitor" and failure.rc in (_DEGRADED, _DEGRADED_PROMOTED):
        return f"it {_BY_CODE[failure.rc]}"
    if failure.task == "monitor" and failure.rc == 0:
        return "it was found running where the cluster had not started it"
    return f"{task} {_BY_CODE.get(failure.rc, f'ended with code {failure.rc}')}"


def consequence(failure: Failure) -> str:
    """What the failure means now: ``it has recovered since``, or what stays broken."""
    if failure.given_up:
        return f"Pacemaker keeps it off {failure.node} after {_count(failure.fails)}"
    if failure.lasting:
        return "it has not succeeded since"
    return "it has recovered since"


def _count(fails: int) -> str:
    if fails >= 1000000:
        return "a failure that cannot be retried"
    return f"{fails} failure{'s' if fails != 1 else ''}"


def advice(failure: Failure, unit: str) -> str:
    """What to do; ``unit`` is where the service logs (``journalctl`` arguments), or ""."""
    look = f"look into it on {failure.node}: journalctl {unit}; then " if unit else ""
    if failure.task == "stop":
        look = f"a failed stop makes Pacemaker fence the node; {look}"
    clean = f"crm_resource --cleanup -r {failure.resource} -N {failure.node}"
    if not failure.lasting and not failure.given_up:
        return f"nothing; {clean} removes the entry"
    return f"{look}{clean}"
