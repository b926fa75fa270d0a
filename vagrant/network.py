"""The wires of a lab: one bridge per subnet in a network namespace of its own, nodes plugged in by veth pairs.

Nothing appears in the host's root namespace, so labs with the same addresses run side by side and a lab that was killed
takes its network with it. The functions that return ``ip -batch`` text are pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hafailover.vagrant.host import run
from hafailover.vagrant.plan import Interface

_TIMEOUT = 10.0


def port(machine: int, link: int) -> str:
    """The wire side's interface name of a machine (index in the plan) and link; 15 characters at most."""
    return f"m{machine}l{link}"


def bridges(count: int) -> str:
    """Batch for the wire namespace: bridges br0..., without spanning tree (which would delay a healed port by 30 s)."""
    lines = ["link set lo up"]
    for index in range(count):
        # Without a querier, multicast snooping would drop neighbour discovery.
        lines.append(f"link add br{index} type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
        lines.append(f"link set br{index} up")
    return "\n".join(lines) + "\n"


def plug(machine: int, interfaces: Sequence[Interface], namespace: Path, *, up: bool) -> str:
    """Batch for the wire namespace: veth pairs from the bridges into ``namespace``; ``up`` False leaves the cable cut."""
    lines = []
    for link, interface in enumerate(interfaces):
        name = port(machine, link)
        lines.append(
            f"link add {name} type veth peer name eth{link} address {interface.mac} netns {namespace}\n"
            f"link set {name} master br{interface.subnet} {'up' if up else 'down'}"
        )
    return "\n".join(lines) + "\n"


def addresses(interfaces: Sequence[Interface]) -> str:
    """Batch for a machine's namespace: its interfaces up and with their addresses."""
    lines = ["link set lo up"]
    for link, interface in enumerate(interfaces):
        # A statically planned address needs no duplicate address detection, which would delay its use by a second.
        nodad = " nodad" if ":" in interface.address else ""
        lines.append(f"link set eth{link} up\naddr add {interface.address} dev eth{link}{nodad}")
    return "\n".join(lines) + "\n"


def cable(machine: int, links: int, *, up: bool) -> str:
    """Batch for the wire namespace: all cables of a machine pulled out (down) or put back (up)."""
    state = "up" if up else "down"
    return "".join(f"link set {port(machine, link)} {state}\n" for link in range(links))


def unplug(machine: int, links: int) -> str:
    """Batch for the wire namespace: remove what :func:`plug` made; to be run with ``force``."""
    return "".join(f"link del {port(machine, link)}\n" for link in range(links))


def make_namespace(file: Path) -> None:
    """Make a network namespace that lives as long as ``file`` is mounted (in the caller's mount namespace)."""
    file.touch()
    run(["unshare", f"--net={file}", "true"], timeout=_TIMEOUT)


def drop_namespace(file: Path) -> None:
    """Undo :func:`make_namespace`; the kernel removes the namespace's interfaces in its own time."""
    run(["umount", str(file)], timeout=_TIMEOUT)


def batch(namespace: Path, text: str, *, force: bool = False) -> None:
    """Run ``ip -batch`` text in a namespace; HafailoverError at the first line that fails, unless ``force``."""
    options = ["-force"] if force else []
    run(
        ["nsenter", f"--net={namespace}", "ip", *options, "-batch", "-"],
        timeout=_TIMEOUT,
        input=text,
        check=not force,
    )
