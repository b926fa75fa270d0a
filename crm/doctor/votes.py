"""Votes: whether each node counts the same ones, and whether the quorum device votes for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hafailover.crm.corosync_glance import device_state, quorum_device, votes
from hafailover.crm.doctor import FAIL, OK, WARN, Result, Seen, number, text
from hafailover.crm.doctor.here import CannotLook, Here

TITLE = "Votes"
_WHY = "the loss of one more node may stop everything"


def read(here: Here) -> dict[str, Any]:
    """``votes``, ``expected``, ``needed``; ``device``: null, or ``host``, ``running``, ``voting`` and ``state`` in its daemon's words."""
    said = here.ask("corosync-quorumtool", "-s").out
    there, expected, needed = votes(said)
    if there is None:
        raise CannotLook("Corosync does not say who votes (does it run?)")
    device = None
    named = quorum_device(here.conf)
    if named:
        running, voting = device_state(said)
        device = {"host": named[1], "running": running, "voting": voting, "state": _state(here)}
    return {"votes": there, "expected": expected, "needed": needed, "device": device}


def _state(here: Here) -> str:
    try:
        said = here.ask("corosync-qdevice-tool", "-s").out
    except CannotLook:
        return ""
    return next((line.partition(":")[2].strip() for line in said.splitlines() if line.startswith("State:")), "")


def judge(seen: Seen) -> Iterator[Result]:
    """A result for each node."""
    yield from seen.untold("votes", "votes", "its votes")
    for node, facts in seen.told("votes").items():
        there, expected = number(facts.get("votes")) or 0, number(facts.get("expected")) or 0
        device = facts.get("device")
        if isinstance(device, dict):
            yield _device(node, device)
        if there < expected:
            fix = "hafailover status names who is away"
            words = f"counts {there:.0f} of {expected:.0f} votes, {number(facts.get('needed')) or 0:.0f} are needed"
            yield Result("votes", WARN, node, words, _WHY, fix)
        else:
            yield Result("votes", OK, node, f"counts all {expected:.0f} votes")


def _device(node: str, device: dict[str, Any]) -> Result:
    host = text(device.get("host"), 80)
    if device.get("voting"):
        return Result("quorum-device", OK, node, f"the quorum device {host} votes for it")
    if not device.get("running"):
        fix = "systemctl enable --now corosync-qdevice; journalctl -u corosync-qdevice"
        return Result("quorum-device", FAIL, node, f"the daemon of the quorum device {host} does not run", _WHY, fix)
    fix = f"on {host}: systemctl status corosync-qnetd; corosync-qnetd-tool -l; and tcp 5403 from {node} to it"
    state = text(device.get("state"), 60)
    return Result(
        "quorum-device",
        FAIL,
        node,
        f"the quorum device {host} does not vote for it{f' ({state})' if state else ''}",
        _WHY,
        fix,
    )
