"""From the key ``alerts`` of a topology to the alert agent in the CIB and the file that each node's service reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hafailover.crm import alerts_schema
from hafailover.crm.alerts_schema import Recipient
from hafailover.crm.errors import UsageError
from hafailover.crm.files import RenderedFile
from hafailover.hooks.alerts import config

if TYPE_CHECKING:
    from hafailover.crm.service import ReadSecret
    from hafailover.crm.topology import Topology
    from hafailover.crm.yamldoc import Path_

ID = "hafailover-alerts"
"""Id of the alert in the CIB."""
AGENT = "/usr/lib/hafailover/alert"
TIMEOUT = 15_000
"""Milliseconds that Pacemaker gives the agent, which needs two."""
GROUP = "haclient"
"""Whose members may read what the service, which runs as hacluster, reads: its secrets are among it."""


def selected(topology: Topology) -> tuple[str, ...]:
    """The kinds of events of which Pacemaker has to tell the agent; empty when nobody wants any."""
    wanted = {word for recipient in topology.alerts.values() for word in recipient.events}
    kinds = {
        "nodes": {"nodes"},
        "fencing": {"fencing"},
        "resources": {"failures", "promotions", "resources"},
        "attributes": {"attributes"},
    }
    return tuple(kind for kind, words in kinds.items() if words & wanted)


def secrets(topology: Topology) -> Iterator[tuple[Path_, str]]:
    """Every secret of the recipients: its place and reference."""
    for recipient in topology.alerts.values():
        for key, reference in recipient.secrets():
            yield ("alerts", recipient.name, key), reference


def files(topology: Topology, node: str, read: ReadSecret) -> Iterator[RenderedFile]:
    """What the service of ``node`` reads. UsageError when a secret cannot be used."""
    if not topology.alerts:
        # Also when there is nobody: who was named before must not be told for ever, nor his secrets be kept.
        yield RenderedFile(config.PATH, _text(topology, node, {}).encode())
        return
    recipients = {name: _written(topology, one, read) for name, one in topology.alerts.items()}
    content = _text(topology, node, recipients).encode()
    yield RenderedFile(config.PATH, content, 0o640, group=GROUP, secret=True)


def _text(topology: Topology, node: str, recipients: Mapping[str, Any]) -> str:
    whole = {"version": config.VERSION, "cluster": topology.name, "node": node, "recipients": recipients}
    return json.dumps(whole, indent=1) + "\n"


def _written(topology: Topology, one: Recipient, read: ReadSecret) -> dict[str, Any]:
    found = {
        "type": one.type,
        "events": list(one.events),
        "timeout": one.timeout / 1000,
        "keep": one.keep,
        "keep_for": one.keep_for / 1000,
        **one.options,
    }
    for key, reference in one.secrets():
        found[key] = read(reference).decode()
        wrong = alerts_schema.bad_url(one.type, found[key]) if key == "url" else None
        if key == "token" and not (found[key].isascii() and found[key].isprintable()):
            wrong = "is more than one line of ASCII"
        if wrong:
            raise UsageError(f"{topology.file}: alerts.{one.name}.{key}: what {reference} holds {wrong}")
    return found
