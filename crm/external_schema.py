"""The key ``external`` of a topology: its schema, and what a schema cannot say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hafailover.crm.external import mongodb_url, redis_hosts
from hafailover.crm.schema import Problem, Schema, mapping, number, secret, text
from hafailover.crm.urls import BadUrl, one_host, parse_host, parse_url

_NO_SPACE = r"^[^\s\x00-\x1f\x7f]+$"
_HOST = text("HOST or HOST:PORT", pattern=_NO_SPACE)
_USER = r"^[^\s\x00-\x1f\x7f:/@]{1,128}$"


def _hosts(description: str) -> Schema:
    return {
        "type": "array",
        "items": _HOST,
        "minItems": 1,
        "uniqueItems": True,
        "description": description,
        "expect": "a list of HOST or HOST:PORT",
    }


SCHEMA: Schema = mapping(
    "Services outside of the cluster: status shows whether they can be used, and the services in it are told where they are.",
    {
        "mongodb": mapping(
            "A MongoDB replica set, or a single server.",
            {
                "uri": text("its members: mongodb://HOST:PORT,HOST:PORT/?replicaSet=NAME", pattern=_NO_SPACE),
                "arbiters": _hosts("members that vote but hold no data, which a uri does not name"),
                "user": text("the account that uses it", pattern=_USER),
                "password": secret("the account's password"),
            },
            ["uri"],
        ),
        "redis": mapping(
            "Redis, for coordination.",
            {
                "url": text("a single server: redis://HOST:PORT/DATABASE, or rediss:// with TLS", pattern=_NO_SPACE),
                "hosts": _hosts("the sentinels, when there is no url"),
                "sentinel": text("the name by which the sentinels know the primary", pattern=r"^[A-Za-z0-9._-]+$"),
                "password": secret("its password"),
            },
        ),
        "rabbitmq": mapping(
            "A RabbitMQ cluster.",
            {
                "urls": {
                    "type": "array",
                    "items": text("amqp://HOST:PORT/VHOST, or amqps:// with TLS", pattern=_NO_SPACE),
                    "minItems": 1,
                    "uniqueItems": True,
                    "description": "its nodes: amqp://HOST:PORT/VHOST, or amqps:// with TLS",
                    "expect": "a list of amqp://HOST:PORT/VHOST",
                },
                "user": text("the account that uses it", pattern=_USER),
                "password": secret("the account's password"),
            },
            ["urls", "user", "password"],
        ),
        "mariadb": mapping(
            "A MariaDB or MySQL server.",
            {
                "host": text("its name or address", pattern=_NO_SPACE),
                "port": number("its port", 1, 65535, default=3306),
            },
            ["host"],
        ),
        "storage": mapping(
            "An NFS server that holds the content.",
            {
                "host": text("its name or address", pattern=_NO_SPACE),
                "port": number("its port", 1, 65535, default=2049),
            },
            ["host"],
        ),
    },
)


def problems(written: Mapping[str, Any]) -> Iterator[Problem]:
    """What the schema cannot say about the mapping ``external``."""
    for name, check in (("mongodb", _mongodb_problem), ("redis", _redis_problem)):
        if name in written:
            key, message = check(written[name])
            if message:
                yield Problem(("external", name, key), message)
    for index, url in enumerate(written.get("rabbitmq", {}).get("urls", ())):
        try:
            one_host(parse_url(url, {"amqp": 5672, "amqps": 5671}), "amqp://HOST:PORT/VHOST")
        except BadUrl as error:
            yield Problem(("external", "rabbitmq", "urls", index), str(error))
    for name in ("mariadb", "storage"):
        if name in written:
            try:
                parse_host(written[name]["host"], 0)
            except BadUrl as error:
                yield Problem(("external", name, "host"), str(error))


def _mongodb_problem(written: Mapping[str, Any]) -> tuple[str, str]:
    try:
        url = mongodb_url(written["uri"])
    except BadUrl as error:
        return "uri", str(error)
    try:
        arbiters = [parse_host(host, 27017) for host in written.get("arbiters", ())]
    except BadUrl as error:
        return "arbiters", str(error)
    if set(arbiters) & set(url.hosts):
        return "arbiters", "names a host of the uri too; an arbiter holds no data and stands only here"
    if len(url.hosts) > 1 and "replicaset" not in url.options:
        return "uri", "names several hosts but no replica set; end it with /?replicaSet=NAME"
    if arbiters and "replicaset" not in url.options:
        return "arbiters", "is for a replica set, and the uri names none"
    if len(url.hosts) + len(arbiters) == 2 and url.hosts:
        return (
            "uri",
            "is a replica set of two voters: when one dies, the other is no majority and takes no writes; "
            "add a third member to it, or an arbiter, and name it in arbiters",
        )
    if ("user" in written) != ("password" in written):
        there, missing = ("user", "password: file:NAME") if "user" in written else ("password", "user")
        return there, f"needs the other half of the account, too; give {missing}"
    return "", ""


def _redis_problem(written: Mapping[str, Any]) -> tuple[str, str]:
    if ("url" in written) == ("hosts" in written):
        return "url", "give either url, for a single server, or hosts and sentinel"
    key = "url" if "url" in written else "hosts"
    try:
        redis_hosts(written)
    except BadUrl as error:
        return key, str(error)
    if key == "hosts" and "sentinel" not in written:
        return "sentinel", "is missing: hosts are sentinels, and the name by which they know the primary must be given"
    if key == "url" and "sentinel" in written:
        return "sentinel", "goes with hosts (the sentinels), not with url"
    return "", ""
