"""What Pacemaker's fencer says of its devices, now that it is asked: who covers whom, and whether each answers."""

from __future__ import annotations

from contextlib import suppress

from hafailover.crm import local
from hafailover.crm.status import Status
from lxml import etree

_TIMEOUT = 30.0


def covering(status: Status) -> dict[str, list[str]]:
    """For each other member the devices that say, when they are asked, that they can fence it.

    A node's fencer knows the devices that may run there: mostly none for the node itself, which is for the others to say.
    """
    found = {}
    for node in status.nodes:
        if node.kind == "member" and node.name != status.seen_by:
            done = local.run(["stonith_admin", "--list", node.name, "--output-as=xml"], _TIMEOUT)
            found[node.name] = _items(done.out) if done.rc == 0 else []
    return found


def _items(text: str) -> list[str]:
    """The devices in a list of stonith_admin's; none where it cannot be read."""
    with suppress(etree.XMLSyntaxError, ValueError):
        return [str(item.text or item.get("id")) for item in etree.fromstring(text.encode()).iter("item")]
    return []


def tried() -> dict[str, str]:
    """What each fence device that this node can use answers when it is tried now: "" for good."""
    listed = local.run(["stonith_admin", "--list-registered"], _TIMEOUT)
    # A line for each, one on which there is nothing but a word and a number at the end.
    devices = [line.strip() for line in listed.out.splitlines() if line.strip() and not line.rstrip().endswith("found")]
    found = {}
    for device in devices:
        done = local.run(["stonith_admin", f"--query={device}", "--timeout=20"], _TIMEOUT)
        said = (done.err or done.out).strip().splitlines()
        found[device] = "" if done.rc == 0 else said[-1] if said else f"code {done.rc}"
    return found
