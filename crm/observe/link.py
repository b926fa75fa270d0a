"""A TCP connection that never takes longer than it may, name resolution aside (which a caller's thread may wait for)."""

from __future__ import annotations

import socket
import time
from types import TracebackType
from typing import Callable


class LinkError(Exception):
    """It could not be reached, or did not answer; the words say which, without the address."""


class Link:
    """A connection to ``host``; everything on it together ends at ``deadline`` (time.monotonic)."""

    def __init__(self, host: str, port: int, deadline: float, ca_file: str | None = None, tls: bool = False) -> None:
        self._deadline = deadline
        try:
            self._socket = socket.create_connection((host, port), self._left())
        except (OSError, UnicodeError) as error:
            raise LinkError(_words(error, "cannot be reached")) from error
        if tls:
            self._wrap(host, ca_file)

    def _wrap(self, host: str, ca_file: str | None) -> None:
        import ssl

        try:
            self._socket.settimeout(self._left())
            context = ssl.create_default_context(cafile=ca_file)
            self._socket = context.wrap_socket(self._socket, server_hostname=host)
        except (OSError, ValueError) as error:  # SSLError is an OSError
            self._socket.close()
            raise LinkError(f"TLS: {getattr(error, 'verify_message', '') or _words(error, 'failed')}") from error

    def send(self, data: bytes) -> None:
        """Send all of ``data``; LinkError."""
        self._guarded(lambda: self._socket.sendall(data))

    def receive(self, size: int) -> bytes:
        """Exactly ``size`` bytes; LinkError."""
        data = b""
        while len(data) < size:
            data += self.receive_some(size - len(data))
        return data

    def receive_some(self, most: int = 65536) -> bytes:
        """Up to ``most`` bytes, as they come, at least one; LinkError when the other side hangs up."""
        data = b""

        def read() -> None:
            nonlocal data
            data = self._socket.recv(most)

        self._guarded(read)
        if not data:
            raise LinkError("hung up without an answer")
        return data

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            self._socket.settimeout(self._left())
            call()
        except OSError as error:
            raise LinkError(_words(error, "does not answer")) from error

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()


def _words(error: Exception, otherwise: str) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"  # as is said of one whose thread is still at it
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{otherwise}: {reason[:1].lower()}{reason[1:]}"
