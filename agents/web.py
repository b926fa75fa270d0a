"""Does an HTTP server answer? Raw sockets, all questions at once: a process that hangs still accepts connections."""

from __future__ import annotations

import _socket as socket
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Address = tuple[str, int]

_EINPROGRESS = 115
_SERVER_ERROR = 500


def parse(url: str) -> tuple[str, int, str]:
    """Host, port and path of a plain HTTP URL. ValueError with the reason."""
    if not url.startswith("http://"):
        raise ValueError("not a URL such as http://127.0.0.1:9101")
    place, slash, path = url[len("http://") :].partition("/")
    host, colon, port = place.rpartition(":")
    if not colon or "]" in port:
        host, port = place, "80"
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("not a URL such as http://127.0.0.1:9101")
    return host.strip("[]"), int(port), slash + path or "/"


def verdict(answer: bytes) -> str | None:
    """What is wrong with the first bytes of an answer. Who is refused (401, 404) has been answered."""
    words = answer.split(b"\r\n", 1)[0].decode("latin-1").split()
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdecimal():
        return "does not speak HTTP"
    if int(words[1]) >= _SERVER_ERROR:
        return f"answers with the error {' '.join(words[1:])}"
    return None


def ask(urls: Mapping[str, str], timeout: float) -> dict[str, str | None]:
    """For each name, what is wrong with the answer to a GET of its URL within ``timeout`` seconds, None if nothing is."""
    end = time.monotonic() + timeout
    results: dict[str, str | None] = {}
    open_: dict[int, tuple[str, socket.socket, bytes]] = {}
    poll = select.poll()
    for name, url in urls.items():
        host, port, path = parse(url)
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: hafailover\r\nConnection: close\r\n\r\n"
        try:
            connection = _begin((host, port))
        except OSError as error:
            results[name] = f"refuses connections: {error.strerror or error}"
            continue
        open_[connection.fileno()] = (name, connection, request.encode())
        poll.register(connection.fileno(), select.POLLOUT)
    try:
        while open_ and time.monotonic() < end:
            for number, _event in poll.poll(max(0.0, end - time.monotonic()) * 1000):
                name, connection, request_ = open_[number]
                done, reason = _step(connection, request_)
                if done:
                    results[name] = reason
                    poll.unregister(number)
                    connection.close()
                    del open_[number]
                else:
                    open_[number] = (name, connection, b"")
                    poll.modify(number, select.POLLIN)
    finally:
        for name, connection, _ in open_.values():
            results[name] = f"has not answered within {timeout:g} s"
            connection.close()
    return results


def _begin(address: Address) -> socket.socket:
    """A connection under way. OSError."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.connect(address)
    except BlockingIOError:
        return connection
    except OSError:
        connection.close()
        raise
    return connection


def _step(connection: socket.socket, request: bytes) -> tuple[bool, str | None]:
    """Send the request, or read the answer; whether that was all, and what is wrong."""
    try:
        fault = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if fault:
            raise OSError(fault, _words(fault))
        if request:
            connection.send(request)
            return False, None
        return True, verdict(connection.recv(1024))
    except OSError as error:
        return True, f"refuses connections: {error.strerror or error}"


def _words(number: int) -> str:
    import os

    return os.strerror(number)


def works(addresses: list[Address], timeout: float) -> dict[Address, bool]:
    """Whether each address takes TCP connections within ``timeout`` seconds; nothing is sent."""
    end = time.monotonic() + timeout
    results = dict.fromkeys(addresses, False)
    open_: dict[int, tuple[Address, socket.socket]] = {}
    poll = select.poll()
    for address in addresses:
        try:
            connection = _begin(address)
        except OSError:  # refused at once
            continue
        open_[connection.fileno()] = (address, connection)
        poll.register(connection.fileno(), select.POLLOUT)
    try:
        while open_ and time.monotonic() < end:
            for number, _event in poll.poll(max(0.0, end - time.monotonic()) * 1000):
                address, connection = open_.pop(number)
                results[address] = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
                poll.unregister(number)
                connection.close()
    finally:
        for _, connection in open_.values():
            connection.close()
    return results
