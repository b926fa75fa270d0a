"""Delivery into a broker: confirmed before it counts, and with an end whatever the broker does."""

from __future__ import annotations

import json
import os
import ssl
import time

import pika
import pytest
from broker import Broker
from hafailover.hooks.alerts import event, to_amqp
from hafailover.hooks.alerts.config import Recipient
from hafailover.hooks.alerts.sending import Failed

TOLD = event.parse("1", b"kind=node\0node=db.1#*\0desc=lost\0end=1", 5.0).told("c1", "db1", 2)


@pytest.fixture
def broker():
    made = Broker(exchanges=("cluster",))
    yield made
    made.stop()


@pytest.fixture
def to(broker):
    senders = []

    def make(timeout: float = 2.0, **options: str) -> to_amqp.Amqp:
        whole = {"url": broker.url, "user": "alerts", "password": "right", **options}
        senders.append(to_amqp.sender(Recipient("a", "amqp", frozenset(), 1, 1, timeout, whole)))
        return senders[-1]

    yield make
    for sender in senders:
        sender.close()


def failure(sender: to_amqp.Amqp) -> str:
    with pytest.raises(Failed) as caught:
        sender.send(TOLD)
    assert "right" not in str(caught.value) and "s3cret" not in str(caught.value)
    return str(caught.value)


def test_what_is_published(broker, to):
    sender = to(exchange="cluster", routing_key="ha.{kind}.{node}")
    for _ in range(3):
        sender.send(TOLD)
    assert broker.connections == 1
    assert len(broker.got) == 3
    exchange, key, body, properties = broker.got[0]
    # A dot or a wildcard in an event makes no other key of it.
    assert (exchange, key) == ("cluster", "ha.node.db-1--")
    assert json.loads(body)["summary"] == "node db.1#* is lost"
    assert (properties.message_id, properties.delivery_mode) == (TOLD["id"], 2)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("nack", "has not taken the message"),
        ("return", "no queue of the broker takes what has the routing key hafailover.node"),
        ("close", "code 403: it does not allow that to the user"),
        # A quorum queue in the minority, or a broker that has no disk left: its heartbeats go on, and nothing is ever confirmed.
        ("silent", "does not confirm what it was sent"),
        ("hang", "the broker "),
    ],
)
def test_what_is_not_confirmed_is_not_delivered_and_holds_nobody_for_ever(broker, to, answer, said):
    sender = to(timeout=0.7)
    broker.answer = answer
    began = time.monotonic()
    assert said in failure(sender)
    assert time.monotonic() - began < 4
    assert broker.got == []
    # The next attempt does not suffer from it.
    broker.answer = "ack"
    sender.send(TOLD)
    assert len(broker.got) == 1


def test_a_broker_that_confirmed_before_and_stops_to(broker, to):
    sender = to(timeout=0.7)
    sender.send(TOLD)
    broker.answer = "silent"
    assert "does not confirm" in failure(sender)
    broker.answer = "ack"
    sender.send(TOLD)
    assert (len(broker.got), broker.connections) == (2, 2)


def test_who_may_not_and_what_there_is_not(broker, to):
    assert failure(to(password="s3cret")) == "the broker does not accept user and password"
    assert "code 404: it has no such exchange" in failure(to(exchange="other"))
    assert "Connection refused" in failure(to(url="amqp://127.0.0.1:1/"))
    assert to(url="amqp://127.0.0.1:1/v%2Fh")._parameters(pika).virtual_host == "v/h"


def test_a_broker_that_fails_for_days_costs_no_descriptors_and_fills_no_log(broker, to, caplog):
    sender = to(timeout=0.2)
    sender.send(TOLD)
    sender.close()
    before = len(os.listdir("/proc/self/fd"))
    for answer in ("nack", "close", "return", "hang", "close", "silent", "hang") * 2:
        broker.answer = answer
        failure(sender)
    failure(to(url="amqp://127.0.0.1:1/"))
    # The broker's ends of two connections may not be closed yet.
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    assert not caplog.records


def test_no_certificate(broker, to):
    """What answers speaks no TLS at all; a certificate is looked at by the same library as for webhooks."""
    said = failure(to(url=broker.url.replace("amqp:", "amqps:"), timeout=1.0))
    assert said.startswith("the broker ")
    sender = to(url="amqps://mq.example.net/")
    context = sender._parameters(pika).ssl_options.context
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
