"""A glance at what Corosync is told and says, for status: in a millisecond, and whatever is wrong with it.

What is wrong with a corosync.conf, crm/corosync_conf.py says.
"""

from __future__ import annotations

from collections.abc import Iterator

CONF = "/etc/corosync/corosync.conf"


def settings(conf: str) -> Iterator[tuple[int, tuple[str, ...], str, str]]:
    """(number of the section, its names from the outside in, key, value) of every setting in the text of a corosync.conf."""
    names: list[str] = []
    numbers = [0]
    count = 0
    for line in conf.splitlines():
        text = line.strip()
        if text.startswith("#"):
            continue
        if text.endswith("{"):
            count += 1
            names.append(text[:-1].strip())
            numbers.append(count)
        elif text == "}":
            names[-1:] = []
            numbers[1:] = numbers[1:-1]
        elif text:
            key, _, value = (part.strip() for part in text.partition(":"))
            yield numbers[-1], tuple(names), key, value


def link_addresses(conf: str) -> Iterator[tuple[str, str]]:
    """(address, node) of every link, where nodes have names."""
    found: dict[int, dict[str, str]] = {}
    for number, names, key, value in settings(conf):
        if names[-2:] == ("nodelist", "node"):
            found.setdefault(number, {})[key] = value
    for node in found.values():
        if node.get("name"):
            for key, value in node.items():
                if key.startswith("ring") and key.endswith("_addr"):
                    yield value, node["name"]


def quorum_device(conf: str) -> tuple[str, str] | None:
    """(model, host) of the quorum device, or None."""
    there = {key: value for _, names, key, value in settings(conf) if names[:2] == ("quorum", "device")}
    return (there.get("model", ""), there.get("host", "")) if there else None


def votes(quorumtool: str) -> tuple[int | None, int | None, int | None]:
    """(votes there are, votes there could be, votes that make a quorum); None where corosync-quorumtool does not tell."""
    found = {}
    for line in quorumtool.splitlines():
        key, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdigit():
            found[key.strip()] = int(words[0])
    return found.get("Total votes"), found.get("Expected votes"), found.get("Quorum")


def device_state(quorumtool: str) -> tuple[bool | None, bool | None]:
    """Whether the quorum device's daemon runs here, and whether this node has its vote; None when corosync-quorumtool does not tell."""
    for line in quorumtool.splitlines():
        words = line.split()
        if line.rstrip().endswith("(local)") and len(words) >= 4:
            flags = words[2].split(",")
            return "NR" not in flags, "A" in flags and "V" in flags
    return None, None
