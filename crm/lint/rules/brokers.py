"""Rules about RabbitMQ: what two nodes cannot do, what version 4 no longer has, and a cookie that anybody guesses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hafailover.crm.lint import ERROR, Facts, Found, broker_files, rule
from hafailover.crm.lint.about import node_count
from hafailover.crm.lint.broker_files import COOKIE, Broker
from hafailover.crm.lint.cluster import primitives
from hafailover.crm.lint.paste import command

if TYPE_CHECKING:
    from hafailover.crm.lint.node_files import NodeFiles
    from hafailover.crm.resolved import Resource

_PAIR = 2
_MIRRORED = ("ha-mode", "ha-params", "ha-sync-mode")


def _brokers(facts: Facts) -> list[Resource]:
    """What runs RabbitMQ in the cluster."""
    return [one for one in primitives(facts.cluster) if "rabbitmq" in one.agent.lower()]


def _on_node(facts: Facts) -> tuple[NodeFiles, Broker] | None:
    assert facts.node is not None
    files: NodeFiles | None = facts.node.files
    found = broker_files.broker(files) if files is not None and _brokers(facts) else None
    return None if files is None or found is None else (files, found)


@rule(
    "broker-pair",
    ERROR,
    code="L26",
    needs=("resolved", "node"),
    remedy="partition handling autoheal and mirrored or single queues for two brokers; or a third node for a broker",
    why="with two brokers neither alone is a majority: when one is lost the other pauses, or its quorum queues stop: nobody can publish",
)
def broker_pair(facts: Facts) -> Iterator[Found]:
    """Two brokers have pause_minority, quorum queues, or a RAM node."""
    assert facts.node is not None
    found = _on_node(facts)
    if found is None:
        return
    files, broker = found
    peers = [key for key in broker.settings if key.startswith("cluster_formation.classic_config.nodes.")]
    count = len(peers) or next(
        (len(one.params["nodes"].split()) for one in _brokers(facts) if one.params.get("nodes")), node_count(facts)
    )
    if count != _PAIR:
        return
    yield from _settings(facts.node.name, broker)
    for path, data in broker_files.definitions(files, _definition_files(facts, broker)):
        quorum = [
            str(one.get("name"))[:60]
            for one in broker_files.entries(data, "queues")
            if _is_quorum(one.get("arguments"))
        ]
        quorum += [
            f"vhost {str(one.get('name'))[:60]}"
            for one in broker_files.entries(data, "vhosts")
            if _defaults_to_quorum(one)
        ]
        if quorum:
            yield Found(
                f"{facts.node.name}: {path}",
                f"{', '.join(map(repr, quorum[:3]))}{' and others' if len(quorum) > 3 else ''} are quorum queues, which stop when one "
                "of two brokers is lost",
                "",
            )


def _settings(node: str, broker: Broker) -> Iterator[Found]:
    handling = broker.get("cluster_partition_handling")
    place = handling[1] if handling and handling[0] == "pause_minority" else None
    place = place or (None if handling else broker.term(r"\{\s*cluster_partition_handling\s*,\s*pause_minority\s*\}"))
    if place:
        text = "pause_minority pauses both of two brokers, because neither is a majority"
        yield Found(f"{node}: {place}", text, "cluster_partition_handling = autoheal")
    kind = broker.get("default_queue_type")
    if kind and kind[0] == "quorum":
        text = "every new queue is a quorum queue, which stops when one of two brokers is lost"
        yield Found(f"{node}: {kind[1]}", text, "default_queue_type = classic")
    memory = broker.get("cluster_formation.node_type")
    ram = (
        memory[1]
        if memory and memory[0] == "ram"
        else broker.term(r"\{\s*cluster_nodes\s*,\s*\{.{0,1000}?,\s{0,9}ram\s{0,9}\}")
    )
    if ram:
        text = "this broker keeps the cluster's data in memory alone: when the other one is lost, so are queues, users and permissions"
        yield Found(f"{node}: {ram}", text, "cluster_formation.node_type = disc")


def _is_quorum(arguments: object) -> bool:
    return isinstance(arguments, dict) and arguments.get("x-queue-type") == "quorum"


def _defaults_to_quorum(vhost: object) -> bool:
    if not isinstance(vhost, dict):
        return False
    about = vhost.get("metadata")
    return "quorum" in (
        vhost.get("default_queue_type"),
        about.get("default_queue_type") if isinstance(about, dict) else None,
    )


def _definition_files(facts: Facts, broker: Broker) -> list[str]:
    named = [one.params.get("definitions", "") for one in _brokers(facts)]
    named += [found[0] for key in ("load_definitions", "definitions.local.path") if (found := broker.get(key))]
    return [one for one in named if one.startswith("/")]


@rule(
    "mirrored-on-4",
    ERROR,
    code="L27",
    needs=("resolved", "node"),
    remedy="take ha-mode and its kin out of the policies, and declare quorum queues on three nodes or more",
    why="RabbitMQ 4 has no mirrored queues and ignores the policy: each queue is on one node alone, and gone with it",
)
def mirrored_on_4(facts: Facts) -> Iterator[Found]:
    """A policy mirrors queues on a RabbitMQ that can no longer do it."""
    assert facts.node is not None
    found = _on_node(facts)
    if found is None:
        return
    files, broker = found
    for one in _brokers(facts):
        version = _version(one.params.get("version", "")) or broker.version
        if version is None or version[0] < 4:
            continue
        number = ".".join(map(str, version))
        if "ha-mode" in one.params.get("set_policy", ""):
            text = f"set_policy mirrors queues (ha-mode), and the brokers are RabbitMQ {number}"
            edit = command("crm", "configure", "edit", one.id)
            fix = f"# take ha-mode and its kin out of set_policy:\n{edit}" if edit else ""
            yield Found(one.id, text, fix)
        paths = (
            [one.params["definitions"]]
            if one.params.get("definitions", "").startswith("/")
            else _definition_files(facts, broker)
        )
        for path, data in broker_files.definitions(files, paths):
            for policy in broker_files.entries(data, "policies"):
                definition = policy.get("definition")
                keys = [key for key in _MIRRORED if isinstance(definition, dict) and key in definition]
                if keys:
                    name = str(policy.get("name"))[:60]
                    text = f"policy {name!r} has {', '.join(keys)}, and the brokers are RabbitMQ {number}"
                    # A policy has more in it than that, and what clears it in the broker alone is loaded again.
                    fix = f"# in {path}, on every node, take out of policy {name!r}: {', '.join(keys)}"
                    yield Found(f"{facts.node.name}: {path}", text, fix)


def _version(written: str) -> tuple[int, ...] | None:
    parts = written.strip().split(".")[:2]
    return (
        tuple(int(part) for part in parts)
        if parts and all(part.isascii() and part.isdecimal() and len(part) < 6 for part in parts)
        else None
    )


@rule(
    "cookie-guessable",
    ERROR,
    code="L33c",
    needs=("resolved", "node"),
    remedy="stop every broker, put the same 20 or more random characters into it on each node, start them",
    why="who knows the cookie and reaches a broker's port runs any program on the node as user rabbitmq, without a password",
)
def cookie_guessable(facts: Facts) -> Iterator[Found]:
    """The Erlang cookie, which lets anybody in who knows it, is easy to guess."""
    assert facts.node is not None
    files: NodeFiles | None = facts.node.files
    cookie = files.text(COOKIE) if files is not None and _brokers(facts) else None
    reason = broker_files.guessable(cookie) if cookie is not None else None
    if reason:
        fix = f"openssl rand -hex 24 | tr -d '\\n' > {COOKIE}.new && chown rabbitmq: {COOKIE}.new && chmod 0400 {COOKIE}.new"
        yield Found(f"{facts.node.name}: {COOKIE}", f"the Erlang cookie {reason}", fix)
