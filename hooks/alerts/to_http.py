"""Delivery by HTTP: webhooks of any kind, Slack, Mattermost, StackStorm.

What an event says reaches the body alone, as a JSON string; address and headers come from the topology. Redirects are not followed: they
would let whoever answers choose where the secret and the event go. No proxy is taken from the environment.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from hafailover.agents import __version__
from hafailover.hooks.alerts import sending
from hafailover.hooks.alerts.config import Recipient
from hafailover.hooks.alerts.event import fill
from hafailover.hooks.alerts.sending import Failed, Refused

_IDLE = 5.0  # seconds after which an unused connection is not trusted any more
_PARTS = re.compile(r"[/?&=]")
_SHORT = 6  # characters; what is shorter is a word, and is no secret that keeps anybody out
_READ = 65536  # bytes of an answer that are looked at
_CHAT = 12_000  # characters; Mattermost takes 16383, Slack 40000, and what is longer is refused, or cut where they like
_LONGEST_PAUSE = 300.0  # seconds that the other side may ask for
_NEVER = (400, 413, 422)
"""Codes that say that the event is what is wrong. Address, method and headers are the same for all events: what speaks against those, such
as the 405 of a page that tells of maintenance, is over some day.
"""


class Http:
    """Posts JSON to one address over one connection."""

    def __init__(self, recipient: Recipient) -> None:
        self._recipient = recipient
        self._options = recipient.options
        url = urlsplit(self._options["url"])
        self._host, self._port = url.hostname or "", url.port
        self._secure = url.scheme == "https"
        self._target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._headers = {"User-Agent": f"hafailover/{__version__}", "Content-Type": "application/json; charset=utf-8"}
        self._headers.update({name: str(value) for name, value in self._options.get("headers", {}).items()})
        token = self._options.get("token")
        if token:
            name = self._options.get("token_header") or (
                "St2-Api-Key" if recipient.type == "stackstorm" else "Authorization"
            )
            self._headers[name] = f"Bearer {token}" if name.lower() == "authorization" else token
        self._connection: http.client.HTTPConnection | None = None
        self._used = 0.0

    def send(self, told: Mapping[str, Any]) -> None:
        """Deliver one event; Failed, Refused."""
        body = json.dumps(self._body(told), ensure_ascii=True).encode()
        headers = {**self._headers, "Idempotency-Key": told["id"]}
        if self._recipient.type == "stackstorm":
            headers["St2-Trace-Tag"] = told["id"]
        try:
            status, answer, pause = self._post(body, headers)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise Failed(f"the certificate of {self._host} cannot be verified: {error.verify_message}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise Failed(f"{self._host} cannot be reached or does not answer: {_words(error)}") from None
        if 200 <= status < 300:
            return
        self.close()
        said = self._without_secrets(" ".join(answer.decode("utf-8", "replace").split()))[:200]
        words = f"{self._host} answers {status}{f': {said}' if said.isprintable() and said else ''}"
        if 300 <= status < 400:
            raise Failed(f"{self._host} answers {status}, a redirect, which is not followed: correct the url")
        if status in _NEVER:
            raise Refused(words)
        raise Failed(words, pause)

    def _without_secrets(self, text: str) -> str:
        """``text``, which may repeat what it was sent, as it may be logged."""
        for secret in (str(self._options.get("token") or ""), self._target, *_PARTS.split(self._target)):
            if len(secret) >= _SHORT:
                text = text.replace(secret, "***")
        return text

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _body(self, told: Mapping[str, Any]) -> Any:
        template = self._options.get("template")
        if self._recipient.type in ("slack", "mattermost"):
            escape = _slack if self._recipient.type == "slack" else _mattermost
            text = fill(template or "*{cluster}*: {summary}", told, escape)
            text = text if len(text) <= _CHAT else text[: _CHAT - 1] + "…"
            if told["dropped"]:
                text += f" ({told['dropped']} earlier events were dropped)"
            channel = self._options.get("channel")
            return {"text": text, **({"channel": channel} if channel else {})}
        return dict(told) if template is None else fill(template, told)

    def _post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes, float]:
        connection = self._open()
        timeout = self._recipient.timeout
        if connection.sock is None:
            # Has ends of its own. Before the watchdog, which can only end what there is: a slow name server would have used it up.
            connection.connect()
        # Each read has its own timeout; who sends a byte now and then could keep us for hours.
        watchdog = threading.Timer(2 * timeout, _end, (connection,))
        watchdog.daemon = True
        watchdog.start()
        try:
            connection.request("POST", self._target, body, dict(headers))
            answer = connection.getresponse()
            said = answer.read(_READ)
            pause = answer.getheader("Retry-After", "")
            if not answer.isclosed():
                self.close()  # more than anybody needs to say
            if answer.will_close:
                self.close()
        finally:
            watchdog.cancel()
        self._used = time.monotonic()
        return answer.status, said, min(float(pause), _LONGEST_PAUSE) if pause.isdecimal() else 0.0

    def _open(self) -> http.client.HTTPConnection:
        if self._connection is not None and time.monotonic() - self._used > _IDLE:
            self.close()
        if self._connection is None:
            timeout = self._recipient.timeout
            if self._secure:
                self._connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=timeout, context=sending.trust(self._options)
                )
            else:
                self._connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        return self._connection


def sender(recipient: Recipient) -> Http:
    """The sender of ``recipient``."""
    return Http(recipient)


def _end(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it takes too long"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return type(error).__name__


def _slack(text: str) -> str:
    # Only in angle brackets do names notify people there; a lone @ does not.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _mattermost(text: str) -> str:
    # @all and @channel notify everybody there, wherever they stand: an invisible character breaks the word. Brackets make links and images.
    plain = text.replace("@", "@\u200b")
    return "".join(f"\\{letter}" if letter in "[]()!`*_#<>|~\\" else letter for letter in plain)
