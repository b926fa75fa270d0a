"""Stand-ins for servers outside of the cluster. A stand-in is no server: it speaks the first words of one, on a real socket.

``answering(reply)`` serves on 127.0.0.1 and answers every connection by ``reply(connection)``; ``mongod(document)`` is what a
MongoDB server would answer to a driver's first message.
"""

import contextlib
import socket
import struct
import subprocess
import threading
import time

from hafailover.crm.observe import bson

LONG = 60.0  # s: what answers at all has answered by then, however busy the machine is
OP_REPLY, OP_QUERY = 1, 2004


@contextlib.contextmanager
def answering(reply):
    """The port of a listener; ``reply(connection)`` may return at once, or never."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)

        def serve():
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    threading.Thread(target=one, args=(connection,), daemon=True).start()

        def one(connection):
            with connection, contextlib.suppress(OSError):
                connection.settimeout(30)
                reply(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            thread.join()


def exactly(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise OSError("the other side hung up")
        data += more
    return data


def mongod(document):
    """A stand-in of MongoDB: checks that it is asked as a server is, and answers with ``document`` (a mapping, or encoded)."""
    encoded = document if isinstance(document, bytes) else bson.encode(document)

    def reply(connection):
        while True:
            length, request, _, kind = struct.unpack("<iiii", exactly(connection, 16))
            body = exactly(connection, length - 16)
            assert kind == OP_QUERY
            flags, name = body[:4], body[4 : body.index(b"\0", 4)]
            assert (flags[:1], name) in ((b"\0", b"admin.$cmd"), (b"\4", b"admin.$cmd"))
            question = bson.decode(body[4 + len(name) + 1 + 8 :])
            assert next(iter(question)).lower() in ("ismaster", "hello")
            answer = struct.pack("<iqii", 8, 0, 0, 1) + encoded
            connection.sendall(struct.pack("<iiii", 16 + len(answer), 7, request, OP_REPLY) + answer)

    return reply


def member(primary="", me="", hosts=(), passives=(), arbiters=(), name="rs0", **more):
    """What a member of a replica set says; it is the primary if ``me`` is."""
    found = {
        "setName": name,
        "hosts": list(hosts),
        "ismaster": primary == me,
        "secondary": primary != me,
        "me": me,
        "maxWireVersion": 21,
        "minWireVersion": 0,
        "ok": 1.0,
    }
    found.update({key: list(value) for key, value in (("passives", passives), ("arbiters", arbiters)) if value})
    if primary:
        found["primary"] = primary
    return {**found, **more}


def saying(data):
    """Says ``data`` and hangs up."""

    def reply(connection):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1 << 16)

    return reply


def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def refusing():
    """A port on which nobody listens, and which nobody else is given: the kernel hands out a free one again at once."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextlib.contextmanager
def redis_server(directory, *options, name="redis-server"):
    """A real Redis (or sentinel); its port. Debian's redis-tools has the server under the name of its checking program."""
    port = unused_port()
    path = directory / f"{name}-{port}.log"
    with open(path, "wb") as log:
        server = subprocess.Popen(
            [name, *options, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)],
            executable="/usr/bin/redis-check-rdb",
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
                break
            assert server.poll() is None, path.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield port
    finally:
        server.kill()
        server.wait()
