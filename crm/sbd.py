"""SBD: nodes that reset themselves by a watchdog, told to over a shared disk, or, without one, by the loss of quorum.

With a disk, whoever fences writes to the victim's slot and waits msgwait, twice the watchdog's timeout, until the victim has read it or was
reset because it could not. Without a disk nothing is sent: a node without quorum resets itself, and the others wait long enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hafailover.crm.files import RenderedFile
from hafailover.crm.schema import Problem, Schema, choice, duration, mapping, milliseconds, path

if TYPE_CHECKING:
    from hafailover.crm.topology import Topology

SETTINGS = ("/etc/default/sbd", "/etc/sysconfig/sbd")
DROP_IN = "/etc/systemd/system/sbd.service.d/hafailover.conf"
AGENTS = ("fence_sbd", "external/sbd")
TIMEOUT = 5  # s, sbd's own default
_SHORTEST, _LONGEST = 3, 240  # s
_SYNC_TIMEOUT = 30  # s, corosync-qdevice's own default
# What corosync's daemon of the quorum device may take beyond its sync_timeout before the vote has changed.
_SYNC_MARGIN = 5
_STONITH_TIMEOUT = 60  # s, Pacemaker's own default
_POWER_TIMEOUT = 30  # s, fence_sbd's own default
_START_TIMEOUT = 90  # s, systemd's own default

SCHEMA: Schema = mapping(
    "Nodes that reset themselves by a watchdog (docs/fencing.md).",
    {
        "devices": {
            "type": "array",
            "items": path(
                "a shared disk of a few MB, by a name that all nodes have for it",
                expect="a disk such as /dev/disk/by-id/NAME",
            ),
            "minItems": 1,
            "maxItems": 3,
            "uniqueItems": True,
            "description": "shared disks of a few MB over which nodes are told, one or three; without them quorum alone decides",
            "expect": "a list of one to three disks such as /dev/disk/by-id/NAME",
        },
        "watchdog": path("the watchdog of each node, a hardware one if there is any", default="/dev/watchdog"),
        "timeout": duration(
            "silence after which the watchdog resets its node, and half of what fencing takes; 5s when not given, with a quorum "
            "device and no disk 5s more than its sync_timeout"
        ),
        "agent": choice("the fence agent that writes to the disks", AGENTS, default="fence_sbd"),
        "settings": choice(
            "sbd's settings file: /etc/default/sbd on Debian and Ubuntu, the other one elsewhere",
            SETTINGS,
            default=SETTINGS[0],
        ),
    },
)


@dataclass(frozen=True)
class Sbd:
    """SBD as the topology wants it; ``timeout`` is the watchdog's, in whole seconds. Without ``devices`` quorum alone decides."""

    devices: tuple[str, ...]
    watchdog: str
    timeout: int
    agent: str
    settings: str

    @property
    def msgwait(self) -> int:
        """Seconds after which a node that was told is known to be down."""
        return 2 * self.timeout


def build(written: Mapping[str, Any], sync_timeout: int | None, device: bool) -> Sbd:
    """What ``written``, which has passed the schema, means beside a quorum device (its sync_timeout in ms, None: the daemon's)."""
    devices = tuple(written.get("devices", ()))
    usual = TIMEOUT if devices or not device else _sync_seconds(sync_timeout) + _SYNC_MARGIN
    return Sbd(
        devices,
        written["watchdog"],
        -(-milliseconds(written["timeout"]) // 1000) if "timeout" in written else usual,
        written["agent"],
        written["settings"],
    )


def _sync_seconds(sync_timeout: int | None) -> int:
    return _SYNC_TIMEOUT if sync_timeout is None else -(-sync_timeout // 1000)


def parameters(sbd: Sbd) -> dict[str, str]:
    """The parameters of the fence device that writes to the disks."""
    if sbd.agent != "fence_sbd":
        return {"sbd_device": ";".join(sbd.devices)}
    power = {"power_timeout": str(sbd.msgwait + 10)} if sbd.msgwait >= _POWER_TIMEOUT else {}
    return {"devices": ",".join(sbd.devices), **power}


def properties(sbd: Sbd, delay: int) -> dict[str, str]:
    """The cluster properties that follow; ``delay`` is the longest time (s) that fencing may be delayed."""
    if not sbd.devices:
        # Pacemaker takes a lost node for reset when this has passed. It refuses to start with less than sbd's own timeout.
        return {"stonith-watchdog-timeout": f"{2 * sbd.timeout}s"}
    needed = -(-sbd.msgwait * 12 // 10) + delay
    return {"stonith-timeout": f"{needed}s"} if needed > _STONITH_TIMEOUT else {}


def files(topology: Topology) -> list[RenderedFile]:
    """The files of sbd, the same on every node."""
    sbd = topology.sbd
    if sbd is None:
        return []
    delay = start_delay(topology)
    lines = ["# Written by hafailover; changes belong into the topology."]
    if sbd.devices:
        lines.append(f'SBD_DEVICE="{";".join(sbd.devices)}"')
    lines += [
        "SBD_PACEMAKER=yes",
        "SBD_STARTMODE=always",
        # A node that comes back before the others know that it was down would be counted as alive, and fenced again.
        f"SBD_DELAY_START={delay or 'no'}",
        f"SBD_WATCHDOG_DEV={sbd.watchdog}",
        f"SBD_WATCHDOG_TIMEOUT={sbd.timeout}",
        "SBD_TIMEOUT_ACTION=flush,reboot",
        "SBD_MOVE_TO_ROOT_CGROUP=auto",
        "SBD_SYNC_RESOURCE_STARTUP=yes",
    ]
    found = [RenderedFile(sbd.settings, ("\n".join(lines) + "\n").encode())]
    limit = max(_START_TIMEOUT, -(-delay * 12 // 10))
    drop_in = f"# Written by hafailover: sbd waits {delay} s when it starts.\n[Service]\nTimeoutStartSec={limit}\n"
    return [*found, RenderedFile(DROP_IN, drop_in.encode())]


def start_delay(topology: Topology) -> int:
    """Seconds that sbd waits at boot: until the others have given this node up, and fenced it."""
    sbd = topology.sbd
    assert sbd is not None
    token = topology.detection.token
    gone = token + (topology.detection.consensus or token * 12 // 10)
    if not sbd.devices:
        return 0
    return -(-gone // 1000) + sbd.msgwait + topology.longest_fencing_delay


def problems(topology: Topology) -> Iterator[Problem]:
    """What a schema cannot say about fencing.sbd; paths are those of the topology."""
    sbd = topology.sbd
    if sbd is None:
        return
    here = ("fencing", "sbd")
    written = topology.data["fencing"]["sbd"].get("timeout")
    if written is not None and (milliseconds(written) % 1000 or not _SHORTEST <= sbd.timeout <= _LONGEST):
        yield Problem((*here, "timeout"), f"is {written}; write whole seconds from {_SHORTEST}s to {_LONGEST}s")
    if sbd.watchdog == "/dev/null":
        yield Problem((*here, "watchdog"), "is none: a node that hangs would never be reset")
    if not sbd.devices:
        yield from _diskless(topology, sbd)
    for service in topology.services.values():
        for where, value in _devices(service.options, ()):
            if value in sbd.devices:
                yield Problem(
                    ("services", service.name, *where), f"{value} is a disk of fencing.sbd, which would be overwritten"
                )


def _diskless(topology: Topology, sbd: Sbd) -> Iterator[Problem]:
    here = ("fencing", "sbd")
    count, device = len(topology.nodes), topology.quorum.device
    if count < 3 and not device:
        yield Problem(
            here,
            "without devices decides by quorum, and with two nodes and no third voter both sides of a split keep it: neither is "
            "reset, and each takes the other for gone; add quorum.device, or a shared disk in devices",
        )
    if device and sbd.timeout <= _sync_seconds(device.sync_timeout):
        limit = _sync_seconds(device.sync_timeout)
        yield Problem(
            (*here, "timeout"),
            f"is {sbd.timeout} s, and the vote of the quorum device may take {limit} s (quorum.device.sync_timeout): a healthy "
            f"node would be reset while it waits; give more than {limit}s, or a shorter sync_timeout",
        )
    for key in ("delay", "max_delay"):
        if key in topology.data["fencing"]:
            yield Problem(("fencing", key), "has no effect without devices: nobody is sent anything that could wait")
    for node in topology.nodes.values():
        if node.fence:
            yield Problem(
                ("nodes", node.name, "fence"),
                "stands beside a watchdog without disks, and Pacemaker would use one of the two; keep one, or give sbd devices",
            )
    if sbd.agent != AGENTS[0]:
        yield Problem((*here, "agent"), "is for disks, and there are no devices")


def _devices(options: Any, where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every disk that a service's options name, with its place."""
    for key, value in options.items() if isinstance(options, Mapping) else ():
        if key == "device" and isinstance(value, str):
            yield (*where, key), value
        yield from _devices(value, (*where, str(key)))


def notes(topology: Topology) -> Iterator[str]:
    """What is allowed and has a price, and what only a person can do: sentences."""
    if topology.fencing and topology.fencing.agent == "fence_sbd" and not topology.sbd:
        yield f"fencing.agent: fence_sbd: {SETTINGS[0]} is not written; fencing: {{sbd: {{devices: [...]}}}} does that, too"
    sbd = topology.sbd
    if sbd is None:
        return
    if sbd.devices:
        disks = " ".join(f"-d {device}" for device in sbd.devices)
        yield f"fencing.sbd: make the disks ready once, which erases them: sbd {disks} -1 {sbd.timeout} -4 {sbd.msgwait} create"
    else:
        yield f"fencing.sbd: a lost node counts as reset after {2 * sbd.timeout} s, and services move no sooner"
        if len(topology.nodes) % 2 == 0 and not topology.quorum.device:
            yield "fencing.sbd: after a split in halves no side has quorum, and all nodes reset themselves; a quorum device prevents that"
    if len(sbd.devices) == 2:
        yield "fencing.sbd: while one of two disks is lost nobody can be fenced; one disk or three are better"
    for device in sbd.devices:
        if not device.startswith(("/dev/disk/by-", "/dev/mapper/")):
            yield f"fencing.sbd: {device} may be another disk after a restart; use its name in /dev/disk/by-id"
    yield "fencing.sbd: enable sbd.service on every node; it starts and stops with Corosync, which is to be stopped for it once"
