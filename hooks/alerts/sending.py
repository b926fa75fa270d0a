"""What senders have in common: how a delivery fails, and which sender a recipient has."""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Mapping
from typing import Any, Protocol

from hafailover.hooks.alerts.config import Recipient


class Failed(Exception):
    """Not delivered; to be tried again, after ``pause`` seconds if the other side said so. The message holds no secret."""

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class Refused(Exception):
    """The other side will never take this event, however often it is sent."""


class Sender(Protocol):
    """Delivers to one recipient."""

    def send(self, told: Mapping[str, Any]) -> None:
        """Deliver one event (Event.told) within the recipient's timeout or so; Failed, Refused."""
        ...

    def close(self) -> None:
        """End what is open; it is opened again when it is needed."""
        ...


MODULES = {
    "syslog": "to_syslog",
    "webhook": "to_http",
    "slack": "to_http",
    "mattermost": "to_http",
    "stackstorm": "to_http",
    "amqp": "to_amqp",
}
"""Type of a recipient → the module whose ``sender`` makes its sender."""


def trust(options: Mapping[str, Any]) -> ssl.SSLContext:
    """Whom a recipient's options trust; Failed when their certificates cannot be read."""
    try:
        context = ssl.create_default_context(cafile=options.get("ca"))
    except OSError as error:
        why = "no certificate is in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise Failed(f"the certificates in {options.get('ca')} cannot be read: {why}") from None
    if options.get("insecure"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def sender(recipient: Recipient) -> Sender:
    """The sender of ``recipient``; what it needs is loaded now."""
    module = importlib.import_module(f"hafailover.hooks.alerts.{MODULES[recipient.type]}")
    made: Sender = module.sender(recipient)
    return made
