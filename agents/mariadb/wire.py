"""As much of MariaDB's client protocol as the agent needs: log in, send a statement, read its rows.

PyMySQL knows far more and costs 25 to 30 ms of processor time to import, each time an action begins: more than everything
else that a monitor does, and at a failover more than once in a row. This costs under 1 ms.
"""

from __future__ import annotations

import _socket as socket
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CANNOT_CONNECT, LOST, MALFORMED = 2003, 2013, 2027  # the numbers that every client library uses for these

_LONG_PASSWORD, _PROTOCOL_41, _TRANSACTIONS, _SECURE, _PLUGIN_AUTH = 0x1, 0x200, 0x2000, 0x8000, 0x80000
_CAPABILITIES = _LONG_PASSWORD | _PROTOCOL_41 | _TRANSACTIONS | _SECURE | _PLUGIN_AUTH
_UTF8MB4 = 45
_QUERY = 3
_QUIT = b"\x01\x00\x00\x00\x01"  # a whole packet: one byte, number 0, the command
_OK, _LOCAL_FILE, _EOF, _ERROR = 0x00, 0xFB, 0xFE, 0xFF
_AUTOCOMMIT, _NO_BACKSLASH_ESCAPES = 0x2, 0x200
_WHOLE = frozenset((1, 2, 3, 8, 9, 13))  # column types: TINY, SHORT, LONG, LONGLONG, INT24, YEAR
_FLOATING = frozenset((0, 4, 5, 246))  # DECIMAL, FLOAT, DOUBLE, NEWDECIMAL
_FULL = 0xFFFFFF  # a packet of this length goes on in the next one


class WireError(Exception):
    """The server refused (its own error number), or could not be reached or understood (2003 and above 2000)."""

    def __init__(self, errno: int, message: str) -> None:
        super().__init__(errno, message)


class Wire:
    """A connection that has logged in and commits each statement by itself.

    ``timeout`` bounds every wait, ``life`` all of them together, both in seconds.
    """

    def __init__(
        self, address: str | tuple[str, int], user: str, password: str, timeout: float, life: float = float("inf")
    ) -> None:
        """``address`` is the path of a unix socket, or a host's numeric address and port."""
        self._timeout, self._end = timeout, time.monotonic() + life
        try:
            self._sock = _connect(address, min(timeout, life))
        except OSError as error:
            raise WireError(CANNOT_CONNECT, f"cannot connect: {error.strerror or error}") from None
        self._buffer = b""
        self._sequence = 0
        self._status = 0
        try:
            self._log_in(user.encode(), password.encode())
            if not self._status & _AUTOCOMMIT:
                self.query("SET autocommit=1")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Take leave, or the server logs an aborted connection, and close without waiting for it."""
        try:  # noqa: SIM105 (contextlib takes 4 ms to load)
            self._sock.send(_QUIT, socket.MSG_DONTWAIT)
        except OSError:
            pass  # it is gone already, or too busy to read
        self._sock.close()

    def query(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Run one statement, with each ``%s`` replaced by a quoted value; its rows by column name. WireError."""
        if values:
            statement %= tuple(map(self._quoted, values))
        self._sequence = 0
        self._send(bytes([_QUERY]) + statement.encode())
        head = self._receive()
        if head[0] == _OK:
            self._finish(head)
            return []
        if head[0] == _LOCAL_FILE:
            raise WireError(MALFORMED, "the server asks for a local file")
        columns = [_column(self._receive()) for _ in range(_Reader(head).length())]
        self._receive()  # the end of the columns
        rows: list[dict[str, Any]] = []
        while True:
            packet = self._receive()
            if packet[0] == _EOF and len(packet) < 9:
                self._status = int.from_bytes(packet[3:5], "little")
                return rows
            fields = _Reader(packet)
            rows.append({name: _value(fields.string(), kind) for name, kind in columns})

    # -- logging in --------------------------------------------------------------------------------------------

    def _log_in(self, user: bytes, password: bytes) -> None:
        greeting = _Reader(self._receive())
        if greeting.take(1) != b"\x0a":
            raise WireError(MALFORMED, "this is not a MariaDB server")
        greeting.until_zero()  # its version
        greeting.take(4)  # the connection's id
        scramble = greeting.take(8)
        greeting.take(1 + 2 + 1)
        self._status = int.from_bytes(greeting.take(2), "little")
        greeting.take(2 + 1 + 10)
        scramble += greeting.take(12)
        body = struct.pack("<IIB23x", _CAPABILITIES, 1 << 24, _UTF8MB4) + user + b"\0"
        proof = _native(password, scramble)
        self._send(body + bytes([len(proof)]) + proof + b"mysql_native_password\0")
        answer = self._receive()
        if answer[0] == _EOF:  # the account uses another method than the one that was guessed
            method = _Reader(answer[1:])
            name = method.until_zero()
            if name == b"mysql_native_password":
                self._send(_native(password, method.rest()[:20]))
            elif name in (b"unix_socket", b"auth_socket"):
                self._send(b"")  # the kernel has told the server who we are
            else:
                text = name.decode("utf-8", "replace")
                raise WireError(
                    1251, f"this account logs in by {text}, which is not supported; use mysql_native_password"
                )
            answer = self._receive()
        self._finish(answer)

    def _finish(self, packet: bytes) -> None:
        """Take note of what an OK packet says of the session."""
        reader = _Reader(packet)
        if reader.take(1)[0] != _OK:
            raise WireError(MALFORMED, "an answer that this client does not know")
        reader.length()
        reader.length()
        self._status = int.from_bytes(reader.take(2), "little")

    def _quoted(self, value: object) -> str:
        if isinstance(value, int):
            return str(int(value))
        text = str(value)
        if not self._status & _NO_BACKSLASH_ESCAPES:
            text = text.replace("\\", "\\\\").replace("\0", "\\0").replace("\n", "\\n").replace("\r", "\\r")
        return "'" + text.replace("'", "''") + "'"

    # -- packets -----------------------------------------------------------------------------------------------

    def _send(self, payload: bytes) -> None:
        if len(payload) >= _FULL:
            raise WireError(MALFORMED, "the statement is too long")
        try:
            self._sock.sendall(len(payload).to_bytes(3, "little") + bytes([self._sequence & 0xFF]) + payload)
        except OSError as error:
            raise WireError(LOST, f"connection lost: {error.strerror or error}") from None
        self._sequence += 1

    def _receive(self) -> bytes:
        """The next packet. WireError with the server's reason if it is an error."""
        packet = b""
        size = _FULL
        while size == _FULL:
            header = self._bytes(4)
            size = int.from_bytes(header[:3], "little")
            self._sequence = header[3] + 1
            packet += self._bytes(size)
        if not packet:
            raise WireError(MALFORMED, "an empty answer")
        if packet[0] == _ERROR:
            # Before the login there is no SQL state between the number and the message.
            text = packet[9:] if packet[3:4] == b"#" else packet[3:]
            raise WireError(int.from_bytes(packet[1:3], "little"), text.decode("utf-8", "replace"))
        return packet

    def _bytes(self, size: int) -> bytes:
        while len(self._buffer) < size:
            patience = min(self._timeout, self._end - time.monotonic())
            try:
                self._sock.settimeout(max(patience, 0.001))
                data = self._sock.recv(65536)
            except socket.timeout:
                slow = "" if patience == self._timeout else " after other slow answers"
                raise WireError(LOST, f"no answer for {max(patience, 0):.3g} s{slow}") from None
            except OSError as error:
                raise WireError(LOST, f"connection lost: {error.strerror or error}") from None
            if not data:
                raise WireError(LOST, "the server closed the connection")
            self._buffer += data
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found


class _Reader:
    """Takes a packet apart from its beginning."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        found = self._data[self._at : self._at + size]
        if len(found) < size:
            raise WireError(MALFORMED, "an answer that ends too soon")
        self._at += size
        return found

    def rest(self) -> bytes:
        return self._data[self._at :]

    def until_zero(self) -> bytes:
        found, _, _ = self.rest().partition(b"\0")
        self._at += len(found) + 1
        return found

    def length(self) -> int:
        """A number that takes as many bytes as it needs."""
        first = self.take(1)[0]
        wider = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first)
        return first if wider is None else int.from_bytes(self.take(wider), "little")

    def string(self) -> bytes | None:
        """Bytes with their length before them, or None for NULL."""
        if self._data[self._at : self._at + 1] == b"\xfb":
            self._at += 1
            return None
        return self.take(self.length())


def _connect(address: str | tuple[str, int], timeout: float) -> socket.socket:
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    else:
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(timeout, 0.001))  # 0 would mean not to wait at all
        sock.connect(address)
        if not isinstance(address, str):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _native(password: bytes, scramble: bytes) -> bytes:
    """The answer of mysql_native_password to a scramble."""
    if not password:
        return b""
    from hashlib import sha1  # OpenSSL takes 4 ms, and a login over the local socket needs no password

    stage = sha1(password).digest()  # noqa: S324 (the protocol says so)
    mask = sha1(scramble + sha1(stage).digest()).digest()  # noqa: S324
    return bytes(one ^ other for one, other in zip(stage, mask))


def _column(packet: bytes) -> tuple[str, int]:
    """A column's name and type."""
    reader = _Reader(packet)
    for _ in range(4):  # catalog, schema, table, original table
        reader.string()
    name = reader.string() or b""
    reader.string()  # original name
    reader.take(1 + 2 + 4)
    return name.decode("utf-8", "replace"), reader.take(1)[0]


def _value(data: bytes | None, kind: int) -> Any:
    if data is None:
        return None
    if kind in _WHOLE:
        return int(data)
    if kind in _FLOATING:
        return float(data)
    return data.decode("utf-8", "replace")
