"""The service type rabbitmq: what is generated and rendered from a topology, and what is refused, with its reason."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from pathlib import Path

import pytest
from hafailover.agents.rabbitmq import agent
from hafailover.crm import generate, render, validate
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib, crmsh
from topologies import changed, parse

MQ = ("services:\n", "services:\n  mq: {type: rabbitmq}\n")
THIRD = ("quorum: {device: {host: 10.77.0.13, tls: off}}", "  db3: {id: 3, links: [10.77.0.14, 10.77.1.14]}")


def made(options: str = "", *more: tuple[str, str]) -> str:
    return changed((MQ[0], f"services:\n  mq: {{type: rabbitmq{options}}}\n"), *more)


def rendered(tmp_path: Path, text: str, node: str = "db1") -> dict[str, bytes]:
    topology = parse(text, str(tmp_path / "t.yml")).with_secrets_dir(tmp_path / "secrets")
    render.create_secrets(topology)
    return {file.path: file.content for file in render.render(topology, node)}


def definitions(tmp_path: Path, text: str) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = json.loads(
        rendered(tmp_path, text)["/etc/hafailover/mq-definitions.cred"]
    )
    return found


def test_the_configuration_is_valid_and_instances_start_together() -> None:
    configuration = generate.configuration(parse(made()))
    assert validate.validate(cib.tree(configuration), "t.yml") is None
    text = crmsh.text(configuration)
    assert "interleave=true ordered=false" in text
    assert "op monitor interval=300s timeout=120s op_params OCF_CHECK_LEVEL=10" in text
    clone = next(one for one in configuration.resources if one.id == "mq-clone")  # type: ignore[union-attr]
    primitive = clone.member  # type: ignore[union-attr]
    environ = {
        f"OCF_RESKEY_{pair.name}": pair.value or ""
        for found in primitive.sets("instance_attributes")
        for pair in found.pairs
    }  # type: ignore[union-attr]
    assert agent.context("start", environ, 10).params["version"] == "3.10"
    assert "cookie" not in text


def test_the_files(tmp_path: Path) -> None:
    text = made(", users: {app: {tags: [monitoring]}}")
    files = rendered(tmp_path, text)
    config = files["/etc/rabbitmq/conf.d/90-hafailover.conf"].decode()
    assert "cluster_partition_handling = autoheal\n" in config
    assert "distribution.listener.interface = 10.77.0.11\n" in config
    cookie = files["/var/lib/rabbitmq/.erlang.cookie"]
    assert len(cookie) == 48
    assert f"cookie={sha256(cookie).hexdigest()}\n".encode() in files["/etc/hafailover/mq.cred"]
    assert rendered(tmp_path, text, "db2")["/var/lib/rabbitmq/.erlang.cookie"] == cookie
    assert rendered(tmp_path, text) == files, "the same each time"


def test_passwords_are_hashed_as_rabbitmq_does(tmp_path: Path) -> None:
    found = definitions(tmp_path, made(", users: {app: {}}"))
    password = (tmp_path / "secrets" / "mq-app").read_bytes().strip()
    (app,) = [user for user in found["users"] if user["name"] == "app"]
    raw = base64.b64decode(str(app["password_hash"]))
    assert raw[4:] == sha256(raw[:4] + password).digest()
    assert password.decode() not in json.dumps(found)
    (permission,) = [one for one in found["permissions"] if one["user"] == "app"]
    assert permission == {"user": "app", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}


def test_mirrored_queues_never_promote_an_older_copy_unasked(tmp_path: Path) -> None:
    (policy,) = definitions(tmp_path, made())["policies"]
    assert policy["definition"] == {
        "ha-mode": "all",
        "ha-sync-mode": "automatic",
        "ha-promote-on-shutdown": "when-synced",
        "ha-promote-on-failure": "when-synced",
    }
    (policy,) = definitions(tmp_path, made(", promote_unsynced: true"))["policies"]
    assert "always" in json.dumps(policy["definition"])


def test_quorum_queues_on_three_nodes(tmp_path: Path) -> None:
    text = made(", version: '3.13', queues: quorum", THIRD)
    assert definitions(tmp_path, text)["policies"] == []
    assert {"metadata": {"default_queue_type": "quorum"}, "name": "/"} in definitions(tmp_path, text)["vhosts"]
    old = definitions(tmp_path, made(", queues: quorum", THIRD))
    assert {"name": "/"} in old["vhosts"], "3.10 has no default type: clients ask for it"


def test_policies_of_ones_own(tmp_path: Path) -> None:
    text = made(", policies: {short: {pattern: ^log, definition: {message-ttl: 1000}}}")
    own = definitions(tmp_path, text)["policies"][1]
    assert (own["name"], own["priority"], own["definition"]) == ("short", 1, {"message-ttl": 1000})


def test_the_brokers_name_is_the_nodes(tmp_path: Path) -> None:
    topology = parse(made(), str(tmp_path / "t.yml")).with_secrets_dir(tmp_path / "secrets")
    render.create_secrets(topology)
    (edit,) = [one for one in render.edits(topology, "db1") if one.path == "/etc/rabbitmq/rabbitmq-env.conf"]
    once = edit.edit(b"# mine\nNODE_PORT=5673\n")
    assert once.startswith(b"# mine\nNODE_PORT=5673\n")
    assert b"NODENAME=rabbit@db1\n" in once
    assert edit.edit(once) == once


@pytest.mark.parametrize(
    ("options", "more", "said"),
    [
        (", partition: pause_minority", (), "pauses both of two nodes"),
        (", queues: quorum", (), "with a third cluster node"),
        (", version: '4.0'", (), "with a third cluster node"),
        (", version: '4.0', queues: mirrored", (THIRD,), "has no mirrored queues"),
        (", version: '3.8'", (), "is not supported"),
        (", version: new", (), "write a version such as"),
        (", users: {guest: {}}", (), "is removed"),
        (", users: {hafailover: {}}", (), "health check's own"),
        (", vhosts: [hafailover]", (), "health check's own"),
        (", users: {app: {vhosts: [x]}}", (), "unknown virtual host 'x'"),
        (", users: {app: {password: plain}}", (), "is not a reference to a file"),
        (", policies: {p: {pattern: a, vhost: x, definition: {}}}", (), "unknown virtual host 'x'"),
        (", options: {net_ticktime: 5}", (), "set detect"),
        (", options: {cluster_formation.x: 5}", (), "forms the cluster"),
        (", options: {'a b': 5}", (), "no key of rabbitmq.conf"),
        (", detect: 10ms", (), "at least a second"),
    ],
)
def test_what_cannot_work_is_refused(options: str, more: tuple[tuple[str, str], ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(made(options, *more))


@pytest.mark.parametrize(
    "options", [", version: '4.0'", ", version: '4.0', queues: quorum", ", partition: pause_minority"]
)
def test_what_works_on_three_nodes(options: str) -> None:
    assert parse(made(options, THIRD)).services["mq"].nodes == ("db1", "db2", "db3")


def test_two_services_want_the_same_unit() -> None:
    with pytest.raises(UsageError, match="rabbitmq-server"):
        parse(made("}\n  mq2: {type: rabbitmq, port: 5673"))
