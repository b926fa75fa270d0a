"""One question to glusterd over its local socket, for a thousandth of what its command line costs.

``gluster system:: getwd`` asks for a directory, under the lock that every command takes: who answers it is alive and not stuck. The
message is ONC RPC (RFC 5531); the numbers are those of GlusterFS 3.6 to 11.
"""

from __future__ import annotations

import _socket as socket

SOCKET = "/run/glusterd.socket"
_PROGRAM, _VERSION, _GETWD = 1238463, 2, 26
_CALL, _REPLY, _RPC_VERSION, _NO_AUTH = 0, 1, 2, 0
_LAST = 0x80000000  # of the only fragment
_ID = 1


def silence(seconds: float, path: str = SOCKET) -> str | None:
    """Why glusterd does not answer within so many seconds, or None."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(0.01, seconds))
        sock.connect(path)
        words = (_ID, _CALL, _RPC_VERSION, _PROGRAM, _VERSION, _GETWD, _NO_AUTH, 0, _NO_AUTH, 0, 0)
        message = b"".join(word.to_bytes(4, "big") for word in words)
        sock.sendall((_LAST | len(message)).to_bytes(4, "big") + message)
        answer = _read(sock, 12)
    except TimeoutError:
        return f"it does not answer within {seconds:g} s"
    except OSError as error:
        return f"{path}: {error.strerror}"
    finally:
        sock.close()
    if int.from_bytes(answer[4:8], "big") == _ID and int.from_bytes(answer[8:12], "big") == _REPLY:
        return None
    return "it closed the connection" if len(answer) < 12 else "it answers something that is no answer"


def _read(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            break
        data += piece
    return data
