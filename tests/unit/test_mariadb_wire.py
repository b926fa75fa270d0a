"""The client protocol against a server that says exactly what the test wants, packet by packet."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from pathlib import Path
from typing import Callable

import pytest
from hafailover.agents.mariadb.sql import SqlError, local
from hafailover.agents.mariadb.wire import CANNOT_CONNECT, LOST, MALFORMED, Wire, WireError

SCRAMBLE = bytes(range(1, 21))
OK = b"\x00\x00\x00\x02\x00\x00\x00"  # autocommit is on
NO_BACKSLASHES = b"\x00\x00\x00\x02\x02\x00\x00"
EOF = b"\xfe\x00\x00\x02\x00"


def greeting(status: int = 2) -> bytes:
    head = b"\x0a" + b"5.5.5-10.11.6-MariaDB\0" + b"\x01\0\0\0" + SCRAMBLE[:8] + b"\0"
    return head + b"\xff\xff\x2d" + status.to_bytes(2, "little") + b"\xff\x81\x15" + b"\0" * 10 + SCRAMBLE[8:] + b"\0"


def error(number: int, text: str, state: str = "") -> bytes:
    return b"\xff" + number.to_bytes(2, "little") + (f"#{state}" if state else "").encode() + text.encode()


def string(text: str | bytes | None) -> bytes:
    if text is None:
        return b"\xfb"
    data = text.encode() if isinstance(text, str) else text
    if len(data) < 251:
        return bytes([len(data)]) + data
    return b"\xfd" + len(data).to_bytes(3, "little") + data


def column(name: str, kind: int) -> bytes:
    fixed = b"\x0c" + b"\x2d\0" + b"\0\x01\0\0" + bytes([kind]) + b"\0\0\0\0\0"
    return b"".join(map(string, ("def", "", "", "", name, name))) + fixed


class Server:
    """Answers each packet of the client with the next entry of its script: packets, or something to do instead."""

    def __init__(self, path: Path, script: list[list[bytes] | Callable[[], None]]) -> None:
        self.received: list[bytes] = []
        self._script = script
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(path))
        self._door.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        peer, _ = self._door.accept()
        peer.settimeout(5)
        number = 0
        for step in self._script:
            if self._script[0] is not step:
                head = self._exactly(peer, 4)
                if len(head) < 4:
                    break
                number = head[3] + 1
                self.received.append(self._exactly(peer, int.from_bytes(head[:3], "little")))
            if callable(step):
                step()
                continue
            for packet in step:
                while True:
                    part, packet = packet[:0xFFFFFF], packet[0xFFFFFF:]
                    peer.sendall(len(part).to_bytes(3, "little") + bytes([number & 0xFF]) + part)
                    number += 1
                    if len(part) < 0xFFFFFF:
                        break
        peer.close()
        self._door.close()

    @staticmethod
    def _exactly(peer: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = peer.recv(size - len(data))
            if not more:
                return data
            data += more
        return data

    def ended(self) -> None:
        self._thread.join(5)
        assert not self._thread.is_alive()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sock"


def failing(path: Path, *script: list[bytes] | Callable[[], None], timeout: float = 5) -> tuple[int, str]:
    Server(path, list(script))
    with pytest.raises(WireError) as caught:
        Wire(str(path), "root", "", timeout).query("SELECT 1")
    number, text = caught.value.args
    return number, text


def test_login_over_the_socket_and_a_statement(path: Path) -> None:
    server = Server(path, [[greeting()], [OK], [OK]])
    wire = Wire(str(path), "root", "", 5)
    assert wire.query("DO 1") == []
    wire.close()
    server.ended()
    login, statement = server.received
    assert login[32:] == b"root\0\0mysql_native_password\0"
    assert statement == b"\x03DO 1"


def test_password_is_proven_and_not_sent(path: Path) -> None:
    server = Server(path, [[greeting()], [OK]])
    Wire(str(path), "repl", "secret", 5).close()
    server.ended()
    (login,) = server.received
    hashed = hashlib.sha1(b"secret").digest()
    mask = hashlib.sha1(SCRAMBLE + hashlib.sha1(hashed).digest()).digest()
    proof = bytes(a ^ b for a, b in zip(hashed, mask))
    assert login[32:] == b"repl\0" + b"\x14" + proof + b"mysql_native_password\0"
    assert b"secret" not in login


@pytest.mark.parametrize("method", [b"unix_socket", b"auth_socket", b"mysql_native_password"])
def test_another_method_of_login(path: Path, method: bytes) -> None:
    switch = b"\xfe" + method + b"\0" + SCRAMBLE[::-1] + b"\0"
    server = Server(path, [[greeting()], [switch], [OK]])
    Wire(str(path), "root", "", 5).close()
    server.ended()
    assert server.received[1] == b""


def test_autocommit_is_switched_on_where_it_is_off(path: Path) -> None:
    server = Server(path, [[greeting(0)], [b"\x00\x00\x00\x00\x00\x00\x00"], [OK]])
    Wire(str(path), "root", "", 5).close()
    server.ended()
    assert server.received[1] == b"\x03SET autocommit=1"


def test_rows(path: Path) -> None:
    columns = [column("whole", 8), column("text", 253), column("nothing", 253), column("number", 246)]
    rows = [b"".join(map(string, ("-3", "ü" * 300, None, "1.5"))), b"".join(map(string, ("0", "", "x", None)))]
    Server(path, [[greeting()], [OK], [b"\x04", *columns, EOF, *rows, EOF], [b"\x01", columns[0], EOF, EOF]])
    wire = Wire(str(path), "root", "", 5)
    assert wire.query("SELECT") == [
        {"whole": -3, "text": "ü" * 300, "nothing": None, "number": 1.5},
        {"whole": 0, "text": "", "nothing": "x", "number": None},
    ]
    assert wire.query("SELECT") == []


def test_value_longer_than_a_packet(path: Path) -> None:
    value = b"\xfe" + (17 << 20).to_bytes(8, "little") + b"a" * (17 << 20)
    Server(path, [[greeting()], [OK], [b"\x01", column("x", 252), EOF, value, EOF]])
    assert len(Wire(str(path), "root", "", 5).query("SELECT")[0]["x"]) == 17 << 20


def test_values_are_quoted(path: Path) -> None:
    server = Server(path, [[greeting()], [OK], [OK], [NO_BACKSLASHES], [OK]])
    wire = Wire(str(path), "root", "", 5)
    wire.query("SET x=%s, y=%s, z='%%'", 'it\'s \\ "so"\n\r\0', 3)
    wire.query("SET x=%s", "a\\")
    wire.query("SET x=%s", "a\\'")
    wire.close()
    server.ended()
    assert server.received[1] == b"\x03SET x='it''s \\\\ \"so\"\\n\\r\\0', y=3, z='%'"
    assert server.received[2] == b"\x03SET x='a\\\\'"
    assert server.received[3] == b"\x03SET x='a\\'''", "where a backslash is an ordinary character"


def test_servers_reasons(path: Path, tmp_path: Path) -> None:
    assert failing(path, [error(1040, "Too many connections")]) == (1040, "Too many connections")
    denied = error(1045, "Access denied", "28000")
    assert failing(tmp_path / "b", [greeting()], [denied]) == (1045, "Access denied")
    assert failing(tmp_path / "c", [greeting()], [OK], [error(1064, "Syntax", "42000")]) == (1064, "Syntax")
    broken = [b"\x01", column("a", 8), EOF, error(1317, "Interrupted", "70100")]
    assert failing(tmp_path / "d", [greeting()], [OK], broken) == (1317, "Interrupted")


def test_method_of_login_that_is_not_known(path: Path) -> None:
    number, text = failing(path, [greeting()], [b"\xfeed25519\0" + SCRAMBLE])
    assert number == 1251
    assert "ed25519" in text


def test_what_is_not_a_server(path: Path, tmp_path: Path) -> None:
    assert failing(path, [b"SSH-2.0"])[0] == MALFORMED
    assert failing(tmp_path / "b", [greeting()[:20]])[0] == MALFORMED
    assert failing(tmp_path / "c", [b""])[0] == MALFORMED
    assert failing(tmp_path / "d", [greeting()], [OK], [b"\xfb/etc/passwd"])[0] == MALFORMED


def test_lost_connections(path: Path, tmp_path: Path) -> None:
    assert failing(path, [greeting()])[0] == LOST
    assert failing(tmp_path / "b", [greeting()], [OK])[0] == LOST
    with pytest.raises(WireError) as caught:
        Wire(str(tmp_path / "none"), "root", "", 5)
    assert caught.value.args == (CANNOT_CONNECT, "cannot connect: No such file or directory")


def test_silence_ends(path: Path) -> None:
    begun = time.monotonic()
    number, text = failing(path, [greeting()], [OK], lambda: time.sleep(10), timeout=0.2)
    assert time.monotonic() - begun < 9
    assert (number, text) == (LOST, "no answer for 0.2 s")


def test_errors_name_the_server(path: Path) -> None:
    with pytest.raises(SqlError, match=f"{path}: cannot connect: No such file") as caught:
        local(str(path), 1)
    assert caught.value.errno == CANNOT_CONNECT
