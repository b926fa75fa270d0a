"""Fence devices that would not do what they are there for: parameters that miss the node, and two nodes that switch each other off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from hafailover.crm import fence_hosts, sbd, schema, secret_names
from hafailover.crm.schema import Problem
from hafailover.crm.yamldoc import Path_

if TYPE_CHECKING:
    from hafailover.crm.topology import Fence, Topology

# Fence agents read a secret from the output of a program; under which parameter, is the agents' own convention.
FENCE_SECRETS = {
    "password": "password_script",
    "passwd": "passwd_script",
    "snmp_priv_passwd": "snmp_priv_passwd_script",
}
# The key of a reservation is known to all nodes.
_NO_SECRETS = frozenset({("fence_scsi", "key"), ("fence_mpath", "key")})
MAX_DELAY = "5s"
"""Two sides of a split that fence at once: up to this long, by chance, where nothing else is said."""
_DELAYS = ("delay", "pcmk_delay_base", "max_delay", "pcmk_delay_max")
# As Pacemaker reads it.
_INTERVAL = re.compile(r"(\d{1,9})\s*(ms|msec|us|usec|s|sec|m|min|h|hr|)", re.IGNORECASE)
_MS = {"u": 0.001, "ms": 1, "m": 60_000, "h": 3_600_000, "s": 1000, "": 1000}
_ACTION = re.compile(r"pcmk_(\w+)_action")
_POWER = {"reboot": ("reboot", "off", "cycle", "diag"), "off": ("off", "reboot", "cycle", "diag"), "on": ("on",)}
_LOOKING = ("monitor", "status", "list", "metadata")
PLUGS = ("plug", "port")
# Boards inside of one machine: whatever node they are asked for, they switch their own one.
_BOARD = re.compile(r"fence_(ipmilan(plus)?|idrac|ilo\d?(_ssh|_moonshot)?|imm|drac|rsa|rsb|amt|amt_ws)")


@dataclass(frozen=True)
class Wait:
    """How long a device waits before it fences, in ms: always ``fixed``, and at most ``longest``."""

    fixed: int
    longest: int

    @property
    def by_chance(self) -> bool:
        """Whether two devices that wait so need not act at the same moment.

        Pacemaker counts whole seconds, and until 3.0 draws one that is less than the difference: of one second that is always none.
        """
        return self.longest - self.fixed >= 2000


def is_board(agent: str) -> bool:
    """Whether the agent speaks to a board inside of one machine."""
    return _BOARD.fullmatch(agent) is not None


def interval(text: str) -> int | None:
    """The ms of a time as Pacemaker reads it ("30" is 30 s), or None when it is none."""
    match = _INTERVAL.fullmatch(text.strip())
    if match is None:
        return None
    unit = match[2].lower()
    return int(int(match[1]) * _MS["ms" if unit.startswith("ms") else unit[:1]])


def pairs(text: str) -> list[tuple[str, str]]:
    """Name and time of each node in a pcmk_delay_base; it knows ``:`` alone (a pcmk_host_map: crm/fence_hosts.py)."""
    return [(name, time) for name, _, time in (word.partition(":") for word in re.split(r"[; \t]+", text) if word)]


def base_delay(text: str, target: str) -> int:
    """The ms of a pcmk_delay_base, one for all or one for each node, for ``target``."""
    if ":" not in text:
        return interval(text) or 0
    # Pacemaker takes the first name that the target begins with, whatever its case.
    times = (time for name, time in pairs(text) if name and target.lower().startswith(name.lower()))
    return interval(next(times, "0")) or 0


def wait(fence: Fence, target: str, race: bool) -> Wait:
    """How long ``fence`` waits before it switches ``target`` off; ``race``: two nodes may fence each other."""
    base, most = fence.parameters.get("pcmk_delay_base"), fence.parameters.get("pcmk_delay_max")
    if race and base is None and most is None:
        most = MAX_DELAY
    # Pacemaker forgets parts of a second.
    fixed = base_delay(base or "0", target) // 1000 * 1000
    longest = (interval(most or "0") or 0) // 1000 * 1000 or fixed
    return Wait(min(fixed, longest), longest)


def longest_delay(topology: Topology) -> int:
    """The longest time, in s, that a fence device may wait before it acts."""
    race = topology.quorum.two_node
    return max((found.longest for _, _, found in _waits(topology, race)), default=0) // 1000


def _waits(topology: Topology, race: bool) -> Iterator[tuple[str, Path_, Wait]]:
    """Each device that each node can be switched off by: node, path, wait."""
    for node in topology.nodes.values():
        if topology.fencing:
            yield node.name, ("fencing",), wait(topology.fencing, node.name, race)
        if node.fence:
            yield node.name, ("nodes", node.name, "fence"), wait(node.fence, node.name, race)


def problems(topology: Topology) -> Iterator[Problem]:
    """Everything wrong with the fencing of ``topology``; its file has passed the schema."""
    names = list(topology.nodes)
    if topology.fencing:
        yield from _fence(topology, ("fencing",), topology.fencing, names)
    for node in topology.nodes.values():
        if node.fence:
            yield from _fence(topology, ("nodes", node.name, "fence"), node.fence, [node.name])
        elif not topology.fencing and not topology.sbd and not topology.lab:
            yield Problem(
                ("nodes", node.name),
                f"nothing can switch {node.name} off: give it fence, or give fencing for all; "
                "without that a split cluster writes on both sides (lab: true is for throw-away clusters)",
            )
    yield from sbd.problems(topology)
    yield from _shared(topology)
    yield from _race(topology)


def _fence(topology: Topology, path: Path_, fence: Fence, targets: list[str]) -> Iterator[Problem]:
    for key, value in fence.parameters.items():
        if value.startswith("file:"):
            if key not in FENCE_SECRETS:
                known = ", ".join(FENCE_SECRETS)
                yield Problem((*path, key), f"cannot be read from a file; fence agents can do that with {known}")
            elif schema.problems(value, schema.secret("")):
                yield Problem((*path, key), "is not a reference to a file; write file:NAME")
        elif (fence.agent, key) not in _NO_SECRETS and secret_names.is_inline(key, value):
            yield Problem(
                (*path, key), "is written in plain; put it into a file in secrets_dir and write file:NAME", secret=True
            )
        else:
            message = _misses(key, value, targets)
            if message:
                yield Problem((*path, key), message)
    yield from _delays(topology, path, fence, targets)


def _misses(key: str, value: str, targets: list[str]) -> str | None:
    """Why a device with this parameter would not switch off the node that is meant, or None."""
    if key in ("pcmk_host_list", "pcmk_host_check"):
        return f"is not to be given: the device is for {', '.join(targets)} because of where it stands; take it out"
    if key == "action":
        return "is not to be given: Pacemaker tells the agent what to do, and a fixed action would win; take it out"
    action = _ACTION.fullmatch(key)
    if action and action[1] in _POWER and value not in _POWER[action[1]]:
        return f"is {schema.shown(value)}, which switches nothing off; write {' or '.join(_POWER[action[1]][:2])}"
    if action and action[1] not in _POWER and value not in _LOOKING:
        return f"is {schema.shown(value)}: {action[1]} is only to look; write {' or '.join(_LOOKING[:3])}"
    if key in PLUGS and len(targets) > 1 and value != "dynamic":
        return f"is one outlet for {', '.join(targets)}: each would be switched off in place of another; write pcmk_host_map"
    if key == "pcmk_host_argument" and value == "none" and len(targets) > 1:
        return f"is none: the agent would not be told which of {', '.join(targets)} is meant; take it out"
    if key == "pcmk_host_map":
        return _map(value, targets)
    return None


def _map(value: str, targets: list[str]) -> str | None:
    outlets: dict[str, str] = {}
    known = {target.lower() for target in targets}
    written = list(fence_hosts.parse_map(value))
    for name, outlet in written:
        if name.lower() not in known:
            return f"names {schema.shown(name)}, and the device is for {', '.join(targets)}"
        if not outlet:
            return f"has no outlet for {schema.shown(name)}; write {name}:OUTLET"
        for one in outlet.split(","):
            owner = outlets.setdefault(one, name)
            if owner != name:
                return f"has the outlet {schema.shown(one)} for {owner} and for {name}"
    if "\\" not in value and len(written) < len([word for word in re.split(r"[; \t]+", value) if word]):
        return (
            f"is read by Pacemaker as {', '.join(outlets.values()) or 'nothing'} alone; write NODE:OUTLET;NODE:OUTLET"
        )
    return None


def _delays(topology: Topology, path: Path_, fence: Fence, targets: list[str]) -> Iterator[Problem]:
    """Delays that Pacemaker would not read, or read as something else."""
    written: Any = topology.data
    for part in path:
        written = written[part]
    good = True
    for key, raw in (("delay", "pcmk_delay_base"), ("max_delay", "pcmk_delay_max")):
        value = fence.parameters.get(raw)
        if raw in written and key in written:
            yield Problem((*path, raw), f"is what {key} is for; keep one of them")
        elif value is None:
            continue
        elif key == "delay" and ":" in value:
            for name, time in pairs(value):
                if name not in targets:
                    yield Problem(
                        (*path, raw), f"names {schema.shown(name)}, and the device is for {', '.join(targets)}"
                    )
                elif interval(time) is None:
                    yield Problem((*path, raw), f"has {schema.shown(time)} for {name}, which is no time; write 30s")
                else:
                    continue
                good = False
        elif interval(value) is None:
            good = False
            yield Problem((*path, raw), f"is no time that Pacemaker reads; write {key}: 30s")
    base, most = (fence.parameters.get(f"pcmk_delay_{end}") for end in ("base", "max"))
    if good and base and most and 0 < (interval(most) or 0) < max(base_delay(base, name) for name in targets):
        key = "max_delay" if "max_delay" in written else "pcmk_delay_max"
        yield Problem(
            (*path, key),
            f"is {most}, shorter than delay ({base}), which Pacemaker would cut down to it; it is the longest wait in all",
        )


def _shared(topology: Topology) -> Iterator[Problem]:
    """Two nodes whose devices switch the same machine, or outlet, off."""
    seen: dict[tuple[str, ...], str] = {}
    for node in topology.nodes.values():
        if node.fence is None:
            continue
        given = node.fence.parameters
        plug = next((given[key] for key in PLUGS if key in given), "")
        mapped = fence_hosts.read(given).outlet(node.name)
        plug = plug if mapped is None else mapped
        board = is_board(node.fence.agent)
        address = given.get("ip") or given.get("ipaddr")
        if not plug and not (board and address):
            # Such an agent is told the node's name.
            continue
        machine = ("ip", address.lower(), given.get("ipport", "")) if address else _identity(node.fence)
        owner = seen.setdefault((*machine, plug), node.name)
        if owner != node.name:
            what = f"the outlet {plug} of {owner}" if plug else f"the device of {owner}"
            yield Problem(
                ("nodes", node.name, "fence"),
                f"switches off {what} too: one of the two nodes would go on while it counts as down; give each its own",
            )


def _identity(fence: Fence) -> tuple[str, ...]:
    """A device without an address, by everything else that it is given."""
    kept = {key: value for key, value in fence.parameters.items() if not key.startswith("pcmk_") and key not in PLUGS}
    return (fence.agent, *(f"{key}={kept[key]}" for key in sorted(kept)))


def _race(topology: Topology) -> Iterator[Problem]:
    """Two nodes that wait equally long and then switch each other off."""
    if not topology.quorum.two_node or len(topology.nodes) != 2:
        return
    told = set()
    for (first, _, one), (second, path, other) in combinations(_waits(topology, True), 2):
        if first == second or one.by_chance or other.by_chance or one.fixed != other.fixed or path in told:
            continue
        told.add(path)
        written: Any = topology.data
        for part in path:
            written = written[part]
        key = next((key for key in _DELAYS if key in written), None)
        if path == ("fencing",):
            what = f"makes both nodes wait {one.fixed // 1000} s, without chance"
            remedy = "give max_delay, at least 2s longer, or fence of its own with another delay to each node"
        else:
            what = f"is {one.fixed // 1000}s for {first} too"
            remedy = "give one of them none, or a max_delay that is at least 2s longer"
        yield Problem(
            (*path, key) if key else path,
            f"{what}: after a split both would be switched off at once; {remedy}",
        )
