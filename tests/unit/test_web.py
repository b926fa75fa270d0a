"""Questions by HTTP to servers that answer, refuse, and hang."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hafailover.agents import web
from hafailover.agents.st2 import look


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def url(listening: socket.socket) -> str:
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_who_answers_and_who_only_accepts(server: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging, socket.create_server(("127.0.0.1", 0)) as gone:
        refusing = url(gone)
        gone.close()

        def answer() -> None:
            connection, _ = server.accept()
            assert connection.recv(1000).startswith(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        begun = time.monotonic()
        found = web.ask({"st2api": url(server), "st2auth": url(hanging), "st2stream": refusing}, 1.0)
        assert time.monotonic() - begun < 30, "all are asked at once, within one time"
        thread.join()
    assert found["st2api"] is None
    assert found["st2auth"] == "has not answered within 1 s"
    assert str(found["st2stream"]).startswith("refuses connections")


def test_which_brokers_take_connections(server: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        refusing = gone.getsockname()
    address = server.getsockname()
    assert web.works([address, refusing], 5.0) == {address: True, refusing: False}
    assert web.works([], 1.0) == {}


def test_a_process_and_its_connections_are_seen_by_the_kernel(server: socket.socket) -> None:
    port = server.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        sockets = look.connections({port})
        assert look.remotes(os.getpid(), sockets) == {("127.0.0.1", port)}
        assert look.connections({1}) == {}
    me = look.process(os.getpid())
    assert me is not None
    assert me.state in "RS"
    assert 0 <= me.age(look.uptime()) < 3600 * 24
    assert look.process(2**22 + 1) is None
