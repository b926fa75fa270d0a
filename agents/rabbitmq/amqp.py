"""As much of AMQP 0-9-1 as a health check needs: log in, publish one message to an own queue, get it back.

pika knows far more and costs 70 ms of processor time to import, each time a monitor begins; this costs under 2 ms.
"""

from __future__ import annotations

import _socket as socket
import struct
import time

_METHOD, _HEADER, _BODY, _HEARTBEAT, _END = 1, 2, 3, 8, 0xCE
_START, _START_OK, _TUNE, _TUNE_OK = (10, 10), (10, 11), (10, 30), (10, 31)
_OPEN, _OPEN_OK, _CLOSE, _CLOSE_OK, _BLOCKED = (10, 40), (10, 41), (10, 50), (10, 51), (10, 60)
_CHANNEL_OPEN, _CHANNEL_CLOSE = (20, 10), (20, 40)
_DECLARE, _PUBLISH, _GET, _GET_OK, _GET_EMPTY = (50, 10), (60, 40), (60, 70), (60, 71), (60, 72)
_DURABLE = 2
_NO_ACK = 1
_STALE = 100  # messages of earlier checks that were interrupted, at most
# Seconds between two signs of life from the broker: by them it finds that we have left while it did not read.
_BEAT = 10


class Unanswered(Exception):
    """Nobody listens, or the broker does not answer in time, or what answers is no AMQP broker."""


class Refusal(Exception):
    """The broker answers and refuses: its own code and words."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(code, words)
        self.code, self.words = code, words


def round_trip(host: str, port: int, account: tuple[str, str], vhost: str, queue: str, timeout: float) -> str | None:
    """Publish a message to ``queue`` and get it back, all within ``timeout`` seconds; None when it came.

    Text when the broker has blocked publishers: its reason (an alarm). Unanswered; Refusal.
    """
    end = time.monotonic() + timeout
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(timeout, 0.001))
        sock.connect((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Talk(sock, end).run(account, vhost, queue)
    except socket.timeout:
        raise Unanswered(f"no answer on port {port} within {timeout:g} s") from None
    except OSError as error:
        raise Unanswered(f"port {port}: {error.strerror or error}") from None
    finally:
        sock.close()


class _Talk:
    """One conversation."""

    def __init__(self, sock: socket.socket, end: float) -> None:
        self._sock, self._end, self._buffer = sock, end, b""

    def run(self, account: tuple[str, str], vhost: str, queue: str) -> str | None:
        self._sock.sendall(b"AMQP\x00\x00\x09\x01")
        self._expect(_START)
        proof = f"\0{account[0]}\0{account[1]}".encode()
        # So that an alarm is told instead of only felt, and a wrong password, too.
        able = _key("connection.blocked") + b"t\x01" + _key("authentication_failure_close") + b"t\x01"
        about = _key("capabilities") + b"F" + _long(able) + _key("product") + b"S" + _long(b"hafailover")
        self._send(0, _START_OK, _long(about) + _short("PLAIN") + _long(proof) + _short("en_US"))
        tune = self._expect(_TUNE)
        tuned = tune[:6] + struct.pack(">H", _BEAT)
        opening = _method(0, _TUNE_OK, tuned) + _method(0, _OPEN, _short(vhost) + b"\0\0")
        self._sock.sendall(opening)
        self._expect(_OPEN_OK)
        token = str(time.monotonic_ns()).encode()
        header = struct.pack(">HHQH", 60, 0, len(token), 0)
        # On this very node, whatever the broker's defaults are: the check is not to depend on another node.
        kind = _key("x-queue-type") + b"S" + _long(b"classic")
        place = _key("x-queue-master-locator") + b"S" + _long(b"client-local")
        declare = b"\0\0" + _short(queue) + bytes([_DURABLE]) + _long(kind + place)
        self._sock.sendall(
            _method(1, _CHANNEL_OPEN, b"\0")
            + _method(1, _DECLARE, declare)
            + _method(1, _PUBLISH, b"\0\0\0" + _short(queue) + b"\0")
            + _frame(_HEADER, 1, header)
            + _frame(_BODY, 1, token)
            + _method(1, _GET, b"\0\0" + _short(queue) + bytes([_NO_ACK]))
        )
        blocked = self._await(token, queue)
        if blocked is None:
            self._leave()
        # Else it reads nothing more of this connection until the alarm is over: waiting for its farewell would end in "no answer",
        # and all brokers would be restarted for an alarm.
        return blocked

    def _await(self, token: bytes, queue: str) -> str | None:
        for _ in range(_STALE):
            while True:
                kind, name, rest = self._next()
                if kind == _METHOD and name == _BLOCKED:
                    return rest[1 : 1 + rest[0]].decode("utf-8", "replace")
                if kind == _METHOD and name == _GET_EMPTY:
                    raise Unanswered("the message that was published did not come back")
                if kind == _BODY:
                    break
            if rest == token:
                return None
            self._send(1, _GET, b"\0\0" + _short(queue) + bytes([_NO_ACK]))
        raise Unanswered(f"queue {queue} is full of old messages")

    def _leave(self) -> None:
        """Close in order: the broker's log warns of every connection that just ends."""
        self._send(0, _CLOSE, struct.pack(">H", 200) + _short("") + b"\0\0\0\0")
        while True:
            kind, name, _ = self._next()
            if kind == _METHOD and name == _CLOSE_OK:
                return

    def _expect(self, wanted: tuple[int, int]) -> bytes:
        kind, name, rest = self._next()
        if kind != _METHOD or name != wanted:
            raise Unanswered(f"it does not speak AMQP 0-9-1 (method {name} instead of {wanted})")
        return rest

    def _next(self) -> tuple[int, tuple[int, int], bytes]:
        """The next frame that is no heartbeat: its kind, a method's number, and what follows. Refusal."""
        while True:
            head = self._bytes(7)
            if head[:4] == b"AMQP":
                raise Unanswered("it does not speak AMQP 0-9-1")
            kind, _, size = struct.unpack(">BHI", head)
            payload = self._bytes(size + 1)
            if payload[-1] != _END:
                raise Unanswered("it does not speak AMQP 0-9-1")
            if kind == _HEARTBEAT:
                continue
            if kind != _METHOD:
                return kind, (0, 0), payload[:-1]
            name, rest = struct.unpack(">HH", payload[:4]), payload[4:-1]
            if name in (_CLOSE, _CHANNEL_CLOSE):
                (code,) = struct.unpack(">H", rest[:2])
                raise Refusal(code, rest[3 : 3 + rest[2]].decode("utf-8", "replace"))
            return kind, name, rest

    def _bytes(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._sock.settimeout(max(self._end - time.monotonic(), 0.001))
            data = self._sock.recv(65536)
            if not data:
                raise Unanswered("the broker closed the connection")
            self._buffer += data
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def _send(self, channel: int, name: tuple[int, int], arguments: bytes) -> None:
        self._sock.sendall(_method(channel, name, arguments))


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + bytes([_END])


def _method(channel: int, name: tuple[int, int], arguments: bytes) -> bytes:
    return _frame(_METHOD, channel, struct.pack(">HH", *name) + arguments)


def _short(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data


_key = _short


def _long(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
