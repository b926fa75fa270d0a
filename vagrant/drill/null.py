"""Agents that do nothing, in the same configuration: what Pacemaker itself needs, the floor under every other number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hafailover.crm import model
from hafailover.crm.drill import database
from hafailover.crm.drill.place import Place
from hafailover.crm.drill.target import Target
from hafailover.vagrant import host
from hafailover.vagrant.drill.swap import Swap

_SOURCES = Path(__file__).resolve().parent / "null_agents"
_PLACE = "/usr/lib/ocf/resource.d/drill"
_INSTALL = f"install -d {_PLACE} && ln -sf /usr/bin/sleep /usr/local/sbin/drill-null"
_REMOVE = f"rm -rf {_PLACE} /usr/local/sbin/drill-null"
_SCORE = "5"  # what the agent's start sets
_WANTED = "1000"


class Null:
    """Our resources are stopped, and others that only exist take their place."""

    name = "null"
    writable = False
    repairs = False

    def __init__(self) -> None:
        self._swap: Swap | None = None
        self._target: Target | None = None

    def install(self, lab: Place, target: Target) -> Target:
        """Put the agents on every node and their resources into the configuration."""
        self._swap = Swap(lab)
        self._target = replace(target, database="drill-null", clone="drill-null-clone", address="drill-null-vip")
        self._swap.take_out(target)
        for node in target.nodes:
            lab.exec(node, ["sh", "-c", _INSTALL], check=True)
            for source in sorted(_SOURCES.iterdir()):
                place = f"{_PLACE}/{source.name}"
                script = 'cat > "$0" && chmod 755 "$0"'
                lab.exec(node, ["sh", "-c", script, place], input=source.read_text(), check=True)
        self._swap.put_in(self._target, _server(self._target.database), _address(self._target.address))
        return self._target

    def renew(self, lab: Place) -> None:
        """There is nothing that could be broken."""

    def remove(self, lab: Place) -> None:
        """Take them out again and start ours."""
        if self._swap is None or self._target is None:
            return
        self._swap.delete(self._target)
        for node in self._target.nodes:
            lab.exec(node, ["sh", "-c", _REMOVE], check=True)
        self._swap.put_back()

    def switchover(self, lab: Place, target: Target, node: str, within: float) -> None:
        """Raise the node's promotion score; when the role has moved, make the scores equal again."""
        self._set_score(lab, target, node, _WANTED)
        host.wait(f"{node} has the role", within, lambda: _serves(lab, target, node), 0.2)
        for other in target.nodes:
            self._set_score(lab, target, other, _SCORE)

    def trusts(self, score: int | None) -> bool:
        """There is no data to miss."""
        return True

    def complaints(self, lab: Place) -> list[str]:
        """None: there is no one to ask."""
        return []

    def _set_score(self, lab: Place, target: Target, node: str, score: str) -> None:
        argv = ["crm_attribute", f"--promotion={target.database}", "--node", node, "--update", score]
        lab.exec(node, argv, check=True)


def _serves(lab: Place, target: Target, node: str) -> bool | None:
    seen = database.cluster(lab, target)
    return True if list(seen.promoted) == [node] and seen.address == node else None


def _server(name: str) -> model.Primitive:
    operations = (
        *(
            model.operation(name, action, "0", timeout="20s")
            for action in ("start", "stop", "promote", "demote", "notify")
        ),
        model.operation(name, "monitor", "2s", timeout="20s", role="Promoted"),
        model.operation(name, "monitor", "3s", timeout="20s", role="Unpromoted"),
    )
    meta = {"migration-threshold": "INFINITY", "failure-timeout": "60s"}
    return model.primitive(name, ("ocf", "drill", "server"), {}, operations, meta)


def _address(name: str) -> model.Primitive:
    operations = (
        model.operation(name, "start", "0", timeout="20s"),
        model.operation(name, "stop", "0", timeout="20s"),
        model.operation(name, "monitor", "10s", timeout="20s"),
    )
    return model.primitive(name, ("ocf", "drill", "address"), {}, operations)
