"""The real RabbitMQ through pika: durable queues, persistent messages, publisher confirms, manual acknowledgements.

Test equipment with the habits of the real services: any broker of cluster_urls will do, and after a lost connection the
next one is tried.
"""

from __future__ import annotations

import contextlib
import random
import time
from typing import Any

import pika  # type: ignore[import-untyped]
import pika.exceptions  # type: ignore[import-untyped]
from hafailover.vagrant.standins.st2 import config

LOST = (pika.exceptions.AMQPError, OSError)

# Queues that are mirrored by a policy of the broker; the names are the real ones' where there is one.
REQUESTED = "st2.actionexecution.requested"
SCHEDULED = "st2.actionrunner.work"
ENDED = "st2.notifiers.execution.work"
TRIGGERS = "st2.trigger_instances_dispatch.rules_engine"
WORKFLOWS = "st2.workflow.work"
QUEUES = (REQUESTED, SCHEDULED, ENDED, TRIGGERS, WORKFLOWS)

_PAUSE = 0.5
_HEARTBEAT = 10
_PERSISTENT = pika.BasicProperties(delivery_mode=2)


def connect() -> tuple[Any, Any]:
    """A connection to any of the brokers, and a channel with confirms and all queues. One of LOST."""
    urls = config.brokers()
    random.shuffle(urls)
    last: BaseException = OSError("no broker is configured")
    for url in urls:
        parameters = pika.URLParameters(url)
        parameters.socket_timeout = parameters.stack_timeout = 5
        parameters.heartbeat = 0 if config.flag("no-heartbeat") is not None else _HEARTBEAT
        parameters.blocked_connection_timeout = 10
        # A peer without power never says so; who has sent something must not wait for it for ever.
        parameters.tcp_options = {"TCP_USER_TIMEOUT": 3000}
        try:
            connection = pika.BlockingConnection(parameters)
            channel = connection.channel()
            channel.confirm_delivery()
            for queue in QUEUES:
                channel.queue_declare(queue, durable=True)
            return connection, channel
        except LOST as error:
            last = error
    raise last


class Publisher:
    """Publishes with confirms over a connection that is kept, and made anew when it was lost."""

    def __init__(self) -> None:
        self._connection: Any = None
        self._channel: Any = None
        self._used = 0.0

    def publish(self, queue: str, body: str) -> None:
        """Return when a broker has confirmed the message. One of LOST when none did."""
        for attempt in (1, 2):
            try:
                if self._connection is None or time.monotonic() - self._used > _HEARTBEAT:
                    self.close()
                    self._connection, self._channel = connect()
                self._channel.basic_publish("", queue, body.encode(), _PERSISTENT, mandatory=True)
                self._used = time.monotonic()
                return
            except LOST:
                self.close()
                if attempt == 2:
                    raise

    def close(self) -> None:
        """Forget the connection."""
        if self._connection is not None:
            with contextlib.suppress(*LOST):
                self._connection.close()
        self._connection = None


class Consumer:
    """Deliveries of a queue, in order of arrival, over a connection that is made anew when it was lost."""

    def __init__(self, queue: str, prefetch: int) -> None:
        self.queue, self.prefetch = queue, prefetch
        self.deliveries: list[tuple[int, str]] = []
        self._connection: Any = None
        self._channel: Any = None
        self._tag = ""
        self._told = False

    def wait(self, seconds: float) -> bool:
        """Receive for at most ``seconds``; False when the connection was lost: what was delivered will come again."""
        try:
            if self._connection is None:
                self._connection, self._channel = connect()
                self._channel.basic_qos(prefetch_count=self.prefetch)
                self._tag = self._channel.basic_consume(self.queue, self._arrived)
                config.say(f"consuming {self.queue}")
            self._connection.process_data_events(time_limit=seconds)
            return True
        except LOST as error:
            if self._connection is not None or not self._told:
                config.say(f"the connection to the broker is lost: {error!r}")
                self._told = True
            self.deliveries = []
            had, self._connection = self._connection is not None, None
            if had and config.flag("hang") is not None:  # as st2 #6097 and #4731 tell of the real ones
                config.say("hanging, as a test has ordered")
                while True:
                    time.sleep(3600)
            time.sleep(_PAUSE)
            return False

    def _arrived(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self.deliveries.append((method.delivery_tag, body.decode()))

    def done(self, tag: int) -> None:
        """Acknowledge a delivery; if the connection is lost just then, it comes again, elsewhere perhaps."""
        with contextlib.suppress(*LOST):
            self._channel.basic_ack(tag)

    def publish(self, queue: str, body: str) -> None:
        """Publish over the same connection. One of LOST."""
        self._channel.basic_publish("", queue, body.encode(), _PERSISTENT, mandatory=True)

    def pause(self) -> None:
        """Take nothing new."""
        with contextlib.suppress(*LOST):
            self._channel.basic_cancel(self._tag)

    def close(self) -> None:
        """What is not acknowledged goes back into the queue."""
        if self._connection is not None:
            with contextlib.suppress(*LOST):
                self._connection.close()
