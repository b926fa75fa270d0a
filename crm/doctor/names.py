"""Names: what each node makes of the nodes' names, and of their addresses."""

from __future__ import annotations

import ipaddress
import shlex
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, Callable

from hafailover.crm.doctor import FAIL, OK, UNKNOWN, WARN, Result, Seen, mapping, text, these
from hafailover.crm.doctor.here import Here

TITLE = "Names"
_LIMIT = 3.0  # seconds; a name server that is silent is asked three times for five
_RENDER = "hafailover render /etc/hafailover/topology.yml --install writes them into /etc/hosts"
_HOSTS = f"{_RENDER}; else there: "


def read(here: Here) -> dict[str, Any]:
    """``names``: node → addresses; ``addresses``: link's address → name; a text that begins with ``!`` says why there is none."""
    names: dict[str, Any] = {}
    addresses: dict[str, Any] = {}
    calls: list[Callable[[], None]] = []
    for node, links in here.nodes.items():
        names[node] = "!no answer in time"
        calls.append(lambda node=node: names.update({node: _addresses(node)}))  # type: ignore[misc]
        for link in links:
            addresses[link] = "!no answer in time"
            calls.append(lambda link=link: addresses.update({link: _name(link)}))  # type: ignore[misc]
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    end = time.monotonic() + _LIMIT
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return {
        "names": dict(names),
        "addresses": dict(addresses),
        "links": {node: list(links) for node, links in here.nodes.items()},
    }


def _addresses(name: str) -> Any:
    try:
        return sorted({str(one[4][0]) for one in socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)})
    except (OSError, UnicodeError) as error:
        return f"!{getattr(error, 'strerror', None) or error}"


def _name(address: str) -> str:
    try:
        return socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
    except (OSError, UnicodeError) as error:
        return f"!{getattr(error, 'strerror', None) or error}"


def judge(seen: Seen) -> Iterator[Result]:
    """Each node's answers, and whether all nodes have the same."""
    yield from seen.untold("names", "names", "its names")
    told = seen.told("names")
    for node, facts in told.items():
        wrong = [*_forward(node, facts), *_backward(node, facts)]
        yield from wrong
        if not wrong:
            yield Result("names", OK, node, f"knows {these(mapping(facts.get('names')))}, by name and by address")
    yield from _same(seen, {node: mapping(facts.get("names")) for node, facts in told.items()})


def _forward(node: str, facts: Any) -> Iterator[Result]:
    links = mapping(facts.get("links"))
    for name, found in mapping(facts.get("names")).items():
        own = [str(link) for link in links.get(name) or ()]
        entry = f"{text(own[0], 60) if own else 'ADDRESS'} {text(name, 80)}"
        line = f"echo {shlex.quote(entry)} >> /etc/hosts"
        if not isinstance(found, list):
            why = "what is reached by name (certificates, brokers, ssh) fails there"
            yield Result(
                "name-forward",
                FAIL,
                node,
                f"the name {text(name)} leads nowhere: {text(str(found)[1:])}",
                why,
                _HOSTS + line,
            )
            continue
        loop = [one for one in found if _loopback(one)]
        if loop:
            why = (
                "a service that listens on its own name is reached by nobody else"
                if name == node
                else "it reaches itself instead"
            )
            fix = f"take {text(loop[0], 60)} {text(name, 80)} out of /etc/hosts; {line}"
            yield Result("name-forward", WARN, node, f"the name {text(name)} is {loop[0]}", why, fix)
        elif own and not set(map(str, found)) & set(own):
            why = f"corosync.conf has {these(own)} for it"
            yield Result(
                "name-forward",
                WARN,
                node,
                f"the name {text(name)} is {text(these(map(str, found)))}",
                why,
                _HOSTS + line,
            )


def _loopback(address: object) -> bool:
    try:
        return ipaddress.ip_address(str(address).partition("%")[0]).is_loopback
    except ValueError:
        return False


def _belongs(name: str, node: str) -> bool:
    """Whether a host's name is a node's, or one made of it; db10 is not made of db1."""
    return name.startswith(node) and not (node[-1:].isdigit() and name[len(node) :][:1].isdigit())


def _backward(node: str, facts: Any) -> Iterator[Result]:
    owners = {str(link): name for name, links in mapping(facts.get("links")).items() for link in links}
    first = {str(next(iter(links), "")) for links in mapping(facts.get("links")).values() if isinstance(links, list)}
    bad = []
    for address, found in mapping(facts.get("addresses")).items():
        owner = owners.get(address, "")
        said = str(found)
        if said.startswith("!"):
            if address not in first:
                continue  # that a second network has no names is usual, and nobody looks for them there
            bad.append(f"{text(address)} has no name ({text(said[1:], 60)})")
        # A link besides the first often has a name of its own: db1-ring1, db1.storage.example.
        elif not _belongs(said.partition(".")[0].lower(), owner.partition(".")[0].lower()):
            bad.append(f"{text(address)} is called {text(said, 80)}, and is {owner}'s")
    if bad:
        why = "access lists that name hosts, and logs, mistake one machine for another"
        yield Result("name-backward", WARN, node, "; ".join(bad), why, _RENDER)


def _same(seen: Seen, told: dict[str, Any]) -> Iterator[Result]:
    if len(told) < 2:
        yield Result("names-same", UNKNOWN, "", "whether all nodes know the same names: nothing to compare with")
        return
    names = dict.fromkeys(name for found in told.values() for name in found)
    odd = []
    for name in names:
        answers: dict[str, list[str]] = {}
        for node, found in told.items():
            one = found.get(name)
            # Its own name may well be another address on the node itself, which is judged there.
            if node != name and isinstance(one, list):
                answers.setdefault(", ".join(map(str, one)), []).append(node)
        if len(answers) > 1:
            odd.append(f"{text(name)} is " + "; ".join(f"{text(said)} on {these(on)}" for said, on in answers.items()))
    if odd:
        why = "nodes that reach different machines by one name disagree about who is there"
        yield Result("names-same", FAIL, "", "; ".join(odd), why, _RENDER)
    else:
        yield Result("names-same", OK, "", f"{these(told)} know the same addresses")
