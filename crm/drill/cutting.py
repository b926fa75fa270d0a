"""Cut a node off the network, or one of its links, with nftables: a table of our own that removes itself when nobody else does."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

from hafailover.crm.errors import HafailoverError

TABLE = "hafailover_drill"
UNIT = "hafailover-drill-heal"
AT_MOST = 180
"""Seconds after which the node itself takes a cut back, whatever became of the drill."""
_SSH = 22
_STILL = "still-cut"


class StillCut(HafailoverError):
    """The cut could not be taken back, although the node answers."""


Run = Callable[..., str]
"""Runs a program (argv, input) on the node; HafailoverError if it fails."""


def cut_node(run: Run, addresses: Sequence[str]) -> None:
    """Drop whatever comes from or goes to ``addresses``, ssh apart: the drill may have come that way."""
    rules = []
    for family, found in _by_family(addresses):
        some = ", ".join(found)
        rules += [
            f"add rule inet {TABLE} in {family} saddr {{ {some} }} tcp dport {_SSH} accept",
            f"add rule inet {TABLE} out {family} daddr {{ {some} }} tcp sport {_SSH} accept",
            f"add rule inet {TABLE} in {family} saddr {{ {some} }} drop",
            f"add rule inet {TABLE} out {family} daddr {{ {some} }} drop",
        ]
    _load(run, rules)


def cut_link(run: Run, own: Sequence[str], peers: Sequence[str]) -> None:
    """Drop whatever UDP goes between ``own`` and ``peers``: one link of Corosync, and nothing of the database's."""
    rules, here = [], dict(_by_family(own))
    for family, found in _by_family(peers):
        if family not in here:
            continue
        some, mine = ", ".join(found), ", ".join(here[family])
        rules += [
            f"add rule inet {TABLE} in {family} saddr {{ {some} }} {family} daddr {{ {mine} }} meta l4proto udp drop",
            f"add rule inet {TABLE} out {family} daddr {{ {some} }} {family} saddr {{ {mine} }} meta l4proto udp drop",
        ]
    _load(run, rules)


def _load(run: Run, rules: Sequence[str]) -> None:
    if not rules:
        raise HafailoverError("there is no address to cut off")
    # First of all what takes it back: without it nothing is cut.
    run(
        [
            "systemd-run",
            f"--unit={UNIT}",
            f"--on-active={AT_MOST}",
            "--collect",
            "nft",
            "delete",
            "table",
            "inet",
            TABLE,
        ]
    )
    table = [
        f"add table inet {TABLE}",
        f"delete table inet {TABLE}",
        f"add table inet {TABLE}",
        f"add chain inet {TABLE} in {{ type filter hook input priority -300; }}",
        f"add chain inet {TABLE} out {{ type filter hook output priority -300; }}",
    ]
    try:
        run(["nft", "-f", "-"], "\n".join([*table, *rules]) + "\n")
    except HafailoverError:
        heal(run)
        raise


def heal(run: Run) -> None:
    """Take the cut back; nothing happens where there is none. StillCut when it is there afterwards: the node goes on to try by itself."""
    # What the node would do by itself is called off last.
    script = (
        f"nft delete table inet {TABLE} 2>/dev/null; if nft list table inet {TABLE} >/dev/null 2>&1; then echo {_STILL}; "
        f"else systemctl stop {UNIT}.timer 2>/dev/null; fi; true"
    )
    if _STILL in run(["sh", "-c", script]).split():
        raise StillCut(f"nft does not take the table {TABLE} away: nft delete table inet {TABLE}")


def resolved(run: Run, hosts: Sequence[str]) -> list[str]:
    """The addresses of ``hosts``, names among them, as the node itself finds them, on which nothing is cut yet.

    HafailoverError where one is not found: half a cut is another scenario, and may have the wrong node fenced.
    """
    found: list[str] = []
    for host in hosts:
        if _address(host) is not None:
            found.append(host)
            continue
        told = (line.split()[0] for line in run(["getent", "ahosts", host]).splitlines() if line.split())
        # A machine may know itself by a loopback address, by which nobody else reaches it.
        mine = [text for text in told if (address := _address(text)) is not None and not address.is_loopback]
        if not mine:
            raise HafailoverError(f"{host} has no address that could be cut off")
        found += mine
    return list(dict.fromkeys(found))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _by_family(addresses: Sequence[str]) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for text in addresses:
        address = _address(text)
        if address is None:
            raise HafailoverError(f"{text} is no address: what goes there would not be cut off")
        found.setdefault("ip" if address.version == 4 else "ip6", []).append(text)
    return sorted(found.items())
