"""Delivery to the machine's own journal or syslog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hafailover.agents import journal
from hafailover.hooks.alerts.config import Recipient
from hafailover.hooks.alerts.event import clean, fill
from hafailover.hooks.alerts.sending import Failed


class Syslog:
    """One line for each event, with its parts as fields of the journal."""

    def __init__(self, recipient: Recipient) -> None:
        self._template = recipient.options.get("template") or "{summary}"

    def send(self, told: Mapping[str, Any]) -> None:
        """Deliver one event; Failed when nobody listens."""
        fields = {f"HAFAILOVER_{key.upper()}": str(value) for key, value in told.items() if value != ""}
        text = clean(fill(self._template, told))
        if told["dropped"]:
            text += f" ({told['dropped']} earlier events were dropped)"
        if not journal.send("warning" if told["failed"] else "notice", "hafailover-alert", text, fields):
            raise Failed("neither the journal nor a syslog takes messages")

    def close(self) -> None:
        """Nothing is open."""


def sender(recipient: Recipient) -> Syslog:
    """The sender of ``recipient``."""
    return Syslog(recipient)
