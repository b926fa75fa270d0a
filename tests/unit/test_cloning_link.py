"""The link between nodes: who does not hold the password gets nowhere, and a stream that was cut or changed is never taken for whole."""

from __future__ import annotations

import socket
import threading
from typing import Callable

import pytest
from hafailover.agents.mariadb.cloning import link
from hafailover.agents.mariadb.cloning.link import AuthenticationError, Link, LinkError, PeerRefused

KEY = link.key("db", "correct horse")
Server = Callable[[Link], None]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch):
    """A server on a port of this machine; returns its port and what its side said last."""
    monkeypatch.setattr(link, "HANDSHAKE_TIMEOUT", 5.0)
    opened: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(handler: Server, key: bytes = KEY) -> tuple[int, list[str]]:
        listener = socket.create_server(("127.0.0.1", 0))
        opened.append(listener)
        said: list[str] = []

        def work() -> None:
            sock, _ = listener.accept()
            try:
                with link.accept(sock, key, 5.0) as peer:
                    handler(peer)
            except LinkError as error:
                said.append(f"{type(error).__name__}: {error}")
            finally:
                sock.close()

        thread = threading.Thread(target=work)
        thread.start()
        threads.append(thread)
        return listener.getsockname()[1], said

    yield start
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    for listener in opened:
        listener.close()


def test_messages_and_data_arrive_as_they_were_sent(serve) -> None:
    def handler(peer: Link) -> None:
        assert peer.hear() == {"do": "offer"}
        peer.send(link.ALIVE)
        peer.say({"size": 3})
        peer.send(link.DATA, b"\0\1\2" * 100000)
        peer.send(link.END, b"{}")

    port, _ = serve(handler)
    with link.connect("127.0.0.1", port, KEY, 5.0) as peer:
        peer.say({"do": "offer"})
        assert peer.hear() == {"size": 3}
        assert peer.receive() == (link.DATA, b"\0\1\2" * 100000)
        assert peer.receive() == (link.END, b"{}")
        with pytest.raises(LinkError, match="closed in the middle"):
            peer.receive()


def test_a_refusal_is_the_other_sides_sentence(serve) -> None:
    port, _ = serve(lambda peer: peer.refuse("db1 is being cloned already"))
    with link.connect("127.0.0.1", port, KEY, 5.0) as peer, pytest.raises(PeerRefused, match="being cloned already"):
        peer.hear()


def test_a_client_without_the_password_is_told_nothing(serve) -> None:
    port, said = serve(lambda peer: peer.say({"secret": 1}))
    with pytest.raises(AuthenticationError, match="same replication password"):
        link.connect("127.0.0.1", port, link.key("db", "wrong"), 5.0)
    with socket.create_connection(("127.0.0.1", port), 5) as unanswered:
        unanswered.close()
    assert said == ["AuthenticationError: the other node does not hold the same replication password"]


def test_the_key_is_one_resources_own() -> None:
    assert link.key("db", "x") != link.key("shop", "x")


def test_a_server_without_the_password_is_not_believed() -> None:
    """It can replay a greeting, but not prove itself."""
    listener = socket.create_server(("127.0.0.1", 0))

    def impostor() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.sendall(b"HAFAILOVER-PEER 1\n" + bytes(32))
            sock.recv(64)
            sock.sendall(bytes(32))

    thread = threading.Thread(target=impostor)
    thread.start()
    with pytest.raises(AuthenticationError):
        link.connect("127.0.0.1", listener.getsockname()[1], KEY, 5.0)
    thread.join(10)
    listener.close()


def test_another_service_on_the_port_is_told_apart() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def other() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.sendall(b"5.5.5-10.11.19-MariaDB and so on, long enough for a greeting")

    thread = threading.Thread(target=other)
    thread.start()
    with pytest.raises(LinkError, match="another version"):
        link.connect("127.0.0.1", listener.getsockname()[1], KEY, 5.0)
    thread.join(10)
    listener.close()


def pair() -> tuple[Link, socket.socket]:
    """A link's receiving end, and the raw socket that feeds it."""
    here, there = socket.socketpair()
    return Link(here, b"s" * 32, b"r" * 32, 5.0), there


def frames(number: int) -> list[bytes]:
    """The bytes of some frames, as the other side sends them."""
    out, into = socket.socketpair()
    sender = Link(out, b"r" * 32, b"s" * 32, 5.0)
    found = []
    for count in range(number):
        sender.send(link.DATA, b"payload %d" % count)
        found.append(into.recv(4096))
    sender.close()
    into.close()
    return found


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda raw: raw[0][:-1] + bytes([raw[0][-1] ^ 1]), "not what was sent"),
        (lambda raw: raw[0][:7] + b"X" + raw[0][8:], "not what was sent"),
        (lambda raw: b"E" + raw[0][1:], "not what was sent"),
        (lambda raw: raw[1], "not what was sent"),  # the first one was taken out
        (lambda raw: raw[0][:-40], "closed in the middle"),
        (lambda raw: b"D\xff\xff\xff\xff" + raw[0][5:], "too long"),
        (lambda raw: b"", "closed in the middle"),
    ],
)
def test_a_changed_or_cut_stream_is_seen(change: Callable[[list[bytes]], bytes], says: str) -> None:
    receiver, raw = pair()
    raw.sendall(change(frames(2)))
    raw.close()
    with receiver, pytest.raises(LinkError, match=says):
        receiver.receive()


def test_a_frame_that_is_repeated_is_seen() -> None:
    receiver, raw = pair()
    first, _ = frames(2)
    raw.sendall(first + first)
    with receiver, raw:
        assert receiver.receive() == (link.DATA, b"payload 0")
        with pytest.raises(LinkError, match="not what was sent"):
            receiver.receive()


def test_silence_ends_the_wait() -> None:
    here, there = socket.socketpair()
    with Link(here, b"s" * 32, b"r" * 32, 0.05) as receiver, there, pytest.raises(LinkError, match="timed out"):
        receiver.receive()


def test_nobody_is_there() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(LinkError, match=f"cannot connect to 127.0.0.1 port {port}: Connection refused"):
        link.connect("127.0.0.1", port, KEY)
