"""The schema of a topology: every key with its type, default and meaning, except what service types add."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hafailover.crm import alerts_schema, external_schema, hooks_schema, sbd
from hafailover.crm.schema import (
    PLAIN,
    Schema,
    address,
    boolean,
    choice,
    duration,
    interface,
    mapping,
    named,
    number,
    secret,
    text,
)

if TYPE_CHECKING:
    from hafailover.crm.service import ServiceType

_NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,62}$"
FOLLOWS = r"^[A-Za-z][A-Za-z0-9_-]*(\.[a-z]+)?$"
_FOLLOWS_EXPECT = "SERVICE or SERVICE.ROLE, such as db.primary"


def _fence(description: str) -> Schema:
    fence = mapping(
        description,
        {
            "agent": text(
                "the fence agent", pattern=r"^fence_[a-z0-9_]+$", expect="a fence agent such as fence_ipmilan"
            ),
            "delay": duration("wait this long before fencing, so that this node wins a race"),
            "max_delay": duration("wait up to this long, by chance, before fencing"),
        },
        ["agent"],
    )
    plain_list = {"type": "array", "items": PLAIN, "minItems": 1}
    fence["additionalProperties"] = {"anyOf": [PLAIN, plain_list], "expect": "plain text, a number, or a list of them"}
    fence["expect"] = "a mapping of agent and the agent's own parameters"
    return fence


def _fencing() -> Schema:
    """Either a fence agent's parameters, or sbd."""
    fencing = _fence("One fence device for all nodes, or sbd.")
    properties = fencing["properties"]
    delays = {key: properties[key] for key in ("delay", "max_delay")}
    agent = {**properties["agent"], "description": "the fence agent; must be given when sbd is not"}
    fencing["properties"] = {"sbd": sbd.SCHEMA, **properties, "agent": agent}
    fencing["required"] = []
    fencing["if"] = {"required": ["sbd"]}
    fencing["then"] = {"properties": {"sbd": {}, **delays}, "additionalProperties": False}
    fencing["else"] = {"properties": {"agent": properties["agent"]}, "required": ["agent"]}
    fencing["expect"] = "a mapping of agent and the agent's own parameters, or of sbd"
    return fencing


DETECTION: Mapping[str, Mapping[str, str]] = {
    "default": {},
    # 300 ms alone fences healthy nodes: a link whose pings are late by knet's default of 150 ms is taken down, and takes the token along.
    "fast": {
        "token": "300ms",
        "token_coefficient": "0ms",
        "knet_ping_interval": "500ms",
        "knet_ping_timeout": "2s",
    },
}
"""What a word for ``cluster.detection`` stands for."""


def _detection() -> Schema:
    """One of the words of DETECTION, or the times."""
    times = mapping(
        "How soon a node counts as dead: default, fast (docs/detection.md), or times of your own.",
        {
            # 3 s is Corosync's own default. One second has been seen to work on busy machines with two cores.
            "token": duration("silence after which a node is suspected", default="3s"),
            "token_coefficient": duration("added to token for each node above two"),
            "consensus": duration("wait for agreement on the members that remain"),
            "knet_ping_interval": duration("interval of a link's pings"),
            "knet_ping_timeout": duration("silence after which a link is down"),
        },
        default="default",
    )
    word = {"enum": list(DETECTION)}
    expect = f"{', '.join(DETECTION)}, or a mapping of times"
    return {**times, "type": ["object", "string"], "if": {"type": "string"}, "then": word, "expect": expect}


SCHEMA: Schema = mapping(
    "A cluster, its services and its addresses.",
    {
        "version": {"enum": [1], "description": "version of the topology language"},
        "lab": boolean("a throw-away cluster: the only way to do without fencing", default=False),
        "cluster": mapping(
            "The cluster itself.",
            {
                "name": text("its name", pattern=_NAME, expect="a name of letters, digits, - and _"),
                "secrets_dir": text(
                    "directory of the secrets, relative to the topology file", default="/etc/hafailover/secrets"
                ),
                "encryption": choice("whether Corosync encrypts and authenticates", ["on", "off"], default="on"),
                "authkey": secret("Corosync's key, 128 bytes and more", default="file:corosync-authkey"),
                "detection": _detection(),
            },
            ["name"],
        ),
        "nodes": named(
            "The cluster's members by name.",
            mapping(
                "A member.",
                {
                    # Asked for, not counted: a line moved in the file must not change who a node is.
                    "id": number("its number, for ever; also the server_id of its databases", 1, 65535),
                    "links": {
                        "type": "array",
                        "items": address("an address of the node"),
                        "minItems": 1,
                        "maxItems": 8,
                        "uniqueItems": True,
                        "description": "its addresses, one for each network",
                        "expect": "a list of one to eight addresses",
                    },
                    "fence": _fence("How this node is switched off."),
                },
                ["id", "links"],
            ),
            minProperties=1,
        ),
        "fencing": _fencing(),
        "quorum": mapping(
            "Who may go on after a split.",
            {
                "two_node": boolean("two nodes without a third voter; fencing decides"),
                "device": mapping(
                    "A third voter on another machine (corosync-qnetd).",
                    {
                        "host": text(
                            "its address or name",
                            pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]{0,252}$",
                            expect="an address, or a host name of letters, digits, - and . (no _)",
                        ),
                        "port": number("its port", 1, 65535),
                        "algorithm": choice("how it decides", ["ffsplit", "lms"], default="ffsplit"),
                        "tls": choice(
                            "whether the connection is protected", ["required", "on", "off"], default="required"
                        ),
                        "tie_breaker": {
                            "anyOf": [{"enum": ["lowest", "highest"]}, {"type": "integer", "minimum": 1}],
                            "description": "who wins between equal halves",
                            "expect": "lowest, highest or a node id",
                        },
                        "timeout": duration("longest silence of the device"),
                        "sync_timeout": duration("longest wait for its vote when the membership changes"),
                        "connect_timeout": duration("longest wait for a connection"),
                    },
                    ["host"],
                ),
            },
        ),
        "vips": named(
            "Virtual addresses by name.",
            mapping(
                "A virtual address.",
                {
                    "ip": interface("the address and its prefix"),
                    "nic": text(
                        "network interface; found from the address when not given",
                        pattern=r"^[^\s/:]{1,15}$",
                        expect="the name of an interface such as eth0, at most 15 long (eth0:0 is an alias, not an interface)",
                    ),
                    "follows": text(
                        "where it is: a service or a service's role, such as db.primary",
                        pattern=FOLLOWS,
                        expect=_FOLLOWS_EXPECT,
                    ),
                    "drain": duration(
                        "how long a planned stop waits for connections to end; for addresses of short ones, such as a web "
                        "server's; not at all when not given"
                    ),
                },
                ["ip"],
            ),
        ),
        "services": named(
            "Services by name.",
            {
                "type": "object",
                "properties": {
                    "type": {"type": "string", "description": "what kind of service", "expect": "a service type"}
                },
                "required": ["type"],
                "expect": "a mapping with the key type",
            },
        ),
        "external": external_schema.SCHEMA,
        "lint": mapping(
            "What hafailover lint leaves alone in this topology.",
            {
                "ignore": {
                    "type": "object",
                    "description": "rules that are not reported, by code or name, each with the reason",
                    "additionalProperties": text("why the rule is ignored", expect="the reason, as text"),
                    "expect": "a mapping of rules to reasons, such as {L22: one switch only in the lab}",
                },
            },
        ),
        "alerts": alerts_schema.SCHEMA,
        "hooks": hooks_schema.SCHEMA,
        "history": mapping(
            "What the cluster remembers of what happened (hafailover history).",
            {
                "keep": number(
                    "how many records of each node are kept on every node, for each of five kinds of them",
                    50,
                    2000,
                    default=500,
                ),
            },
            default={},
        ),
    },
    ["version", "cluster", "nodes"],
)


def service_schema(kind: ServiceType) -> Schema:
    """The whole schema of one service of this kind."""
    node_list = {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}
    return mapping(
        kind.summary,
        {
            "type": {"enum": [kind.name], "description": "what kind of service"},
            "on": {
                "anyOf": [{"enum": ["all"]}, node_list],
                "default": "all",
                "description": "where it runs",
                "expect": "all, or a list of node names",
            },
            "after": {
                "type": "array",
                "items": text("a service, its role, or an address", pattern=FOLLOWS, expect=_FOLLOWS_EXPECT),
                "uniqueItems": True,
                "default": [],
                "description": "what has to run before it: services, roles of them, or addresses",
                "expect": "a list of SERVICE, SERVICE.ROLE or address names, such as [mq, db.primary]",
            },
            "with": text(
                "the service (or its role) on whose node alone it runs", pattern=FOLLOWS, expect=_FOLLOWS_EXPECT
            ),
            **kind.schema,
        },
        ["type", *kind.required],
    )
