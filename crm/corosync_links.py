"""What Corosync says of its links from this node to the others."""

from __future__ import annotations

SELF, CONNECTED = "localhost", "connected"


def parse(said: str) -> dict[str, dict[str, str]]:
    """What ``corosync-cfgtool -s`` printed: link → node id → state (localhost, connected, disconnected)."""
    found: dict[str, dict[str, str]] = {}
    link = ""
    for line in said.splitlines():
        words = line.split()
        if words[:2] == ["LINK", "ID"] and len(words) > 2:
            link = words[2]
            found[link] = {}
        elif link and words and words[0] == "nodeid:" and len(words) > 2:
            found[link][words[1].rstrip(":")] = words[2]
    return found
