"""What the service delivers to: /etc/hafailover/alerts.json, made from the topology's key ``alerts`` by ``hafailover render``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PATH = "/etc/hafailover/alerts.json"
VERSION = 1


class ConfigError(Exception):
    """The file is there and cannot be used; the message says why, without what is in it."""


@dataclass(frozen=True)
class Recipient:
    """One recipient. ``options`` are those of its type (see docs/alerts.md); times in seconds."""

    name: str
    type: str
    events: frozenset[str]
    keep: int
    keep_for: float
    timeout: float
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Config:
    """Who is told, and as whom."""

    cluster: str
    node: str
    recipients: Mapping[str, Recipient]


NOTHING = Config("", "", {})


def path() -> str:
    """Where the configuration is; another place by HAFAILOVER_ALERTS_CONFIG."""
    return os.environ.get("HAFAILOVER_ALERTS_CONFIG", PATH)


def load(file: str) -> Config:
    """The configuration in ``file``, NOTHING when there is none; ConfigError."""
    try:
        with open(file, encoding="utf-8") as stream:
            data = json.load(stream)
    except FileNotFoundError:
        return NOTHING
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{file} is not JSON: write it again with hafailover render --install") from None
    try:
        if data["version"] != VERSION:
            raise ConfigError(
                f"{file} is of version {data['version']}: write it again with hafailover render --install"
            )
        return Config(
            data["cluster"],
            data["node"],
            {name: _recipient(name, dict(given)) for name, given in data["recipients"].items()},
        )
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ConfigError(f"{file} lacks what it must have: write it again with hafailover render --install") from None


def _recipient(name: str, given: dict[str, Any]) -> Recipient:
    return Recipient(
        name,
        given.pop("type"),
        frozenset(given.pop("events")),
        int(given.pop("keep")),
        float(given.pop("keep_for")),
        float(given.pop("timeout")),
        given,
    )
