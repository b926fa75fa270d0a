"""A broker that speaks enough AMQP 0-9-1 for a publisher, with pika's own codec, and does what it is told to."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

from pika import frame, spec


class Broker:
    """``answer``: ack, nack, return (unroutable), silent (never confirms), close, or hang (says nothing at all)."""

    def __init__(self, exchanges: tuple[str, ...] = (), password: str = "right") -> None:
        self.answer, self.exchanges, self.password = "ack", exchanges, password
        self.got: list[tuple[str, str, bytes, Any]] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"amqp://127.0.0.1:{self._listener.getsockname()[1]}/"

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # it wakes who waits in accept; close alone does not
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._session, args=(connection,), daemon=True).start()

    def _session(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            data = b""
            while len(data) < 8:
                data += connection.recv(8 - len(data))
            if self.answer == "hang":
                while connection.recv(4096):
                    pass
                return
            capabilities = {"capabilities": {"publisher_confirms": True, "basic.nack": True}}
            self._say(connection, 0, spec.Connection.Start(server_properties=capabilities))
            data, tag = b"", 0
            publishing: list[Any] = []
            while True:
                more = connection.recv(65536)
                if not more:
                    return
                data += more
                while True:
                    used, found = frame.decode_frame(data)
                    if found is None:
                        break
                    data = data[used:]
                    if isinstance(found, frame.Method) and isinstance(found.method, spec.Basic.Publish):
                        publishing = [found.method]
                    elif isinstance(found, frame.Header):
                        publishing.append(found.properties)
                    elif isinstance(found, frame.Body):
                        tag += 1
                        self._published(connection, tag, publishing[0], publishing[1], found.fragment)
                    elif isinstance(found, frame.Method) and not self._method(connection, found):
                        return

    def _method(self, connection: socket.socket, found: Any) -> bool:
        method, number = found.method, found.channel_number
        if isinstance(method, spec.Connection.StartOk):
            if not method.response.endswith(self.password.encode()):
                close = spec.Connection.Close(403, f"ACCESS_REFUSED - Login was refused, {method.response!r}", 0, 0)
                self._say(connection, 0, close)
                return True
            self._say(connection, 0, spec.Connection.Tune(0, 131072, 0))
        elif isinstance(method, spec.Connection.Open):
            self._say(connection, 0, spec.Connection.OpenOk())
        elif isinstance(method, spec.Channel.Open):
            self._say(connection, number, spec.Channel.OpenOk())
        elif isinstance(method, spec.Confirm.Select):
            self._say(connection, number, spec.Confirm.SelectOk())
        elif isinstance(method, spec.Exchange.Declare):
            known = method.exchange in self.exchanges
            close = spec.Channel.Close(404, f"NOT_FOUND {self.password}", 40, 10)
            self._say(connection, number, spec.Exchange.DeclareOk() if known else close)
        elif isinstance(method, spec.Channel.Close) and self.answer != "silent":
            self._say(connection, number, spec.Channel.CloseOk())
        elif isinstance(method, spec.Connection.Close):
            if self.answer == "silent":
                return True
            self._say(connection, 0, spec.Connection.CloseOk())
            return False
        return True

    def _published(self, connection: socket.socket, tag: int, method: Any, properties: Any, body: bytes) -> None:
        if self.answer == "silent":
            return
        if self.answer == "close":
            self._say(connection, 1, spec.Channel.Close(403, f"ACCESS_REFUSED {self.password}", 60, 40))
            return
        if self.answer == "return":
            self._say(connection, 1, spec.Basic.Return(312, "NO_ROUTE", method.exchange, method.routing_key))
            connection.sendall(frame.Header(1, len(body), properties).marshal() + frame.Body(1, body).marshal())
        if self.answer == "ack":
            self.got.append((method.exchange, method.routing_key, body, properties))
        self._say(connection, 1, spec.Basic.Nack(tag) if self.answer == "nack" else spec.Basic.Ack(tag))

    def _say(self, connection: socket.socket, channel: int, method: Any) -> None:
        connection.sendall(frame.Method(channel, method).marshal())
