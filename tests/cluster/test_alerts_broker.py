"""Alerts into a real RabbitMQ: the broker confirms each before it counts, and what it does not like is said in a sentence."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from brokers import ended, healthy, pair_of, standby
from hafailover.vagrant import state
from hafailover.vagrant.lab import Lab
from labs import shell, until

NAME = "alertsbus"
PASSWORD = "mq-app"
QUEUE = "ops"
# No event of the cluster is for them: what arrives is what a test has sent.
ALERTS = """alerts:
  bus: {type: amqp, url: "amqp://127.0.0.1/", user: app, password: file:mq-app, exchange: amq.topic, routing_key: "ha.{kind}",
        events: [hooks], timeout: 4s}
  nowhere: {type: amqp, url: "amqp://127.0.0.1/", user: app, password: file:mq-app, exchange: nosuch, events: [hooks], timeout: 4s}
  stranger: {type: amqp, url: "amqp://127.0.0.1/", user: app, password: file:not-its-password, events: [hooks], timeout: 4s}
"""
CLIENT = """
import json, sys, pika
task = json.load(sys.stdin)
link = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", credentials=pika.PlainCredentials("app", task["password"])))
channel = link.channel()
for name, arguments in task.get("queues", {}).items():
    channel.queue_declare(name, durable=True, arguments=arguments)
    channel.queue_bind(name, "amq.topic", "ha.#")
for name in task.get("gone", []):
    channel.queue_delete(name)
found = []
while task.get("read"):
    method, _, body = channel.basic_get(task["read"], auto_ack=True)
    if method is None:
        break
    found.append([method.routing_key, json.loads(body)])
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with pair_of(NAME, sections=ALERTS) as made:
        healthy(made)
        yield made


def client(lab: Lab, node: str = "mq1", **task: Any) -> list[tuple[str, dict[str, Any]]]:
    """Do something at the broker of ``node`` as its user would; what was read: routing keys and messages."""
    task["password"] = (state.directory(NAME) / "secrets" / PASSWORD).read_text().strip()
    done = lab.exec(node, ["/usr/bin/python3", "-c", CLIENT], timeout=60, input=json.dumps(task))
    assert done.returncode == 0, done.stderr
    return [(key, message) for key, message in json.loads(done.stdout)]


def alert(lab: Lab, recipient: str, node: str = "mq1") -> subprocess.CompletedProcess[str]:
    done = lab.exec(node, ["hafailover", "alerts", "test", recipient, "--timeout", "15"], timeout=120)
    assert "Traceback" not in done.stderr
    return done


def waiting(lab: Lab, recipient: str = "bus") -> int:
    told = json.loads(lab.exec("mq1", ["hafailover", "alerts", "status", "-o", "json"]).stdout)
    (queued,) = (int(one["waiting"]) for one in told["recipients"] if one["name"] == recipient)
    return queued + int(told["inbox"])


def delivered(lab: Lab) -> None:
    """Have everything that waits delivered."""
    until("it can try", lambda: lab.exec("mq1", ["hafailover", "alerts", "retry"]).returncode == 0)
    until("everything is delivered", lambda: waiting(lab) == 0)


def test_a_message_is_confirmed_and_read(lab: Lab) -> None:
    client(lab, queues={QUEUE: {}})
    done = alert(lab, "bus")
    assert done.returncode == 0, done.stdout + done.stderr
    ((key, message),) = client(lab, read=QUEUE)
    assert key == "ha.test" and message["kind"] == "test" and message["node"] == "mq1"


def test_one_that_no_queue_takes_is_not_delivered(lab: Lab) -> None:
    client(lab, gone=[QUEUE])
    done = alert(lab, "bus")
    assert done.returncode == 1 and "no queue of the broker takes" in done.stdout + done.stderr
    client(lab, queues={QUEUE: {}})
    delivered(lab)
    assert [key for key, _ in client(lab, read=QUEUE)] == ["ha.test"], "later, and once"


def test_an_exchange_that_is_not_there_is_said(lab: Lab) -> None:
    done = alert(lab, "nowhere")
    assert done.returncode == 1 and "it has no such exchange" in done.stdout + done.stderr
    shell(lab, "mq1", "rabbitmqctl -q eval 'rabbit_exchange:declare(rabbit_misc:r(<<\"/\">>, exchange, <<\"nosuch\">>), "
          "fanout, true, false, false, [], <<\"app\">>).'")  # fmt: skip

    def unheard() -> bool:
        """On a busy machine the next attempt may come after the alert's own time, which then still tells of the last one."""
        done = alert(lab, "nowhere")
        return "no queue of the broker takes" in done.stdout + done.stderr

    until("the exchange is found, and nobody who listens", unheard)
    shell(lab, "mq1", "rabbitmqctl -q eval 'rabbit_exchange:delete(rabbit_misc:r(<<\"/\">>, exchange, <<\"nosuch\">>), "
          "false, <<\"app\">>).'")  # fmt: skip


def test_a_wrong_password_is_said_and_never_shown(lab: Lab) -> None:
    done = alert(lab, "stranger")
    text = done.stdout + done.stderr
    assert done.returncode == 1 and "the broker does not accept user and password" in text
    shown = shell(lab, "mq1", "hafailover alerts status || true; journalctl -q --no-pager")
    assert "the broker does not accept user and password" in shown
    secrets = [
        (state.directory(NAME) / "secrets" / name).read_text().strip() for name in ("not-its-password", PASSWORD)
    ]
    assert not [secret for secret in secrets if secret in text + shown]


def test_a_queue_without_a_majority_confirms_nothing_and_nothing_is_lost(lab: Lab) -> None:
    client(lab, gone=[QUEUE], queues={"quorum": {"x-queue-type": "quorum", "x-quorum-initial-group-size": 2}})
    assert alert(lab, "bus").returncode == 0
    standby(lab, "mq2", "mq1", True)
    try:
        until("its broker has ended", lambda: ended(lab, "mq2"))
        done = alert(lab, "bus")
        assert done.returncode == 1, "taken by one of two"
        assert waiting(lab) >= 1
    finally:
        standby(lab, "mq2", "mq1", False)
    healthy(lab)
    until("it can try", lambda: lab.exec("mq1", ["hafailover", "alerts", "retry"]).returncode == 0)
    found: list[str] = []

    def both() -> bool:
        found.extend(message["id"] for _, message in client(lab, read="quorum"))
        return len(set(found)) == 2

    until("both have arrived", both)
