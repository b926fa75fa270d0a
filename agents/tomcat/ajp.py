"""AJP's own ping: does the JVM behind a connector work? A stopped one accepts connections, for the kernel does that."""

from __future__ import annotations

import _socket as socket
import time

CPING = b"\x12\x34\x00\x01\x0a"
CPONG = b"\x41\x42\x00\x01\x09"


def parse(place: str) -> tuple[str, int]:
    """Host and port of ``"10.0.0.1:8009"`` or ``"[fd00::1]:8009"``. ValueError with the reason."""
    host, colon, port = place.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("not an address and port such as 127.0.0.1:8009")
    return host.strip("[]"), int(port)


def silence(address: tuple[str, int], timeout: float) -> str | None:
    """What is wrong with the answer to a CPing within ``timeout`` seconds, or None. It needs no secret."""
    end = time.monotonic() + timeout
    where = f"{address[0]}:{address[1]}"
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    answer = b""
    try:
        connection.settimeout(max(0.01, timeout))
        connection.connect(address)
        connection.sendall(CPING)
        while len(answer) < len(CPONG):
            connection.settimeout(max(0.01, end - time.monotonic()))
            data = connection.recv(len(CPONG) - len(answer))
            if not data:
                return f"closes AJP connections to {where} without an answer"
            answer += data
    except TimeoutError:
        return f"has not answered AJP's ping at {where} within {timeout:g} s"
    except OSError as error:
        return f"does not take AJP connections at {where}: {error.strerror or error}"
    finally:
        connection.close()
    return None if answer == CPONG else f"answers AJP's ping at {where} with something else: is this an AJP connector?"
