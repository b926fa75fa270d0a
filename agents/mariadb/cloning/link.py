"""A link between two data nodes on which each knows who the other is and that nothing was cut off or changed.

Both nodes hold the replication account's password; a key derived from it proves itself in a challenge and response, so that the password
never travels. Then every frame carries its length, and a code over a session key and a counter: a stream that was cut can look complete
in a pipeline, here it cannot. Nothing is encrypted.

The server speaks first: a greeting and its nonce. The client answers with a nonce and its proof, the server with its own proof. So a
stranger who connects learns nothing that depends on the password.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = 1
_GREETING = b"HAFAILOVER-PEER %d\n" % VERSION
_NONCE = 32  # bytes
_MAC = 32  # bytes
_HEADER = struct.Struct(">cI")
MAX_PAYLOAD = 1 << 20  # bytes
HANDSHAKE_TIMEOUT = 15.0  # seconds
IDLE_TIMEOUT = 60.0  # seconds in which the other side must have sent something
_ROUNDS = 100_000  # makes guessing a weak password from a recorded handshake expensive

MESSAGE, DATA, END, ALIVE = b"M", b"D", b"E", b"A"


class LinkError(Exception):
    """The other side cannot be reached, is not who it must be, or went away. The message is a sentence."""


class AuthenticationError(LinkError):
    """The two sides do not hold the same password."""


class PeerRefused(Exception):
    """The other side understood and said no; the message is its sentence."""


def key(resource: str, password: str) -> bytes:
    """The secret that both sides of ``resource`` hold, derived from the replication password."""
    return hashlib.pbkdf2_hmac("sha256", password.encode(), b"hafailover-peer:" + resource.encode(), _ROUNDS)


class Link:
    """One end of an authenticated connection. Every wait ends after ``idle`` seconds without a byte."""

    def __init__(self, sock: socket.socket, send_key: bytes, receive_key: bytes, idle: float) -> None:
        self._sock = sock
        self._send_key, self._receive_key = send_key, receive_key
        self._sent = self._received = 0
        sock.settimeout(idle)

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        """Send one frame of at most MAX_PAYLOAD bytes."""
        header = _HEADER.pack(kind, len(payload))
        code = _code(self._send_key, self._sent, header, payload)
        self._sent += 1
        try:
            self._sock.sendall(b"".join((header, payload, code)))
        except OSError as error:
            raise LinkError(f"the other node does not take any more: {_words(error)}") from None

    def receive(self) -> tuple[bytes, bytes]:
        """The next frame: kind and payload. LinkError also when the connection ends, whatever came before."""
        header = _read(self._sock, _HEADER.size)
        kind, length = _HEADER.unpack(header)
        if length > MAX_PAYLOAD:
            raise LinkError("the other node sent a frame that is too long: is it of another version?")
        payload = _read(self._sock, length)
        code = _read(self._sock, _MAC)
        if not hmac.compare_digest(code, _code(self._receive_key, self._received, header, payload)):
            raise LinkError("what arrived is not what was sent: the stream was changed on its way")
        self._received += 1
        return kind, payload

    def say(self, message: dict[str, Any]) -> None:
        """Send one message, a JSON object."""
        self.send(MESSAGE, json.dumps(message).encode())

    def refuse(self, reason: str) -> None:
        """Send the sentence why what was asked for is not done."""
        self.say({"refused": reason})

    def hear(self) -> dict[str, Any]:
        """The next message; PeerRefused when it is a refusal."""
        while True:
            kind, payload = self.receive()
            if kind == MESSAGE:
                return decode(payload)
            if kind != ALIVE:
                raise LinkError(f"the other node sent a frame of kind {kind!r} where a message was due")

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def decode(payload: bytes) -> dict[str, Any]:
    """The JSON object of a frame; PeerRefused when it is a refusal, LinkError when it is none."""
    try:
        message = json.loads(payload)
    except ValueError:
        raise LinkError("the other node sent something that is no message") from None
    if not isinstance(message, dict):
        raise LinkError("the other node sent something that is no message")
    if "refused" in message:
        raise PeerRefused(str(message["refused"]))
    return message


def accept(sock: socket.socket, secret: bytes, idle: float = IDLE_TIMEOUT) -> Link:
    """The server's side of the handshake on a connected socket; AuthenticationError when the client does not hold ``secret``."""
    deadline = _limit(sock)
    mine = os.urandom(_NONCE)
    _write(sock, _GREETING + mine)
    theirs = _read(sock, _NONCE, deadline)
    proof = _read(sock, _MAC, deadline)
    if not hmac.compare_digest(proof, _proof(secret, b"client", mine, theirs)):
        raise AuthenticationError("the other node does not hold the same replication password")
    _write(sock, _proof(secret, b"server", mine, theirs))
    return Link(sock, _proof(secret, b"to client", mine, theirs), _proof(secret, b"to server", mine, theirs), idle)


def connect(address: str, port: int, secret: bytes, idle: float = IDLE_TIMEOUT) -> Link:
    """Connect to a peer's service and prove each other; LinkError says what is wrong."""
    try:
        sock = socket.create_connection((address, port), HANDSHAKE_TIMEOUT)
    except OSError as error:
        raise LinkError(f"cannot connect to {address} port {port}: {_words(error)}") from None
    try:
        return _introduce(sock, secret, idle)
    except BaseException:
        sock.close()
        raise


def _introduce(sock: socket.socket, secret: bytes, idle: float) -> Link:
    deadline = _limit(sock)
    greeting = _read(sock, len(_GREETING), deadline)
    if greeting != _GREETING:
        raise LinkError("the other node's service speaks another version: install the same hafailover on all nodes")
    theirs = _read(sock, _NONCE, deadline)
    mine = os.urandom(_NONCE)
    _write(sock, mine + _proof(secret, b"client", theirs, mine))
    try:
        proof = _read(sock, _MAC, deadline)
    except LinkError:
        raise AuthenticationError(
            "the other node closed the connection: does it hold the same replication password (credentials file)?"
        ) from None
    if not hmac.compare_digest(proof, _proof(secret, b"server", theirs, mine)):
        raise AuthenticationError("the other node does not hold the same replication password")
    return Link(sock, _proof(secret, b"to server", theirs, mine), _proof(secret, b"to client", theirs, mine), idle)


def _limit(sock: socket.socket) -> float:
    sock.settimeout(HANDSHAKE_TIMEOUT)
    return time.monotonic() + HANDSHAKE_TIMEOUT


def _proof(secret: bytes, purpose: bytes, server_nonce: bytes, client_nonce: bytes) -> bytes:
    return hmac.digest(secret, purpose + b"\0" + server_nonce + client_nonce, "sha256")


def _code(secret: bytes, counter: int, header: bytes, payload: bytes) -> bytes:
    return hmac.digest(secret, b"".join((counter.to_bytes(8, "big"), header, payload)), "sha256")


def _write(sock: socket.socket, data: bytes) -> None:
    try:
        sock.sendall(data)
    except OSError as error:
        raise LinkError(f"the other node went away: {_words(error)}") from None


def _read(sock: socket.socket, size: int, deadline: float | None = None) -> bytes:
    """Exactly ``size`` bytes; LinkError when they do not come, or not all by ``deadline``."""
    found = bytearray()
    while len(found) < size:
        if deadline is not None and time.monotonic() > deadline:
            raise LinkError("the other node took too long to introduce itself")
        try:
            data = sock.recv(min(size - len(found), 1 << 18))
        except OSError as error:
            raise LinkError(f"nothing came from the other node: {_words(error)}") from None
        if not data:
            raise LinkError("the connection was closed in the middle")
        found += data
    return bytes(found)


def _words(error: OSError) -> str:
    return "timed out" if isinstance(error, TimeoutError) else error.strerror or str(error)
