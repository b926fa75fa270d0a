"""Names: of the nodes in the parameter ``nodes``, of their brokers in Erlang's files, and what nodes tell one another."""

from __future__ import annotations

from hafailover.agents.nodes import addresses as parse
from hafailover.agents.rabbitmq.decide import Peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_PREFIX = "rabbit@"


def addresses(nodes: str) -> dict[str, str]:
    """Parse ``"mq1:10.0.0.1 mq2:[fd00::2]"`` into node → address, in order; ValueError names the bad entry."""
    found = parse(nodes)
    for name in found:
        if "." in name:
            raise ValueError(f"{name} has a dot, which the short name of an Erlang node cannot have")
    return found


def broker(node: str) -> str:
    """The Erlang node of a cluster node."""
    return _PREFIX + node


def in_term(text: str) -> frozenset[str]:
    """The cluster nodes in the first list of an Erlang term: ``{[rabbit@mq1,'rabbit@mq-2'],[rabbit@mq1]}.``"""
    names = text.partition("[")[2].partition("]")[0].replace("'", "").split(",")
    return frozenset(name.strip()[len(_PREFIX) :] for name in names if name.strip().startswith(_PREFIX))


def alarmed(text: str) -> list[str]:
    """The cluster nodes in a broker's list of alarms: ``[{{resource_limit,disk,'rabbit@mq-1'},[]}]``."""
    found = (part.split("}")[0].rstrip("'") for part in text.split(_PREFIX)[1:])
    return sorted(set(found))


def told(peer: Peer) -> str:
    """What a node tells of itself, as one line."""
    return f"{peer.state} {peer.kind} {_list(peer.members)} {_list(peer.view)} {peer.since}"


def hear(text: str) -> Peer | None:
    """What another node told; None for something that this version does not say."""
    words = text.split(" ")
    if len(words) != 5 or not words[4].isdecimal():
        return None
    return Peer(words[0], words[1], _set(words[2]), _set(words[3]), int(words[4]))


def _list(names: Collection[str]) -> str:
    return ",".join(sorted(names)) or "-"


def _set(text: str) -> frozenset[str]:
    return frozenset() if text == "-" else frozenset(text.split(","))
