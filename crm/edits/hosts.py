"""The names of the nodes in /etc/hosts."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from hafailover.crm.edits import marks
from hafailover.crm.edits.blocks import block


def hosts_set(content: bytes, nodes: Mapping[str, Sequence[str]], file: str = "/etc/hosts") -> bytes:
    """``content`` with a block that gives each node the first of its addresses.

    The first line that has a name decides, and Debian's installer writes ``127.0.1.1 HOST``: then other nodes are
    told an address at which only they themselves answer. So a name is taken out of lines that give a node an address
    it does not have; the line as it was stays as a comment.
    """
    lines = marks.taken_back(marks.split(content, file), _assigns, _is_empty)
    eol = marks.end_of_line(lines)
    result: list[bytes] = []
    for line in lines:
        words = line.partition(b"#")[0].split()
        address = words[0].decode("ascii", "replace") if words else ""
        wrong = [word for word in words[1:] if _contradicts(word, address, nodes)]
        if not wrong:
            result.append(line)
            continue
        result += marks.replaced([line], eol)
        rest = [word for word in words if word not in wrong]
        if len(rest) > 1:
            result += marks.assigned(address, b" ".join(rest).decode("utf-8", "surrogateescape"), eol)
    head = ["# Nodes of the cluster, written by hafailover."]
    return block(b"".join(result), "", [*head, *(f"{links[0]}\t{name}" for name, links in nodes.items())], file)


def _contradicts(word: bytes, address: str, nodes: Mapping[str, Sequence[str]]) -> bool:
    links = [_address(link) for link in nodes.get(word.decode("ascii", "replace"), ())]
    given = _address(address)
    if given is None or not links or given in links:
        return False
    # An address of the other family answers other questions, and may be right.
    return given.is_loopback or given.version in [link.version for link in links if link]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _assigns(line: bytes, key: bytes) -> bool:
    return line.split()[:1] == [key]


def _is_empty(lines: Sequence[bytes], index: int, name: bytes) -> bool:
    return False  # nothing has headers here
