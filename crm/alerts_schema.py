"""The key ``alerts`` of a topology: its schema, what a schema cannot say, and its types."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from hafailover.crm import schema
from hafailover.crm.schema import (
    Problem,
    Schema,
    boolean,
    choice,
    duration,
    mapping,
    milliseconds,
    named,
    number,
    path,
    text,
)
from hafailover.hooks.alerts import event

_HTTP = ("webhook", "slack", "mattermost", "stackstorm")
_TYPES: Mapping[str, tuple[str, ...]] = {
    "syslog": ("template",),
    "webhook": ("url", "token", "token_header", "headers", "ca", "insecure", "template"),
    "slack": ("url", "channel", "ca", "insecure", "template"),
    "mattermost": ("url", "channel", "ca", "insecure", "template"),
    "stackstorm": ("url", "token", "ca", "insecure", "template"),
    "amqp": ("url", "user", "password", "exchange", "routing_key", "ca", "insecure", "template"),
}
_COMMON = ("type", "events", "timeout", "keep", "keep_for")
_LOCAL = ("localhost", "127.0.0.1", "::1")
_HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$"
# What belongs to the protocol, or is said elsewhere.
_NOT_HEADERS = (
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "idempotency-key",
    "user-agent",
)
_SECRET_HEADER = re.compile(r"auth|cookie|secret|token|key$", re.IGNORECASE)
_LONGEST = 30_000  # ms

SCHEMA: Schema = named(
    "Who is told what happens in the cluster, by name.",
    mapping(
        "A recipient.",
        {
            "type": choice("how it is told", list(_TYPES)),
            "url": text("where, or file:NAME when the address itself is a secret, as a Slack webhook's is"),
            "events": {
                "type": "array",
                "items": {"enum": list(event.EVENTS)},
                "minItems": 1,
                "uniqueItems": True,
                "default": list(event.DEFAULT_EVENTS),
                "description": "of what it is told: " + ", ".join(event.EVENTS),
                "expect": "a list of " + ", ".join(event.EVENTS),
            },
            "template": {
                "type": ["string", "object", "array"],
                "minLength": 1,
                "maxLength": 20000,
                "description": "the text, or for a webhook, StackStorm and AMQP the JSON, with names such as {summary} in braces",
                "expect": "text, or a mapping or list of texts",
            },
            "token": schema.secret("what proves to it who we are: a bearer token, or StackStorm's API key"),
            "token_header": text("the header that carries the token when it is no bearer token", pattern=_HEADER),
            "headers": schema.scalars("further headers, nothing secret", maxProperties=20),
            "channel": text(
                "the channel, when it is not the webhook's own", pattern=r"^[#@]?[^\s\x00-\x1f\x7f]{1,80}$"
            ),
            "user": text("the account at the broker", pattern=r"^[^\s\x00-\x1f\x7f]{1,128}$"),
            "password": schema.secret("the account's password"),
            "exchange": text("the exchange, which must exist; the broker's default one when not given", maxLength=127),
            "routing_key": text("the routing key, hafailover.{kind} when not given", maxLength=200),
            "ca": path("certificates that are trusted instead of the system's"),
            "insecure": boolean("true: whoever answers is trusted, and what is sent can be read by others"),
            "timeout": duration("how long one attempt may take", default="10s"),
            "keep": number(
                "how many events wait for it at most; then the oldest are dropped", 100, 100000, default=20000
            ),
            "keep_for": duration("how long an event is tried; then it is dropped", default="24h"),
        },
        ["type"],
    ),
    default={},
)


@dataclass(frozen=True)
class Recipient:
    """A recipient. ``options``: what is particular to its type, secrets still ``file:`` references; times in ms."""

    name: str
    type: str
    events: tuple[str, ...]
    timeout: int
    keep: int
    keep_for: int
    options: Mapping[str, Any]

    def secrets(self) -> Iterator[tuple[str, str]]:
        """The keys that are references, and these."""
        for key in ("token", "password", "url"):
            value = self.options.get(key)
            if isinstance(value, str) and value.startswith("file:"):
                yield key, value


def build(data: Mapping[str, Any]) -> dict[str, Recipient]:
    """The recipients in the filled-in mapping ``alerts``."""
    return {
        name: Recipient(
            name,
            given["type"],
            tuple(given["events"]),
            milliseconds(given["timeout"]),
            given["keep"],
            milliseconds(given["keep_for"]),
            {key: value for key, value in given.items() if key not in _COMMON},
        )
        for name, given in data.items()
    }


def problems(recipients: Mapping[str, Recipient]) -> Iterator[Problem]:
    """What is wrong with ``recipients``."""
    for name, one in recipients.items():
        for problem in _problems(one):
            yield Problem(("alerts", name, *problem.path), problem.message)


def _problems(one: Recipient) -> Iterator[Problem]:
    allowed = _TYPES[one.type]
    for key in one.options:
        if key not in allowed:
            yield Problem((key,), f"means nothing for {one.type}; it takes {', '.join(allowed)}")
    if not 500 <= one.timeout <= _LONGEST:
        yield Problem(("timeout",), "must be between 500ms and 30s")
    if one.keep_for < 60_000:
        yield Problem(("keep_for",), "must be a minute or more")
    yield from _address(one)
    template = one.options.get("template")
    if not isinstance(template, (str, type(None))) and one.type in ("syslog", "slack", "mattermost"):
        yield Problem(("template",), f"must be text for {one.type}")
    for key in ("template", "routing_key"):
        for name in event.unknown_names(one.options.get(key)):
            yield Problem((key,), schema.unknown("name in braces", name, event.FIELDS))
    yield from _headers(one)


def _address(one: Recipient) -> Iterator[Problem]:
    url = one.options.get("url")
    if "url" not in _TYPES[one.type]:
        return
    if url is None:
        yield Problem((), f"lacks the key url, which {one.type} must have")
        return
    if url.startswith("file:"):
        if schema.problems(url, schema.secret("")):
            yield Problem(("url",), "is not a reference to a file; write file:NAME")
        return
    wrong = bad_url(one.type, url)
    if wrong:
        yield Problem(("url",), wrong)
        return
    parts = urlsplit(url)
    clear = parts.scheme in ("http", "amqp") and parts.hostname not in _LOCAL
    for key in ("token", "password"):
        if clear and key in one.options:
            yield Problem(
                ("url",), f"would send the {key} over the network for everybody to read; write {parts.scheme}s://"
            )


def bad_url(kind: str, url: str) -> str | None:
    """Why a recipient of type ``kind`` cannot have this address, without repeating it, for it may be a secret; or None."""
    schemes = ("amqp", "amqps") if kind == "amqp" else ("http", "https")
    expect = f"write {schemes[1]}://HOST/PATH"
    try:
        parts: SplitResult = urlsplit(url)
        port = parts.port
    except ValueError:
        return f"is no address; {expect}"
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        return f"is not an address of {' or '.join(schemes)}; {expect}"
    if not url.isascii() or re.search(r"[\s\x00-\x1f\x7f]", url):
        return "holds spaces or letters that an address must have escaped (%20)"
    if parts.username or parts.password:
        return (
            "holds an account; write it without, and "
            + ("user and password" if kind == "amqp" else "token")
            + ": file:NAME"
        )
    if parts.fragment or (kind == "amqp" and parts.query):
        return f"has a part that means nothing here; {expect}"
    return None


def _headers(one: Recipient) -> Iterator[Problem]:
    for name, value in one.options.get("headers", {}).items():
        if not re.fullmatch(_HEADER, name):
            yield Problem(("headers", name), "is not the name of a header")
        elif name.lower() in _NOT_HEADERS:
            yield Problem(("headers", name), "is not yours to set")
        elif _SECRET_HEADER.search(name):
            yield Problem(("headers", name), f"looks like a secret; write token: file:NAME and token_header: {name}")
        elif not str(value).isascii():
            yield Problem(("headers", name), "may only hold ASCII")
