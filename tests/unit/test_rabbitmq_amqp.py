"""The health check's conversation, against a broker that is made of a socket and a list of answers."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from hafailover.agents.rabbitmq import amqp

END = b"\xce"


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + END


def method(channel: int, name: tuple[int, int], rest: bytes = b"") -> bytes:
    return frame(1, channel, struct.pack(">HH", *name) + rest)


def short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


START = method(
    0, (10, 10), b"\0\x09" + struct.pack(">I", 0) + struct.pack(">I", 5) + b"PLAIN" + struct.pack(">I", 5) + b"en_US"
)
TUNE = method(0, (10, 30), struct.pack(">HIH", 2047, 131072, 60))
OPENED = method(0, (10, 41), b"\0")
READY = method(1, (20, 11), b"\0\0\0\0") + method(1, (50, 11), short("q") + b"\0" * 8)
EMPTY = method(1, (60, 72), b"\0")
CLOSED = method(0, (10, 51))


class Broker:
    """Answers with ``script``: bytes, or None for the message that was just published; then it is silent."""

    def __init__(self, *script: bytes | None) -> None:
        self._script = script
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.heard = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection:
            for answer in self._script:
                self.heard += connection.recv(65536)
                if answer is None:
                    token = self.heard.rpartition(frame(2, 1, b"")[:3])[2]
                    token = self.heard[self.heard.rindex(b"\x03\0\x01") + 7 :].partition(END)[0]
                    header = frame(2, 1, struct.pack(">HHQH", 60, 0, len(token), 0))
                    answer = READY + method(1, (60, 71), b"\0" * 13) + header + frame(3, 1, token)
                connection.sendall(answer)
            connection.settimeout(5)
            while connection.recv(65536):
                continue

    def close(self) -> None:
        self._server.close()
        self._thread.join(timeout=6)


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    made = Broker(*request.param)
    yield made
    made.close()


def talk(port: int, timeout: float = 5.0) -> str | None:
    return amqp.round_trip("127.0.0.1", port, ("user", "secret"), "/", "q", timeout)


@pytest.mark.parametrize("broker", [(START, TUNE, OPENED, None, CLOSED)], indirect=True)
def test_the_message_comes_back(broker: Broker) -> None:
    assert talk(broker.port) is None
    assert b"\0user\0secret" in broker.heard
    assert b"connection.blocked" in broker.heard


@pytest.mark.parametrize(
    "broker",
    [(START, TUNE, OPENED, method(0, (10, 60), short("low on memory")) + READY)],
    indirect=True,
)
def test_an_alarm_is_told_by_a_broker_that_reads_nothing_more(broker: Broker) -> None:
    assert talk(broker.port) == "low on memory"
    assert method(0, (10, 50))[:11] not in broker.heard


@pytest.mark.parametrize("broker", [(START, TUNE, OPENED, None, CLOSED)], indirect=True)
def test_the_broker_is_asked_for_signs_of_life(broker: Broker) -> None:
    """By sending them it finds a check that has left while an alarm kept it from reading; else each would stay for ever."""
    assert talk(broker.port) is None
    assert method(0, (10, 31), struct.pack(">HIH", 2047, 131072, 10)) in broker.heard


@pytest.mark.parametrize("broker", [(START, TUNE, OPENED, READY + EMPTY)], indirect=True)
def test_a_message_that_is_lost(broker: Broker) -> None:
    with pytest.raises(amqp.Unanswered, match="did not come back"):
        talk(broker.port)


@pytest.mark.parametrize(
    "broker",
    [(START, method(0, (10, 50), struct.pack(">H", 403) + short("ACCESS_REFUSED") + b"\0\0\0\0"))],
    indirect=True,
)
def test_a_refusal_has_its_code(broker: Broker) -> None:
    with pytest.raises(amqp.Refusal) as caught:
        talk(broker.port)
    assert (caught.value.code, caught.value.words) == (403, "ACCESS_REFUSED")


@pytest.mark.parametrize(
    "broker", [(START,), (b"HTTP/1.1 400 Bad Request\r\n\r\n",), (b"AMQP\0\0\x09\x01",)], indirect=True
)
def test_silence_and_nonsense_end_in_time(broker: Broker) -> None:
    begun = time.monotonic()
    with pytest.raises(amqp.Unanswered):
        talk(broker.port, 0.5)
    assert time.monotonic() - begun < 4


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(amqp.Unanswered, match="refused"):
        talk(port)
