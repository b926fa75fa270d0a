"""Delivery into an AMQP 0-9-1 broker (RabbitMQ) through pika, each message confirmed by the broker before it counts as delivered.

pika's blocking connection is not used: it waits for a confirmation without end, and a queue in the minority never gives one.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any, Callable
from urllib.parse import unquote, urlsplit

from hafailover.hooks.alerts import sending
from hafailover.hooks.alerts.config import Recipient
from hafailover.hooks.alerts.event import fill
from hafailover.hooks.alerts.sending import Failed

_IDLE = 5.0  # seconds after which a connection is closed: nobody answers its heartbeats in between
_KEY = 255  # bytes of a routing key
_PARTING = 1.0  # seconds for the broker to agree to the end of a connection
_CODES = {
    311: "the message is too large",
    403: "it does not allow that to the user",
    404: "it has no such exchange",
    406: "it does not want what was sent",
    530: "it does not allow the user into the virtual host, or has none of that name",
}
"""What reply codes of the protocol mean here; the words that come with them are the broker's, and may repeat what it was sent."""


class Amqp:
    """Publishes JSON to one exchange."""

    def __init__(self, recipient: Recipient) -> None:
        self._recipient = recipient
        self._options = recipient.options
        self._link: _Link | None = None
        self._used = 0.0
        # It repeats the broker's words, and says at each attempt at length what is told here in a sentence.
        logging.getLogger("pika").setLevel(logging.CRITICAL + 1)

    def send(self, told: Mapping[str, Any]) -> None:
        """Deliver one event; Failed."""
        try:
            import pika  # type: ignore[import-untyped]
        except ImportError:
            raise Failed(
                "the library pika is not installed: apt-get install python3-pika, then hafailover install"
            ) from None
        template = self._options.get("template")
        body = json.dumps(dict(told) if template is None else fill(template, told)).encode()
        key = fill(self._options.get("routing_key") or "hafailover.{kind}", told, _word)
        key = key.encode()[:_KEY].decode("utf-8", "ignore")
        properties = pika.BasicProperties(
            content_type="application/json", delivery_mode=2, message_id=told["id"], app_id="hafailover"
        )
        end = time.monotonic() + self._recipient.timeout
        if self._link is not None and (time.monotonic() - self._used > _IDLE or self._link.ended):
            self.close()
        try:
            if self._link is None:
                self._link = _Link(pika, self._parameters(pika), self._options.get("exchange", ""), end)
            self._link.publish(key, body, properties, end)
        except Failed:
            self.close()
            raise
        except (pika.exceptions.AMQPError, OSError, ValueError) as error:
            self.close()
            raise Failed(_words(error)) from None
        self._used = time.monotonic()

    def close(self) -> None:
        """End the connection."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _parameters(self, pika: Any) -> Any:
        url, timeout = urlsplit(self._options["url"]), self._recipient.timeout
        secure = url.scheme == "amqps"
        options = None
        if secure:
            options = pika.SSLOptions(sending.trust(self._options), url.hostname)
        return pika.ConnectionParameters(
            host=url.hostname,
            port=url.port or (5671 if secure else 5672),
            virtual_host=unquote(url.path[1:]) or "/",
            credentials=pika.PlainCredentials(
                self._options.get("user") or "guest", self._options.get("password") or "guest"
            ),
            ssl_options=options,
            connection_attempts=1,
            socket_timeout=timeout,
            stack_timeout=timeout,
            heartbeat=30,
        )


class _Link:
    """A connection with one channel that is confirmed on. Every wait has an end; Failed when it comes, or when the broker ends it."""

    def __init__(self, pika: Any, parameters: Any, exchange: str, end: float) -> None:
        self._exchange = exchange
        self._failure = ""
        self._parting = False
        self._confirmed: bool | None = None
        self._returned = False
        self._ready: list[Any] = []
        self._connection = pika.SelectConnection(
            parameters,
            on_open_callback=lambda _: self._go_on("open"),
            on_open_error_callback=lambda _, error: self._fail(_words(error)),
            on_close_callback=lambda _, error: self._fail(_words(error)),
        )
        with self._or_nothing():
            self._await("open", end)
            self._channel = self._connection.channel(on_open_callback=lambda _: self._go_on("channel"))
            self._channel.add_on_close_callback(lambda _, error: self._fail(_words(error)))
            self._channel.add_on_return_callback(self._give_back)
            self._await("channel", end)
            self._channel.confirm_delivery(self._confirm, callback=lambda _: self._go_on("confirm"))
            self._await("confirm", end)
            if exchange:
                self._channel.exchange_declare(exchange, passive=True, callback=lambda _: self._go_on("exchange"))
                self._await("exchange", end)

    @property
    def ended(self) -> bool:
        """Whether nothing can be published any more."""
        return bool(self._failure)

    def publish(self, key: str, body: bytes, properties: Any, end: float) -> None:
        """Publish one message and wait until the broker has taken it; Failed."""
        self._confirmed, self._returned = None, False
        self._channel.basic_publish(self._exchange, key, body, properties, mandatory=True)
        self._run(lambda: self._confirmed is not None, end)
        if self._returned:
            raise Failed(f"no queue of the broker takes what has the routing key {key}")
        if not self._confirmed:
            raise Failed("the broker has not taken the message")

    def close(self) -> None:
        """End it, with the broker's consent or without."""
        agreed = False
        # What became of the message is known by now: however the parting fails, inside of pika too, it changes nothing.
        with contextlib.suppress(Exception):
            if self._connection.is_open:
                self._parting = True
                self._connection.close()
                self._run(lambda: bool(self._connection.is_closed), time.monotonic() + _PARTING)
            agreed = bool(self._connection.is_closed)
        with contextlib.suppress(Exception):
            self._connection.ioloop.close()
        if not agreed:
            # pika has no way to let go of a connection that is not over: its socket goes with the objects, which are in a circle.
            self._connection = self._channel = None
            gc.collect()

    @contextlib.contextmanager
    def _or_nothing(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _await(self, what: str, end: float) -> None:
        self._run(lambda: what in self._ready, end)

    def _run(self, done: Callable[[], bool], end: float) -> None:
        """Let pika work until ``done``."""
        loop = self._connection.ioloop
        while not done():
            left = end - time.monotonic()
            if self._failure:
                raise Failed(self._failure)
            if left <= 0:
                raise Failed("the broker does not answer in time, or does not confirm what it was sent")
            timer = loop.call_later(left, loop.stop)
            loop.start()  # until a callback stops it
            loop.remove_timeout(timer)

    def _go_on(self, what: str) -> None:
        self._ready.append(what)
        self._connection.ioloop.stop()

    def _fail(self, why: str) -> None:
        self._failure = "" if self._parting else self._failure or why
        self._connection.ioloop.stop()

    def _confirm(self, frame: Any) -> None:
        # One message is on its way at a time: whatever is confirmed is this one.
        self._confirmed = frame.method.NAME == "Basic.Ack"
        self._connection.ioloop.stop()

    def _give_back(self, *_: Any) -> None:
        self._returned = True  # and a confirmation follows


def sender(recipient: Recipient) -> Amqp:
    """The sender of ``recipient``."""
    return Amqp(recipient)


def _words(error: Any) -> str:
    """Why a connection came to its end, without the broker's own words."""
    found = list(_causes(error))
    for one in found:
        code = getattr(one, "reply_code", None)
        if code is not None:
            return f"the broker has ended it with code {code}{f': {_CODES[code]}' if code in _CODES else ''}"
        if isinstance(one, ssl.SSLCertVerificationError):
            return f"the certificate of the broker cannot be verified: {one.verify_message}"
        if type(one).__name__ in ("ProbableAuthenticationError", "AuthenticationError"):
            return "the broker does not accept user and password"
        if type(one).__name__ == "ProbableAccessDeniedError":
            return f"the broker has ended it: {_CODES[530]}"
    last = found[-1]
    reason = last.strerror if isinstance(last, OSError) and last.strerror else type(last).__name__
    return f"the broker cannot be reached or does not answer: {reason}"


def _causes(error: Any) -> Iterator[Any]:
    """``error`` and what pika has packed into it, the innermost last."""
    seen: list[Any] = []
    left = [error]
    while left and len(seen) < 20:
        one = left.pop()
        seen.append(one)
        packed = [*getattr(one, "args", ()), *getattr(one, "exceptions", ()), getattr(one, "exception", None)]
        left += [part for part in packed if isinstance(part, BaseException) and part not in seen]
    yield from seen


def _word(text: str) -> str:
    """A part of a routing key: a dot or a wildcard in an event's text must not make another key of it."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in text) or "-"
