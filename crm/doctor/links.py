"""Corosync's links: whether each node reaches each other one over each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hafailover.crm.corosync_links import CONNECTED, SELF, parse
from hafailover.crm.doctor import FAIL, OK, WARN, Result, Seen, mapping, text, these
from hafailover.crm.doctor.here import CannotLook, Here

TITLE = "Corosync's links"
_WHY = "the next link that fails takes the node out of the cluster, and it is fenced"


def read(here: Here) -> dict[str, Any]:
    """``links``: link → node id → Corosync's word for the state; ``names``: node id → name."""
    found = parse(here.say("corosync-cfgtool", "-s"))
    if not found:
        raise CannotLook("corosync-cfgtool tells of no links (the transport is not knet)")
    return {"links": found, "names": _names(here)}


def _names(here: Here) -> dict[str, str]:
    nodes = here.cib.iterfind("configuration/nodes/node") if here.cib is not None else ()
    return {one.get("id", ""): one.get("uname", "") for one in nodes}


def judge(seen: Seen) -> Iterator[Result]:
    """A result for each node: what it reaches, and what not."""
    yield from seen.untold("links", "corosync-link", "its links")
    for node, facts in seen.told("links").items():
        links, names = mapping(facts.get("links")), mapping(facts.get("names"))
        cut, there, away = [], 0, []
        reached = {
            number for states in links.values() for number, state in mapping(states).items() if state == CONNECTED
        }
        for link, states in links.items():
            for number, state in mapping(states).items():
                peer = text(names.get(number, f"node {number}"), 80)
                if state == CONNECTED:
                    there += 1
                elif state == SELF:
                    continue
                elif number in reached or peer not in seen.missing:
                    cut.append(f"link {text(link, 10)} to {peer} is {text(state, 40)}")
                else:
                    away.append(peer)  # a node that is down is told as that
        if cut:
            fix = "corosync-cfgtool -s; ip -s link; then its cable, switch port and firewall (udp 5405 and up)"
            yield Result("corosync-link", FAIL, node, "; ".join(cut), _WHY, fix)
        elif len(links) == 1:
            why = "one cable or switch between the nodes is all there is: when it fails, one of them is fenced"
            fix = "give each node a second address in links, on another switch: docs/topology.md"
            yield Result("corosync-link", WARN, node, "there is a single link", why, fix)
        elif there:
            but = f", except those to {these(dict.fromkeys(away))}, which is not there" if away else ""
            yield Result("corosync-link", OK, node, f"{len(links)} links, all connected{but}")
