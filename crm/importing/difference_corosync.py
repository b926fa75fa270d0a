"""What the topology's corosync.conf has of other settings than the cluster's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from hafailover.crm import corosync, corosync_conf, values
from hafailover.crm.importing.difference_words import Difference
from hafailover.crm.importing.findings import visible
from hafailover.crm.importing.hidden import may_show
from hafailover.crm.topology import Topology


def of_corosync(conf: corosync_conf.CorosyncConf, wanted: Topology, names: Mapping[str, str]) -> Iterator[Difference]:
    """What corosync.conf would have of other settings than it has; logging is left out. ``names``: node → its name in the topology."""
    for node in conf.nodes:
        name = names.get(node.name or "", "")
        if name and name != node.name:
            where = f"corosync.conf node {visible(node.name, 80)}"
            yield Difference("corosync", where, f"is called {name}; that takes a stop of the whole cluster")
    old, new = _settings(conf, names), _settings(corosync_conf.parse(corosync.text(wanted), "corosync.conf"), {})
    for key in dict.fromkeys([*old, *new]):
        usual = _COROSYNC.get(key)
        before, after = old.get(key, usual), new.get(key, usual)
        if (
            key != "system.allow_knet_handle_fallback"
            and before != after
            and _corosync_meaning(before) != _corosync_meaning(after)
        ):
            if not (before or "").isdecimal() and not may_show(key.rpartition(".")[2], before or ""):
                before = "(not shown)"
            shown = [visible(one, 60) if one is not None else "not set" for one in (before, after)]
            yield Difference("corosync", f"corosync.conf {visible(key, 80)}", f"{shown[0]} becomes {shown[1]}")


# Corosync's own defaults, and what two_node implies.
_COROSYNC = {
    "totem.token": "3000", "totem.transport": "knet", "totem.version": "2", "totem.crypto_cipher": "none", "totem.crypto_hash": "none",
    "quorum.provider": "corosync_votequorum", "totem.secauth": "off",
    "quorum.device.timeout": "10000", "quorum.device.sync_timeout": "30000",
    "quorum.device.net.tls": "on", "totem.rrp_mode": "passive", "totem.ip_version": "ipv6-4", "totem.join": "50",
}  # fmt: skip
# Besides logging, what a container needs: corosync.text() writes that for the machine it runs on.
_IGNORED = ("logging", "nodelist.node")


def _corosync_meaning(text: str | None) -> object:
    truth = values.boolean(text) if text is not None and not text.isdecimal() else None
    return ("on" if truth else "off") if truth is not None else text


def _settings(conf: corosync_conf.CorosyncConf, names: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}

    def walk(prefix: str, sections: Iterable[corosync_conf.Section]) -> None:
        for section in sections:
            here = f"{prefix}.{section.name}" if prefix else section.name
            if here in _IGNORED or (here == "totem.interface" and _is_plain(section)):
                continue
            number = section.get("linknumber") or section.get("ringnumber")
            place = f"{here}.{number.value if number else 0}" if here == "totem.interface" else here
            for key, setting in section.settings:
                if place != here and key in ("linknumber", "ringnumber"):
                    continue
                found[f"{place}.{key}"] = setting.value
            walk(here, section.sections)

    walk("", conf.sections)
    for node, section in zip(conf.nodes, conf.every("nodelist.node")):
        name = names.get(node.name or "", node.name) or f"node {node.id}"
        links = " ".join(
            f"{number}:{link}" if number != place else link for place, (number, link) in enumerate(node.links.items())
        )
        found.update({f"node {name} nodeid": str(node.id), f"node {name} links": links})
        for key, setting in section.settings:
            ring = key.startswith("ring") and key.endswith("_addr") and key[4:-5].isdecimal()
            if key not in ("name", "nodeid") and not ring and (key, setting.value) != ("quorum_votes", "1"):
                found[f"node {name} {key}"] = setting.value
    return found


def _is_plain(section: corosync_conf.Section) -> bool:
    return {key for key, _ in section.settings} <= {"linknumber", "ringnumber"}
