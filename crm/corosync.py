"""corosync.conf: membership, links, quorum and the third voter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hafailover.crm.files import RenderedFile
from hafailover.crm.schema import milliseconds
from hafailover.crm.topology import QuorumDevice, Topology
from hafailover.crm.topology_schema import DETECTION

Block = Mapping[str, Any]
"""Keys and values of a section; None leaves a key out, a list repeats it, a mapping is a section inside."""

_LEAST = 1_250  # ms; with less both daemons of the quorum device want an option, and the client is refused where the other lacks it
_QUICK = 600  # ms
_QUICK_TOKEN = milliseconds(DETECTION["fast"]["token"])
_BEAT = 100  # ms; a daemon beats four times in five timeouts


def text(topology: Topology) -> str:
    """The corosync.conf of ``topology``, the same for every node."""
    blocks: dict[str, Any] = {
        "totem": _totem(topology),
        "nodelist": {
            "node": [
                {
                    "name": node.name,
                    "nodeid": node.id,
                    **{f"ring{index}_addr": link for index, link in enumerate(node.links)},
                }
                for node in topology.nodes.values()
            ]
        },
        "quorum": _quorum(topology),
        "logging": {"to_syslog": "yes", "to_stderr": "no", "to_logfile": "no", "timestamp": "hires"},
    }
    if topology.lab:
        # In a container the privileged way of making knet's handle is forbidden.
        blocks["system"] = {"allow_knet_handle_fallback": "yes"}
    lines = ["# Written by hafailover; changes belong into the topology."]
    for name, block in blocks.items():
        lines += _block(name, block, 0)
    return "\n".join(lines) + "\n"


def _totem(topology: Topology) -> Block:
    detection = topology.detection
    encrypted = topology.authkey is not None
    interfaces = [
        {
            "linknumber": number,
            "knet_ping_interval": detection.knet_ping_interval,
            "knet_ping_timeout": detection.knet_ping_timeout,
        }
        for number in range(len(next(iter(topology.nodes.values())).links))
    ]
    tuned = detection.knet_ping_interval is not None or detection.knet_ping_timeout is not None
    return {
        "version": 2,
        "cluster_name": topology.name,
        "transport": "knet",
        "crypto_cipher": "aes256" if encrypted else "none",
        "crypto_hash": "sha256" if encrypted else "none",
        "token": detection.token,
        "token_coefficient": detection.token_coefficient,
        "consensus": detection.consensus,
        "interface": interfaces if tuned else [],
    }


def _quorum(topology: Topology) -> Block:
    quorum = topology.quorum
    return {
        "provider": "corosync_votequorum",
        # Sets wait_for_all too: a node that boots alone does not start a second cluster.
        "two_node": 1 if quorum.two_node else None,
        "device": _device(quorum.device, topology) if quorum.device else None,
    }


def _device(device: QuorumDevice, topology: Topology) -> Block:
    return {
        "model": "net",
        "votes": device_votes(device, topology),
        "timeout": device.timeout or device_timeout(topology.detection.token),
        "sync_timeout": device.sync_timeout,
        "net": {
            "host": device.host,
            "port": device.port,
            "algorithm": device.algorithm,
            "tls": device.tls,
            "tie_breaker": device.tie_breaker,
            "connect_timeout": device.connect_timeout,
        },
    }


def device_votes(device: QuorumDevice, topology: Topology) -> int:
    """Each algorithm only counts right with its own number of votes."""
    return 1 if device.algorithm == "ffsplit" else max(len(topology.nodes) - 1, 1)


def quorum_keys(topology: Topology) -> dict[str, str]:
    """The section quorum as Corosync keeps it: "quorum.device.votes" → "1"."""
    return dict(_keys("quorum", _quorum(topology)))


def _keys(prefix: str, block: Block) -> Iterator[tuple[str, str]]:
    for key, value in block.items():
        if isinstance(value, Mapping):
            yield from _keys(f"{prefix}.{key}", value)
        elif value is not None:
            yield f"{prefix}.{key}", str(value)


def device_timeout(token: int) -> int:
    """The device's timeout (ms) that keeps it from being slower than Corosync itself.

    The arbiter (ffsplit) does not decide while it still holds a connection of a node that went silent, and that takes it
    up to 1.2 times this timeout: with the daemon's default of 10 s the survivor of a power failure waits 12 s for its
    vote. Corosync needs token and consensus, 2.2 times token, to know by itself.
    """
    return min(10_000, max(_QUICK if token <= _QUICK_TOKEN else _LEAST, token * 18 // 10))


def node_daemon(topology: Topology) -> list[RenderedFile]:
    """What lets a node's side of the device beat as often as the topology wants, where that is not its default."""
    command = f"/usr/sbin/corosync-qdevice -f $COROSYNC_QDEVICE_OPTIONS -S net_heartbeat_interval_min={_BEAT}"
    return [_drop_in("corosync-qdevice", command)] if _is_quick(topology) else []


def device_daemon(topology: Topology) -> list[RenderedFile]:
    """The same for the device's host. Several clusters may share it: the file is the same for each of them that needs it."""
    command = f"/usr/bin/corosync-qnetd -f $COROSYNC_QNETD_OPTIONS -S heartbeat_interval_min={_BEAT}"
    return [_drop_in("corosync-qnetd", command)] if _is_quick(topology) else []


def notes(topology: Topology) -> list[str]:
    """What has to be done by hand on the device's host."""
    if not _is_quick(topology):
        return []
    host = topology.quorum.device.host if topology.quorum.device else ""
    return [
        f"the quorum device on {host} must have {device_daemon(topology)[0].path} (it is rendered with the nodes' files) before the nodes "
        "have theirs, or it refuses them; then systemctl daemon-reload and systemctl restart corosync-qnetd there, and the same with "
        "corosync-qdevice on one node after the other"
    ]


def _is_quick(topology: Topology) -> bool:
    device = topology.quorum.device
    return device is not None and (device.timeout or device_timeout(topology.detection.token)) < _LEAST


def _drop_in(unit: str, command: str) -> RenderedFile:
    text = f"# Written by hafailover; changes belong into the topology.\n[Service]\nExecStart=\nExecStart={command}\n"
    return RenderedFile(f"/etc/systemd/system/{unit}.service.d/hafailover.conf", text.encode())


def _block(name: str, content: Any, depth: int) -> list[str]:
    indent = "    " * depth
    if isinstance(content, list):
        return [line for item in content for line in _block(name, item, depth)]
    if isinstance(content, Mapping):
        inner = [line for key, value in content.items() for line in _block(key, value, depth + 1)]
        return [f"{indent}{name} {{", *inner, f"{indent}}}"]
    return [] if content is None else [f"{indent}{name}: {content}"]
