"""Rules about ports: two services on one, and what a firewall lets in, as written and as it runs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hafailover.crm import firewall
from hafailover.crm.firewall import Opening
from hafailover.crm.lint import ERROR, NOTE, WARNING, Facts, Found, rule
from hafailover.crm.lint.nftables import DROP, Outcome, Packet
from hafailover.crm.lint.paste import render
from hafailover.crm.service import clone_name, service_types
from hafailover.crm.topology import Node, Service, Topology

if TYPE_CHECKING:
    from hafailover.crm.lint.node import Listener, NodeFacts

_JUMP = f"""# in the table that filters:
include "{firewall.PATH}"
# in its input chain, before that rule:
jump {firewall.CHAIN}"""
_MOST = 16  # ports of a range that are looked at one by one
# An option that makes a server listen: extra_port, listeners.tcp.1, management.tcp.port.
_LISTENS = re.compile(r"(^|[._-])port$|^listeners\.", re.IGNORECASE)


@rule(
    "port-shared",
    ERROR,
    code="L42",
    why="the second service does not start, and only on the node where the first one is",
    remedy="give one of them another port in the topology",
)
def port_shared(facts: Facts) -> Iterator[Found]:
    """Two services of a node want the same port."""
    seen: set[str] = set()
    for node, found in firewall.all_openings(facts.wanted).items():
        for other, one in sorted(_overlapping(found)):
            text = f"{found[one]} is also {found[other]}"
            if text not in seen:
                seen.add(text)
                where = _key(facts.wanted, found[one])
                fix = "port: <ANOTHER-PORT>" if where.startswith("services.") else ""
                yield Found(where, f"{text}, on {node}", fix)


def _overlapping(found: Sequence[Opening]) -> Iterator[tuple[int, int]]:
    """The places of each two openings with a port in common, the lower place first."""
    begun: list[tuple[int, str, int]] = []  # last port, protocol, place
    for first, last, protocol, place in sorted(
        (one.first, one.last, one.port.protocol, place) for place, one in enumerate(found)
    ):
        begun = [one for one in begun if one[0] >= first]
        for _, other, before in begun:
            if other == protocol:
                yield min(before, place), max(before, place)
        begun.append((last, protocol, place))


@rule(
    "port-unlisted",
    WARNING,
    code="L43",
    why="behind a firewall the port works on no node until the day that somebody needs it",
    remedy="open the port in your own rules, or take the option out",
)
def port_unlisted(facts: Facts) -> Iterator[Found]:
    """An option makes a server listen on a port that /etc/hafailover/firewall.nft does not open."""
    for service in facts.wanted.services.values():
        options = service.options.get("options", {})
        ports = list(service_types()[service.type].ports(service, facts.wanted))
        for name, value in options.items() if isinstance(options, dict) else ():
            number = str(value).rpartition(":")[2]
            if not _LISTENS.search(name) or not number.isdecimal() or int(number) == 0:
                continue
            openings = [Opening(service.name, port, ()) for port in ports]
            if not any(one.first <= int(number) <= one.last for one in openings):
                where = f"services.{service.name}.options.{name}"
                text = f"port {number} is in no rule of {firewall.PATH}"
                yield Found(where, text, f"tcp dport {int(number)} accept")


@rule(
    "nfs3-callback",
    WARNING,
    code="L44",
    why="locks hang on the client behind a firewall, and are lost when the server moves",
    remedy="mount version 4 (fstype: nfs4), which needs no port on the client",
)
def nfs3_callback(facts: Facts) -> Iterator[Found]:
    """A mount of NFS version 3 is called back by its server, on ports that are chosen at random."""
    for service in facts.wanted.services.values():
        versions = re.findall(r"\b(?:nfs)?vers=([\d.]+)", str(service.options.get("options", "")))
        if (
            service.type == "nfs-mount"
            and service.options["fstype"] == "nfs"
            and not any(v[0] == "4" for v in versions)
        ):
            yield Found(
                f"services.{service.name}",
                "locks of NFS version 3 need ports on the client that no firewall can know",
                "fstype: nfs4",
            )


@rule(
    "firewall-file",
    WARNING,
    code="L45",
    why="after a change of the topology a port stays shut, and a node cannot join",
    remedy="hafailover render --install writes it; then load your own rules, which include it, again",
    on_node=True,
)
def firewall_file(facts: Facts) -> Iterator[Found]:
    """/etc/hafailover/firewall.nft is not what the topology says."""
    assert facts.node is not None
    there, wanted = facts.node.fragment, firewall.fragment(facts.wanted, facts.node.name).encode()
    if there != wanted:
        text = f"{firewall.PATH} is {'not there' if there is None else 'another one'}"
        yield Found(facts.node.name, text, render(facts.wanted.file))


@rule(
    "firewall-drops",
    ERROR,
    code="L46",
    why="the cluster splits, or the service answers on one node only, at the first failover",
    remedy=f"include {firewall.PATH} in the table that filters, and jump to its chain before that rule (docs/firewall.md)",
    on_node=True,
)
def firewall_drops(facts: Facts) -> Iterator[Found]:
    """The running rules of nftables drop what the cluster or a service needs."""
    for opening, outcomes in _judged(facts):
        dropped = [(packet, found) for packet, found in outcomes if found.possible == {DROP}]
        # Clients may be let in at one of several addresses alone.
        if dropped and (opening.port.who == "nodes" or len(dropped) == len(outcomes)):
            packet, found = dropped[0]
            sender = f"from {packet.source}" if packet.source else "from clients"
            yield Found(_node(facts), f"{opening} {sender} is dropped by {found.dropped_by}", _JUMP)


@rule(
    "firewall-unclear",
    NOTE,
    code="L47",
    why="what cannot be told here is found out at the first failover",
    remedy="look at the rule (nft --handle list ruleset), or try from another machine: nc -zv ADDRESS PORT",
    on_node=True,
)
def firewall_unclear(facts: Facts) -> Iterator[Found]:
    """Whether the running rules let in what is needed cannot be told."""
    assert facts.node is not None
    if facts.node.ruleset is None:
        yield Found(facts.node.name, f"what a firewall drops cannot be told: {facts.node.why}")
        return
    waiting: dict[str, list[str]] = {}
    for opening, outcomes in _judged(facts):
        unclear = [found for _, found in outcomes if len(found.possible) > 1 and found.unclear]
        if unclear and len(unclear) == len(outcomes):
            waiting.setdefault(unclear[0].unclear[0], []).append(f"{opening.port.protocol} {opening.port.number}")
    for where, ports in waiting.items():
        text = f"{where} is not understood here, and decides about {', '.join(ports)}"
        yield Found(facts.node.name, text, "nft --handle list ruleset")


@rule(
    "port-silent",
    WARNING,
    code="L48",
    why="whoever is sent to this node finds nobody",
    remedy="hafailover status says whether the service runs here, and why not",
    on_node=True,
)
def port_silent(facts: Facts) -> Iterator[Found]:
    """Nothing listens on a port where a service of this node should."""
    assert facts.node is not None
    for opening in firewall.openings(facts.wanted, facts.node.name):
        if _should_listen(facts.wanted, opening) and not _listeners(facts.node, opening):
            yield Found(facts.node.name, f"nothing listens on {opening}", "hafailover status")


@rule(
    "port-loopback",
    ERROR,
    code="L49",
    why="the service is well on its own node and unreachable from every other one",
    remedy="hafailover render --install writes where it has to listen; restart it then",
    on_node=True,
)
def port_loopback(facts: Facts) -> Iterator[Found]:
    """A service listens on 127.0.0.1 alone, where neither clients nor the other nodes reach it."""
    assert facts.node is not None
    for opening in firewall.openings(facts.wanted, facts.node.name):
        mine = _listeners(facts.node, opening) if opening.port.listens else []
        if mine and all(one.loopback for one in mine):
            text = f"{opening} listens on {mine[0].address} alone"
            yield Found(facts.node.name, text, render(facts.wanted.file))


def _judged(facts: Facts) -> Iterator[tuple[Opening, list[tuple[Packet, Outcome]]]]:
    """Each opening with what becomes of a new connection to it, for every way that it may come."""
    assert facts.node is not None
    if facts.node.ruleset is None:
        return
    for opening in firewall.openings(facts.wanted, facts.node.name):
        packets = list(_packets(facts, opening))
        if packets:
            yield opening, [(packet, facts.node.ruleset.outcome(packet)) for packet in packets]


def _packets(facts: Facts, opening: Opening) -> Iterator[Packet]:
    """First packets of connections to an opening: from each peer by the link that it uses, or from anybody to any address."""
    assert facts.node is not None
    topology, mine = facts.wanted, facts.wanted.nodes[facts.node.name]
    # Of a long range its beginning and its end: rules that begin or end within it are rare, and each port costs a walk through them all.
    for port in sorted({*range(opening.first, min(opening.last, opening.first + _MOST) + 1), opening.last}):
        for source, destination in _ways(topology, mine, opening):
            yield Packet(opening.port.protocol, port, source, destination, _interface(facts, destination))


def _ways(topology: Topology, mine: Node, opening: Opening) -> Iterator[tuple[str | None, str]]:
    if opening.port.who == "clients":
        yield None, mine.links[0]
        for vip in topology.vips.values():
            yield None, str(vip.interface.ip)
        return
    for peer in topology.nodes.values():
        if peer.name == mine.name:
            continue
        # corosync uses every link, each with a port of its own; everything else goes over the first.
        link = next(
            (index for index, one in enumerate(peer.links) if opening.owner == "corosync" and _is(one, opening)), 0
        )
        yield peer.links[link], mine.links[link]


def _is(link: str, opening: Opening) -> bool:
    return str(ipaddress.ip_address(link)) in opening.sources


def _interface(facts: Facts, destination: str) -> str | None:
    """The interface that has an address, or, for a virtual one that is elsewhere now, the one in its network."""
    assert facts.node is not None
    if destination in facts.node.interfaces:
        return facts.node.interfaces[destination]
    for vip in facts.wanted.vips.values():
        if str(vip.interface.ip) == destination:
            for link in facts.wanted.nodes[facts.node.name].links:
                if ipaddress.ip_address(link) in vip.interface.network:
                    return facts.node.interfaces.get(link)
    return None


def _should_listen(topology: Topology, opening: Opening) -> bool:
    """Whether something listens as long as the cluster runs on the node: not for what may be on another one just now."""
    service = topology.services.get(opening.owner)
    return opening.port.listens and (service is None or _everywhere(service))


def _everywhere(service: Service) -> bool:
    kind = service_types()[service.type]
    return kind.cloned(service) or kind.anchor(service, None).resource == clone_name(service)


def _listeners(node: NodeFacts, opening: Opening) -> list[Listener]:
    """What listens on a port of an opening; of a range one port is enough, for a service takes what is free."""
    return [
        one
        for one in node.listeners
        if one.protocol == opening.port.protocol and opening.first <= one.port <= opening.last
    ]


def _node(facts: Facts) -> str:
    assert facts.node is not None
    return facts.node.name


def _key(topology: Topology, opening: Opening) -> str:
    return f"services.{opening.owner}" if opening.owner in topology.services else opening.owner
