"""What a rabbitmq service means for RabbitMQ: its configuration, its definitions, and what cannot work."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from hafailover.crm.schema import Problem, milliseconds, unknown

if TYPE_CHECKING:
    from hafailover.crm.topology import Node, Service

MONITOR = "hafailover"
"""The health check's account, and the virtual host of its queues."""

DEFAULT_VERSION = "3.10"
_THREE = 3
_REPLICATED_NAMES = r"^(?!amq\.).*"
_KEY = re.compile(r"[a-z_0-9]+(\.[A-Za-z_0-9$:-]+)*")
_OURS = {
    "cluster_partition_handling": "set partition",
    "listeners.tcp.default": "set port",
    "net_ticktime": "set detect",
    "distribution.listener.interface": "the first link of the node decides it",
    "mnesia_table_loading_retry_timeout": "the agent relies on a broker that waits",
    "mnesia_table_loading_retry_limit": "the agent relies on a broker that waits",
    "loopback_users.guest": "everybody knows the password of guest",
    "default_queue_type": "set queues",
}


def version_text(service: Service) -> str:
    """The version as text."""
    return str(service.options.get("version", DEFAULT_VERSION))


def version(service: Service) -> tuple[int, ...]:
    """The version as numbers, at least major and minor."""
    numbers = tuple(int(part) for part in version_text(service).split("."))
    return numbers if len(numbers) > 1 else (*numbers, 0)


def queues(service: Service) -> str:
    """mirrored, quorum or single: as written, or what the version has."""
    written: str | None = service.options.get("queues")
    return written or ("quorum" if version(service)[0] >= 4 else "mirrored")


def problems(service: Service) -> Iterator[Problem]:
    """What the schema cannot say about a rabbitmq service."""
    if version(service) < (3, 9):
        yield Problem(("version",), f"{version_text(service)} is not supported; 3.9 and newer are")
    count = len(service.nodes)
    if service.options["partition"] == "pause_minority" and count < _THREE:
        yield Problem(
            ("partition",),
            f"pause_minority pauses both of two nodes, because neither is a majority; with {count} it needs autoheal or ignore",
        )
    yield from _queues(service, count)
    if MONITOR in service.options["vhosts"]:
        yield Problem(("vhosts",), f"{MONITOR} is the health check's own")
    for name, user in service.options["users"].items():
        if name in (MONITOR, "guest"):
            yield Problem(
                ("users", name), "is the health check's own" if name == MONITOR else "is removed; choose another name"
            )
        for index, vhost in enumerate(user.get("vhosts", ())):
            if vhost not in service.options["vhosts"]:
                yield Problem(
                    ("users", name, "vhosts", index), unknown("virtual host", vhost, service.options["vhosts"])
                )
    for name, policy in service.options["policies"].items():
        if "vhost" in policy and policy["vhost"] not in service.options["vhosts"]:
            yield Problem(
                ("policies", name, "vhost"), unknown("virtual host", policy["vhost"], service.options["vhosts"])
            )
        if version(service)[0] >= 4 and "ha-mode" in policy["definition"]:
            yield Problem(("policies", name, "definition", "ha-mode"), "RabbitMQ 4 has no mirrored queues")
    for key in service.options["options"]:
        if key in _OURS or key.startswith("cluster_formation."):
            reason = _OURS.get(key, "the agent forms the cluster")
            yield Problem(("options", key), f"cannot be set here: {reason}")
        elif not _KEY.fullmatch(key):
            yield Problem(("options", key), "is no key of rabbitmq.conf")


def _queues(service: Service, count: int) -> Iterator[Problem]:
    kind = queues(service)
    where = ("queues",) if "queues" in service.options else ("version",)
    if kind == "mirrored" and version(service)[0] >= 4:
        yield Problem(
            where, f"RabbitMQ {version_text(service)} has no mirrored queues; write quorum, with three nodes or more"
        )
    elif kind == "quorum" and 1 < count < _THREE:
        yield Problem(
            where,
            f"a quorum queue on {count} nodes stops when one is lost: with a third cluster node for a broker ('on' lists it; it needs to "
            "run nothing else) it goes on; or write queues: single, or mirrored where the version has it (until 3.13)",
        )


def config(service: Service, node: Node) -> str:
    """The file in /etc/rabbitmq/conf.d: read after rabbitmq.conf, so it wins."""
    options: dict[str, Any] = {
        "listeners.tcp.default": service.options["port"],
        "cluster_partition_handling": service.options["partition"],
        # A quarter more or less of it is what it takes to notice a broker on a machine that lost its power.
        "net_ticktime": max(1, milliseconds(service.options["detect"]) // 1000),
        # A broker that waits for those with newer data must not give up after five minutes: the monitor says for whom it waits.
        "mnesia_table_loading_retry_timeout": 30000,
        "mnesia_table_loading_retry_limit": 1000000,
        "loopback_users.guest": "true",
        # The health check would write three lines every ten seconds.
        "log.connection.level": "warning",
    }
    if ip_address(node.links[0]).version == 4:
        options["distribution.listener.interface"] = node.links[0]
    if queues(service) == "quorum" and version(service) >= (3, 13):
        options["default_queue_type"] = "quorum"
    options.update(service.options["options"])
    lines = [f"{key} = {_plain(value)}" for key, value in options.items()]
    return "# Written by hafailover from the topology; what is in rabbitmq.conf stays, unless it is named here.\n" + (
        "\n".join(lines) + "\n"
    )


def _plain(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def definitions(service: Service, monitor: str, passwords: Mapping[str, str]) -> str:
    """Accounts, virtual hosts, permissions and policies in RabbitMQ's own format; passwords only as salted hashes."""
    options = service.options
    vhosts: list[dict[str, Any]] = [{"name": name} for name in (*options["vhosts"], MONITOR)]
    if queues(service) == "quorum" and version(service) >= (3, 11):
        for vhost in vhosts[:-1]:
            vhost["metadata"] = {"default_queue_type": "quorum"}
    users = [_account(MONITOR, monitor, [])]
    permissions = [_permission(MONITOR, MONITOR, ".*", ".*", ".*")]
    for name, user in options["users"].items():
        users.append(_account(name, passwords[name], user["tags"]))
        for vhost_name in user.get("vhosts", options["vhosts"]):
            permissions.append(_permission(name, vhost_name, user["configure"], user["write"], user["read"]))
    content = {
        "vhosts": vhosts,
        "users": users,
        "permissions": permissions,
        "policies": [*_replication(service), *_policies(service)],
    }
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _account(name: str, password: str, tags: list[str]) -> dict[str, Any]:
    # The salt is the same each time, so that the file only changes when the password does; it differs for each account.
    salt = sha256(b"\0".join((b"salt", name.encode(), password.encode()))).digest()[:4]
    proof = salt + sha256(salt + password.encode()).digest()
    return {
        "name": name,
        "password_hash": base64.b64encode(proof).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": ",".join(tags),
    }


def _permission(user: str, vhost: str, configure: str, write: str, read: str) -> dict[str, str]:
    return {"user": user, "vhost": vhost, "configure": configure, "write": write, "read": read}


def _replication(service: Service) -> Iterator[dict[str, Any]]:
    """A copy of every queue on every node; an older copy never serves in place of a newer one that is only stopped or lost."""
    if queues(service) != "mirrored":
        return
    promote = "always" if service.options["promote_unsynced"] else "when-synced"
    for vhost in service.options["vhosts"]:
        yield {
            "vhost": vhost,
            "name": "hafailover",
            "pattern": _REPLICATED_NAMES,
            "apply-to": "queues",
            "priority": 0,
            "definition": {
                "ha-mode": "all",
                "ha-sync-mode": "automatic",
                "ha-promote-on-shutdown": promote,
                "ha-promote-on-failure": promote,
            },
        }


def _policies(service: Service) -> Iterator[dict[str, Any]]:
    for name, policy in service.options["policies"].items():
        for vhost in [policy["vhost"]] if "vhost" in policy else service.options["vhosts"]:
            yield {
                "vhost": vhost,
                "name": name,
                "pattern": policy["pattern"],
                "apply-to": policy["apply_to"],
                "priority": policy["priority"],
                "definition": dict(policy["definition"]),
            }
