"""RabbitMQ's files on a node, as far as rules look into them: what is set, which definitions are loaded, the version, the cookie."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hafailover.crm.lint.node_files import NodeFiles

COOKIE = "/var/lib/rabbitmq/.erlang.cookie"
_NEW, _MORE = "/etc/rabbitmq/rabbitmq.conf", "/etc/rabbitmq/conf.d/*.conf"
_ERLANG = ("/etc/rabbitmq/rabbitmq.config", "/etc/rabbitmq/advanced.config")
_VERSION = re.compile(r"rabbitmq_server-(\d+)\.(\d+)[\w.]*")
_SHORT = 16
_FEW = 6
# Words that stand in how-tos and container images.
_COMMON = re.compile(
    r"(secret|cookie|rabbit(mq)?|erlang|openstack|changeme|password|passw0rd|cluster|admin|test(ing)?|default|monster|"
    r"this|is|my|the|a|s3cr3t|[\W_\d])+",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Broker:
    """What a node's files say: key → (value, file:line) of rabbitmq.conf; Erlang terms as text by file; the version as it is installed."""

    settings: Mapping[str, tuple[str, str]]
    terms: Mapping[str, str] = field(default_factory=dict)
    version: tuple[int, ...] | None = None

    def get(self, key: str) -> tuple[str, str] | None:
        """Value and place of a key of rabbitmq.conf."""
        return self.settings.get(key)

    def term(self, pattern: str) -> str | None:
        """The place of what a file of Erlang terms says, such as {cluster_partition_handling, pause_minority}."""
        for path, text in self.terms.items():
            found = re.search(pattern, text)
            if found:
                return f"{path}:{text.count(chr(10), 0, found.start()) + 1}"
        return None


def broker(files: NodeFiles) -> Broker | None:
    """The node's broker; None where nothing of one is there."""
    settings: dict[str, tuple[str, str]] = {}
    there = False
    for path in (_NEW, *files.matching(_MORE)):
        text = files.text(path)
        there |= text is not None
        for number, line in enumerate((text or "").splitlines(), 1):
            key, equals, value = line.partition("#")[0].partition("=")
            if equals:
                settings[key.strip()] = (value.strip().strip("'\""), f"{path}:{number}")
    terms = {path: _uncommented(text) for path in _ERLANG if (text := files.text(path)) is not None}
    version = _installed(files)
    return Broker(settings, terms, version) if there or terms or version else None


def _uncommented(text: str) -> str:
    return "\n".join(line.partition("%")[0] for line in text.splitlines())


def _installed(files: NodeFiles) -> tuple[int, ...] | None:
    names = [name for directory in ("/usr/lib/rabbitmq/lib", "/opt/rabbitmq") for name in files.names(directory)]
    found = [(int(match[1]), int(match[2])) for name in names if (match := _VERSION.fullmatch(name)) and len(name) < 60]
    return max(found, default=None)


def definitions(files: NodeFiles, paths: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each file of definitions that can be read, with its data."""
    for path in dict.fromkeys(paths):
        text = files.text(path)
        if text is None or text.count("[") + text.count("{") > 200_000:
            continue
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(data, dict):
            yield path, data


def entries(data: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The mappings in a list of definitions, such as policies."""
    found = data.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def guessable(cookie: str) -> str | None:
    """Why somebody could guess an Erlang cookie, as a clause that does not give it away; None when nobody could."""
    plain = cookie.strip()
    if not plain:
        return "is empty"
    if len(plain) < _SHORT:
        return f"has {len(plain)} characters, and 20 random ones are usual"
    if len(set(plain)) < _FEW:
        return f"is made of {len(set(plain))} different characters"
    if _COMMON.fullmatch(plain[:64]):
        return "is made of words that everybody tries first"
    return None
