"""As much of memcached's text protocol as a health check needs: who answers, and how it is set up."""

from __future__ import annotations

import _socket as socket
import time

from hafailover.agents.record import NamedTuple

_QUESTION = b"stats\r\nstats settings\r\n"
_END = b"END\r\n"
_LIMIT = 65536  # bytes of an answer; it has 5000


class Answer(NamedTuple):
    """What a cache tells: the process that answers, its version, and its settings by name."""

    pid: int
    version: str
    settings: dict[str, str]


class Unanswered(Exception):
    """Nobody listens, or there is no answer in time, or what answers is no memcached."""


class Full(Exception):
    """It answers, and takes no more connections."""


def ask(address: str, port: int, timeout: float) -> Answer:
    """The answer of the cache at ``address`` within ``timeout`` seconds. Unanswered; Full."""
    end = time.monotonic() + timeout
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(timeout, 0.001))
        sock.connect((address, port))
        sock.sendall(_QUESTION)
        return parse(_read(sock, end))
    except socket.timeout:
        raise Unanswered(f"no answer on {address} port {port} within {timeout:g} s") from None
    except OSError as error:
        raise Unanswered(f"{address} port {port}: {error.strerror or error}") from None
    finally:
        sock.close()


def _read(sock: socket.socket, end: float) -> bytes:
    """Both answers; less when the other side closes, says something else, or never ends."""
    data = b""
    while data.count(_END) < 2 and not data.startswith(b"ERROR") and len(data) < _LIMIT:
        sock.settimeout(max(end - time.monotonic(), 0.001))
        more = sock.recv(_LIMIT)
        if not more:
            break
        data += more
    return data


def parse(data: bytes) -> Answer:
    """The answers to ``stats`` and ``stats settings``. Unanswered when it is something else; Full."""
    text = data.decode("ascii", "replace")
    if text.startswith("ERROR Too many open connections"):
        raise Full
    statistics, _, rest = text.partition(_END.decode())
    facts, settings = _values(statistics), _values(rest)
    if not facts.get("pid", "").isdecimal() or "maxconns" not in settings:
        said = " ".join(text.split())[:60]
        raise Unanswered(f"what answers is no memcached: {said!r}" if said else "the connection is closed unanswered")
    return Answer(int(facts["pid"]), facts.get("version", ""), settings)


def _values(text: str) -> dict[str, str]:
    words = (line.split(" ", 2) for line in text.splitlines())
    return {name[1]: name[2] if len(name) > 2 else "" for name in words if len(name) > 1 and name[0] == "STAT"}
