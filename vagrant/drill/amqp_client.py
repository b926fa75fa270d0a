"""A client of a broker cluster: publishes numbers with confirms, or consumes them, and logs each with its time.

Runs as a program of its own, outside of the cluster, so it imports nothing of hafailover.
Usage: amqp_client.py publish|consume LOG USER HOST... with the user's password on standard input.
"""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import Any

import pika  # type: ignore[import-untyped]
from pika.exceptions import AMQPError  # type: ignore[import-untyped]

QUEUE = "work"


def connect(hosts: list[str], account: tuple[str, str], turn: int) -> Any:
    """A connection to one of the brokers; AMQPError or OSError."""
    return pika.BlockingConnection(
        pika.ConnectionParameters(
            hosts[turn % len(hosts)],
            credentials=pika.PlainCredentials(*account),
            heartbeat=4,
            blocked_connection_timeout=5,
            socket_timeout=3,
            stack_timeout=5,
        )
    )


def publish(hosts: list[str], account: tuple[str, str], log: Path) -> None:
    """Publish numbers, on from the last in the log, with confirms, each until it is confirmed; then, and only then, it is in the log."""
    before = log.read_text().split() if log.exists() else []
    number, turn = 1 + int(before[-2] if before else 0), 0
    while True:
        try:
            channel = connect(hosts, account, turn).channel()
            channel.queue_declare(QUEUE, durable=True)
            channel.confirm_delivery()
            while True:
                body = str(number).encode()
                properties = pika.BasicProperties(delivery_mode=2)
                channel.basic_publish("", QUEUE, body, properties, mandatory=True)  # raises unless confirmed
                with log.open("a") as file:
                    file.write(f"{number} {time.time():.2f}\n")
                number += 1
                time.sleep(0.05)
        except (AMQPError, OSError):
            turn += 1
            time.sleep(0.2)


def consume(hosts: list[str], account: tuple[str, str], log: Path) -> None:
    """Note each message, then acknowledge it."""
    turn = 1
    while True:
        try:
            channel = connect(hosts, account, turn).channel()
            channel.queue_declare(QUEUE, durable=True)
            for method, _, body in channel.consume(QUEUE):
                with log.open("a") as file:
                    file.write(f"{body.decode()} {time.time():.2f}\n")
                channel.basic_ack(method.delivery_tag)
        except (AMQPError, OSError):
            turn += 1
            time.sleep(0.2)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        what, log, user, *hosts = sys.argv[1:]
        {"publish": publish, "consume": consume}[what](hosts, (user, sys.stdin.read()), Path(log))
