"""What this machine, a node of the topology, shows of its firewall and of what listens."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil
from hafailover.crm import firewall, local
from hafailover.crm.errors import HafailoverError
from hafailover.crm.lint import accounts
from hafailover.crm.lint.nftables import Ruleset
from hafailover.crm.lint.node_files import NodeFiles

_LEGACY = ("/proc/net/ip_tables_names", "/proc/net/ip6_tables_names")
_NFT = 20.0  # seconds


class Listener(NamedTuple):
    """Something that listens: the protocol, the address ("0.0.0.0" and "::" are all) and the port."""

    protocol: str
    address: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        parsed = ipaddress.ip_address(self.address.partition("%")[0])
        mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
        return (mapped or parsed).is_loopback


@dataclass(frozen=True)
class NodeFacts:
    """This machine. ``ruleset`` None: what filters cannot be told, and ``why`` says it. ``interfaces`` maps addresses to names.

    ``files``: its configuration files; ``replication_accounts``: (user, host) of the database accounts that may replicate.
    """

    name: str
    ruleset: Ruleset | None
    why: str
    listeners: tuple[Listener, ...]
    interfaces: dict[str, str]
    fragment: bytes | None
    files: NodeFiles | None = None
    replication_accounts: tuple[tuple[str, str], ...] = ()


def gather(name: str) -> NodeFacts:
    """Look at this machine, which is the node ``name``. HafailoverError when it cannot be looked at."""
    ruleset, why = _ruleset()
    try:
        fragment: bytes | None = Path(firewall.PATH).read_bytes()
    except FileNotFoundError:
        fragment = None
    except OSError as error:
        raise HafailoverError(f"{firewall.PATH} cannot be read: {error.strerror}") from error
    interfaces = {
        address.address.partition("%")[0]: interface
        for interface, addresses in psutil.net_if_addrs().items()
        for address in addresses
    }
    return NodeFacts(name, ruleset, why, _listeners(), interfaces, fragment, NodeFiles(), accounts.replication())


def _listeners() -> tuple[Listener, ...]:
    found = {
        Listener("tcp" if one.type.name == "SOCK_STREAM" else "udp", one.laddr.ip, one.laddr.port)
        for one in psutil.net_connections("inet")
        if one.laddr and (one.status == psutil.CONN_LISTEN or (one.type.name == "SOCK_DGRAM" and not one.raddr))
    }
    return tuple(sorted(found))


def _ruleset() -> tuple[Ruleset | None, str]:
    legacy = [path for path in _LEGACY if _text(path).split()]
    if legacy:
        return None, f"rules of the old iptables are in force ({', '.join(legacy)}), which nft does not see"
    try:
        done = local.run(["nft", "--json", "list", "ruleset"], _NFT)
    except local.NotInstalled:
        return None, "nft is not installed here"
    if done.rc != 0:
        return None, f"nft does not tell its rules: {' '.join(done.err.split()) or f'exit code {done.rc}'}"
    try:
        return Ruleset(json.loads(done.out or "{}")), ""
    except ValueError:
        return None, "nft does not tell its rules as JSON"


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:  # the module is not loaded
        return ""
