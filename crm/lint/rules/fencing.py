"""Rules about fencing: what two nodes do to each other, SBD without a disk, and the parameters that fence agents take."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from hafailover.crm import fence_agents, fence_hosts, values
from hafailover.crm.lint import ERROR, WARNING, Facts, Found, NotLooked, rule
from hafailover.crm.lint.about import words
from hafailover.crm.lint.cluster import is_fence_device, primitives
from hafailover.crm.lint.node_files import NodeFiles, assignments
from hafailover.crm.lint.paste import Placeholder, command
from hafailover.crm.resolved import Resource

_SBD_FILES = ("/etc/default/sbd", "/etc/sysconfig/sbd")
_SBD_WATCHDOG = 5  # seconds, sbd's own default
# A node that has lost its reservation, or that is only asked about, cannot shoot back.
_NO_RACE = frozenset({"fence_scsi", "fence_mpath", "fence_kdump", "fence_heuristics_ping", "fence_heuristics_resource"})


@rule(
    "fence-parameters",
    ERROR,
    code="L11b",
    needs=("resolved",),
    remedy="write the parameter as the agent calls it (crm_resource --show-metadata stonith:AGENT lists them)",
    why="an agent ignores a parameter that it does not know, and that it cannot log in is found out when a node should be switched off",
)
def fence_parameters(facts: Facts) -> Iterator[Found | NotLooked]:
    """A fence device has a parameter that its agent does not know, or lacks one that the agent needs."""
    absent: dict[str, None] = {}
    for device in _devices(facts):
        agent = device.agent.partition(":")[2]
        known = fence_agents.metadata(agent)
        if known is None:
            absent[agent] = None
            continue
        for wrong in fence_agents.problems(known, device.params):
            # A parameter that a rule sets sometimes may be there.
            if wrong.kind != "deprecated" and not (wrong.kind == "missing" and wrong.parameter in device.uncertain):
                yield Found(device.id, f"{wrong.parameter} {_joined(wrong)}", _repair(facts, device, wrong))
    if absent:
        yield NotLooked(f"{words(absent)} {'are' if len(absent) > 1 else 'is'} not installed here")


@rule(
    "fence-parameters-old",
    WARNING,
    code="L11c",
    needs=("resolved",),
    remedy="write the parameter as the agent calls it now",
    why="the next release of the agent may not know the old name, ignore it, and be unable to switch the node off",
)
def fence_parameters_old(facts: Facts) -> Iterator[Found]:
    """A fence device has a parameter under a name that its agent has given up."""
    for device in _devices(facts):
        known = fence_agents.metadata(device.agent.partition(":")[2])
        for wrong in fence_agents.problems(known, device.params) if known is not None else ():
            if wrong.kind == "deprecated":
                yield Found(device.id, f"{wrong.parameter} {wrong.text}", _repair(facts, device, wrong))


def _joined(wrong: fence_agents.Wrong) -> str:
    if wrong.kind == "unknown":
        return f"is unknown: {wrong.text}"
    return f"is missing: {wrong.text}" if wrong.kind == "missing" else wrong.text


def _repair(facts: Facts, device: Resource, wrong: fence_agents.Wrong) -> str:
    """Commands that say it right, without the value: it may be a secret."""
    if facts.topology is not None:
        return f"{wrong.instead or wrong.parameter}: <VALUE>" if wrong.instead or wrong.kind == "value" else ""
    param = ("crm", "resource", "param", device.id)
    right = [command(*param, "set", wrong.instead, Placeholder("VALUE"))] if wrong.instead else []
    if wrong.kind == "value":
        right = [command(*param, "set", wrong.parameter, Placeholder("VALUE"))]
    away = [command(*param, "delete", wrong.parameter)] if wrong.kind in ("unknown", "deprecated") else []
    return " && ".join([*right, *away])


@rule(
    "sbd-pair",
    ERROR,
    code="L20",
    needs=("resolved", "corosync"),
    remedy="add a quorum device, a third node, or a shared disk for SBD",
    why="with two_node both halves of a split keep quorum, so neither watchdog fires, and each side takes the other for dead after "
    "stonith-watchdog-timeout: two primaries",
)
def sbd_pair(facts: Facts) -> Iterator[Found]:
    """Two nodes rely on their watchdogs (SBD without a disk) and have no quorum device."""
    timeout = facts.cluster.property("stonith-watchdog-timeout")
    if timeout is None or _seconds(timeout) == 0 or len(facts.corosync.nodes) != 2 or facts.corosync.has_device:
        return
    if any(device.agent in ("stonith:fence_sbd", "stonith:external/sbd") for device in _devices(facts)):
        return
    yield Found(
        "stonith-watchdog-timeout",
        f"{timeout}: two nodes without a quorum device trust that a lost node's watchdog stops it, and it keeps quorum",
        "quorum {\n    two_node: 0\n    device {\n        model: net\n        votes: 1\n        net {\n            host: <THIRD-MACHINE>\n"
        "            algorithm: ffsplit\n        }\n    }\n}",
    )


@rule(
    "sbd-timeout",
    ERROR,
    code="L20b",
    needs=("resolved", "node"),
    remedy="give stonith-watchdog-timeout at least twice SBD_WATCHDOG_TIMEOUT",
    why="the cluster takes a node for dead, and starts its services elsewhere, before its watchdog has had the time to stop it",
)
def sbd_timeout(facts: Facts) -> Iterator[Found]:
    """stonith-watchdog-timeout is less than twice the watchdog's own timeout."""
    assert facts.node is not None
    timeout = _seconds(facts.cluster.property("stonith-watchdog-timeout") or "0")
    files: NodeFiles | None = facts.node.files
    path, text = files.first(_SBD_FILES) if files is not None else ("", None)
    if timeout <= 0 or text is None:
        return  # a negative one is worked out by Pacemaker itself
    said = assignments(text)
    watchdog = _seconds(said.get("SBD_WATCHDOG_TIMEOUT", "")) or _SBD_WATCHDOG
    if timeout < 2 * watchdog and not said.get("SBD_DEVICE"):
        yield Found(
            f"{facts.node.name}: {path}",
            f"the watchdog stops a node after {watchdog:g} s, and the cluster goes on after {timeout:g} s (stonith-watchdog-timeout)",
            command("crm", "configure", "property", f"stonith-watchdog-timeout={int(2 * watchdog)}s"),
        )


@rule(
    "fence-race",
    ERROR,
    code="L21",
    needs=("resolved", "corosync"),
    remedy="give one device a pcmk_delay_base, or every device a pcmk_delay_max; or add a quorum device",
    why="when the link between them is cut, both nodes switch each other off at the same moment, and nothing serves",
)
def fence_race(facts: Facts) -> Iterator[Found]:
    """Two nodes without a quorum device fence each other at once: no device has a delay."""
    devices = [device for device in _devices(facts) if device.agent.partition(":")[2] not in _NO_RACE]
    names = [node.name for node in facts.corosync.nodes]
    fenced = values.boolean(facts.cluster.property("stonith-enabled")) is not False
    if len(names) != 2 or facts.corosync.has_device or not devices or not fenced or _weighs(facts):
        return
    delays = [_delay(devices, name) for name in names]
    if None in delays or delays[0] != delays[1]:
        return
    first = devices[0]
    same = f"both wait {delays[0]:g} s" if delays[0] else "neither waits"
    longer = f"{int(delays[0] or 0) + 5}s"
    single = next((device for device in devices if len([name for name in names if _targets(device, name)]) == 1), None)
    yield Found(
        first.id,
        f"{words(sorted({device.id for device in devices}))} fence {words(names)} without a difference ({same}) and nobody else votes",
        command("crm", "resource", "param", first.id, "set", "pcmk_delay_max", longer)
        if single is None
        else command("crm", "resource", "param", single.id, "set", "pcmk_delay_base", longer),
    )


@rule(
    "priority-delay-idle",
    WARNING,
    code="L21b",
    needs=("resolved",),
    remedy="give the resource that must survive a split a priority, such as meta priority=10",
    why="the delay compares the priorities of what runs on both nodes: where nothing has one, the node with the primary is shot "
    "as often as the other",
)
def priority_delay_idle(facts: Facts) -> Iterator[Found]:
    """priority-fencing-delay has no effect: no resource has a priority, or a longer delay of the devices cancels it."""
    delay = facts.cluster.property("priority-fencing-delay")
    if delay is None or _seconds(delay) <= 0 or facts.topology is not None:
        return  # what is generated has a random delay besides, for services that have no priority
    if not _has_priorities(facts):
        candidates = [one for one in primitives(facts.cluster) if not is_fence_device(one)]
        best = next((one for one in candidates if one.promotable), candidates[0] if candidates else None)
        fix = command("crm", "resource", "meta", best.id, "set", "priority", "10") if best else ""
        yield Found("priority-fencing-delay", f"{delay} waits for nothing: no resource has a priority", fix)
        return
    for device in _devices(facts):
        longest = max(
            _seconds(device.params.get("pcmk_delay_max", "")),
            *(_seconds(one) for one in _delays(device.params.get("pcmk_delay_base", "")).values()),
            0,
        )
        if longest >= _seconds(delay):
            fix = command("crm", "configure", "property", f"priority-fencing-delay={int(2 * longest)}s")
            yield Found(
                "priority-fencing-delay",
                f"{delay} can be cancelled by the delay of {device.id}, which is up to {longest:g} s",
                fix,
            )


def _devices(facts: Facts) -> Iterator[Resource]:
    return (one for one in primitives(facts.cluster) if is_fence_device(one))


def _weighs(facts: Facts) -> bool:
    """Whether the node with the more important resources wins a race."""
    delay = facts.cluster.property("priority-fencing-delay")
    return delay is not None and _seconds(delay) > 0 and _has_priorities(facts)


def _has_priorities(facts: Facts) -> bool:
    return any(
        values.score(one.meta.get("priority")) != 0 or "priority" in one.uncertain
        for one in facts.cluster.resources.values()
        if not is_fence_device(one)
    )


def _delay(devices: list[Resource], node: str) -> float | None:
    """How long, in seconds, those wait that fence ``node``; None when chance decides, or nobody knows who fences it."""
    mine = [device for device in devices if _targets(device, node)]
    if not mine:
        return None
    waits = []
    for device in mine:
        if (
            _seconds(device.params.get("pcmk_delay_max", "")) > 0
            or {"pcmk_delay_max", "pcmk_delay_base", "delay"} & device.uncertain
        ):
            return None
        bases = _delays(device.params.get("pcmk_delay_base", ""))
        waits.append(_seconds(bases.get(node, bases.get("", "0"))) + _seconds(device.params.get("delay", "")))
    return max(waits)


def _targets(device: Resource, node: str) -> bool:
    """Whether a device fences a node, as far as it is said; one that asks its hardware may fence any."""
    return fence_hosts.read(device.params).covers(node) is not False


def _delays(written: str) -> Mapping[str, str]:
    """pcmk_delay_base: one for all ("" → 5s), or for each node (a:5s;b:0s)."""
    if ":" not in written and "=" not in written:
        return {"": written} if written else {}
    parts = (re.split(r"[:=]", one, maxsplit=1) for one in re.split(r"[\s;]+", written) if one)
    return {part[0]: part[1] for part in parts if len(part) == 2}


def _seconds(written: str) -> float:
    """A time in seconds; 0 for what is none, -1 for a negative one."""
    if written.strip().startswith("-"):
        return -1
    found = values.milliseconds(written)
    return 0 if found is None else found / 1000
