"""mod_jk's status worker: read a worker's state in an Apache, and set its activation.

Answers are asked for as properties (``mime=prop``). A refusal comes as HTTP 200 with ``worker.result.type=ERROR``.
"""

from __future__ import annotations

import _socket as socket
import time

from hafailover.agents import web
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ACTIVE, DISABLED, STOPPED = "ACT", "DIS", "STP"
_LETTER = {ACTIVE: "a", DISABLED: "d", STOPPED: "s"}
FAILED = "ERR"
_TRIED = "ERR/REC"
_LIMIT = 1 << 20


class Member(NamedTuple):
    """A worker of a balancer: ``activation`` (ACT, DIS, STP), ``state`` (OK, OK/IDLE, ERR, ERR/REC …), ``busy`` requests."""

    activation: str
    state: str
    busy: int

    @property
    def serves(self) -> bool:
        """Whether it takes requests of every session. One that is to be tried again was started a moment ago and answers."""
        return self.activation == ACTIVE and (not self.state.startswith(FAILED) or self.state == _TRIED)


class StatusError(Exception):
    """A status worker did not do what it was asked for; the sentence says why."""


def urls(text: str) -> tuple[str, ...]:
    """The URLs of a list. ValueError for one that is none."""
    found = tuple(text.split())
    for url in found:
        web.parse(url)
    return found


def members(url: str, balancer: str, timeout: float) -> dict[str, Member]:
    """The workers of a balancer by name; StatusError."""
    return parse(_ask(url, f"cmd=show&mime=prop&w={balancer}", timeout), balancer)


def set_activation(url: str, balancer: str, worker: str, activation: str, timeout: float) -> None:
    """Have the Apache behind ``url`` use a worker so from now on; StatusError."""
    letter = _LETTER[activation]
    answer = _ask(url, f"cmd=update&mime=prop&w={balancer}&sw={worker}&vwa={letter}", timeout)
    result = answer.get("worker.result.type")
    if result != "OK":
        said = answer.get("worker.result.message") or "it did not say why"
        raise StatusError(f"{url} does not set {worker} of {balancer} to {activation}: {said}")


def recover(url: str, balancer: str, worker: str, timeout: float) -> None:
    """Have the Apache behind ``url`` try a worker again that had failed, with the next request; StatusError."""
    _ask(url, f"cmd=recover&mime=prop&w={balancer}&sw={worker}", timeout)


def parse(answer: Mapping[str, str], balancer: str) -> dict[str, Member]:
    """The workers in an answer; StatusError when it is a refusal."""
    if answer.get("worker.result.type") not in (None, "OK"):
        said = answer.get("worker.result.message") or "it did not say why"
        raise StatusError(f"the status worker refuses to show {balancer}: {said}")
    found = {}
    for key, value in answer.items():
        name, dot, what = key[len("worker.") :].rpartition(".")
        if dot and what == "activation" and key.startswith("worker."):
            busy = answer.get(f"worker.{name}.busy", "0")
            found[name] = Member(value, answer.get(f"worker.{name}.state", ""), int(busy) if busy.isdecimal() else 0)
    if not found:
        raise StatusError(f"the status worker knows no balancer {balancer} with workers")
    return found


def _ask(url: str, query: str, timeout: float) -> dict[str, str]:
    host, port, path = web.parse(url)
    request = f"GET {path}?{query} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: hafailover\r\n\r\n"
    try:
        answer = _exchange((host, port), request.encode(), timeout)
    except OSError as error:
        raise StatusError(f"{url} does not answer: {error.strerror or error}") from None
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split()
    if len(words) < 2 or words[1] != "200":
        raise StatusError(f"{url} answers {' '.join(words[1:]) or 'nothing'}; is this node allowed to ask it?")
    lines = body.decode("utf-8", "replace").splitlines()
    found = dict(line.partition("=")[::2] for line in lines if "=" in line)
    if not any(key.startswith("worker.") for key in found):
        raise StatusError(f"{url} is no status worker of mod_jk")
    return found


def _exchange(address: tuple[str, int], request: bytes, timeout: float) -> bytes:
    """All that is answered; OSError, also after ``timeout`` seconds."""
    end = time.monotonic() + timeout
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    chunks = []
    try:
        connection.settimeout(max(0.01, timeout))
        connection.connect(address)
        connection.sendall(request)
        size = 0
        while size < _LIMIT:
            connection.settimeout(max(0.01, end - time.monotonic()))
            data = connection.recv(65536)
            if not data:
                break
            chunks.append(data)
            size += len(data)
    finally:
        connection.close()
    return b"".join(chunks)
