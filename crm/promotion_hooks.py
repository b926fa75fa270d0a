"""From the key ``hooks`` of a topology to the file that the agents read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hafailover.agents.mariadb import hooks
from hafailover.crm.files import RenderedFile

if TYPE_CHECKING:
    from hafailover.crm.topology import Topology


def files(topology: Topology) -> Iterator[RenderedFile]:
    """What the agents read. Root's alone: nobody else needs to know what root is made to run."""
    if topology.hooks:
        yield RenderedFile(hooks.CONFIG, _text(topology).encode(), 0o600)
    else:
        yield RenderedFile(
            hooks.CONFIG, (json.dumps({"version": hooks.VERSION, "services": {}}) + "\n").encode(), 0o600
        )


def _text(topology: Topology) -> str:
    services: dict[str, Any] = {}
    for service in topology.services.values():
        if service.type != "mariadb":
            continue
        wanted: dict[str, list[dict[str, Any]]] = {}
        for hook in topology.hooks:
            if hook.service in (None, service.name):
                wanted.setdefault(hook.event, []).append(
                    {
                        "name": hook.name,
                        "command": list(hook.command),
                        "critical": hook.critical,
                        "timeout": hook.timeout / 1000,
                        "on": hook.on,
                    }
                )
        addresses = [
            str(vip.interface.ip)
            for vip in topology.vips.values()
            if vip.follows in (service.name, f"{service.name}.primary")
        ]
        services[service.name] = {
            "hooks": wanted,
            "cluster": topology.name,
            "addresses": addresses,
            "port": service.options["port"],
        }
    return json.dumps({"version": hooks.VERSION, "services": services}, indent=1) + "\n"
