"""Small servers for tests: each takes one connection after the other and answers as it is told."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

Answer = Callable[[bytes], bytes]


@contextlib.contextmanager
def answering(answer: Answer) -> Iterator[int]:
    """A server on 127.0.0.1 that calls ``answer`` with the first packet of each connection, sends what it returns, and closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    data = answer(connection.recv(65536))
                    with contextlib.suppress(OSError):
                        connection.sendall(data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=120)


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """A server whose kernel takes connections, as that of a process that was stopped does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
