"""What an nftables ruleset does to a new connection, as far as that can be told. Pure: from ``nft -j list ruleset`` to an outcome.

The answer is the set of what may happen. A rule that is understood has one effect, and one that is not may have any of its effects: who
asks can see from the set that it depends, and from ``unclear`` on what.
"""

from __future__ import annotations

import ipaddress
import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

ACCEPT, DROP, _END = "accept", "drop", "end"
_YES, _SOURCE, _COMPLEX, _NO = range(4)  # of a conjunction the last one in this order decides
_ENDS = {"accept": ACCEPT, "drop": DROP, "reject": DROP, "return": _END}
_SILENT = ("counter", "log", "meta", "ct", "mangle", "notrack", "comment", "set", "map", "last")
_FLAGS = {"payload": {"protocol": "tcp", "field": "flags"}}
_PROTOCOL = (
    {"meta": {"key": "l4proto"}},
    {"payload": {"protocol": "ip", "field": "protocol"}},
    {"payload": {"protocol": "ip6", "field": "nexthdr"}},
)
_NUMBERS = {"6": "tcp", "17": "udp"}  # as nft lists them where /etc/protocols is not there
_TRANSLATES = ("dnat", "snat", "redirect", "masquerade")
_HOOKS = ("prerouting", "input")
_ORDER = {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}


class Packet(NamedTuple):
    """The first packet of a connection: ``source`` None is any; ``interface`` None is not known."""

    protocol: str
    port: int
    source: str | None
    destination: str
    interface: str | None


class Outcome(NamedTuple):
    """What may become of a packet (ACCEPT, DROP, or both), by which rule or policy it is dropped, and the rules that cannot be told."""

    possible: frozenset[str]
    dropped_by: str = ""
    unclear: tuple[str, ...] = ()


class Ruleset:
    """The tables, chains and sets of ``nft -j list ruleset``."""

    def __init__(self, listing: Mapping[str, Any]) -> None:
        self._chains: list[dict[str, Any]] = []
        self._rules: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        self._sets: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.translates = False
        for entry in listing.get("nftables", []):
            if "chain" in entry:
                self._chains.append(entry["chain"])
            elif "rule" in entry:
                rule = entry["rule"]
                self.translates |= any(kind in _TRANSLATES for statement in rule.get("expr", []) for kind in statement)
                self._rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule)
            for kind in ("set", "map"):
                if kind in entry:
                    found = entry[kind]
                    self._sets[found["family"], found["table"], found["name"]] = found

    def outcome(self, packet: Packet) -> Outcome:
        """What all base chains together do to ``packet``: it must pass each of them."""
        version = ipaddress.ip_address(packet.destination).version
        families = ("inet", "ip" if version == 4 else "ip6")
        possible, dropped_by, unclear = {ACCEPT}, "", list[str]()
        for chain in self._chains:
            if chain.get("type") != "filter" or chain.get("hook") not in _HOOKS or chain["family"] not in families:
                continue
            walk = _Walk(self, chain, packet)
            found = walk.chain(chain["name"])
            if _END in found:
                found = found - {_END} | {chain.get("policy", ACCEPT)}
                if chain.get("policy") == DROP:
                    walk.drops.append(
                        f"the policy of chain {chain['name']} of table {chain['family']} {chain['table']}"
                    )
            unclear += walk.unclear
            if DROP in found:
                dropped_by = dropped_by or (walk.drops[0] if walk.drops else "")
                possible = possible | {DROP} if ACCEPT in found else {DROP}
            if possible == {DROP}:
                return Outcome(frozenset(possible), walk.drops[0] if walk.drops else dropped_by, tuple(unclear))
        return Outcome(frozenset(possible), dropped_by, tuple(unclear))

    def rules(self, family: str, table: str, chain: str) -> Sequence[Mapping[str, Any]]:
        """The rules of a chain in their order."""
        return self._rules.get((family, table, chain), [])

    def elements(self, family: str, table: str, name: str) -> Sequence[Any] | None:
        """What is in a named set or map, None when there is none."""
        found = self._sets.get((family, table, name))
        return None if found is None else list(found.get("elem", []))


class _Walk:
    """One packet on its way through one base chain and those that it jumps to."""

    def __init__(self, ruleset: Ruleset, base: Mapping[str, Any], packet: Packet) -> None:
        self._ruleset, self._family, self._table, self._packet = ruleset, base["family"], base["table"], packet
        self.drops: list[str] = []
        self.unclear: list[str] = []

    def chain(self, name: str) -> set[str]:
        """What may happen in a chain: ACCEPT, DROP, or _END, where its caller goes on."""
        possible: set[str] = set()
        for rule in self._ruleset.rules(self._family, self._table, name):
            match, effects = self._rule(rule)
            if match == _NO:
                continue
            where = f"rule {rule['handle']} of chain {name} of table {self._family} {self._table}"
            if DROP in effects:
                self.drops.append(where)
            if match == _COMPLEX and effects != {""}:
                self.unclear.append(where)
            possible |= effects - {""}
            if match == _YES and "" not in effects:
                return possible
        return possible | {_END}

    def _rule(self, rule: Mapping[str, Any]) -> tuple[int, set[str]]:
        """How a rule matches, and what it does then; "" stands for going on with the next rule."""
        match = _YES
        for statement in rule.get("expr", []):
            [(kind, about)] = statement.items()
            if kind == "match":
                match = max(match, self._match(about))
            elif kind == "vmap":
                return self._map(match, about)
            elif kind in _ENDS:
                return match, {_ENDS[kind]}
            elif kind in ("jump", "goto"):
                return match, self._other(about["target"], kind) if match != _NO else {""}
            elif kind == "queue":
                return max(match, _COMPLEX), {ACCEPT, DROP}
            elif kind == "xt":
                # An extension of iptables, of which nft tells no more than its name.
                if about.get("type") == "target":
                    return max(match, _COMPLEX), {ACCEPT, DROP, ""}
                match = max(match, _YES if about.get("name") == "comment" else _COMPLEX)
            elif kind not in _SILENT:
                match = max(match, _COMPLEX)  # a limit, a quota, a count
            if match == _NO:
                break
        return match, {""}

    def _other(self, target: str, kind: str) -> set[str]:
        found = self.chain(target)
        if kind == "jump" and _END in found:
            found = found - {_END} | {""}
        return found

    def _map(self, match: int, about: Mapping[str, Any]) -> tuple[int, set[str]]:
        """A verdict map: what the first element that matches says."""
        data = about["data"]
        pairs = self._elements(data)
        if pairs is None or match == _NO:
            return max(match, _COMPLEX), {ACCEPT, DROP, ""}
        effects: set[str] = set()
        for key, verdict in pairs:
            fits = self._match({"op": "==", "left": about["key"], "right": key})
            if fits == _NO:
                continue
            [(kind, where)] = verdict.items()
            effects |= self._other(where["target"], kind) if kind in ("jump", "goto") else {_ENDS.get(kind, "")}
            match = max(match, fits)
            if fits == _YES:
                return match, effects
        return match, effects | {""}

    def _elements(self, right: Any) -> list[Any] | None:
        """The elements of a set that is written there or named; None when it cannot be told."""
        if isinstance(right, str) and right.startswith("@"):
            found = self._ruleset.elements(self._family, self._table, right[1:])
            return None if found is None else [_plain(one) for one in found]
        if isinstance(right, dict) and "set" in right:
            return [_plain(one) for one in right["set"]]
        return [_plain(one) for one in right] if isinstance(right, list) else [right]

    def _match(self, about: Mapping[str, Any]) -> int:
        """Whether the packet is as a match wants it."""
        left = about["left"]
        if isinstance(left, dict) and _FLAGS in (left, left.get("&", [None])[0]):
            return _flags(about) if self._packet.protocol == "tcp" else _NO
        known = self._value(left)
        if isinstance(known, int):
            return known  # it depends
        elements = self._elements(about["right"])
        if elements is None:
            return _COMPLEX
        if about["op"] in _ORDER:
            return _YES if _ORDER[about["op"]](_ordered(known[0]), _ordered(elements[0])) else _NO
        if about["op"] not in ("==", "!=", "in"):
            return _COMPLEX
        if left in _PROTOCOL:
            elements = [_NUMBERS.get(str(one), one) for one in elements]
        fits = [_fits(known[0], one) for one in elements]
        if None in fits and True not in fits:
            return _COMPLEX
        return _YES if (True in fits) != (about["op"] == "!=") else _NO

    def _value(self, left: Any) -> tuple[str] | int:
        """The packet's value of an expression, in a tuple; or why there is none."""
        packet = self._packet
        version = "ipv4" if ipaddress.ip_address(packet.destination).version == 4 else "ipv6"
        [(kind, about)] = left.items() if isinstance(left, dict) and len(left) == 1 else [("", {})]
        if kind == "payload":
            return self._payload(about, packet, version)
        if kind == "ct":
            return self._connection(str(about.get("key")))
        if kind == "fib" and about.get("result") == "type":
            return ("local",) if about.get("flags") == ["daddr"] else _COMPLEX
        if kind == "meta":
            values = {
                "l4proto": packet.protocol,
                "nfproto": version,
                "protocol": "ip" if version == "ipv4" else "ip6",
                "pkttype": "host",
                "iif": packet.interface,
                "iifname": packet.interface,
            }
            value = values.get(str(about.get("key")))
            return _COMPLEX if value is None else (value,)
        return _COMPLEX

    def _connection(self, key: str) -> tuple[str] | int:
        """What connection tracking knows of a connection that begins here."""
        if key == "status":
            # firewalld accepts what was translated: nothing was, where nobody translates.
            return _COMPLEX if self._ruleset.translates else _NO
        known = {"state": "new", "direction": "original"}
        return (known[key],) if key in known else _COMPLEX

    def _payload(self, about: Mapping[str, Any], packet: Packet, version: str) -> tuple[str] | int:
        protocol, field = about.get("protocol"), about.get("field")
        if protocol in ("tcp", "udp", "udplite", "sctp", "dccp", "icmp", "icmpv6", "th"):
            if protocol not in ("th", packet.protocol):
                return _NO
            return (str(packet.port),) if field == "dport" else _COMPLEX
        if protocol in ("ip", "ip6"):
            if (protocol == "ip") != (version == "ipv4"):
                return _NO
            if field == "saddr":
                return _SOURCE if packet.source is None else (packet.source,)
            if field == "daddr":
                return (packet.destination,)
            return (packet.protocol,) if field in ("protocol", "nexthdr") else _COMPLEX
        return _COMPLEX


def _flags(about: Mapping[str, Any]) -> int:
    """Whether the flags of a connection's first packet, SYN alone, are as a match wants them."""
    mask = about["left"].get("&", [None, None])[1]
    flags = {"syn"} if mask is None or "syn" in _names(mask) else set[str]()
    right = about["right"]
    choices = right["set"] if isinstance(right, dict) and "set" in right else [right]
    if about["op"] in ("in", "!"):  # one of them is set, or none
        return _YES if any(flags & _names(one) for one in choices) == (about["op"] == "in") else _NO
    return _YES if any(flags == _names(one) for one in choices) == (about["op"] == "==") else _NO


def _names(written: Any) -> set[str]:
    """Flags by name: one of them, or a list; 0 is none."""
    return (
        {written}
        if isinstance(written, str)
        else {str(one) for one in written if one}
        if isinstance(written, list)
        else set()
    )


def _plain(element: Any) -> Any:
    """An element of a set without what is kept about it (a counter, a timeout)."""
    if isinstance(element, dict) and "elem" in element:
        return element["elem"]["val"]
    return element


def _fits(value: str, wanted: Any) -> bool | None:
    """Whether a value is the wanted one, or in the wanted range or network; None for what is not understood."""
    if isinstance(wanted, dict) and "prefix" in wanted:
        network = f"{wanted['prefix']['addr']}/{wanted['prefix']['len']}"
        return ipaddress.ip_address(value) in ipaddress.ip_network(network, strict=False)
    if isinstance(wanted, dict) and "range" in wanted:
        low, high = (_ordered(one) for one in wanted["range"])
        return low <= _ordered(value) <= high
    if isinstance(wanted, str) and wanted.endswith("*"):
        return value.startswith(wanted[:-1])  # the name of an interface, or an element for everything else
    return _ordered(value) == _ordered(wanted) if isinstance(wanted, (str, int)) else None


def _ordered(value: Any) -> tuple[int, int | str]:
    """Something to compare: numbers and addresses by their value, anything else as text."""
    text = str(value)
    if text.isdecimal():
        return 0, int(text)
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return 2, text
    return 1, int(parsed)
